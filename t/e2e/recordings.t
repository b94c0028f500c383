#!/usr/bin/perl
# Replay of exchanges with real providers: the request reaches the upstream as it was made, the response comes back byte for
# byte, however it is cut. t/data/exchanges are our own; recordings are looked for in $OMNIROUTE_RECORDINGS.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use JSON::PP;
use OmniRoute;
use OmniRoute::Util;
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $up = OmniRoute::Upstream->start;
my $g = start_gateway(upstreams => { up => $up }, workers => 2, conf => "cooldown_base = 0\n");
my $seed = $ENV{OMNIROUTE_SEED} // time;
srand $seed;
diag "OMNIROUTE_SEED=$seed repeats the cuts";

sub cuts {
	my ($n, $most) = @_;
	my @pieces;
	while ($n > 0 && @pieces < 300) {
		my $piece = 1 + int rand $most;
		push @pieces, $piece < $n ? $piece : $n;
		$n -= $pieces[-1];
	}
	return \@pieces;
}

sub replay {
	my ($file) = @_;
	my $x = $json->decode(slurp($file));
	my $body = $x->{response}{body};
	my $text = ref $body ? $json->encode($body) : $body // '';
	utf8::encode($text) if !ref $body && utf8::is_utf8($text);
	my %h = %{ $x->{response}{headers} };
	my $asked = $x->{request}{body} // { model => 'not-recorded', messages => [{ role => 'user', content => 'x' }] };
	my $request = $json->encode({ %$asked, model => "up/$asked->{model}" });
	my $sent = $json->encode($asked);
	for my $how (['whole', []], ['in chunks', [framing => 'chunked', pieces => cuts(length $text, 200)]],
		['in small pieces', [framing => 'chunked', pieces => cuts(length $text, 7)]],
		['until the close', [framing => 'close', pieces => cuts(length $text, 1000)]]) {
		$up->script({ status => $x->{response}{status}, headers => [map { [$_, $h{$_}] } sort keys %h],
			body64 => OmniRoute::Upstream::b64($text), @{ $how->[1] } });
		my $r = $g->chat($request);
		is($r->{status}, $x->{response}{status}, "$how->[0]: status");
		ok($r->{body} eq $text, "$how->[0]: byte for byte") or diag length($text), ' ', length $r->{body}, ' ', substr $r->{body}, 0, 300;
		ok($r->{complete}, "$how->[0]: complete");
		for my $name (sort keys %h) {
			my ($got, $want) = (OmniRoute::Http::header($r, $name), $h{$name});
			s/;.*// for $r->{status} >= 400 && $name eq 'content-type' ? ($got, $want) : ();    # an error's shape is ours
			is($got, $want, "$how->[0]: $name");
		}
		my $seen = $up->seen;
		ok($seen->{body} eq $sent, "$how->[0]: the request") or diag substr $seen->{body}, 0, 300;
	}
}

my @own = sort glob "$OmniRoute::Util::root/t/data/exchanges/*.json";
cmp_ok(scalar @own, '>=', 4, 'there are exchanges of our own');
for my $file (@own) {
	subtest basename($file, '.json') => sub { replay($file) };
}

my $folder = $ENV{OMNIROUTE_RECORDINGS} || "$OmniRoute::Util::root/../shared/recordings";
SKIP: {
	my @recorded = sort glob "$folder/openai-chat/*.json";
	skip "no recordings in \$OMNIROUTE_RECORDINGS", 1 unless @recorded;
	for my $file (@recorded) {
		subtest basename($file, '.json') => sub { replay($file) };
	}
}

is($g->counter('in_flight'), 0, 'nothing in flight');
$up->stop;
finish();
