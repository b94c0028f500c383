#!/usr/bin/perl
# Everything that an upstream can do wrong, and what the client is told: an OpenAI-shaped error, or a stream that ends with one.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use IO::Compress::Gzip qw(gzip);
use JSON::PP;
use OmniRoute;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);

*reply_json = \&OmniRoute::Upstream::reply_json;
*reply_sse  = \&OmniRoute::Upstream::reply_sse;
*chat_event = \&OmniRoute::Upstream::chat_event;
sub header { return OmniRoute::Http::header(@_) }

my $up = OmniRoute::Upstream->start;
my $other = OmniRoute::Upstream->start;
my %up = (up => $up);
my $g = start_gateway(upstreams => \%up, conf => <<"EOC");
cooldown_base = 0
first_byte_timeout = 500
idle_timeout = 500
max_response_size = 65536
max_event_size = 4096
EOC
my $answer = OmniRoute::Upstream::chat_json('Hello');
my $stream = OmniRoute::Upstream::chat_sse('Hel', 'lo');
my $event = chat_event('{"content":"one"}');
my $other_port = $other->port;

sub error_json {
	my ($message, $type, $code) = @_;
	return encode_json({ error => { message => $message, type => $type, code => $code, param => undef } });
}

sub raw { my ($bytes, %more) = @_; return { framing => 'raw', body64 => OmniRoute::Upstream::b64($bytes), %more } }

# The gateway still works: the next request is answered.
sub goes_on {
	my ($name) = @_;
	$up->script(reply_json($answer));
	is($g->chat(chat_body('up/m'))->{body}, $answer, "$name: the next request is answered");
}

# ---- statuses ----

my %kind = (
	400 => ['invalid_request_error', 'bad_request'], 401 => ['authentication_error', 'invalid_api_key'],
	402 => ['billing_error', 'payment_required'], 403 => ['permission_error', 'insufficient_quota'],
	404 => ['invalid_request_error', 'model_not_found'], 408 => ['invalid_request_error', 'request_timeout'],
	413 => ['payload_too_large', 'PAYLOAD_TOO_LARGE'], 422 => ['invalid_request_error', qr/^.*$/],
	429 => ['rate_limit_error', 'rate_limit_exceeded'], 500 => ['server_error', 'internal_server_error'],
	502 => ['server_error', 'bad_gateway'], 503 => ['server_error', 'service_unavailable'],
	504 => ['server_error', 'gateway_timeout'], 529 => ['server_error', 'internal_server_error'],
);
for my $status (sort keys %kind) {
	for my $streamed (0, 1) {
		my @more = $streamed ? (stream => JSON::PP::true) : ();
		my $name = $status . ($streamed ? ', streamed' : '');
		$up->script(reply_json(error_json("no luck $status", 'their_type', 'their_code'), status => $status));
		is_error($g->chat(chat_body('up/m', @more)), $status, message => "no luck $status", type => 'their_type', code => 'their_code',
			name => "status $name with an OpenAI error");
		$up->script({ status => $status, headers => [['Content-Type', 'text/html']], body => '<html><h1>Oops</h1></html>' });
		is_error($g->chat(chat_body('up/m', @more)), $status, message => qr/^\[$status\]: \S/, type => $kind{$status}[0],
			code => $kind{$status}[1], name => "status $name with a page");
		$up->script({ status => $status });
		is_error($g->chat(chat_body('up/m', @more)), $status, message => qr/\S/, type => $kind{$status}[0], name => "status $name with nothing");
	}
}
goes_on('statuses');

subtest 'other shapes of errors keep their message' => sub {
	for my $case (['{"message":"plain message"}', 'plain message'], ['{"detail":"what happened"}', 'what happened'],
		['{"error":"just text"}', 'just text'], ['over capacity', 'over capacity']) {
		$up->script(reply_json($case->[0], status => 500));
		is_error($g->chat(chat_body('up/m')), 500, message => qr/^\[500\]: .*\Q$case->[1]\E/, type => 'server_error', name => $case->[0]);
	}
};

