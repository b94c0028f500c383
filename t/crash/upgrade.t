#!/usr/bin/perl
# Five binary upgrades and one that is rolled back, under load: no request fails, no stream is cut.
use strict;
use warnings;
use lib 't/lib';
use OmniRoute;
use OmniRoute::Soak;
use POSIX qw(uname);
use Test::More;

# A master is the child of the one before it. We want to see each of them end, so orphans become ours.
my %prctl = (x86_64 => 157, aarch64 => 167, riscv64 => 167);
my $nr = $prctl{ (uname)[4] } or plan skip_all => 'number of prctl(2) not known here';
syscall($nr, 36, 1, 0, 0, 0) == 0 or die "PR_SET_CHILD_SUBREAPER: $!";

my $origin = OmniRoute::Soak::origin();
my $g = start_gateway(workers => 2, upstreams => { o => OmniRoute::Soak::connection($origin) },
	conf => qq(key "soak" { key = "$KEY" }\n));
my $soak = OmniRoute::Soak->start($g->port, $KEY, 'o/m');
my $pid_file = $g->data . '/omniroute.pid';

sub pid_file { return (slurp($_[0] // $pid_file) =~ /^(\d+)/)[0] // 0 }

for my $i (1 .. 5) {
	my $old = $g->pid;
	my ($code, $answer, $err) = $g->ctl('upgrade');
	is($code, 0, "upgrade $i") or diag $err . $g->stderr;
	my $new = pid_file();
	isnt($new, $old, 'another master');
	is(OmniRoute::Util::reap($old, 40), 0, 'the old one has left with 0');
	$g->{pid} = $new;
	is($g->ctl('status')->{pid}, $new, 'the new one answers on the control socket');
	$soak->more(1);
}

subtest 'an upgrade that is taken back' => sub {
	my $old = $g->pid;
	my @old_workers = $g->workers;
	kill USR2 => $old;
	my $new = wait_until(20, sub { my $p = pid_file(); $p && $p != $old && $p }, 'the new master');
	wait_until(20, sub { my $s = eval { $g->ctl('status') }; $s && $s->{pid} == $new && @{ $s->{workers} } == 2
		&& !grep { $_->{state} ne 'ready' } @{ $s->{workers} } }, 'the new master serves');
	kill WINCH => $old;
	wait_until(40, sub { my @w = grep { my $p = $_; grep { $_ == $p } @old_workers } $g->workers; !@w }, 'old workers are gone');
	ok(kill(0, $old), 'the old master stays');
	$soak->more(1);
	kill HUP => $old;
	wait_until(20, sub { my @w = grep { $_ != $new } $g->workers; @w >= 2 }, 'the old master has workers again');
	kill QUIT => $new;
	wait_until(40, sub { !kill 0, $new }, 'the new one is gone, and its parent, the old one, has noticed');
	wait_until(20, sub { pid_file() == $old }, 'the pid file names the old one');
	wait_until(20, sub { my $s = eval { $g->ctl('status') }; $s && $s->{pid} == $old }, 'and so does the control socket');
	is(scalar(my @w = $g->workers), 2, 'two workers');
	my ($code, $key) = $g->ctl('keys', 'add', 'after');
	is($code, 0, 'changes are taken');
	$soak->more(1);
};

OmniRoute::Soak::is_whole($soak->finish, 'nothing failed in six upgrades');
wait_until(10, sub { $g->counter('in_flight') == 0 }, 'nothing in flight');
finish();
