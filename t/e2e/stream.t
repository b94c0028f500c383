#!/usr/bin/perl
# Streams: cut at every byte, slow readers, clients that leave.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use JSON::PP;
use OmniRoute;
use Test::More;
use Time::HiRes qw(time);

*reply_sse  = \&OmniRoute::Upstream::reply_sse;
*reply_json = \&OmniRoute::Upstream::reply_json;
my $MB = 1 << 20;
my $sanitized = OmniRoute::Util::sanitized();
my $up = OmniRoute::Upstream->start;
my $stream = OmniRoute::Upstream::chat_sse('one', "tw\xc3\xb6");
my $event = OmniRoute::Upstream::chat_event('{"content":"x"}');
my $asked = chat_body('up/m', stream => JSON::PP::true);
my $request = OmniRoute::Http::build(POST => '/v1/chat/completions', body => $asked);
my $g = start_gateway(upstreams => { up => $up }, workers => 1, conf => "stream_buffer = 65536\nsend_timeout = 60000\n");

subtest 'cut at every byte' => sub {
	my $c = $g->connect;
	my @bad;
	for my $at (1 .. length($stream) - 1) {
		$up->script(reply_sse($stream, pieces => [$at], framing => $at % 2 ? 'chunked' : 'length'));
		$c->write($request);
		my $r = $c->response;
		push @bad, $at unless $r->{complete} && $r->{body} eq $stream;
	}
	is("@bad", '', length($stream) - 1 . ' cuts, over one connection');
	$c->close;
	for my $size (1, 2, 3, 5) {
		$up->script(reply_sse($stream =~ s/\n/\r\n/gr, piece => $size));
		is($g->chat($asked)->{body}, $stream =~ s/\n/\r\n/gr, "pieces of $size");
	}
};

