#!/usr/bin/perl
# Clients of every dialect at upstreams of every other: whole and streamed answers, errors of each kind in each shape, signs of life,
# dropped parameters, fetched media, counted tokens, falling back to a connection of another dialect.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use Compress::Raw::Zlib qw(crc32);
use JSON::PP;
use MIME::Base64 qw(encode_base64);
use OmniRoute;
use OmniRoute::Grammar;
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
sub header { return OmniRoute::Http::header(@_) }
sub reply_json { return OmniRoute::Upstream::reply_json(@_) }
sub reply_sse { return OmniRoute::Upstream::reply_sse(@_) }

my %up = map { $_ => OmniRoute::Upstream->start } qw(chat messages gemini responses);
my %word = (chat => 'openai-chat', messages => 'anthropic-messages', gemini => 'gemini', responses => 'openai-responses');
my $g = start_gateway(
	upstreams => { map { ("u-$_" => { upstream => $up{$_}, dialect => $word{$_} }) } keys %up },
	conf => "cooldown_base = 0\nidle_timeout = 2000\nfirst_byte_timeout = 2000\naccess_log = \"\@DIR\@/access.log\"\n",
);

# ---- clients: how each asks, and what it reads in the answer ----

sub joined { return join '', map { $_ // '' } @_ }

my %client = (
	chat => {
		path => sub { '/v1/chat/completions' },
		body => sub { my ($model, $stream, %m) = @_; { model => $model, $stream ? (stream => $true, stream_options => { include_usage => $true }) : (),
			messages => [{ role => 'user', content => 'Hi' }], %m } },
		text => sub { $_[0]{choices}[0]{message}{content} },
		finish => sub { $_[0]{choices}[0]{finish_reason} }, stop => 'stop',
		usage => sub { @{ $_[0]{usage} }{qw(prompt_tokens completion_tokens)} },
		delta => sub { joined(map { map { $_->{delta}{content} } @{ $_->{choices} } } @_) },
		error => sub { my ($e) = @_; return ref $e->{error} eq 'HASH' && exists $e->{error}{type} && exists $e->{error}{code} },
		grammar => [usage => 1],
	},
	messages => {
		path => sub { '/v1/messages' },
		body => sub { my ($model, $stream, %m) = @_; { model => $model, max_tokens => 100, $stream ? (stream => $true) : (),
			messages => [{ role => 'user', content => 'Hi' }], %m } },
		text => sub { joined(map { $_->{text} } @{ $_[0]{content} }) },
		finish => sub { $_[0]{stop_reason} }, stop => 'end_turn',
		usage => sub { @{ $_[0]{usage} }{qw(input_tokens output_tokens)} },
		delta => sub { joined(map { $_->{delta}{text} } grep { $_->{type} eq 'content_block_delta' } @_) },
		error => sub { my ($e) = @_; return $e->{type} eq 'error' && ref $e->{error} eq 'HASH' && $e->{error}{type} =~ /_error$|^request_too_large$/ },
		grammar => [],
	},
	responses => {
		path => sub { '/v1/responses' },
		body => sub { my ($model, $stream, %m) = @_; { model => $model, $stream ? (stream => $true) : (), input => 'Hi', %m } },
		text => sub { joined(map { map { $_->{text} } @{ $_->{content} } } grep { $_->{type} eq 'message' } @{ $_[0]{output} }) },
		finish => sub { $_[0]{status} }, stop => 'completed',
		usage => sub { @{ $_[0]{usage} }{qw(input_tokens output_tokens)} },
		delta => sub { joined(map { $_->{delta} } grep { $_->{type} eq 'response.output_text.delta' } @_) },
		error => sub { my ($e) = @_; return ref $e->{error} eq 'HASH' && exists $e->{error}{type} && exists $e->{error}{code} },
		grammar => [],
	},
	gemini => {
		path => sub { my ($model, $stream) = @_; "/v1beta/models/$model:" . ($stream ? 'streamGenerateContent?alt=sse' : 'generateContent') },
		body => sub { my ($model, $stream, %m) = @_; { contents => [{ role => 'user', parts => [{ text => 'Hi' }] }], %m } },
		text => sub { joined(map { $_->{text} } @{ $_[0]{candidates}[0]{content}{parts} }) },
		finish => sub { $_[0]{candidates}[0]{finishReason} }, stop => 'STOP',
		usage => sub { @{ $_[0]{usageMetadata} }{qw(promptTokenCount candidatesTokenCount)} },
		delta => sub { joined(map { map { $_->{text} } map { @{ $_->{content}{parts} // [] } } @{ $_->{candidates} // [] } } @_) },
		error => sub { my ($e) = @_; return ref $e->{error} eq 'HASH' && $e->{error}{code} =~ /^\d+$/ && $e->{error}{status} =~ /^[A-Z_]+$/ },
		grammar => [],
	},
);

sub ask {
	my ($c, $model, $stream, %opt) = @_;
	my $body = delete $opt{body} // $client{$c}{body}->($model, $stream, %{ delete $opt{with} // {} });
	return ($opt{gateway} // $g)->chat(ref $body ? $json->encode($body) : $body, path => $client{$c}{path}->($model, $stream), %opt);
}

sub events { return map { $json->decode($_->[1]) } grep { defined $_->[1] && $_->[1] ne '[DONE]' } sse_events($_[0]) }

sub is_native_error {
	my ($c, $r, $status, $message, $name) = @_;
	subtest $name => sub {
		is($r->{status}, $status, 'status') or diag $r->{body};
		like(header($r, 'content-type') // '', qr{^application/json}, 'content type');
		my $e = eval { $json->decode($r->{body}) } // {};
		ok($client{$c}{error}->($e), "in the shape of $c") or diag $r->{body};
		like($e->{error}{message} // '', $message, 'message');
		is($e->{error}{code}, $status, 'code is the status') if $c eq 'gemini';
		ok(length(header($r, 'request-id') // ''), 'request-id') if $c eq 'messages';
		unlike($r->{raw_head} . $r->{body}, qr/sk-upstream-secret|or-testkey/, 'no secret');
	};
}

# ---- upstreams: what each says ----

sub sse { return join '', map { ref $_ eq 'ARRAY' ? "event: $_->[0]\ndata: " . $json->encode($_->[1]) . "\n\n" : "data: $_\n\n" } @_ }
sub typed { return map { [$_->{type}, $_] } @_ }

sub message { my (@content) = @_; return { id => 'msg_1', type => 'message', role => 'assistant', model => 'm-up', content => \@content,
	stop_reason => 'end_turn', stop_sequence => undef, usage => { input_tokens => 7, output_tokens => 3 } } }

my %answer = (
	chat => sub { OmniRoute::Upstream::chat_json($_[0]) },
	messages => sub { $json->encode(message({ type => 'text', text => $_[0] })) },
	gemini => sub { $json->encode({ candidates => [{ content => { role => 'model', parts => [{ text => $_[0] }] }, finishReason => 'STOP', index => 0 }],
		usageMetadata => { promptTokenCount => 7, candidatesTokenCount => 3, totalTokenCount => 10 }, modelVersion => 'm-up', responseId => 'r1' }) },
	responses => sub { $json->encode({ id => 'resp_1', object => 'response', created_at => 1700000000, status => 'completed', model => 'm-up', error => undef,
		output => [{ type => 'message', id => 'msg_1', status => 'completed', role => 'assistant',
			content => [{ type => 'output_text', text => $_[0], annotations => [] }] }],
		usage => { input_tokens => 7, input_tokens_details => { cached_tokens => 0 }, output_tokens => 3, output_tokens_details => { reasoning_tokens => 0 },
			total_tokens => 10 } }) },
);

sub messages_start { return { type => 'message_start', message => { %{ message() }, stop_reason => undef, usage => { input_tokens => 7, output_tokens => 1 } } } }
sub messages_delta { return { type => 'content_block_delta', index => 0, delta => { type => 'text_delta', text => $_[0] } } }
sub gemini_chunk { my ($text, %m) = @_; return $json->encode({ candidates => [{ content => { role => 'model', parts => [{ text => $text }] }, index => 0, %m }],
	modelVersion => 'm-up', responseId => 'r1', $m{finishReason} ? (usageMetadata => { promptTokenCount => 7, candidatesTokenCount => 3, totalTokenCount => 10 }) : () }) }

my %stream = (
	chat => sub { OmniRoute::Upstream::chat_sse(@_) },
	messages => sub { sse(typed(messages_start(), { type => 'content_block_start', index => 0, content_block => { type => 'text', text => '' } },
		{ type => 'ping' }, (map { messages_delta($_) } @_), { type => 'content_block_stop', index => 0 },
		{ type => 'message_delta', delta => { stop_reason => 'end_turn', stop_sequence => undef }, usage => { output_tokens => 3 } }, { type => 'message_stop' })) },
	gemini => sub { my @w = @_; my $last = pop @w; sse((map { gemini_chunk($_) } @w), gemini_chunk($last, finishReason => 'STOP')) },
	responses => sub {
		my $n = 0;
		my $whole = $json->decode($answer{responses}->(join '', @_));
		my $item = $whole->{output}[0];
		my $part = $item->{content}[0];
		my %at = (item_id => 'msg_1', output_index => 0, content_index => 0);
		return sse(map { [$_->{type}, { %$_, sequence_number => $n++ }] }
			{ type => 'response.created', response => { %$whole, status => 'in_progress', output => [], usage => undef } },
			{ type => 'response.output_item.added', output_index => 0, item => { %$item, status => 'in_progress', content => [] } },
			{ type => 'response.content_part.added', %at, part => { %$part, text => '' } },
			(map { { type => 'response.output_text.delta', %at, delta => $_ } } @_),
			{ type => 'response.output_text.done', %at, text => join('', @_) },
			{ type => 'response.content_part.done', %at, part => $part },
			{ type => 'response.output_item.done', output_index => 0, item => $item },
			{ type => 'response.completed', response => $whole });
	},
);

# ---- every client at every upstream ----

for my $u (sort keys %up) {
	for my $c (sort keys %client) {
		my $name = "$c at $u";
		$up{$u}->script(reply_json($answer{$u}->('Hello')));
		my $r = ask($c, "u-$u/m", 0);
		my $o = eval { $json->decode($r->{body}) } // {};
		is($r->{status}, 200, "$name: 200") or diag $r->{body};
		is($client{$c}{text}->($o), 'Hello', "$name: text");
		is($client{$c}{finish}->($o), $client{$c}{stop}, "$name: the end");
		is_deeply([$client{$c}{usage}->($o)], [7, 3], "$name: usage");
		is(header($r, 'x-omniroute-tokens-in'), 7, "$name: usage in the head");
		is($r->{body}, $answer{$u}->('Hello'), "$name: byte for byte") if $u eq $c;
		my $seen = $up{$u}->seen;
		my $sent = eval { $json->decode($seen->{body}) } // {};
		is($sent->{model}, 'm', "$name: model upstream") if $u ne 'gemini';
		like($seen->{target}, qr{^/v1/models/m:generateContent$}, "$name: model in the path") if $u eq 'gemini';

		$up{$u}->script(reply_sse($stream{$u}->('Hel', 'lo')));
		$r = ask($c, "u-$u/m", 1);
		is($r->{status}, 200, "$name: stream") or diag $r->{body};
		like(header($r, 'content-type') // '', qr{^text/event-stream}, "$name: events");
		my @faults = $u eq $c ? () : grammar_faults($word{$c}, $r->{body}, @{ $client{$c}{grammar} }); # what passes is as good as its upstream
		is(scalar @faults, 0, "$name: grammar") or diag join("\n", @faults, $r->{body});
		is($client{$c}{delta}->(events($r->{body})), 'Hello', "$name: streamed text");
		is($r->{body}, $stream{$u}->('Hel', 'lo'), "$name: stream byte for byte") if $u eq $c;
	}
}

subtest 'events that nobody asked for' => sub {
	for my $c (qw(messages gemini responses)) {
		$up{$c}->script(reply_sse($stream{$c}->('Hel', 'lo')));
		my $r = ask($c, "u-$c/m", 0);
		is($client{$c}{text}->(eval { $json->decode($r->{body}) } // {}), 'Hello', "$c: put together") or diag $r->{body};
	}
};

subtest 'Gemini without alt=sse is one JSON array' => sub {
	for my $u (qw(gemini chat)) {
		$up{$u}->script(reply_sse($stream{$u}->('Hel', 'lo')));
		my $r = $g->chat($json->encode($client{gemini}{body}->()), path => "/v1beta/models/u-$u/m:streamGenerateContent");
		like(header($r, 'content-type'), qr{^application/json}, "$u: content type");
		my $list = eval { $json->decode($r->{body}) };
		is(ref $list, 'ARRAY', "$u: an array") or diag $r->{body};
		is($client{gemini}{delta}->(@{ $list // [] }), 'Hello', "$u: text");
	}
};

subtest 'a legacy completion' => sub {
	$up{chat}->script(reply_json($answer{chat}->('Hello')));
	my $o = $json->decode($g->chat('{"model":"u-chat/m","prompt":"Say it"}', path => '/v1/completions')->{body});
	is($o->{object}, 'text_completion', 'object');
	is($o->{choices}[0]{text}, 'Hello', 'text');
	is($json->decode($up{chat}->seen->{body})->{messages}[0]{content}, 'Say it', 'asked as a message');
};

subtest 'usage that we ask for does not reach who did not' => sub {
	my $f = start_gateway(conf => "allow_private_provider_urls = true\n", upstreams => { oa => { upstream => $up{chat}, provider => 'openai' } });
	$up{chat}->script(reply_sse($stream{chat}->('Hel', 'lo')));
	my $r = $f->chat(chat_body('oa/gpt-4o', stream => $true));
	is_deeply($json->decode($up{chat}->seen->{body})->{stream_options}, { include_usage => $true }, 'asked for');
	unlike($r->{body}, qr/"usage"/, 'kept');
	is($client{chat}{delta}->(events($r->{body})), 'Hello', 'all else passed');
	$r = $f->chat(chat_body('oa/gpt-4o', stream => $true, stream_options => { include_usage => $true }));
	like($r->{body}, qr/"usage"/, 'given to who asked');
	wait_until(10, sub { @{ $f->ctl('usage')->{records} } == 2 }, 'the records');
	is($_->{tokens_in}, 7, 'on record') for @{ $f->ctl('usage')->{records} };
	$f->stop;
};

subtest 'a legacy completion, streamed' => sub {
	$up{chat}->script(reply_sse($stream{chat}->('Hel', 'lo')));
	my $r = $g->chat('{"model":"u-chat/m","prompt":"Say it","stream":true}', path => '/v1/completions');
	my @e = events($r->{body});
	is(joined(map { map { $_->{text} } @{ $_->{choices} } } @e), 'Hello', 'text') or diag $r->{body};
	is($e[0]{object}, 'text_completion', 'object');
};

# ---- credentials and headers ----

subtest 'credentials and versions upstream' => sub {
	$up{messages}->script(reply_json($answer{messages}->('x')));
	ask('messages', 'u-messages/m', 0, headers => [['anthropic-version', '2023-01-01'], ['anthropic-beta', 'b-1'], ['openai-beta', 'o']]);
	my $s = $up{messages}->seen;
	is(header($s, 'x-api-key'), 'sk-upstream-secret-0001', 'x-api-key');
	is(header($s, 'authorization'), undef, 'and nothing else');
	is(header($s, 'anthropic-version'), '2023-01-01', "the client's version");
	is(header($s, 'anthropic-beta'), 'b-1', 'and betas');
	is(header($s, 'openai-beta'), undef, 'no header of another dialect');
	ask('chat', 'u-messages/m', 0, headers => [['anthropic-beta', 'b-1'], ['openai-beta', 'o']]);
	$s = $up{messages}->seen(2);
	is(header($s, 'anthropic-version'), '2023-06-01', 'a version of ours for a client that has none');
	is(header($s, 'openai-beta'), undef, 'nothing of Chat');
	$up{gemini}->script(reply_json($answer{gemini}->('x')));
	ask('chat', 'u-gemini/m', 0);
	is(header($up{gemini}->seen, 'x-goog-api-key'), 'sk-upstream-secret-0001', 'x-goog-api-key');
};

subtest 'keys as each client sends them' => sub {
	my $k = start_gateway(upstreams => { map { ("u-$_" => { upstream => $up{$_}, dialect => $word{$_} }) } qw(chat) },
		conf => qq(require_api_key = true\nkey "k" {\n\tkey = "$KEY"\n}\naccess_log = "\@DIR\@/access.log"\n));
	$up{chat}->script(reply_json($answer{chat}->('Hello')));
	is(ask('messages', 'u-chat/m', 0, gateway => $k, headers => [['x-api-key', $KEY]])->{status}, 200, 'x-api-key');
	is(ask('gemini', 'u-chat/m', 0, gateway => $k, headers => [['x-goog-api-key', $KEY]])->{status}, 200, 'x-goog-api-key');
	my $path = '/v1beta/models/u-chat/m:generateContent?key=';
	is($k->chat($json->encode($client{gemini}{body}->()), path => "$path$KEY")->{status}, 200, '?key=');
	is_native_error('gemini', $k->chat('{}', path => "${path}or-nope"), 401, qr/key/, 'a wrong ?key=');
	is_native_error($_, ask($_, 'u-chat/m', 0, gateway => $k), 401, qr/Authentication required/, "$_ without a key") for sort keys %client;
	isnt($k->chat($json->encode($client{messages}{body}->('u-chat/m')), path => "/v1/messages?key=$KEY")->{status}, 200, '?key= is for Gemini alone');
	$k->stop;
	my $log = slurp($k->dir . '/access.log') . $k->stderr;
	like($log, qr/generateContent\?key=\*\*\*/, 'logged without it');
	unlike($log, qr/\Q$KEY\E/, 'nowhere');
};

# ---- errors ----

my %upstream_error = (
	chat => sub { $json->encode({ error => { message => $_[0], type => 'their_type', code => 'their_code', param => undef } }) },
	messages => sub { $json->encode({ type => 'error', error => { type => 'api_error', message => $_[0] } }) },
);
for my $u (sort keys %upstream_error) {
	for my $c (sort keys %client) {
		for my $status (401, 404, 429, 500) {
			for my $stream (0, 1) {
				$up{$u}->script(reply_json($upstream_error{$u}->("no luck $status"), status => $status));
				my $r = ask($c, "u-$u/m", $stream);
				is_native_error($c, $r, $r->{status}, qr/no luck $status/, "$c at $u: $status" . ($stream ? ', streamed' : ''));
				ok($status == 500 ? $r->{status} >= 500 : $r->{status} == $status, "$c at $u: $status is $r->{status}");
			}
		}
	}
}

my %cut = (
	chat => [OmniRoute::Upstream::chat_event('{"content":"one"}')],
	messages => [sse(typed(messages_start(), { type => 'content_block_start', index => 0, content_block => { type => 'text', text => '' } }, messages_delta('one')))],
	gemini => [sse(gemini_chunk('one'))],
	responses => [($stream{responses}->('one') =~ /\A(.*?)event: response.output_text.done/s)[0]],
);
for my $u (sort keys %cut) {
	for my $c (sort keys %client) {
		$up{$u}->script(reply_sse($cut{$u}[0]));
		my $r = ask($c, "u-$u/m", 1);
		is($r->{status}, 200, "$c at $u, cut: it had begun");
		my @faults = $u eq $c ? () : grammar_faults($word{$c}, $r->{body}, @{ $client{$c}{grammar} }, failed => 1);
		is(scalar @faults, 0, "$c at $u, cut: it ends in an error") or diag join("\n", @faults, $r->{body});
		like($r->{body}, qr/broke off|ended|cut/i, "$c at $u, cut: which says so");
	}
}

for my $c (sort keys %client) {
	for my $case ([chat => 'data: {"error":{"message":"overloaded now","type":"server_error","code":503}}' . "\n\n"],
		[messages => sse(['error', { type => 'error', error => { type => 'overloaded_error', message => 'overloaded now' } }])]) {
		my ($u, $bytes) = @$case;
		$up{$u}->script(reply_sse($bytes));
		my $r = ask($c, "u-$u/m", 1);
		ok($r->{status} >= 500, "$c at $u: an error in 200 is one: $r->{status}");
		is_native_error($c, $r, $r->{status}, qr/overloaded now/, "$c at $u: error in 200");
	}
}

subtest 'errors of ours, in the dialect of the path' => sub {
	for my $c (sort keys %client) {
		is_native_error($c, ask($c, 'nowhere/m', 0), 404, qr/does not exist/, "$c: unknown model");
		is_native_error($c, ask($c, 'u-chat/m', 0, body => '{"model":'), 400, qr/JSON/, "$c: broken body");
		is_native_error($c, ask($c, 'u-chat/m', 0, body => '[]'), 400, qr/JSON|object/, "$c: no object");
	}
	is_native_error('messages', $g->request(GET => '/v1/messages'), 405, qr/method/, 'messages: 405');
	is_native_error('messages', $g->request(GET => '/v1/messages/nowhere'), 404, qr/Unknown path/, 'messages: 404');
	is_native_error('gemini', $g->request(GET => '/v1beta/nowhere'), 404, qr/Unknown path/, 'gemini: 404');
	is_native_error('gemini', $g->chat('{}', path => '/v1beta/models/u-chat/m:fly'), 404, qr/generateContent/, 'gemini: unknown verb');
	is_native_error('responses', $g->request(GET => '/v1/responses'), 405, qr/method/, 'responses: 405');
	my $small = start_gateway(upstreams => { "u-chat" => $up{chat} }, conf => "max_body_size = 1024\n");
	is_native_error($_, ask($_, 'u-chat/m', 0, gateway => $small, with => { x => 'y' x 2000 }), 413, qr/large/, "$_: 413") for sort keys %client;
	$small->stop;
};

subtest 'the hint when to come again' => sub {
	my $k = start_gateway(upstreams => { 'u-chat' => { upstream => $up{chat} } });
	$up{chat}->script(reply_json($upstream_error{chat}->('slow down'), status => 429, headers => [['Content-Type', 'application/json'], ['Retry-After', '7']]));
	my $r = ask('messages', 'u-chat/m', 0, gateway => $k);
	$k->stop;
	is($r->{status}, 429, 'status');
	is(header($r, 'retry-after'), 7, 'retry-after');
	my $e = $json->decode($r->{body});
	is($e->{error}{type}, 'rate_limit_error', 'type');
	is($e->{request_id}, header($r, 'request-id'), 'one request id in head and body');
};

# ---- aliases, models, tokens ----

subtest 'the same under other paths' => sub {
	$up{chat}->script(reply_json($answer{chat}->('Hello')));
	for my $case ([messages => '/api/v1/messages'], [messages => '/v1/v1/messages'], [responses => '/responses'], [responses => '/codex/responses'],
		[gemini => '/api/v1beta/models/u-chat/m:generateContent'], [gemini => '/v1beta/models/u-chat%2Fm:generateContent'], [chat => '/chat/completions']) {
		my ($c, $path) = @$case;
		my $r = $g->chat($json->encode($client{$c}{body}->('u-chat/m')), path => $path);
		is($client{$c}{text}->(eval { $json->decode($r->{body}) } // {}), 'Hello', $path) or diag $r->{body};
		is(header($r, 'x-omniroute-route-class'), 'CLIENT_API', "$path: class");
	}
};

subtest 'models in three shapes' => sub {
	my $o = $json->decode($g->request(GET => '/v1/models', headers => [['anthropic-version', '2023-06-01']])->{body});
	my ($m) = grep { $_->{id} eq 'echo/echo-1' } @{ $o->{data} };
	is($m->{type}, 'model', 'Anthropic: type');
	like($m->{created_at}, qr/^\d{4}-\d\d-\d\dT/, 'Anthropic: time');
	is($o->{has_more}, $false, 'Anthropic: that is all');
	is($json->decode($g->request(GET => '/v1/models/echo/echo-1', headers => [['anthropic-version', '1']])->{body})->{display_name}, 'echo-1', 'Anthropic: one');
	$o = $json->decode($g->request(GET => '/v1beta/models')->{body});
	($m) = grep { $_->{name} eq 'models/echo/echo-1' } @{ $o->{models} };
	is($m->{inputTokenLimit}, 128000, 'Gemini: limit');
	is($json->decode($g->request(GET => '/v1beta/models/echo/echo-1')->{body})->{outputTokenLimit}, 16384, 'Gemini: one');
	is_native_error('gemini', $g->request(GET => '/v1beta/models/no/such'), 404, qr/not found/, 'Gemini: none');
	is($json->decode($g->request(GET => '/v1/models')->{body})->{object}, 'list', 'OpenAI');
};

subtest 'tokens are counted' => sub {
	my $body = $json->encode({ model => 'u-messages/m', messages => [{ role => 'user', content => 'word ' x 100 }] });
	$up{messages}->script(reply_json('{"input_tokens":123}'));
	is($g->chat($body, path => '/v1/messages/count_tokens')->{body}, '{"input_tokens":123}', 'by the upstream');
	is($up{messages}->seen->{target}, '/v1/messages/count_tokens', 'at its place');
	is($json->decode($up{messages}->seen->{body})->{model}, 'm', 'for its model');
	$up{messages}->script(reply_json($upstream_error{messages}->('no'), status => 401));
	my $o = $json->decode($g->chat($body, path => '/v1/messages/count_tokens')->{body});
	is($o->{source}, 'estimated', 'else an estimate');
	cmp_ok($o->{input_tokens}, '>', 80, 'not too small');
	cmp_ok($o->{input_tokens}, '<', 200, 'nor too large');
	$o = $json->decode($g->chat($body =~ s{u-messages/m}{u-chat/m}r, path => '/v1/messages/count_tokens')->{body});
	is($o->{source}, 'estimated', 'at an upstream that has no counter');
	$o = $json->decode($g->chat($json->encode($client{gemini}{body}->()), path => '/v1beta/models/u-chat/m:countTokens')->{body});
	cmp_ok($o->{totalTokens}, '>', 0, 'Gemini');
	is($o->{promptTokensDetails}[0]{modality}, 'TEXT', 'Gemini: details');
	$o = $json->decode($g->chat('{"model":"u-chat/m","input":"some words"}', path => '/v1/responses/input_tokens')->{body});
	is($o->{object}, 'response.input_tokens', 'Responses');
	is_native_error('messages', $g->chat('{"model":"u-chat/m","messages":7}', path => '/v1/messages/count_tokens'), 400, qr/messages/, 'what is no request');
};

subtest 'compaction goes where it is understood' => sub {
	my $body = '{"model":"u-responses/m","input":"long"}';
	$up{responses}->script(reply_json('{"object":"response.compaction","output":[{"type":"compaction","encrypted_content":"x"}]}'));
	like($g->chat($body, path => '/v1/responses/compact')->{body}, qr/encrypted_content/, 'passed');
	is($up{responses}->seen->{target}, '/v1/responses/compact', 'at its place');
	is_native_error('responses', $g->chat($body =~ s{u-responses/m}{u-chat/m}r, path => '/v1/responses/compact'), 400, qr/method/, 'refused elsewhere');
};

# ---- what a target cannot do ----

subtest 'a parameter that is dropped is named' => sub {
	$up{messages}->script(reply_json($answer{messages}->('x')));
	my $r = ask('chat', 'u-messages/m', 0, with => { logit_bias => { 5 => 1 }, seed => 4 });
	is($r->{status}, 200, 'served') or diag $r->{body};
	like(header($r, 'x-omniroute-dropped') // '', qr/logit_bias/, 'named');
	is(header(ask('chat', 'u-messages/m', 0), 'x-omniroute-dropped'), undef, 'and only then');
};

subtest 'what would change the meaning is refused before anybody is asked' => sub {
	$up{messages}->script(reply_json($answer{messages}->('x')));
	my $r = ask('chat', 'u-messages/m', 0, with => { n => 3 });
	is_native_error('chat', $r, 400, qr/one answer/, 'refused');
	is($json->decode($r->{body})->{error}{param}, 'n', 'with its name');
	is(scalar($up{messages}->log), 0, 'not asked');
};

subtest 'falling back to a connection of another dialect' => sub {
	my $f = start_gateway(upstreams => {
		first => { upstream => $up{chat}, provider => 'local', dialect => 'openai-chat', priority => 1, models => '{"m"}' },
		second => { upstream => $up{messages}, provider => 'local', dialect => 'anthropic-messages', priority => 2 } }, conf => "cooldown_base = 0\n");
	for my $c (sort keys %client) {
		for my $stream (0, 1) {
			$up{chat}->script(reply_json($upstream_error{chat}->('out of order'), status => 503));
			$up{messages}->script($stream ? reply_sse($stream{messages}->('Hel', 'lo')) : reply_json($answer{messages}->('Hello')));
			my $r = ask($c, 'local/m', $stream, gateway => $f);
			is($r->{status}, 200, "$c: served") or diag $r->{body};
			my $text = $stream ? $client{$c}{delta}->(events($r->{body})) : $client{$c}{text}->($json->decode($r->{body}));
			is($text, 'Hello', "$c: by the second" . ($stream ? ', streamed' : ''));
			is(header($r, 'x-omniroute-fallback-attempts'), 1, "$c: it says so");
		}
		$up{chat}->script(reply_sse('data: {"error":{"message":"overloaded","code":529}}' . "\n\n"));
		$up{messages}->script(reply_sse($stream{messages}->('Hel', 'lo')));
		is($client{$c}{delta}->(events(ask($c, 'local/m', 1, gateway => $f)->{body})), 'Hello', "$c: an overload in 200 falls back");
	}
	$f->stop;
};

# ---- signs of life ----

subtest 'signs of life' => sub {
	my $k = start_gateway(upstreams => { map { ("u-$_" => { upstream => $up{$_}, dialect => $word{$_} }) } qw(chat messages) },
		conf => "keepalive_interval = 150\n");
	my %sign = (chat => qr/^: keepalive$/m, messages => qr/^event: ping$/m, responses => qr/response\.in_progress.*response\.in_progress/s, gemini => qr/"text":""/);
	for my $u (qw(chat messages)) {
		for my $c (sort keys %client) {
			my $bytes = $stream{$u}->('Hel', 'lo');
			my $at = index($bytes, $u eq 'chat' ? OmniRoute::Upstream::chat_event('{"content":"lo"}') : 'event: content_block_delta' . "\n" . 'data: {"delta":{"text":"lo"');
			ok($at > 0, 'found the place to pause at');
			$up{$u}->script(reply_sse($bytes, pieces => [$at], delay => 800));
			my $r = ask($c, "u-$u/m", 1, gateway => $k);
			is($client{$c}{delta}->(events($r->{body})), 'Hello', "$c at $u: all of it");
			like($r->{body}, $sign{$c}, "$c at $u: a sign") if !($u eq 'chat' && $c eq 'responses') || 1;
			my @faults = $u eq $c ? () : grammar_faults($word{$c}, $r->{body}, @{ $client{$c}{grammar} });
			is(scalar @faults, 0, "$c at $u: grammar") or diag join("\n", @faults, $r->{body});
		}
	}
	$up{chat}->script(reply_sse($stream{chat}->('Hello'), head_delay => 600));
	my $r = ask('chat', 'u-chat/m', 1, gateway => $k);
	like($r->{body}, qr/^: keepalive\n\n.*Hello/s, 'before the first event, bytes that pass');
	$r = ask('messages', 'u-chat/m', 1, gateway => $k);
	is($client{messages}{delta}->(events($r->{body})), 'Hello', 'before the first event, translated') or diag $r->{body};
	$k->stop;
};

# ---- media ----

my $png = "\x89PNG\r\n\x1a\n" . "\0" x 40;
sub with_image { my ($url) = @_; return { messages => [{ role => 'user', content => [{ type => 'text', text => 'what' }, { type => 'image_url', image_url => { url => $url } }] }] } }

subtest 'media that a target does not take by URL' => sub {
	my $image = OmniRoute::Upstream->start;
	my $url = 'http://127.0.0.1:' . $image->port . '/a.png';
	$image->script({ headers => [['Content-Type', 'image/png']], body64 => OmniRoute::Upstream::b64($png) });
	$up{gemini}->script(reply_json($answer{gemini}->('a picture')));
	my $r = ask('chat', 'u-gemini/m', 0, with => with_image($url));
	is_native_error('chat', $r, 400, qr/not allowed/, 'this machine is not asked');
	is($json->decode($r->{body})->{error}{param}, 'messages[0].content[1]', 'where');
	is(scalar($image->log), 0, 'nobody was there');
	is(scalar($up{gemini}->log), 0, 'nor upstream');
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => with_image("file:///etc/passwd")), 400, qr/./, 'no file');
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => with_image("http://169.254.169.254/latest")), 400, qr/not allowed/, 'no metadata');

	my $p = start_gateway(upstreams => { "u-gemini" => { upstream => $up{gemini}, dialect => 'gemini' } }, conf => "fetch_private = true\n");
	$r = ask('chat', 'u-gemini/m', 0, with => with_image($url), gateway => $p);
	is($r->{status}, 200, 'where it may be fetched') or diag $r->{body};
	my ($part) = grep { $_->{inlineData} } map { @{ $_->{parts} } } @{ $json->decode($up{gemini}->seen->{body})->{contents} };
	is($part->{inlineData}{data}, encode_base64($png, ''), 'its bytes');
	is($part->{inlineData}{mimeType}, 'image/png', 'its type');
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => with_image("http://169.254.169.254/latest"), gateway => $p), 400, qr/not allowed/, 'never metadata');
	$image->script({ status => 302, headers => [['Location', 'http://169.254.169.254/x']] });
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => with_image($url), gateway => $p), 400, qr/not allowed/, 'nor by a redirect');
	$image->script({ status => 302, headers => [['Location', '/again']] });
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => with_image($url), gateway => $p), 400, qr/too often/, 'nor for ever');
	$image->script({ status => 404, body => 'no' });
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => with_image($url), gateway => $p), 400, qr/refused/, 'a picture that is not there');
	$image->script({ bulk => { unit => 'x' x 65536, bytes => 21 << 20 } });
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => with_image($url), gateway => $p), 400, qr/larger than 20 MB/, 'one that is too large');
	$image->script({ headers => [['Content-Type', 'image/png']], bulk => { unit => 'x' x 65536, bytes => 15 << 20 } });
	my $many = with_image($url);
	$many->{messages}[0]{content} = [map { $many->{messages}[0]{content}[1] } 1 .. 8];
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => $many, gateway => $p), 400, qr/larger than 64 MB/, 'or too large together');
	$image->script({ headers => [['Content-Type', 'image/png']], body64 => OmniRoute::Upstream::b64($png) });
	is_native_error('chat', ask('chat', 'u-gemini/m', 0, with => with_image($url =~ s{//}{//user:word@}r), gateway => $p), 400, qr/names a user/, 'no user in it');
	$p->stop;
	$image->stop;
};

# ---- upstreams that no client speaks like ----

sub aws_frame {
	my ($type, $payload, $kind) = @_;
	my %h = (':event-type' => $type, ':content-type' => 'application/json', ':message-type' => $kind // 'event');
	my $headers = join '', map { pack('C/a C n/a', $_, 7, $h{$_}) } sort keys %h;
	my $prelude = pack 'NN', 16 + length($headers) + length($payload), length $headers;
	$prelude .= pack 'N', crc32($prelude);
	my $frame = $prelude . $headers . $payload;
	return $frame . pack 'N', crc32($frame);
}

subtest 'Bedrock, Ollama, Cohere' => sub {
	my $u = OmniRoute::Upstream->start;
	my $base = 'http://127.0.0.1:' . $u->port;
	my $f = start_gateway(conf => "allow_private_provider_urls = true\n", upstreams => {
		aws => { provider => 'bedrock', base_url => $base, key => 'AKIDEXAMPLE:sk-upstream-secret-0002' },
		lama => { provider => 'ollama', base_url => $base, key => undef },
		co => { provider => 'cohere', base_url => $base, key => 'co-key-000000001' } });
	my $usage = '"usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10}';
	my %whole = (
		aws => qq({"output":{"message":{"role":"assistant","content":[{"text":"Hello"}]}},"stopReason":"end_turn",$usage,"metrics":{"latencyMs":1}}),
		lama => '{"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":"Hello"},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3}',
		co => '{"id":"x","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Hello"}]},"usage":{"billed_units":{"input_tokens":7,"output_tokens":3},"tokens":{"input_tokens":7,"output_tokens":3}}}',
	);
	my %streamed = (
		aws => { headers => [['Content-Type', 'application/vnd.amazon.eventstream']], framing => 'chunked', piece => 7, body64 => OmniRoute::Upstream::b64(join '',
			aws_frame('messageStart', '{"role":"assistant"}'), (map { aws_frame('contentBlockDelta', qq({"contentBlockIndex":0,"delta":{"text":"$_"}})) } qw(Hel lo)),
			aws_frame('contentBlockStop', '{"contentBlockIndex":0}'), aws_frame('messageStop', '{"stopReason":"end_turn"}'), aws_frame('metadata', "{$usage,\"metrics\":{}}")) },
		lama => { headers => [['Content-Type', 'application/x-ndjson']], framing => 'chunked', body64 => OmniRoute::Upstream::b64(join '',
			(map { qq({"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":"$_"},"done":false}\n) } qw(Hel lo)),
			'{"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3}' . "\n") },
		co => reply_sse(sse(typed({ type => 'message-start', id => 'x', delta => { message => { role => 'assistant' } } },
			{ type => 'content-start', index => 0, delta => { message => { content => { type => 'text', text => '' } } } },
			(map { { type => 'content-delta', index => 0, delta => { message => { content => { text => $_ } } } } } qw(Hel lo)), { type => 'content-end', index => 0 },
			{ type => 'message-end', delta => { finish_reason => 'COMPLETE', usage => { tokens => { input_tokens => 7, output_tokens => 3 } } } }))),
	);
	my %target = (aws => ['/model/m/converse', '/model/m/converse-stream'], lama => ['/api/chat', '/api/chat'], co => ['/v2/chat', '/v2/chat']);
	for my $p (sort keys %whole) {
		for my $c (sort keys %client) {
			$u->script(reply_json($whole{$p}));
			my $r = ask($c, "$p/m", 0, gateway => $f);
			my $o = eval { $json->decode($r->{body}) } // {};
			is($client{$c}{text}->($o), 'Hello', "$c at $p") or diag $r->{body};
			is_deeply([$client{$c}{usage}->($o)], [7, 3], "$c at $p: usage");
			is($u->seen->{target}, $target{$p}[0], "$c at $p: path");
			$u->script($streamed{$p});
			$r = ask($c, "$p/m", 1, gateway => $f);
			is($client{$c}{delta}->(events($r->{body})), 'Hello', "$c at $p: stream") or diag $r->{body};
			my @faults = grammar_faults($word{$c}, $r->{body}, @{ $client{$c}{grammar} });
			is(scalar @faults, 0, "$c at $p: grammar") or diag join("\n", @faults, $r->{body});
			is($u->seen->{target}, $target{$p}[1], "$c at $p: path of a stream");
		}
		my $s = $u->seen;
		like(header($s, 'authorization') // '', qr{^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/us-east-1/bedrock/aws4_request, SignedHeaders=}, 'signed') if $p eq 'aws';
		is(header($s, 'authorization'), undef, 'no key') if $p eq 'lama';
	}
	$u->script({ status => 403, headers => [['Content-Type', 'application/json'], ['x-amzn-ErrorType', 'ThrottlingException']], body => '{"message":"slow down"}' });
	like(ask('messages', 'aws/m', 0, gateway => $f)->{body}, qr/slow down/, 'its errors');
	$f->stop;
	$u->stop;
};

# ---- clients that leave, clients that are slow ----

subtest 'a client that leaves is accounted for' => sub {
	my $f = start_gateway(upstreams => { map { ("u-$_" => { upstream => $up{$_}, dialect => $word{$_} }) } qw(chat messages) });
	my $n = 0;
	for my $c (qw(messages chat gemini)) {
		my $bytes = $stream{messages}->('some words', 'more');
		my $at = index $bytes, 'event: content_block_stop';
		$up{messages}->script(reply_sse($bytes, pieces => [$at], delay => 20000));
		my $h = OmniRoute::Http->connect($f->port, timeout => 20);
		$h->write(OmniRoute::Http::build(POST => $client{$c}{path}->('u-messages/m', 1), body => $json->encode($client{$c}{body}->('u-messages/m', 1))));
		wait_until(10, sub { $h->fill(1); $h->{in} =~ /more/ }, "$c: what it reads");
		$h->close;
		ok($up{messages}->wait_for(sub { $_[0]{gone_at} }), "$c: the upstream is left");
		my $row;
		wait_until(10, sub { my $u = $f->ctl('usage'); @{ $u->{records} } == $n + 1 && ($row = $u->{records}[0]) }, 'the record');
		$n++;
		ok($row->{aborted}, "$c: aborted");
		is($row->{tokens_in}, 7, "$c: the prompt, from the beginning of the stream");
		cmp_ok($row->{tokens_out}, '>', 0, "$c: what was said");
	}
	$f->stop;
};

subtest 'a slow client pauses an upstream of another dialect' => sub {
	my $f = start_gateway(upstreams => { 'u-chat' => { upstream => $up{chat} } }, conf => "stream_buffer = 16384\n");
	my $unit = OmniRoute::Upstream::chat_event('{"content":"' . 'x' x 900 . '"}');
	$up{chat}->script({ headers => [['Content-Type', 'text/event-stream']], framing => 'chunked',
		bulk => { unit => $unit, bytes => 64 << 20 }, tail => OmniRoute::Upstream::chat_event('{}', 'stop') . "data: [DONE]\n\n" });
	my $h = OmniRoute::Http->connect($f->port, timeout => 20);
	$h->write(OmniRoute::Http::build(POST => '/v1/messages', body => $json->encode($client{messages}{body}->('u-chat/m', 1))));
	wait_until(10, sub { $h->fill(1); $h->{in} =~ /content_block_delta/ }, 'a beginning');
	wait_until(10, sub { $f->counter('pauses_total') > 0 }, 'a pause');
	cmp_ok($up{chat}->seen->{sent}, '<', 32 << 20, 'the upstream waits');
	$h->close;
	$f->stop;
};

# ---- the built-in provider, and what is written down ----

subtest 'echo speaks to all' => sub {
	for my $c (sort keys %client) {
		my $r = ask($c, 'echo/echo-1', 0);
		is($client{$c}{text}->(eval { $json->decode($r->{body}) } // {}), 'Hi', "$c: whole") or diag $r->{body};
		$r = ask($c, 'echo/echo-1', 1);
		is($client{$c}{delta}->(events($r->{body})), 'Hi', "$c: streamed") or diag $r->{body};
	}
};

subtest 'usage records name the dialect' => sub {
	my %label = (chat => 'openai-chat', messages => 'messages', responses => 'responses', gemini => 'gemini');
	my $f = start_gateway(upstreams => { "u-messages" => { upstream => $up{messages}, dialect => 'anthropic-messages' } });
	my $body = $json->encode({ %{ message({ type => 'text', text => 'x' }) },
		usage => { input_tokens => 7, output_tokens => 3, cache_read_input_tokens => 20, cache_creation_input_tokens => 5 } });
	$up{messages}->script(reply_json($body));
	ask($_, 'u-messages/m', 0, gateway => $f) for sort keys %client;
	my $list;
	wait_until(10, sub { $list = $f->ctl('usage'); @{ $list->{usage} // $list->{records} // [] } == 4 }, 'four records');
	my @rows = @{ $list->{usage} // $list->{records} };
	is_deeply([sort map { $_->{dialect} } @rows], [sort values %label], 'dialects');
	for my $row (@rows) {
		is($row->{tokens_in}, 32, "$row->{dialect}: the whole prompt");
		is($row->{tokens_cached}, 20, "$row->{dialect}: cached");
		is($row->{tokens_out}, 3, "$row->{dialect}: out");
	}
	$f->stop;
};

finish();
