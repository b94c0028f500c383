#!/usr/bin/perl
# What the shipped unit for systemd promises, without systemd: its command lines run as they stand there (paths replaced),
# and the service manager is told what it has to know: READY=1 at the start, RELOADING=1 and READY=1 around a reload,
# MAINPID= when another master takes over or gives back, STOPPING=1 at the end.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use File::Temp;
use IO::Select;
use IO::Socket::UNIX;
use OmniRoute::Http;
use OmniRoute::Util qw(build_dir spawn run forget wait_until slurp spew free_port);
use POSIX qw(:sys_wait_h);
use Socket qw(SOCK_DGRAM pack_sockaddr_un);
use Test::More;
use Time::HiRes qw(time);

my $tmp = File::Temp->newdir('omniroute-test.XXXXXX', TMPDIR => 1);
my ($dir, $build, $port) = ("$tmp", build_dir(), free_port());
my ($data, $conf, $log) = ("$dir/data", "$dir/omniroute.conf", "$dir/log");
my %pids; # every master that we have heard of

# Masters whose parent has left become our children, so that their end can be seen. Without it only their absence can.
my ($prctl) = eval { require 'syscall.ph'; main->can('SYS_prctl') ? SYS_prctl() : () };
syscall($prctl, 36, 1, 0, 0, 0) if defined $prctl;

# ---- the unit ----