subtest 'Retry-After reaches the client' => sub {
	my $date = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 30));
	for my $case (['7', qr/^7$/], [$date, qr/^(?:\Q$date\E|[23]\d)$/]) {
		my $fresh = start_gateway(upstreams => { up => $up });
		$up->script(reply_json(error_json('slow down', 'rate_limit_error', 'rate_limit_exceeded'), status => 429,
			headers => [['Content-Type', 'application/json'], ['Retry-After', $case->[0]]]));
		my $r = $fresh->chat(chat_body('up/m'));
		is_error($r, 429, message => 'slow down');
		like(header($r, 'retry-after'), $case->[1], "Retry-After: $case->[0]");
		$r = $fresh->chat(chat_body('up/m'));
		is_error($r, 429, message => qr/reset after/, name => 'the connection is left alone');
		my $after = header($r, 'retry-after') // 0;
		ok($after >= 1 && $after <= 30 && ($case->[0] ne '7' || $after <= 7), "and we say for how long: $after");
		is(scalar($up->log), 1, 'it was asked once');
		$fresh->stop;
	}
};

subtest 'a credential that the upstream repeats does not get out' => sub {
	for my $body (error_json('bad key: $authorization', 'x', 'y'), '<p>$authorization</p>', '{"error":{"message":"m","type":"t","code":"$authorization"}}') {
		for my $more ([], [stream => JSON::PP::true]) {
			$up->script(reply_json($body, status => 401, expand => JSON::PP::true));
			my $r = $g->chat(chat_body('up/m', @$more));
			is($r->{status}, 401, 'status');
			unlike($r->{raw_head} . $r->{body}, qr/sk-upstream-secret/, 'hidden');
			like($up->seen->{raw_head}, qr/sk-upstream-secret/, 'and it was sent');
		}
	}
	$up->script(reply_sse('data: {"error":{"message":"bad key $authorization","type":"t","code":"c"}}' . "\n\n", expand => JSON::PP::true));
	unlike($g->chat(chat_body('up/m', stream => JSON::PP::true))->{body}, qr/sk-upstream-secret/, 'hidden in a stream');
	unlike($g->stderr, qr/sk-upstream-secret/, 'nor logged');
};

# ---- answers that are none: name, behaviour, status, message, for a plain request and for a streamed one ----

