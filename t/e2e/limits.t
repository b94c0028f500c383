#!/usr/bin/perl
# What a client may not do: too much, too slow, or HTTP that could be read in two ways.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use JSON::PP;
use OmniRoute;
use Test::More;
use Time::HiRes qw(time);

sub header { return OmniRoute::Http::header(@_) }
my $up = OmniRoute::Upstream->start;
my $answer = OmniRoute::Upstream::chat_json('Hello');
$up->script(OmniRoute::Upstream::reply_json($answer));
my $g = start_gateway(upstreams => { up => $up }, conf => <<"EOC");
max_header_size = 4096
max_headers = 20
max_body_size = 100000
header_timeout = 400
body_timeout = 400
keepalive_timeout = 600
EOC

# Sends raw bytes; the responses up to the end of the connection, and whether it ended in time.
sub raw {
	my ($bytes, $timeout) = @_;
	my $c = $g->connect;
	$c->write($bytes, 5);
	my @r;
	while (1) {
		my $r = $c->response(timeout => $timeout // 3);
		last if ($r->{error} // '') =~ /^(?:closed|timeout|bad)/ && !$r->{status};
		push @r, $r;
		last if $r->{error};
	}
	my $ended = $c->{eof};
	$c->close;
	return (\@r, $ended);
}

my $chat = chat_body('up/m');
my $n = length $chat;
my $head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

subtest 'sizes' => sub {
	my $r = $g->request(GET => '/healthz', headers => [['X-Pad', 'a' x 3900]]);
	is($r->{status}, 200, 'a head just below the limit');
	is_error($g->request(GET => '/healthz', headers => [['X-Pad', 'a' x 4096]]), 431, name => 'a head above it');
	is_error($g->request(GET => '/healthz', headers => [map { ["X-$_", 1] } 1 .. 20]), 431, name => 'too many fields');
	is($g->request(GET => '/healthz', headers => [map { ["X-$_", 1] } 1 .. 19])->{status}, 200, 'just as many as allowed');
	like($g->request(GET => '/' . 'a' x 5000)->{status}, qr/^(?:414|431)$/, 'a target that is too long');
	my ($rs, $ended) = raw('GET /healthz HTTP/1.1' . 'a' x 20_000);
	like($rs->[0]{status}, qr/^(?:400|414|431)$/, 'a line without end');
	ok($ended, 'and the connection ends');

	my $fit = chat_body('up/m', pad => 'x' x (100_000 - length(chat_body('up/m', pad => ''))));
	is(length $fit, 100_000, 'a body of exactly the limit');
	is($g->chat($fit)->{status}, 200, 'is taken');
	is_error($g->chat($fit . ' '), 413, type => 'payload_too_large', code => 'PAYLOAD_TOO_LARGE', message => qr/too large/, name => 'a byte more is not');
	my $seen = $up->log;
	for my $len (100_001, 4_000_000_000, '9223372036854775807') {
		my $c = $g->connect;
		$c->write("${head}Content-Length: $len\r\n\r\n");
		is_error($c->response(timeout => 3), 413, name => "refused by its length $len, before it is sent");
		$c->close;
	}
	my $c = $g->connect;
	$c->write("${head}Transfer-Encoding: chunked\r\n\r\n");
	$c->write(sprintf("%x\r\n%s\r\n", 10_000, 'x' x 10_000), 1) for 1 .. 11;
	is_error($c->response(timeout => 3), 413, name => 'a chunked body is counted');
	$c->close;
	is(scalar($up->log), $seen, 'none of them went upstream');
};

subtest 'bodies in all framings' => sub {
	for my $size (1, 7, 1000) {
		$up->script(OmniRoute::Upstream::reply_json($answer));
		my $chunks = join '', map { sprintf "%x;ext=\"v\"\r\n%s\r\n", length, $_ } unpack "(a$size)*", $chat;
		my ($rs) = raw("${head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunks}0\r\nX-Trailer: 1\r\n\r\n");
		is($rs->[0]{status}, 200, "chunks of $size");
		is($up->seen->{body}, $chat =~ s{up/m}{m}r, 'the body is whole');
	}
	my $c = $g->connect;
	for my $byte (split //, "${head}Content-Length: $n\r\n\r\n$chat") {
		$c->write($byte);
	}
	is($c->response->{status}, 200, 'a byte at a time');
	$c->close;
	$c = $g->connect;
	$c->write("${head}Content-Length: $n\r\nExpect: 100-continue\r\n\r\n");
	is($c->response(keep_100 => 1, timeout => 3)->{status}, 100, '100 Continue');
	$c->write($chat);
	is($c->response->{status}, 200, 'then the answer');
	$c->close;
};

subtest 'too slow' => sub {
	for my $case (['no byte at all', '', 0], ['half a head', "GET /healthz HTTP/1.1\r\nHost: x\r\n", 1],
		['half a body', "${head}Content-Length: $n\r\n\r\n" . substr($chat, 0, 5), 1],
		['half a chunk', "${head}Transfer-Encoding: chunked\r\n\r\n5\r\nab", 1]) {
		my ($name, $bytes, $answered) = @$case;
		my $start = time;
		my ($rs, $ended) = raw($bytes, 4);
		ok($ended, "$name: the connection ends");
		cmp_ok(time - $start, '<', 2.5, "$name: soon");
		cmp_ok(time - $start, '>', 0.3, "$name: not at once");
		is_error($rs->[0], 408, name => "$name: 408") if $answered;
	}
	my $c = $g->connect;
	my $start = time;
	my $drip = "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: " . 'a' x 1000;
	for my $byte (split //, $drip) {
		last if !$c->write($byte, 1) || time - $start > 4;
		my $got = $c->fill(0.05);
		last if defined $got;
	}
	cmp_ok(time - $start, '<', 2, 'a head a byte at a time does not outlive header_timeout');
	$c->close;
	$c = $g->connect;
	$c->write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
	is($c->response->{status}, 200, 'an idle connection');
	$start = time;
	is($c->drain(4), '', 'ends without a word');
	cmp_ok(time - $start, '>', 0.4, 'after keepalive_timeout');
	cmp_ok(time - $start, '<', 2.5, 'and not much later');
	$c->close;
};

subtest 'one behind the other' => sub {
	my $get = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
	my $c = $g->connect;
	$c->write("$get\r\n" . "GET /v1/models/echo/echo-1 HTTP/1.1\r\nHost: x\r\n\r\n"
		. "${head}Content-Length: $n\r\n\r\n$chat" . "${head}Transfer-Encoding: chunked\r\n\r\n" . sprintf("%x\r\n%s\r\n0\r\n\r\n", $n, $chat)
		. "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n" . "${get}Connection: close\r\n\r\n");
	is($c->response->{status}, 200, 'first');
	like($c->response->{body}, qr{echo/echo-1}, 'second');
	is($c->response->{body}, $answer, 'third, a chat');
	is($c->response->{body}, $answer, 'fourth, a chat with chunks');
	is($c->response(head => 1)->{status}, 200, 'fifth, HEAD');
	is($c->response->{status}, 200, 'sixth');
	is($c->drain(3), '', 'and the end');
	$c->close;
	my ($rs, $ended) = raw("GET /healthz HTTP/1.0\r\n\r\n");
	is($rs->[0]{status}, 200, 'HTTP/1.0');
	ok($ended, 'ends');
};

# What could be read in two ways is refused, and nothing behind it is looked at.
my $smuggled = "GET /v1/models/echo/echo-1 HTTP/1.1\r\nHost: x\r\n\r\n";
for my $case (
	['Content-Length and Transfer-Encoding', "${head}Content-Length: $n\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
	['two lengths', "${head}Content-Length: $n\r\nContent-Length: 5\r\n\r\n$chat", 400],
	['a list of lengths', "${head}Content-Length: 5, 6\r\n\r\n$chat", 400],
	['a length with a sign', "${head}Content-Length: +$n\r\n\r\n$chat", 400],
	['a negative length', "${head}Content-Length: -1\r\n\r\n", 400],
	['a length with spaces', "${head}Content-Length: 1 0\r\n\r\n0123456789", 400],
	['a length in hex', "${head}Content-Length: 0x10\r\n\r\n", 400],
	['a length that overflows', "${head}Content-Length: 18446744073709551616\r\n\r\n", qr/^(?:400|413)$/],
	['an empty length', "${head}Content-Length: \r\n\r\n", 400],
	['a space before the colon', "${head}Content-Length : $n\r\n\r\n$chat", 400],
	['a space before the name', "$head Content-Length: $n\r\n\r\n$chat", 400],
	['a folded field', "${head}X-A: 1\r\n\t2\r\nContent-Length: 0\r\n\r\n", 400],
	['a coding in another spelling', "${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", qr/^(?:400|501)$/],
	['two codings', "${head}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", qr/^(?:400|501)$/],
	['the coding twice', "${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
	['identity', "${head}Transfer-Encoding: identity\r\n\r\n", qr/^(?:400|501)$/],
	['a coding with HTTP/1.0', "POST /v1/chat/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
	['bare LF', "GET /healthz HTTP/1.1\nHost: x\n\n", 400],
	['bare LF in a field', "GET /healthz HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400],
	['bare CR in a field', "GET /healthz HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400],
	['NUL in a field', "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400],
	['no Host', "GET /healthz HTTP/1.1\r\n\r\n", 400],
	['two Hosts', "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400],
	['a field without a name', "GET /healthz HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400],
	['a line without a colon', "GET /healthz HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n", 400],
	['HTTP/2.0', "GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505],
	['the preface of HTTP/2', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", qr/^(?:400|505)$/],
	['HTTP/0.9', "GET /healthz\r\n\r\n", 400],
	['two spaces', "GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400],
	['a tab', "GET\t/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400],
	['a control character in the target', "GET /heal\x01thz HTTP/1.1\r\nHost: x\r\n\r\n", 400],
	['CONNECT', "CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", qr/^(?:400|404|405|501)$/],
	['another expectation', "${head}Expect: magic\r\nContent-Length: $n\r\n\r\n$chat", 417],
	['a TLS handshake', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400],
	['a bad chunk size', "${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400],
	['a chunk size that overflows', "${head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", qr/^(?:400|413)$/],
	['a chunk size with a sign', "${head}Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400],
	['a chunk size in 0x', "${head}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", 400],
	['a chunk that is longer than it says', "${head}Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", 400],
	['chunks that end with LF', "${head}Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", 400],
	['an endless chunk extension', "${head}Transfer-Encoding: chunked\r\n\r\n5;" . 'a' x 70_000, qr/^(?:400|413)$/],
) {
	my ($name, $bytes, $status) = @$case;
	subtest "refused: $name" => sub {
		$up->script(OmniRoute::Upstream::reply_json($answer));
		my ($rs, $ended) = raw($bytes . $smuggled);
		is(scalar @$rs, 1, 'one answer') or diag explain [map { "$_->{status} $_->{body}" } @$rs];
		is_error($rs->[0], ref $status ? ($rs->[0]{status} =~ $status ? $rs->[0]{status} : 400) : $status);
		ok($ended, 'the connection ends');
		is(scalar($up->log), 0, 'nothing went upstream');
	};
}
subtest 'what is not refused' => sub {
	for my $case (
		['an absolute target', "GET http://x/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
		['names in any case', "GET /healthz HTTP/1.1\r\nhOST: x\r\nCONNECTION: Close\r\n\r\n"],
		['an empty line first', "\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
		['the same length twice', "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 405],
	) {
		my ($rs) = raw($case->[1]);
		like($rs->[0]{status}, $case->[2] ? qr/^(?:400|$case->[2])$/ : qr/^200$/, $case->[0]);
	}
};

subtest 'a JSON bomb costs the others nothing' => sub {
	my $wide = start_gateway(upstreams => { up => $up }, workers => 1);
	my $members = join ',', map { qq("k$_":$_) } 1 .. 1_000_000;
	my $keys = qq({"model":"up/m","messages":[{"role":"user","content":"x"}],"x":{$members}});
	my $start = time;
	my $r = $wide->chat($keys, timeout => 60);
	like($r->{status}, qr/^(?:200|400|413)$/, 'a million members: ' . $r->{status});
	cmp_ok(time - $start, '<', 15, 'in time');
	$start = time;
	is_error($wide->chat('{"model":"up/m","messages":' . '[' x 5_000_000 . '}'), 400, name => 'five million brackets');
	cmp_ok(time - $start, '<', 15, 'in time');
	is($wide->request(GET => '/healthz')->{status}, 200, 'it still serves');
	$wide->stop;
};

subtest 'the whole time of an exchange' => sub {
	my $t = start_gateway(upstreams => { up => $up }, conf => "total_timeout = 600\ncooldown_base = 0\n");
	my $event = OmniRoute::Upstream::chat_event('{"content":"x"}');
	$up->script(OmniRoute::Upstream::reply_sse($event x 100, piece => length $event, delay => 50));
	my $start = time;
	my $r = $t->chat(chat_body('up/m', stream => JSON::PP::true));
	cmp_ok(time - $start, '<', 2, 'a stream is ended');
	ok($r->{complete}, 'as HTTP wants it');
	like($r->{body}, qr/\n\ndata: \{"error":\{[^\n]*took longer than allowed[^\n]*\}\n\n\z/, 'with an error');
	$up->script(OmniRoute::Upstream::reply_json($answer, first_delay => 5000));
	is_error($t->chat(chat_body('up/m')), 504, message => qr/took longer than allowed/, name => 'a plain answer too');
	my @slow = (messages => [{ role => 'user', content => 'slow 150 a b c d e f' }]);
	$start = time;
	$r = $t->chat(chat_body('echo/echo-1', @slow, stream => JSON::PP::true));
	cmp_ok(time - $start, '<', 2, 'an echo is ended');
	like($r->{body}, qr/\n\ndata: \{"error":\{[^\n]*took longer than allowed[^\n]*\}\n\n\z/, 'with an error');
	$t->stop;
};

subtest 'too many connections' => sub {
	my $few = start_gateway(upstreams => { up => $up }, conf => "max_connections = 8\n", workers => 1);
	my @held = map { $few->connect } 1 .. 8;
	$_->write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") for @held;
	is($_->response->{status}, 200, 'within the limit') for @held;
	my $c = $few->connect;
	$c->write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
	my $r = $c->response(timeout => 3);
	is_error($r, 503, name => 'one more');
	ok(header($r, 'retry-after'), 'Retry-After');
	$c->close;
	$_->close for @held;
	wait_until(5, sub { my $h = eval { $few->request(GET => '/healthz') }; $h && $h->{status} == 200 }, 'room again');
	$few->stop;
};

subtest 'too many bodies' => sub {
	my $small = start_gateway(upstreams => { up => $up }, conf => "max_body_memory = 500000\n", workers => 1);
	my $body = sub { my ($size) = @_; return chat_body('up/m', pad => 'x' x ($size - length(chat_body('up/m', pad => '')))) };
	my $big = $body->(200_000);
	my $begin = sub {
		my $c = $small->connect;
		$c->write("${head}Content-Length: 200000\r\n\r\n" . substr($big, 0, 190_000));
		return $c;
	};
	my $refused = sub {
		my ($r, $name) = @_;
		is_error($r, 503, message => qr/^The gateway holds as many request bodies as it may; try again$/, name => $name);
		is(header($r, 'retry-after'), 1, 'Retry-After');
	};
	# A third of such a length, refused before its body is sent. It waits for the two to be read, which nothing tells us.
	my $third = sub {
		my $c = $small->connect;
		$c->write("${head}Content-Length: 200000\r\nExpect: 100-continue\r\n\r\n");
		my $r = $c->response(keep_100 => 1, timeout => 3);
		$c->close;
		return $r;
	};
	my @held = ($begin->(), $begin->());
	my $r;
	wait_until(5, sub { $r = $third->(); $r->{status} == 503 }, 'two bodies to be held');
	$refused->($r, 'a third one does not fit');
	my $c = $small->connect;
	$c->write("${head}Transfer-Encoding: chunked\r\n\r\n");
	$c->write(sprintf("%x\r\n%s\r\n", 10_000, 'x' x 10_000), 1) for 1 .. 20;
	$refused->($c->response(timeout => 3), 'nor does one whose length nobody knew');
	$c->close;
	is($small->chat($chat)->{body}, $answer, 'a small one is served');
	cmp_ok($small->counter('refused_memory_total'), '>=', 2, 'they are counted');
	(shift @held)->close;
	wait_until(5, sub { $third->()->{status} == 100 }, 'room again');
	is($small->chat($big)->{body}, $answer, 'after one has left, the third is served');
	$held[0]->write(substr $big, 190_000);
	is($held[0]->response->{body}, $answer, 'the other one was let alone');
	$held[0]->close;
	is($small->chat($body->(600_000))->{body}, $answer, 'nothing is held: one above the limit is taken, since it is alone');
	$small->stop;
};

subtest 'one client holds every connection and says nothing' => sub {
	my $few = start_gateway(upstreams => { up => $up }, conf => "max_connections = 8\n", workers => 1);
	$up->script(OmniRoute::Upstream::reply_json($answer, first_delay => 2500));
	my $busy = $few->connect;
	$busy->write(OmniRoute::Http::build(POST => '/v1/chat/completions', body => $chat));
	my @held = map { $few->connect } 1 .. 7;
	$held[$_]->write("GET /healthz HTTP/1.1\r\nX-Half: a") for 0 .. 3;
	my $r;
	wait_until(5, sub { $r = eval { $few->request(GET => '/healthz') }; $r && $r->{status} == 200 }, 'room is made for another');
	is($r->{status}, 200, 'another client is served');
	is($few->request(GET => '/healthz')->{status}, 200, 'and again');
	is($held[0]->drain(1), '', 'the first of the silent ones had to go');
	is($busy->response->{body}, $answer, 'work in hand was let alone');
	like($few->stderr, qr/max_connections is reached/, 'the log says so');
	$_->close for @held, $busy;
	$few->stop;
};

subtest 'a Unix socket' => sub {
	my $u = start_gateway(upstreams => { up => $up }, listen => qq(listen "127.0.0.1:\@PORT\@" {}\nlisten "unix:\@DIR\@/sock" {}\n),
		conf => "access_log = \"\@DIR\@/access.txt\"\nmax_header_size = 4096\n", workers => 2);
	my $path = $u->dir . '/sock';
	my ($mode) = (stat $path)[2];
	ok(-S $path, 'is there');
	is($mode & 07, 0, 'and not for everybody') or diag sprintf '%o', $mode;
	$up->script(OmniRoute::Upstream::reply_json($answer));
	is(OmniRoute::Http::request($path, POST => '/v1/chat/completions', body => $chat)->{body}, $answer, 'a chat');
	my $c = OmniRoute::Http->connect($path);
	$c->write(OmniRoute::Http::build(GET => '/v1/models', headers => [['X-Forwarded-For', '203.0.113.9']]));
	is($c->response->{status}, 401, 'a proxy that speaks for somebody else takes locality away');
	my $get = OmniRoute::Http::build(GET => '/v1/models', headers => [['X-Forwarded-For', '127.0.0.1']]);
	$c->write($get x 3);
	is($c->response->{status}, 200, "one behind the other: $_") for 1 .. 3;
	$c->write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	is($c->response->{status}, 200, 'metrics to a local peer');
	$c->write("nonsense\r\n\r\n");
	is_error($c->response, 400, name => 'what is no request');
	is($c->drain(3), '', 'and the end');
	$c->close;
	my $event = OmniRoute::Upstream::chat_event('{"content":"x"}');
	$up->script(OmniRoute::Upstream::reply_sse($event x 400, piece => length $event, delay => 20));
	$c = OmniRoute::Http->connect($path);
	$c->write(OmniRoute::Http::build(POST => '/v1/chat/completions', body => chat_body('up/m', stream => JSON::PP::true)));
	$c->fill(5);
	like($c->{in}, qr{^HTTP/1.1 200 }, 'a stream begins');
	$c->close;
	wait_until(3, sub { ($up->seen // {})->{gone_at} }, 'the upstream to see that the client left');
	wait_until(3, sub { $u->counter('in_flight') == 0 }, 'nothing in hand');
	my $log = slurp($u->dir . '/access.txt');
	like($log, qr{^unix: \[[^\]]+\] "POST /v1/chat/completions HTTP/1\.1" 200 }m, 'in the access log');
	like($log, qr{^203\.0\.113\.9 \[[^\]]+\] "GET /v1/models HTTP/1\.1" 401 }m, 'the forwarded client under its own address');
	$u->stop;
	ok(!-e $path, 'gone with the gateway');
};

$up->stop;
finish();
