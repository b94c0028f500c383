#!/usr/bin/perl
# kill -9 of a worker, 100 times, under load. Only what that worker had in hand fails, the gauges come back to exactly 0,
# each answered request has its usage record.
use strict;
use warnings;
use lib 't/lib';
use OmniRoute;
use OmniRoute::Soak;
use Test::More;
use JSON::PP;

my $kills = 100;
my $origin = OmniRoute::Soak::origin();
my $g = start_gateway(workers => 4, upstreams => { o => OmniRoute::Soak::connection($origin) },
	conf => qq(key "soak" { key = "$KEY" }\n));
my $soak = OmniRoute::Soak->start($g->port, $KEY, 'o/m');
my $could_fail = 0;

sub ready {
	my $s = $g->ctl('status');
	my @ready = grep { $_->{state} eq 'ready' } @{ $s->{workers} };
	return @ready == 4 ? \@ready : undef;
}

for my $i (1 .. $kills) {
	my $workers = wait_until(30, \&ready, 'four workers');
	my $victim = $workers->[$i % 4];
	my @others = grep { $_->{pid} != $victim->{pid} } @$workers;
	kill KILL => $victim->{pid};
	$could_fail += $victim->{connections};
	my $now = wait_until(30, sub {
		my $r = ready();
		return $r && !(grep { $_->{generation} == $victim->{generation} } @$r) && $r;
	}, 'a worker in its place');
	my %still = map { $_->{pid} => $_->{generation} } @$now;
	my @gone = grep { ($still{ $_->{pid} } // 0) != $_->{generation} } @others;
	fail("kill $i: neighbours were restarted too") if @gone;
}
my $sum = $soak->finish;
diag "failed $sum->{failed}, cut $sum->{cut}, at most $could_fail could";
cmp_ok($sum->{failed} + $sum->{cut}, '<=', $could_fail + $kills, 'not more failed than the dead workers had connections')
	or diag join "\n", JSON::PP->new->canonical->encode($g->ctl('status')->{totals}), @{ $sum->{errors} }, grep { !/exited by signal|signal 9/ } split /\n/, $g->stderr;
is($sum->{refused}, 0, 'no connection was refused');

my $status = wait_until(20, sub { my $s = $g->ctl('status'); $s->{totals}{in_flight} == 0 && $s }, 'nothing in flight');
is($status->{totals}{in_flight}, 0, 'exchanges in flight: 0');
is($g->counter('connection_in_flight'), 0, 'in flight per connection: 0');

my ($requests, $unknown) = (0, 0);
wait_until(20, sub {
	($requests, $unknown) = (0, 0);
	for my $t (@{ $g->ctl('usage', '--total')->{totals} }) {
		$requests += $t->{requests};
		$unknown  += $t->{unknown};
	}
	return $requests - $unknown >= $sum->{requests} + $sum->{streams};
}, 'a record for each answer');
cmp_ok($requests - $unknown, '>=', $sum->{requests} + $sum->{streams}, 'no record of an answered request was lost');
cmp_ok($unknown, '<=', $sum->{failed} + $sum->{cut} + $kills, "$unknown were in hand and are booked as unknown");
$g->expect_errors(qr/signal 9|killed/i);
finish();
