#!/usr/bin/perl
# 50 reloads and log reopenings under load: no request fails, no stream is cut. Most reloads change what goes into force
# with a snapshot, every tenth the number of workers (new ones start, old ones retire).
use strict;
use warnings;
use lib 't/lib';
use OmniRoute;
use OmniRoute::Soak;
use Test::More;

my $origin = OmniRoute::Soak::origin();
my $g = start_gateway(workers => 2, upstreams => { o => OmniRoute::Soak::connection($origin) },
	conf => qq(log_file = "\@DIR\@/error.log"\naccess_log = "\@DIR\@/access.txt"\nkey "soak" { key = "$KEY" }\n));
my $conf = slurp($g->{conf_file});
my $soak = OmniRoute::Soak->start($g->port, $KEY, 'o/m');

for my $i (1 .. 50) {
	my $workers = 2 + int($i / 10) % 2;
	my $text = $conf =~ s/^workers = 2$/workers = $workers/mr;
	spew($g->{conf_file}, $text . 'keepalive_timeout = ' . (75000 + $i) . "\n");
	my ($code, $answer, $err) = $g->ctl('reload');
	is($code, 0, "reload $i") or diag $err;
	$soak->more(1) if $i % 10 == 0;
}

subtest 'a bad file changes nothing' => sub {
	spew($g->{conf_file}, "workers = lots\n");
	my ($code, undef, $err) = $g->ctl('reload');
	isnt($code, 0, 'it is refused');
	like($err, qr/omniroute\.conf:1: .*workers.*lots/s, 'the message names file, line, option and value');
	$soak->more(1);
};
$g->expect_errors(qr/reload|omniroute\.conf:1/);
spew($g->{conf_file}, $conf);
is(scalar(($g->ctl('reload'))[0]), 0, 'back to the first file');

for my $name (qw(error.log access.txt)) {
	rename "$g->{dir}/$name", "$g->{dir}/$name.1" or die "$name: $!";
}
is(scalar(($g->ctl('reopen'))[0]), 0, 'reopen');
wait_until(10, sub { -s "$g->{dir}/access.txt" }, 'lines in the new access log');
ok(-e "$g->{dir}/error.log", 'the error log is there again');
$soak->more(1);

my $sum = $soak->finish;
OmniRoute::Soak::is_whole($sum, 'nothing failed in 50 reloads');
wait_until(40, sub { my @w = $g->workers; @w == 2 }, 'two workers');
my $lines = () = (slurp("$g->{dir}/access.txt.1") . slurp("$g->{dir}/access.txt")) =~ /\n/g;
cmp_ok($lines, '>=', $sum->{requests} + $sum->{streams}, 'a line in the access log for each');
wait_until(10, sub { $g->counter('in_flight') == 0 }, 'nothing in flight');
finish();
