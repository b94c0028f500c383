#!/usr/bin/perl
# kill -9 of the master: its workers finish what they have and leave, and a restart finds every change that was
# acknowledged and every record of what was answered.
use strict;
use warnings;
use lib 't/lib';
use OmniRoute;
use OmniRoute::Soak;
use Test::More;

my $origin = OmniRoute::Soak::origin();
my $g = start_gateway(workers => 2, upstreams => { o => OmniRoute::Soak::connection($origin) },
	conf => qq(key "soak" { key = "$KEY" }\n));
my (%acknowledged, $answered);

sub gone { my @pids = @_; return !grep { kill 0, $_ } @pids }

for my $round (1 .. 5) {
	my $soak = OmniRoute::Soak->start($g->port, $KEY, 'o/m', connections => 8, streams => 10);
	$soak->more(1);
	my @workers = $g->workers;
	my $victim = $g->pid;
	# The killer strikes in the middle of one of these changes.
	my $killer = fork // die;
	if ($killer == 0) {
		select undef, undef, undef, 0.1 * $round;
		kill KILL => $victim;
		POSIX::_exit(0);
	}
	for my $i (1 .. 500) {
		my ($code, $key) = $g->ctl('keys', 'add', "k$round-$i");
		last if $code != 0;
		$acknowledged{"k$round-$i"} = $key->{key}{key};
	}
	waitpid $killer, 0;
	$g->ended(10);
	wait_until(40, sub { gone(@workers) }, 'the workers are gone');
	my $sum = $soak->finish;
	$answered += $sum->{requests} + $sum->{streams};
	is($sum->{cut}, 0, "round $round: streams in hand were finished");
	$g->restart;
	my %there = map { $_->{name} => 1 } @{ $g->ctl('keys', 'list')->{keys} };
	my @lost = grep { !$there{$_} } keys %acknowledged;
	is(scalar @lost, 0, "round $round: all of " . keys(%acknowledged) . ' acknowledged keys are there') or diag "@lost";
}
for my $name ((sort keys %acknowledged)[0, -1]) {
	is($g->chat(chat_body('o/m'), key => $acknowledged{$name})->{status}, 200, "$name is served");
}
cmp_ok(scalar(keys %acknowledged), '>', 5, 'changes were acknowledged');
my $requests = 0;
wait_until(20, sub {
	$requests = 0;
	$requests += $_->{requests} - $_->{unknown} for @{ $g->ctl('usage', '--total')->{totals} };
	return $requests >= $answered;
}, 'a record for each answer');
cmp_ok($requests, '>=', $answered, "no record of $answered answered requests was lost");
$g->{stopped} = 0;
finish();