my $bomb = 'x' x (8 << 20);
gzip \$bomb => \my $packed;
my @common = (
	['closed before an answer', raw('', end => 'fin'), 502, qr/closed the connection before it answered/],
	['reset before an answer', raw('', end => 'rst'), 502, qr/closed the connection before it answered/],
	['no answer at all', raw('', end => 'hang'), 504, qr/did not answer in time/],
	['a slow first byte', reply_json($answer, first_delay => 3000), 504, qr/did not answer in time/],
	['half a head, then silence', raw("HTTP/1.1 200 OK\r\nContent-Ty", end => 'hang'), 504, qr/did not answer in time|fell silent/],
	['half a head, then the end', raw("HTTP/1.1 200 OK\r\nContent-Ty", end => 'fin'), 502, qr/broke off/],
	['half a status line, then the end', raw('HTTP/1.1 2', end => 'fin'), 502, qr/closed the connection before it answered/],
	['garbage instead of HTTP', raw("\x00\x01garbage\r\n\r\n" x 10), 502, qr/did not answer in HTTP/],
	['another protocol', raw("SSH-2.0-OpenSSH_9.2\r\n"), 502, qr/did not answer in HTTP/],
	['an endless header line', raw("HTTP/1.1 200 OK\r\nX-Long: ", bulk => { unit => 'a' x 1000, bytes => 4_000_000 }), 502, qr/HTTP|larger|broke off/],
	['headers without end', raw("HTTP/1.1 200 OK\r\n", bulk => { unit => "X-A: b\r\n", bytes => 4_000_000 }), 502, qr/HTTP|larger|broke off/],
	['a redirect to another origin', { status => 302, headers => [['Location', "http://127.0.0.1:$other_port/v1/chat/completions"]] }, 502,
		qr/redirect, which is not followed/],
	['a redirect with a body', { status => 307, headers => [['Location', '/v1/elsewhere']], body => 'moved' }, 502, qr/redirect/],
	['a bad chunk size', raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"), 502, qr/\S/],
	['a packed body that is not', reply_json('not gzip', headers => [['Content-Type', 'application/json'], ['Content-Encoding', 'gzip']]), 502, qr/\S/],
);
my @plain = (
	['a cut body', reply_json($answer, length => 5000, end => 'fin'), 502, qr/broke off/],
	['a cut chunked body', reply_json($answer, framing => 'chunked', unended => JSON::PP::true, end => 'fin'), 502, qr/broke off/],
	['a reset in the body', reply_json($answer, length => 5000, end => 'rst'), 502, qr/broke off/],
	['silence in the body', reply_json($answer, length => 5000, end => 'hang'), 504, qr/fell silent/],
	['JSON that is cut', reply_json(substr($answer, 0, 60)), 502, 'Invalid JSON response from provider'],
	['JSON that is cut, until the close', reply_json(substr($answer, 0, 60), framing => 'close'), 502, 'Invalid JSON response from provider'],
	['an HTML page with status 200', { headers => [['Content-Type', 'text/html']], body => '<html></html>' }, 502, 'Invalid JSON response from provider'],
	['an empty body', reply_json(''), 502, 'Invalid JSON response from provider'],
	['status 204', { status => 204, framing => 'length', headers => [] }, 502, qr/\S/],
	['a body that is too large', reply_json('{"x":"', bulk => { unit => 'y' x 1000, bytes => 3_000_000 }, tail => '"}'), 502, qr/larger than allowed/],
	['a packed body that is too large', reply_json($packed, headers => [['Content-Type', 'application/json'], ['Content-Encoding', 'gzip']]),
		502, qr/larger than allowed/],
	['an endless body', reply_json('', framing => 'chunked', bulk => { unit => ' ' x 4000, bytes => 1_000_000_000 }), 502, qr/larger than allowed/],
	['events that break off', reply_sse($event, unended => JSON::PP::true, end => 'fin'), 502, qr/broke off|Invalid SSE response/],
	['events without an end', reply_sse($event), 502, qr/broke off|Invalid SSE response/],
	['events with an error', reply_sse($event . 'data: {"error":{"message":"lost","type":"server_error","code":"x"}}' . "\n\n"), 502, qr/\S/],
	['events that are no chat', reply_sse("data: hello\n\n"), 502, 'Invalid SSE response for non-streaming request'],
);
my @streamed = (
	['an end before anything', reply_sse(''), 502, 'Stream ended before producing useful content'],
	['only [DONE]', reply_sse("data: [DONE]\n\n"), 502, 'Stream ended before producing useful content'],
	['only comments', reply_sse(": ping\n\n" x 5), 502, 'Stream ended before producing useful content'],
	['no content', reply_sse(chat_event('{"role":"assistant","content":""}')), 502, 'Stream ended before producing useful content'],
	['cut before content', reply_sse(chat_event('{"role":"assistant","content":""}'), unended => JSON::PP::true, end => 'fin'), 502, qr/broke off/],
	['reset before content', reply_sse(": ping\n\n", unended => JSON::PP::true, end => 'rst'), 502, qr/broke off/],
	['silence before content', reply_sse(": ping\n\n", end => 'hang', unended => JSON::PP::true), 504, qr/fell silent/],
	['an HTML page', { headers => [['Content-Type', 'text/html']], body => '<html></html>' }, 502, qr/did not answer with an event stream/],
	['an endless line', reply_sse('data: ', bulk => { unit => 'a' x 1000, bytes => 100_000_000 }), 502, qr/larger than allowed/],
	['an error event first', reply_sse('data: {"error":{"message":"overloaded","type":"server_error","code":"busy"}}' . "\n\n"), 502, qr/overloaded/],
	['an error event with a code first', reply_sse('data: {"error":{"message":"too fast","type":"rate_limit_error","code":429}}' . "\n\n"), 429,
		qr/too fast/],
);
for my $case ((map { [@$_, 0] } @common, @plain), (map { [@$_, 1] } @common, @streamed)) {
	my ($name, $behaviour, $status, $message, $stream_asked) = @$case;
	$name .= ', streamed' if $stream_asked;
	$up->script($behaviour);
	my $start = time;
	my $r = $g->chat(chat_body('up/m', $stream_asked ? (stream => JSON::PP::true) : ()), timeout => 15);
	is_error($r, $status, message => $message, name => $name);
	cmp_ok(time - $start, '<', 10, "$name: in time");
}
is(scalar($other->log), 0, 'nobody followed a redirect');
goes_on('answers that are none');

# ---- what is odd but good ----

subtest 'odd but good' => sub {
	for my $case (
		['a byte at a time', reply_json($answer, piece => 1), 0],
		['a byte at a time, chunked', reply_json($answer, piece => 1, framing => 'chunked'), 0],
		['a first byte that is slow enough', reply_json($answer, first_delay => 200), 0],
		['a stream a byte at a time', reply_sse($stream, piece => 1), 1],
		['a stream a byte at a time, until the close', reply_sse($stream, piece => 1, framing => 'close'), 1],
		['a stream whose last empty line is missing', reply_sse($stream =~ s/\n\n\z//r), 1],
		['a stream without [DONE]', reply_sse($stream =~ s/data: \[DONE\]\n\n\z//r), 1],
		['a stream without [DONE], until the close', reply_sse($stream =~ s/data: \[DONE\]\n\n\z//r, framing => 'close'), 1],
		['a reset behind [DONE]', reply_sse($stream, unended => JSON::PP::true, end => 'fin'), 1],
		['silence behind [DONE]', reply_sse($stream, unended => JSON::PP::true, end => 'hang'), 1],
		['100 Continue first', raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
			. length($answer) . "\r\n\r\n$answer"), 0],
		['HTTP/1.0', raw("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n$answer"), 0],
		['status 201', reply_json($answer, status => 201), 0],
	) {
		my ($name, $behaviour, $streamed) = @$case;
		$up->script($behaviour);
		my $r = $g->chat(chat_body('up/m', $streamed ? (stream => JSON::PP::true) : ()));
		like($r->{status}, qr/^20[01]$/, "$name: status") or diag $r->{body};
		my $want = OmniRoute::Util::slurp('/dev/null') . ($streamed ? MIME::Base64::decode_base64($behaviour->{body64}) : $answer);
		is($r->{body}, $want, "$name: exact");
		ok($r->{complete}, "$name: complete");
	}
};

subtest 'events although none were asked for' => sub {
	my @tool = map { chat_event($_) } '{"role":"assistant","tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}}]}',
	    '{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}', '{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}';
	$up->script(reply_sse($stream, piece => 5));
	my $r = $g->chat(chat_body('up/m'));
	is($r->{status}, 200, 'are collected') or return diag $r->{body};
	like(header($r, 'content-type'), qr{^application/json}, 'type');
	my $o = decode_json($r->{body});
	is($o->{object}, 'chat.completion', 'into one object');
	is($o->{choices}[0]{message}{content}, 'Hello', 'with all of the text');
	is($o->{choices}[0]{finish_reason}, 'stop', 'the finish');
	is($o->{usage}{total_tokens}, 10, 'and the usage');
	$up->script(reply_sse(join('', @tool, chat_event('{}', 'tool_calls')) . "data: [DONE]\n\n"));
	$o = decode_json($g->chat(chat_body('up/m'))->{body});
	is_deeply($o->{choices}[0]{message}{tool_calls}, [{ id => 'c1', type => 'function', function => { name => 'f', arguments => '{"a":1}' } }],
		'a tool call, put together') or diag explain $o;
	is($o->{choices}[0]{finish_reason}, 'tool_calls', 'and its finish');
};

subtest 'an answer before the request is read' => sub {
	my $big = chat_body('up/m', pad => 'x' x (8 << 20));
	for my $end ('keep', 'close', 'fin') {
		$up->script(reply_json(error_json('too big', 'invalid_request_error', 'too_big'), status => 413, early => JSON::PP::true, end => $end));
		is_error($g->chat($big), 413, message => 'too big', name => "early 413, $end");
	}
	$up->script(raw('', early => JSON::PP::true, end => 'rst'));
	is_error($g->chat($big), 502, message => qr/closed the connection/, name => 'reset while we send');
	goes_on('early answers');
};

subtest 'nobody listens' => sub {
	my $dead = start_gateway(upstreams => { up => { base_url => 'http://127.0.0.1:1/v1' } }, conf => "cooldown_base = 0\n");
	is_error($dead->chat(chat_body('up/m')), 502, message => qr/refused the connection or is unreachable/, name => 'refused');
	$dead->stop;
	my $hole = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp', Listen => 1);
	my $tls = start_gateway(upstreams => { up => { base_url => 'https://127.0.0.1:' . $hole->sockport . '/v1' } },
		conf => "cooldown_base = 0\nconnect_timeout = 300\n");
	is_error($tls->chat(chat_body('up/m')), 504, message => qr/did not accept the connection in time/, name => 'a handshake without answer');
	$tls->stop;
	my $name = start_gateway(upstreams => { up => { base_url => 'http://no-such-host.invalid/v1' } }, conf => "cooldown_base = 0\n");
	is_error($name->chat(chat_body('up/m')), 502, message => qr/host name could not be resolved/, name => 'no such name');
	$name->stop;
};

# ---- streams that break in the middle ----

for my $case (
	['cut between events', reply_sse("$event$event", unended => JSON::PP::true, end => 'fin'), "$event$event", 502],
	['cut between events, until the close', reply_sse("$event$event", framing => 'close'), "$event$event", 502],
	['ended well, without a finish', reply_sse("$event$event"), "$event$event", 502],
	['cut in an event', reply_sse($event . substr($event, 0, 30), unended => JSON::PP::true, end => 'fin'), $event, 502],
	['cut in an event, until the close', reply_sse($event . substr($event, 0, 30), framing => 'close'), $event, 502],
	['reset', reply_sse($event, unended => JSON::PP::true, end => 'rst'), $event, 502],
	['silence', reply_sse($event . substr($event, 0, 30), unended => JSON::PP::true, end => 'hang'), $event, 504],
	['an endless line', reply_sse($event . 'data: ', bulk => { unit => 'a' x 1000, bytes => 100_000_000 }), $event, 502],
	['a bad chunk', raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
		. sprintf("%x\r\n%s\r\nzz\r\n", length $event, $event)), $event, 502],
) {
	my ($name, $behaviour, $kept, $status) = @$case;
	subtest "a stream in the middle: $name" => sub {
		$up->script($behaviour);
		my $r = $g->chat(chat_body('up/m', stream => JSON::PP::true), timeout => 15);
		is($r->{status}, 200, 'status');
		ok($r->{complete}, 'the reply is ended as HTTP wants it') or diag $r->{error};
		is(substr($r->{body}, 0, length $kept), $kept, 'whole events came through');
		my @rest = OmniRoute::Http::parse_sse(substr $r->{body}, length $kept);
		is(scalar @rest, 1, 'one more event') or return diag $r->{body};
		my $o = eval { decode_json($rest[0]{data}) } // {};
		is(join(' ', keys %$o), 'error', 'an error');
		is(join(' ', sort grep { defined $o->{error}{$_} } keys %{ $o->{error} }), 'code message type', 'OpenAI-shaped');
		is($o->{error}{type}, 'server_error', 'type');
		is($o->{error}{code}, $status == 504 ? 'gateway_timeout' : 'bad_gateway', 'code');
		unlike($r->{body}, qr/\[DONE\]/, 'no [DONE]');
	};
}
subtest 'a stream in the middle: an error event' => sub {
	my $error = 'data: {"error":{"message":"lost","type":"server_error","code":"x"}}' . "\n\n";
	$up->script(reply_sse($event . $error));
	my $r = $g->chat(chat_body('up/m', stream => JSON::PP::true));
	is($r->{body}, $event . $error, "the upstream's own error, and nothing else");
	ok($r->{complete}, 'ended as HTTP wants it');
};
cmp_ok($g->counter('stream_errors_total'), '>=', 9, 'broken streams are counted');
goes_on('streams');

# ---- the next connection ----

my $retried = [
	['500', reply_json(error_json('x', 'server_error', 'x'), status => 500)], ['503', reply_json('{}', status => 503)],
	['429', reply_json(error_json('x', 'rate_limit_error', 'x'), status => 429)], ['401', reply_json('{}', status => 401)],
	['a reset', raw('', end => 'rst')], ['silence', raw('', end => 'hang')], ['garbage', raw("junk\r\n\r\n")], ['cut JSON', reply_json('{"a":')],
	['a redirect', { status => 302, headers => [['Location', '/x']] }],
];
my %two = (first => { upstream => $up, priority => 1 }, second => { upstream => $other, priority => 2, key => 'sk-upstream-secret-0002' });
my $pair = start_gateway(upstreams => \%two, conf => "cooldown_base = 0\nfirst_byte_timeout = 500\nidle_timeout = 500\n");
for my $case (@$retried) {
	for my $streamed (0, 1) {
		subtest "the next connection after $case->[0]" . ($streamed ? ', streamed' : '') => sub {
			my $good = $streamed ? reply_sse($stream) : reply_json($answer);
			$up->script($case->[1]);
			$other->script($good);
			my $before = $pair->counter('fallbacks_total');
			my $r = $pair->chat(chat_body('local/m', $streamed ? (stream => JSON::PP::true) : ()));
			is($r->{status}, 200, 'status') or diag $r->{body};
			is($r->{body}, $streamed ? $stream : $answer, 'the answer of the second');
			is($up->seen->{key}, 'sk-upstream-secret-0001', 'the first was asked with its credential');
			is($other->seen->{key}, 'sk-upstream-secret-0002', 'the second with its own');
			is($other->seen->{body}, $up->seen->{body}, 'the same question');
			is($pair->counter('fallbacks_total') - $before, 1, 'counted');
		};
	}
}
subtest 'no next connection' => sub {
	for my $case ([400, 'invalid'], [422, 'no']) {
		$up->script(reply_json(error_json($case->[1], 'invalid_request_error', 'x'), status => $case->[0]));
		$other->script(reply_json($answer));
		is_error($pair->chat(chat_body('local/m')), $case->[0], message => $case->[1], name => "after $case->[0]: the request is at fault");
		is(scalar($other->log), 0, 'the second was not asked');
	}
	$up->script(reply_sse($event, unended => JSON::PP::true, end => 'fin'));
	my $r = $pair->chat(chat_body('local/m', stream => JSON::PP::true));
	is(scalar($other->log), 0, 'once a byte is out there is no way back');
	like($r->{body}, qr/"error"/, 'an error event');
	$up->script(reply_json(error_json('first', 'server_error', 'x'), status => 500));
	$other->script(reply_json(error_json('second', 'server_error', 'x'), status => 503));
	$r = $pair->chat(chat_body('local/m'));
	is_error($r, 503, message => qr/second/, name => 'both failed: the last one speaks');
	is_deeply([map { $_->{connection} } @{ (error_of($r) // {})->{attempts} // [] }], ['first', 'second'], 'and the attempts are listed');
	$up->script(reply_json('{}', status => 500));
	$other->script(reply_json($answer));
	is($pair->chat(chat_body('first/m'))->{status}, 500, 'a connection asked for by name is the only one');
	is(scalar($other->log), 0, 'the second was not asked');
};
$pair->stop;

subtest 'cool-down' => sub {
	my $c = start_gateway(upstreams => \%two, workers => 2, conf => "cooldown_base = 700\ncooldown_steps = 2\n");
	$up->script(reply_json('{}', status => 500, times => 1), reply_json($answer));
	$other->script(reply_json($answer));
	my $start = time;
	is($c->chat(chat_body('local/m'))->{status}, 200, 'answered by the second');
	my $n = 0;
	while (time - $start < 0.5) {
		is($c->chat(chat_body('local/m'))->{status}, 200, 'again') if ++$n <= 3;
		select undef, undef, undef, 0.02;
	}
	is(scalar($up->log), 1, 'the first is left alone, by all workers');
	wait_until(5, sub { $c->chat(chat_body('local/m')); $up->log > 1 }, 'the first again');
	cmp_ok(time - $start, '>=', 0.65, 'for as long as configured');
	is($c->chat(chat_body('first/m'))->{status}, 200, 'it is in use again');
	$up->script(reply_json('{}', status => 500));
	$other->script(reply_json('{}', status => 500));
	is($c->chat(chat_body('local/m'))->{status}, 500, 'both fail');
	my $r = $c->chat(chat_body('local/m'));
	is_error($r, 503, message => qr/^\[.*\/m\] .*\(reset after 0h 0m \d+s\)$/, name => 'all are cooling');
	like(header($r, 'retry-after') // '', qr/^[1-3]$/, 'Retry-After');
	is_error($c->chat(chat_body('local/m', stream => JSON::PP::true)), 503, name => 'streamed too');
	is($up->log + $other->log, 2, 'none of them was asked');
	$c->stop;
};

$_->stop for $up, $other;
finish();