subtest 'what the upstream has said is passed on at once' => sub {
	my @pieces = map { "$_\n\n" } split /\n\n/, $stream;
	@pieces = (join('', @pieces[0, 1]), $pieces[2], join '', @pieces[3 .. $#pieces]);    # content, content, the rest
	$up->script(reply_sse($stream, pieces => [map { length } @pieces], delay => 1500));
	my $c = $g->connect;
	$c->write($request);
	my @sent;
	for my $n (0, 1) {
		my $want = join '', @pieces[0 .. $n];
		1 while length(payload($c)) < length $want && $c->fill(10);
		push @sent, ($up->log)[-1]{sent};
		is(payload($c), $want, 'event ' . ($n + 1));
	}
	my $r = $c->response;
	my $all = ($up->log)[-1]{sent};
	cmp_ok($sent[0], '<', $sent[1], 'came before the second was sent');
	cmp_ok($sent[1], '<', $all, 'came before the rest was sent');
	is($r->{body}, $stream, 'all of it in the end');
	$c->close;
};

sub payload {
	my ($c) = @_;
	my (undef, $body) = split /\r\n\r\n/, $c->{in}, 2;
	my ($bytes) = OmniRoute::Http::decode_chunked($body // '');
	return $bytes;
}

# How the client leaves, what the upstream is doing then, and what it asked for.
for my $case (
	['in a stream', 'close', reply_sse($event, end => 'hang', unended => JSON::PP::true), 1, 1],
	['in a stream, with a reset', 'reset', reply_sse($event, end => 'hang', unended => JSON::PP::true), 1, 1],
	['before the first byte of a stream', 'close', { framing => 'raw', end => 'hang' }, 1, 0],
	['before a plain answer', 'close', { framing => 'raw', end => 'hang' }, 0, 0],
	['in a plain answer', 'reset', reply_json('{"a":', length => 100, end => 'hang'), 0, 0],
	['while the upstream talks', 'close', reply_sse($event x 4000, piece => length $event, delay => 2), 1, 1],
) {
	my ($name, $how, $behaviour, $streamed, $answered) = @$case;
	subtest "a client that leaves $name" => sub {
		my $gone = $g->counter('client_gone_total');
		my @ms;
		for my $try (1 .. 3) {
			$up->script($behaviour);
			my $c = $g->connect;
			$c->write($streamed ? $request : OmniRoute::Http::build(POST => '/v1/chat/completions', body => chat_body('up/m')));
			$answered ? $c->fill(5) : $up->wait_for(sub { $_[0]{state} =~ /hang|playing/ });
			my $left = time * 1000;
			$c->$how;
			my $rec = eval { $up->wait_for(sub { $_[0]{state} eq 'gone' }, 5) };
			push @ms, $rec ? $rec->{gone_at} - $left : 9999;
		}
		diag sprintf "cancelled after %s ms", join ', ', map { sprintf '%.1f', $_ } @ms;
		is(scalar(grep { $_ > 100 } @ms), 0, 'the upstream is cancelled within 100 ms');
		wait_until(5, sub { $g->counter('in_flight') == 0 }, 'nothing in flight');
		is($g->counter('client_gone_total') - $gone, 3, 'counted');
		is($g->counter('usage_records_open'), 0, 'no record stays open');
	};
}
subtest 'a client that closed its writing side only' => sub {
	$up->script(reply_sse($stream, piece => 50, delay => 2));
	my $c = $g->connect;
	$c->write($request =~ s/\r\n/\r\nConnection: close\r\n/r);
	$c->close_write;
	my $r = $c->response;
	ok($r->{body} eq $stream || ($r->{error} // '') =~ /closed|cut/, 'is served, or dropped: nothing hangs');
	$c->close;
	wait_until(5, sub { $g->counter('in_flight') == 0 }, 'nothing in flight');
};

# The upstream has far more than the client takes. What lies between them is bounded: stream_buffer, what one write
# goes past it, and the buffers of two sockets (the upstream's own is 64 KB here).
subtest 'a slow reader' => sub {
	my ($worker) = $g->workers;
	my $unit = $event x 10;
	my $total = 200 * $MB;
	$up->script(reply_sse($event, bulk => { unit => $unit, bytes => $total }, tail => "data: [DONE]\n\n", sndbuf => 65536));
	$g->chat(chat_body('echo/echo-1')) for 1 .. 3;
	my $before = memory_kb($worker);
	my $pauses = $g->counter('pauses_total');
	my $c = OmniRoute::Http->connect($g->port, rcvbuf => 65536);
	$c->write($request);
	my ($sent, $still) = (0, time);
	wait_until(20, sub {
		my @log = $up->log;
		my $now = @log ? $log[-1]{sent} : 0;
		($sent, $still) = ($now, time) if $now != $sent;
		$sent > 0 && time - $still > 0.5;
	}, 'the upstream to be held back');
	diag sprintf 'held back after %.2f MB', $sent / $MB;
	cmp_ok($sent, '<', 12 * $MB, 'the upstream is held back');
	my $grown = memory_kb($worker) - $before;
	diag "the worker grew by $grown KB";
	cmp_ok($grown, '<', $sanitized ? 40_000 : 2048, 'the worker holds little of it');
	cmp_ok($g->counter('pauses_total'), '>', $pauses, 'the pause is counted');

	my $start = time;
	is($g->chat(chat_body('echo/echo-1'))->{status}, 200, 'a neighbour is served');
	cmp_ok(time - $start, '<', 0.5, 'at once');

	my ($bytes, $ends) = (0, '');
	while ($c->fill(10)) {
		$bytes += length $c->{in};
		$ends = substr $ends . $c->{in}, -64;
		$c->{in} = '';
		last if $ends =~ /0\r\n\r\n\z/;
	}
	cmp_ok($bytes, '>', $total, 'then it reads on and gets all of it');
	like($ends, qr/data: \[DONE\]\n\n\r\n0\r\n\r\n\z/, 'to the end');
	cmp_ok(memory_kb($worker, 'VmHWM') - $before, '<', $sanitized ? 80_000 : 8192, 'the worker never held much');
	$c->close;
};

subtest 'a slow reader gets every byte' => sub {
	my $unit = join '', map { OmniRoute::Upstream::chat_event(qq({"content":"$_"})) } 1 .. 50;
	my $times = 200;
	$up->script(reply_sse($event, bulk => { unit => $unit, bytes => $times * length $unit }, tail => "data: [DONE]\n\n"));
	my $c = OmniRoute::Http->connect($g->port, rcvbuf => 16384);
	$c->write($request);
	my $raw = '';
	while ($c->fill(10)) {
		$raw .= $c->{in};
		$c->{in} = '';
		select undef, undef, undef, 0.002 if length($raw) < 300_000;
		last if $raw =~ /0\r\n\r\n\z/;
	}
	my (undef, $body) = split /\r\n\r\n/, $raw, 2;
	my ($bytes, $complete) = OmniRoute::Http::decode_chunked($body);
	ok($bytes eq $event . $unit x $times . "data: [DONE]\n\n", 'exact');
	ok($complete, 'complete');
	$c->close;
};

subtest 'a reader that takes nothing is given up' => sub {
	my $s = start_gateway(upstreams => { up => $up }, workers => 1, conf => "stream_buffer = 65536\nsend_timeout = 500\n");
	$up->script(reply_sse($event, bulk => { unit => $event, bytes => 500 * $MB }, sndbuf => 65536));
	my $c = OmniRoute::Http->connect($s->port, rcvbuf => 16384);
	$c->write($request);
	my $rec = eval { $up->wait_for(sub { $_[0]{state} eq 'gone' }, 10) };
	ok($rec, 'its upstream is cancelled');
	wait_until(5, sub { $s->counter('in_flight') == 0 }, 'nothing in flight');
	is($s->counter('client_gone_total'), 1, 'counted');
	my $all = $c->drain(20) // '';
	unlike($all, qr/0\r\n\r\n\z/, 'what it got does not look whole');
	$c->close;
	$s->stop;
};

subtest 'many at once' => sub {
	$up->script(reply_sse($stream, piece => 60, delay => 5));
	my @c = map { $g->connect } 1 .. 100;
	$_->write($request) for @c;
	my @bad = grep { my $r = $_->response; !$r->{complete} || $r->{body} ne $stream } @c;
	is(scalar @bad, 0, '100 streams, all exact');
	$_->close for @c;
	wait_until(5, sub { $g->counter('in_flight') == 0 }, 'nothing in flight');
};

is($up->stop, 0, 'the upstream leaves');
finish();
