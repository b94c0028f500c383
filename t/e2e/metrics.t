#!/usr/bin/perl
# /metrics is what Prometheus reads, and its gauges come back to exactly 0 whatever the clients did.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use JSON::PP;
use OmniRoute;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $up = OmniRoute::Upstream->start;
my $g = start_gateway(upstreams => { up => $up, 'b.2' => $up }, workers => 2, conf => "cooldown_base = 0\n");

sub scripted {
	my $event = OmniRoute::Upstream::chat_event('{"content":"x"}');
	$up->script(OmniRoute::Upstream::reply_json(OmniRoute::Upstream::chat_json('Hello'), match => { model => 'whole' }),
		OmniRoute::Upstream::reply_sse($event x 5 . "data: [DONE]\n\n", piece => length $event, delay => 2, match => { model => 'stream' }));
}

# The faults of a page in the text format 0.0.4; its histograms are whole.
sub faults_of {
	my ($page) = @_;
	my (%type, %help, %seen, %bucket, %count, @faults);
	my $family = '';
	push @faults, 'no LF at its end' unless $page =~ /\n\z/;
	for (split /\n/, $page) {
		if (/^# HELP ([a-z_][a-z0-9_]*) \S.*$/) {
			push @faults, "$1: HELP twice" if $help{$1}++;
			$family = $1;
		} elsif (/^# TYPE ([a-z_][a-z0-9_]*) (counter|gauge|histogram)$/) {
			push @faults, "$1: TYPE without HELP, or twice" if $1 ne $family || $type{$1};
			$type{$1} = $2;
		} elsif (/^([a-z_][a-z0-9_]*)(\{(?:[a-z_]+="(?:[^"\\]|\\[\\"n])*",?)+\})? (\d+(?:\.\d+)?)$/) {
			my ($name, $labels, $value) = ($1, $2 // '', $3);
			my $part = $name =~ s/_(bucket|sum|count)$// && ($type{$name} // '') eq 'histogram' ? $1 : '';
			$name = $1 if !$part && /^([a-z_][a-z0-9_]*)/;
			push @faults, "$_: stands outside its family" if $name ne $family;
			push @faults, "$_: twice" if $seen{"$name $part$labels"}++;
			push @faults, "$_: a counter, not _total" if ($type{$name} // '') eq 'counter' && $name !~ /_total$/;
			my $le = $part eq 'bucket' && $labels =~ s/,?le="([^"]+)"// ? $1 : undef;
			$labels = '' if $labels eq '{}';
			push @{ $bucket{$name . $labels} }, [$le eq '+Inf' ? 9**99 : $le, $value] if defined $le;
			$count{$name . $labels} = $value if $part eq 'count';
		} else {
			push @faults, $_;
		}
	}
	for my $h (sort keys %bucket) {
		my @b = @{ $bucket{$h} };
		for my $i (1 .. $#b) {
			push @faults, "$h: bounds or counts fall" if $b[$i][0] <= $b[$i - 1][0] || $b[$i][1] < $b[$i - 1][1];
		}
		push @faults, "$h: the last bucket is not all" if $b[-1][0] != 9**99 || $b[-1][1] != $count{$h};
	}
	return @faults;
}

subtest 'the page' => sub {
	scripted();
	is($g->chat(chat_body('up/whole'))->{status}, 200, 'a chat') for 1 .. 5;
	is($g->chat(chat_body('b.2/stream', stream => JSON::PP::true))->{status}, 200, 'a stream') for 1 .. 5;
	is($g->chat(chat_body('echo/echo-1'))->{status}, 200, 'an echo');
	my $r = $g->request(GET => '/metrics');
	is(OmniRoute::Http::header($r, 'content-type'), 'text/plain; version=0.0.4; charset=utf-8', 'its type');
	is_deeply([faults_of($r->{body})], [], 'is well-formed');
	like($r->{body}, qr/^omniroute_provider_requests_total\{provider="local"\} 10$/m, 'and counts');
	is_deeply([faults_of("# HELP a_total x\n# TYPE a_total counter\na_total 1\na_total 1\nb 1\n")],
		['a_total 1: twice', 'b 1: stands outside its family'], 'faults are found');
};

# One client of many moods: half a request, three at once, gone at any moment, silent, done properly, garbage behind.
sub misbehave {
	my ($seed, $seconds) = @_;
	srand $seed;
	my $end = time + $seconds;
	while (time < $end) {
		my ($model, @more) = @{ (['up/whole'], ['b.2/stream', stream => JSON::PP::true], ['echo/echo-1', stream => JSON::PP::true])[rand 3] };
		my $text = OmniRoute::Http::build(POST => '/v1/chat/completions', body => chat_body($model, @more));
		my $c = eval { OmniRoute::Http->connect($g->port) } or next;
		my $mood = int rand 6;
		$c->write($mood == 0 ? substr($text, 0, rand length $text) : $mood == 1 ? $text x 3 : $mood == 2 ? "${text}garbage\r\n\r\n" : $text);
		$c->close_write if $mood == 3;
		$c->fill(0.02 * rand);
		$c->drain(0.2) if $mood == 2 || $mood == 3;
		eval { $c->response(timeout => 5) } if $mood == 4;
		rand() < 0.5 ? $c->reset : $c->close;
	}
}

subtest 'gauges come back' => sub {
	scripted();
	my @clients;
	for my $seed (1 .. 4) {
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			misbehave($seed, 3);
			POSIX::_exit(0);
		}
		push @clients, $pid;
	}
	waitpid $_, 0 for @clients;
	cmp_ok($g->counter('client_gone_total'), '>', 20, 'clients have left');
	my @gauges = qw(in_flight connection_in_flight usage_records_open usage_records_pending);
	my $at_rest = eval {
		wait_until(10, sub { my $m = $g->metrics; $m->{omniroute_client_connections} == 1 && !grep { $g->counter($_) != 0 } @gauges }, 'rest');
		1;
	};
	ok($at_rest, 'exactly 0, and one connection: ours') or diag explain { map { $_ => $g->counter($_) } @gauges, 'client_connections' };
	my $m = $g->metrics;
	is($m->{omniroute_replies_5xx_total}, 0, 'no chat has failed');
	is_deeply([faults_of($g->request(GET => '/metrics')->{body})], [], 'the page is well-formed');
	$up->log;
};

$up->stop;
finish();
