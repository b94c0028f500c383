#!/usr/bin/perl
# A chat through the gateway: what reaches the upstream and what comes back, byte for byte.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use IO::Compress::Gzip qw(gzip);
use JSON::PP;
use OmniRoute;
use Test::More;

my $up = OmniRoute::Upstream->start;
my $g = start_gateway(
	workers => 2,
	upstreams => { up => { upstream => $up, models => '{"some/model-x", "m"}' } },
	conf => qq(key "laptop" { key = "$KEY" }\n),
);
*reply_json = \&OmniRoute::Upstream::reply_json;
*reply_sse  = \&OmniRoute::Upstream::reply_sse;
sub header { return OmniRoute::Http::header(@_) }
my $answer = OmniRoute::Upstream::chat_json('Hello');
my $stream = OmniRoute::Upstream::chat_sse('Hel', 'lo');
my $uuid = qr/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

subtest 'the body goes up as it came, but for the model' => sub {
	my $head = q({ "zeta": 1.0,"big":123456789012345678901234567890 , "exp":1E+2,"neg":-0.0,"esc":"\u00e9\ud83d\ude00\/",);
	my $tail = qq(,"messages":[{"role":"user","content":"h\xc3\xa9 \\"model\\":\\"no\\""}],\r\n\t"future":{"b":[1,2,{"model":"x"}],"a":true},)
	    . qq("temperature":0.70,"temperature_twice":1e-7}\n);
	for my $case (['"up/some/model-x"', '"some/model-x"'], ['"up\/m"', '"m"'], [' "\u0075p/m"', ' "m"']) {
		$up->script(reply_json($answer));
		my $r = $g->chat($head . '"model":' . $case->[0] . $tail);
		is($r->{status}, 200, "model $case->[0]") or diag $r->{body};
		is($up->seen->{body}, $head . '"model":' . $case->[1] . $tail, 'only the model changed');
	}
};

subtest 'a plain answer comes back as it is' => sub {
	for my $framing (qw(length chunked close)) {
		$up->script(reply_json($answer, framing => $framing, piece => 11));
		my $r = $g->chat(chat_body('up/m'));
		is($r->{status}, 200, "$framing: status");
		is($r->{body}, $answer, "$framing: body");
		like(header($r, 'content-type'), qr{^application/json}, 'content type');
		is(header($r, 'content-length'), length $answer, 'length');
	}
};

subtest 'a packed answer is unpacked' => sub {
	gzip \$answer => \my $packed;
	$up->script(reply_json($packed, headers => [['Content-Type', 'application/json'], ['Content-Encoding', 'gzip']]));
	my $r = $g->chat(chat_body('up/m'));
	is($r->{status}, 200, 'status');
	is($r->{body}, $answer, 'body');
	is(header($r, 'content-encoding'), undef, 'nothing is packed for the client');
};

subtest 'a stream comes back as it is' => sub {
	for my $framing (qw(chunked close length)) {
		$up->script(reply_sse($stream, framing => $framing, piece => 100));
		my $r = $g->chat(chat_body('up/m', stream => JSON::PP::true));
		is($r->{status}, 200, "$framing: status");
		is($r->{body}, $stream, "$framing: body");
		ok($r->{complete}, 'and is complete');
		like(header($r, 'content-type'), qr{^text/event-stream}, 'content type');
		is(header($r, 'x-accel-buffering'), 'no', 'nginx does not buffer it');
		is(header($r, 'cache-control'), 'no-cache, no-transform', 'nobody keeps it');
		is(header($r, 'content-length'), undef, 'no length');
	}
};

subtest 'line ends, comments and other bytes of a stream are kept' => sub {
	for my $eol ("\n", "\r\n", "\r") {
		my $odd = "\xef\xbb\xbf: ping\n\n$stream" =~ s/\n/$eol/gr;
		$odd =~ s/(data: \[DONE\])/: x${eol}event: message${eol}id: 7${eol}$1/;
		$up->script(reply_sse($odd));
		my $r = $g->chat(chat_body('up/m', stream => JSON::PP::true));
		is($r->{body}, $odd, 'exact with ' . $eol =~ s/\r/CR/r =~ s/\n/LF/r);
	}
};

