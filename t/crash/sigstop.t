#!/usr/bin/perl
# A worker that is stopped for 20 s costs what it had in hand and no more: its requests wait, new ones are served by its
# neighbour at once, and nothing fails.
use strict;
use warnings;
use lib 't/lib';
use OmniRoute;
use OmniRoute::Soak;
use Test::More;
use Time::HiRes qw(time);

my $origin = OmniRoute::Soak::origin();
my $g = start_gateway(workers => 2, upstreams => { o => OmniRoute::Soak::connection($origin) },
	conf => qq(key "soak" { key = "$KEY" }\n));
my $soak = OmniRoute::Soak->start($g->port, $KEY, 'o/m');
my ($stopped) = $g->workers;

kill STOP => $stopped;
my $end = time + 20;
my ($asked, $slow, $late) = (0, 0, 0);
my ($code, $key) = $g->ctl('keys', 'add', 'meanwhile');
is($code, 0, 'a change is answered though one worker does not');
while (time < $end) {
	my $begin = time;
	my $r = $g->chat(chat_body('o/m'), key => $KEY, timeout => 10);
	$asked++;
	$slow++ if $r->{status} != 200 || time - $begin > 3;
	my $k = $g->chat(chat_body('o/m'), key => $key->{key}{key}, timeout => 10);
	$late++ if $k->{status} != 200;
}
kill CONT => $stopped;
cmp_ok($asked, '>', 100, "$asked new connections in those 20 s");
is($slow, 0, 'each of them was answered, and quickly');
is($late, 0, 'the new key was in force for all of them');
$soak->more(1);
ok(scalar(grep { $_ == $stopped } $g->workers), 'the worker was not killed');
OmniRoute::Soak::is_whole($soak->finish, 'nothing failed');
wait_until(10, sub { $g->counter('in_flight') == 0 }, 'nothing in flight');
finish();