my $unit = slurp("$OmniRoute::Util::root/contrib/systemd/omniroute.service");
my ($service) = $unit =~ /^\[Service\]\n(.*?)(?=^\[)/ms;
my %set = ($service // '') =~ /^(\w+)=(.*)$/mg;

sub command {
	my ($name, %with) = @_;
	my $line = $set{$name} // die "no $name in the unit\n";
	my $known = $line =~ s{/usr/sbin/}{$build/}g;
	$line =~ s{/var/lib/omniroute\b}{$data}g;
	$line =~ s{/etc/omniroute/omniroute\.conf}{$conf}g;
	die "$name: not of this program: $line\n" if !$known || $line =~ m{/(?:usr|var|etc)/(?!.*\Q$dir\E)};
	return [split ' ', $line];
}

my ($name, $value) = ($set{Environment} // '') =~ /^(\w+)=(.*)$/;
is("$name=$value", 'DATA_DIR=/var/lib/omniroute', 'the environment of the unit');
my %env = (PATH => $ENV{PATH}, HOME => $dir, DATA_DIR => $data, ASAN_OPTIONS => $ENV{ASAN_OPTIONS} // 'detect_leaks=1:exitcode=99');

is($set{Type}, 'notify', 'Type');
is($set{NotifyAccess}, 'all', 'a new master may speak');
is("$set{KillMode} $set{KillSignal}", 'mixed SIGQUIT', 'the master alone is told to leave gracefully');
my ($shutdown) = slurp("$OmniRoute::Util::root/shared/options.def") =~ /^O_INT\(shutdown_timeout, (\d+),/m;
cmp_ok($set{TimeoutStopSec} * 1000, '>=', $shutdown + 12_000, 'and has time for it');

SKIP: {
	skip 'no systemd-analyze', 1 unless grep { -x "$_/systemd-analyze" } split /:/, $ENV{PATH};
	mkdir "$dir/unit";
	spew("$dir/unit/omniroute.service", $unit =~ s{/usr/sbin/}{$build/}gr);
	my $r = run(['systemd-analyze', 'verify', '--man=no', "$dir/unit/omniroute.service"]);
	is($r->{out} . $r->{err}, '', 'systemd-analyze verify');
}

# ---- the service manager ----

my $manager = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$dir/notify") or die "notify: $!";
$env{NOTIFY_SOCKET} = "$dir/notify";

# The next message: {NAME => value}.
sub told {
	my ($seconds, $what) = @_;
	my $end = time + $seconds;
	die "was not told of $what\n" unless IO::Select->new($manager)->can_read($end - time);
	$manager->recv(my $text, 4096) // die "recv: $!";
	my %m = map { /^(\w+)=(.*)$/ ? ($1 => $2) : (BAD => $_) } split /\n/, $text;
	$pids{ $m{MAINPID} } = 1 if $m{MAINPID};
	return \%m;
}

sub quiet { return !IO::Select->new($manager)->can_read(0) }

# Its exit status; 0 for one that is not our child.
sub gone {
	my ($pid) = @_;
	my $status;
	wait_until(40, sub {
		my $got = waitpid $pid, WNOHANG;
		$status = $got == $pid ? $? : $got == -1 && !kill(0 => $pid) ? 0 : undef;
		return defined $status;
	}, "the end of $pid");
	forget($pid);
	delete $pids{$pid};
	return $status;
}

sub serves { return eval { OmniRoute::Http::request($port, GET => '/readyz', timeout => 5)->{status} } // 0 }

sub write_conf { spew($conf, qq(listen "127.0.0.1:$port" {}\nlog_file = "$log"\nlog_level = info\n) . join '', @_) }

END {
	local $?;
	kill KILL => $_ for grep { $_ > 1 } keys %pids;
}

# ---- ExecStartPre ----

write_conf("workers = nine\n");
my $r = run(command('ExecStartPre'), env => \%env, clean => 1);
is($r->{code}, 1, 'ExecStartPre refuses a configuration that is not valid');
like($r->{err}, qr/\Q$conf\E:4: option "workers"/, 'and says where');
write_conf("workers = 2\n");
$r = run(command('ExecStartPre'), env => \%env, clean => 1);
is($r->{code}, 0, 'ExecStartPre') or diag $r->{err};
ok(quiet(), 'a test tells the service manager nothing');

# ---- ExecStart ----

# NoNewPrivileges and MemoryDenyWriteExecute are prctl(2) calls as well (the latter from Linux 6.3 on).
my $start = command('ExecStart');
my $strict = defined $prctl ? "syscall($prctl, 38, 1, 0, 0, 0); syscall($prctl, 65, 1, 0, 0, 0);" : '';
open my $out, '>', "$dir/out" or die "$dir/out: $!";
my $old = spawn([$^X, '-e', "$strict exec { \$ARGV[0] } \@ARGV", @$start], env => \%env, clean => 1, out => $out, err => $out);
my $m = told(30, 'the start');
is($m->{READY}, 1, 'READY=1');
is($m->{MAINPID}, $old, 'MAINPID is the process that was started');
is(serves(), 200, 'and it serves then');
like(slurp("$dir/out"), qr/^First-run password [^\n]+\n\z/, 'it prints the password and nothing else');

# ---- ExecReload ----

write_conf("workers = 1\n");
$r = run(command('ExecReload'), env => \%env, clean => 1);
is($r->{code}, 0, 'ExecReload') or diag $r->{err};
$m = told(5, 'the reload');
is($m->{RELOADING}, 1, 'RELOADING=1');
like($m->{MONOTONIC_USEC} // '', qr/^[1-9]\d+$/, 'with the time');
$m = told(5, 'the end of the reload');
is("$m->{READY} $m->{MAINPID}", "1 $old", 'READY=1 when it is done');

write_conf("workers = nine\n");
$r = run(command('ExecReload'), env => \%env, clean => 1);
is($r->{code}, 1, 'ExecReload fails when the configuration is not valid');
is(told(5, 'the reload')->{RELOADING}, 1, 'RELOADING=1');
is(told(5, 'the end of the reload')->{READY}, 1, 'READY=1: the old configuration serves');
is(serves(), 200, 'indeed');
write_conf("workers = 1\n");

# ---- upgrade ----

kill USR2 => $old;
$m = told(30, 'the new master');
my $new = $m->{MAINPID};
is($m->{READY}, 1, 'upgrade: READY=1');
isnt($new, $old, 'upgrade: MAINPID is the new master');
kill QUIT => $old;
is(gone($old), 0, 'upgrade: the old one leaves');
ok(quiet(), 'upgrade: and says nothing, the service does not stop');
is(serves(), 200, 'upgrade: the new one serves');

kill USR2 => $new;
$m = told(30, 'the newest master');
my $newest = $m->{MAINPID};
isnt($newest, $new, 'rollback: MAINPID is the newest master');
kill QUIT => $newest;
$m = told(30, 'the way back');
is("$m->{READY} $m->{MAINPID}", "1 $new", 'rollback: MAINPID is the one that was before');
delete $pids{$newest};
is(serves(), 200, 'rollback: it serves');

# ---- stop ----

kill substr($set{KillSignal}, 3) => $new;
is(told(30, 'the stop')->{STOPPING}, 1, 'STOPPING=1');
is(gone($new), 0, 'it leaves with 0');
ok(quiet(), 'and that was all');
unlike(slurp("$dir/out"), qr/Sanitizer|runtime error:/, 'nothing from a sanitizer');
is(scalar(grep { / error / } split /\n/, slurp($log)), 1, 'one error in the log: the reload that was refused')
    or diag grep { / error / } map { "$_\n" } split /\n/, slurp($log);

# ---- an address in the abstract name space, and none ----

my $abstract = IO::Socket::UNIX->new(Type => SOCK_DGRAM) or die "socket: $!";
bind $abstract, pack_sockaddr_un("\0omniroute-test-$$") or die "bind: $!";
$manager = $abstract;
for my $at ("\@omniroute-test-$$", '', "$dir/nobody") {
	my %e = (%env, NOTIFY_SOCKET => $at);
	delete $e{NOTIFY_SOCKET} if $at eq '';
	my $pid = spawn($start, env => \%e, clean => 1, out => $out, err => $out);
	if ($at =~ /^\@/) {
		is(told(30, 'the start')->{MAINPID}, $pid, 'an abstract address: READY=1');
	} else {
		wait_until(30, sub { serves() == 200 }, 'a gateway');
		ok(quiet(), $at eq '' ? 'no service manager: nothing is said' : 'a service manager that is gone does no harm');
	}
	kill TERM => $pid;
	is(gone($pid), 0, 'it leaves with 0');
	told(5, 'the stop') if $at =~ /^\@/;
}

done_testing();