subtest 'who asks for a stream gets one' => sub {
	for my $case (
		['stream:true', { stream => JSON::PP::true }, [], 1],
		['stream:false though Accept says otherwise', { stream => JSON::PP::false }, [['Accept', 'text/event-stream']], 0],
		['no member, Accept: text/event-stream', {}, [['Accept', 'application/json, text/event-stream;q=0.5']], 1],
		['no member, Accept refuses it', {}, [['Accept', 'text/event-stream; q=0.0, application/json']], 0],
		['no member, Accept: something like it', {}, [['Accept', 'x-text/event-stream, text/event-streams']], 0],
		['no member, Accept: */*', {}, [['Accept', '*/*']], 0],
		['nothing said', {}, [], 0],
	) {
		my ($name, $more, $headers, $streamed) = @$case;
		$up->script($streamed ? reply_sse($stream) : reply_json($answer));
		my $r = $g->chat(chat_body('up/m', %$more), headers => $headers);
		is($r->{body}, $streamed ? $stream : $answer, $name);
		my $sent = decode_json($up->seen->{body})->{stream};
		is(!!$sent, !!$streamed, 'and the upstream is told so');
	}
};

subtest 'headers towards the upstream' => sub {
	$up->script(reply_json($answer));
	my $r = $g->chat(chat_body('up/m'), key => $KEY, headers => [
			['User-Agent', 'client/9'], ['Cookie', 'a=b'], ['X-Forwarded-For', '10.1.2.3'], ['Connection', 'x-hop, keep-alive'],
			['X-Hop', '1'], ['OpenAI-Beta', 'assistants=v2'], ['OpenAI-Organization', 'org-mine'], ['x-api-key', $KEY],
			['X-OmniRoute-No-Cache', 'true'], ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
			['Proxy-Authorization', 'Basic eDp5'], ['TE', 'trailers'], ['Keep-Alive', 'timeout=5'], ['Origin', 'http://x'],
			['X-Request-Id', 'my-id-1']]);
	is($r->{status}, 200, 'status') or diag $r->{body};
	my $seen = $up->seen;
	my %h;
	push @{ $h{ lc $_->[0] } }, $_->[1] for @{ $seen->{headers} };
	is($seen->{method}, 'POST', 'method');
	is($seen->{target}, '/v1/chat/completions', 'target');
	is_deeply($h{authorization}, ['Bearer sk-upstream-secret-0001'], "the connection's credential");
	is_deeply($h{'content-type'}, ['application/json'], 'content type');
	is_deeply($h{'content-length'}, [length $seen->{body}], 'length');
	is_deeply($h{host}, ['127.0.0.1:' . $up->port], 'host');
	is_deeply($h{'openai-beta'}, ['assistants=v2'], 'OpenAI-Beta passes');
	is_deeply($h{traceparent}, ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'], 'traceparent passes');
	is_deeply($h{'x-request-id'}, ['my-id-1'], 'the request id passes');
	ok(!$h{$_}, "$_ does not") for qw(cookie x-forwarded-for x-hop openai-organization x-api-key x-omniroute-no-cache
	    proxy-authorization te keep-alive origin expect transfer-encoding);
	unlike(join('', @{ $h{'user-agent'} // [] }), qr{client/9}, "nor does the client's name");
	unlike($seen->{raw_head} . $seen->{body}, qr/or-testkey/, "nor the client's key");
	is($seen->{fault}, undef, 'valid HTTP');
};

subtest 'headers towards the client' => sub {
	for my $case ([reply_json($answer), 0], [reply_sse($stream), 1]) {
		my ($reply, $streamed) = @$case;
		push @{ $reply->{headers} }, ['Set-Cookie', 'id=1'], ['Server', 'nginx'], ['X-Powered-By', 'x'], ['OpenAI-Organization', 'org-theirs'],
		    ['x-ratelimit-remaining-requests', '41'], ['openai-processing-ms', '17'], ['X-Request-Id', 'req_up'], ['Connection', 'x-hop'],
		    ['X-Hop', '1'], ['Alt-Svc', 'h3=":443"'], ['Strict-Transport-Security', 'max-age=1'], ['X-OmniRoute-Provider', 'forged'];
		$up->script($reply);
		my $r = $g->chat(chat_body('up/m', $streamed ? (stream => JSON::PP::true) : ()), headers => [['X-Request-Id', 'my-id-2']]);
		is($r->{status}, 200, 'status');
		is(header($r, 'x-ratelimit-remaining-requests'), 41, 'rate limit passes');
		is(header($r, 'openai-processing-ms'), 17, 'processing time passes');
		is_deeply([header($r, 'x-request-id')], ['my-id-2'], 'the request id is ours');
		is(header($r, 'x-upstream-request-id'), 'req_up', "the upstream's stands beside it");
		for my $name (qw(set-cookie server x-powered-by openai-organization x-hop alt-svc strict-transport-security)) {
			is(header($r, $name), undef, "$name does not pass");
		}
		isnt(header($r, 'x-omniroute-provider'), 'forged', 'ours are not forged');
		ok(header($r, 'date'), 'a date');
		my %count;
		$count{ lc $_->[0] }++ for @{ $r->{headers} };
		is(join(' ', grep { $count{$_} > 1 } sort keys %count), '', 'none twice');
	}
};

subtest 'request ids' => sub {
	for my $case (['my-id_1.2', 1], ['x' x 36, 1], ['x' x 37, 0], ['with space', 0], ["quote'", 0], ['', 0]) {
		my ($id, $kept) = @$case;
		my $r = $g->request(GET => '/healthz', headers => [['X-Request-Id', $id]]);
		$kept ? is(header($r, 'x-request-id'), $id, "kept: $id") : like(header($r, 'x-request-id'), $uuid, "replaced: $id");
	}
	my %ids = map { header($g->request(GET => '/healthz'), 'x-request-id') => 1 } 1 .. 20;
	is(scalar keys %ids, 20, 'a new one each time');
};

subtest 'all spellings of the path' => sub {
	for my $path ('/v1/chat/completions', '/api/v1/chat/completions', '/chat/completions', '/v1/v1/chat/completions', '/v1/chat/completions?a=b') {
		$up->script(reply_json($answer));
		my $r = $g->chat(chat_body('up/m'), path => $path);
		is($r->{body}, $answer, $path);
		is($up->seen->{target}, '/v1/chat/completions', 'one upstream path');
	}
	my $r = $g->chat(chat_body('up/m'), path => '/v1/chat/completions/?q=1');
	is($r->{status}, 308, 'a slash at the end: 308');
	is(header($r, 'location'), '/v1/chat/completions?q=1', 'location');
	$r = $g->request(GET => '/v1/chat/completions');
	is_error($r, 405, code => 'method_not_allowed', name => 'another method');
	like(header($r, 'allow'), qr/\bPOST\b/, 'Allow');
	is_error($g->request(GET => '/v2/nothing'), 404, name => 'an unknown path');
};

subtest 'models' => sub {
	my $r = $g->request(GET => '/v1/models');
	is($r->{status}, 200, 'status');
	my $list = decode_json($r->{body});
	is($list->{object}, 'list', 'a list');
	my %by_id = map { $_->{id} => $_ } @{ $list->{data} };
	is(scalar keys %by_id, scalar @{ $list->{data} }, 'each once');
	for my $id ('echo/echo-1', 'up/m', 'up/some/model-x') {
		my $m = $by_id{$id};
		ok($m, "$id is listed") or next;
		is($m->{object}, 'model', 'object');
		ok($m->{owned_by}, 'owner');
		like($m->{created}, qr/^\d+$/, 'created');
		my $one = $g->request(GET => "/v1/models/$id");
		is($one->{status}, 200, "/v1/models/$id");
		is(decode_json($one->{body})->{id}, $id, 'the same id');
	}
	is_error($g->request(GET => '/v1/models/up/none'), 404, code => 'model_not_found', name => 'unknown model');
	my $head = $g->request(HEAD => '/v1/models');
	is($head->{status}, 200, 'HEAD');
	is(header($head, 'content-length'), length $r->{body}, 'with the length of GET');
	for my $path ('/models', '/v1', '/api/v1/models', '/api/v1') {
		my $same = $g->request(GET => $path)->{body};
		s/"created":\d+/"created":0/g for $same, my $list_text = $r->{body};
		is($same, $list_text, "$path is the same");
	}
};

subtest 'echo' => sub {
	my $r = $g->chat(chat_body('echo/echo-1'));
	is($r->{status}, 200, 'plain') or diag $r->{body};
	my $o = decode_json($r->{body});
	is($o->{object}, 'chat.completion', 'object');
	like($o->{choices}[0]{message}{content}, qr/Hi/, 'says it back');
	is($o->{choices}[0]{finish_reason}, 'stop', 'finish_reason');
	ok($o->{usage}{total_tokens} == $o->{usage}{prompt_tokens} + $o->{usage}{completion_tokens} && $o->{usage}{total_tokens} > 0, 'usage');

	$r = $g->chat(chat_body('echo/echo-1', stream => JSON::PP::true, stream_options => { include_usage => JSON::PP::true }));
	is($r->{status}, 200, 'streamed');
	my @events = OmniRoute::Http::parse_sse($r->{body});
	is($events[-1]{data}, '[DONE]', 'ends with [DONE]');
	my @chunks = map { decode_json($_->{data}) } @events[0 .. $#events - 1];
	is(join('', map { map { $_->{delta}{content} // '' } @{ $_->{choices} } } @chunks), $o->{choices}[0]{message}{content}, 'the same text');
	is((grep { $_->{usage} } @chunks)[-1]{usage}{total_tokens}, $o->{usage}{total_tokens}, 'the same usage');
	is(scalar(grep { ($_->{choices}[0]{finish_reason} // '') eq 'stop' } @chunks), 1, 'one finish_reason');

	my @tool = (tools => [{ type => 'function', function => { name => 'weather', parameters => { type => 'object', properties => {} } } }],
		tool_choice => { type => 'function', function => { name => 'weather' } });
	$o = decode_json($g->chat(chat_body('echo/echo-1', @tool))->{body});
	is($o->{choices}[0]{finish_reason}, 'tool_calls', 'a tool call');
	is($o->{choices}[0]{message}{tool_calls}[0]{function}{name}, 'weather', 'its name');
	ok(eval { decode_json($o->{choices}[0]{message}{tool_calls}[0]{function}{arguments}); 1 }, 'its arguments are JSON');
	@events = OmniRoute::Http::parse_sse($g->chat(chat_body('echo/echo-1', @tool, stream => JSON::PP::true))->{body});
	@chunks = map { decode_json($_->{data}) } grep { $_->{data} ne '[DONE]' } @events;
	is((grep { defined } map { $_->{choices}[0]{finish_reason} } @chunks)[-1], 'tool_calls', 'streamed too');
};

subtest 'requests that cannot be served' => sub {
	$up->script(reply_json($answer));
	my @cases = (
		['', 400, 'an empty body'], ['{"model":"up/m",', 400, 'cut JSON'], ['[]', 400, 'an array'], ['"x"', 400, 'a string'],
		['{"model":"up/m","messages":[{"role":"user","content":"x"}]} x', 400, 'something behind it'],
		['{"messages":[{"role":"user","content":"x"}]}', 400, 'no model'],
		['{"model":7,"messages":[{"role":"user","content":"x"}]}', 400, 'a model that is no string'],
		['{"model":"","messages":[{"role":"user","content":"x"}]}', 400, 'an empty model'],
		['{"model":"' . ('m' x 201) . '","messages":[{"role":"user","content":"x"}]}', 400, 'a model that is too long'],
		['{"model":"up/m"}', 400, 'no messages'], ['{"model":"up/m","messages":[]}', 400, 'empty messages'],
		['{"model":"up/m","messages":[{}],"stream":"yes"}', 400, 'stream is no boolean'],
		["{\"model\":\"up/m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", 400, 'bytes that are no UTF-8'],
		['{"model":"up/m","messages":' . ('[' x 100_000) . (']' x 100_000) . '}', 400, 'nested too deeply'],
		['{"model":"/m","messages":[{"role":"user","content":"x"}]}', 400, 'no prefix before the slash'],
		['{"model":"up/","messages":[{"role":"user","content":"x"}]}', 400, 'no model behind the slash'],
		['{"model":"nobody/m","messages":[{"role":"user","content":"x"}]}', 404, 'unknown prefix'],
		['{"model":"nothing","messages":[{"role":"user","content":"x"}]}', 404, 'unknown model'],
		['{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"x"}]}', 400, 'a provider without connection'],
	);
	for my $case (@cases) {
		is_error($g->chat($case->[0]), $case->[1], message => qr/\S/, name => $case->[2]);
	}
	is(scalar($up->log), 0, 'none of them went upstream');
};

subtest 'connections are kept on both sides' => sub {
	$up->script(reply_json($answer));
	my $one = start_gateway(workers => 1, upstreams => { up => $up });
	my $c = $one->connect;
	for my $n (1 .. 5) {
		$c->write(OmniRoute::Http::build(POST => '/v1/chat/completions', body => chat_body('up/m')));
		is($c->response->{body}, $answer, "request $n");
	}
	my %conns = map { $_->{conn} => 1 } $up->log;
	is(scalar keys %conns, 1, 'one upstream connection');
	$c->close;
};

subtest 'counters' => sub {
	$up->script(reply_json($answer), reply_json($answer));
	my $before = $g->metrics;
	my %was = map { $_ => $g->counter($_) } qw(tokens_in_total tokens_out_total upstream_attempts_total);
	$g->chat(chat_body('up/m')) for 1 .. 4;
	is($g->counter('tokens_in_total') - $was{tokens_in_total}, 28, 'prompt tokens');
	is($g->counter('tokens_out_total') - $was{tokens_out_total}, 12, 'completion tokens');
	is($g->counter('upstream_attempts_total') - $was{upstream_attempts_total}, 4, 'attempts');
	wait_until(5, sub { $g->counter('in_flight') == 0 }, 'nothing in flight');
	is($g->counter('in_flight'), 0, 'nothing in flight');
	is($g->counter('usage_records_open'), 0, 'no record open');
};

is($up->stop, 0, 'the upstream leaves');
finish();
