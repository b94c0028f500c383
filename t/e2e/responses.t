#!/usr/bin/perl
# What the Responses API keeps between two requests: GET and DELETE of a response, previous_response_id and item_reference at
# upstreams of every dialect, for the key that it was made with and for nobody else, across workers, restarts and deaths.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use OmniRoute::Grammar;
use OmniRoute::Util qw(wait_until);
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my %up = map { $_ => OmniRoute::Upstream->start } qw(chat messages native other);
my %word = (chat => 'openai-chat', messages => 'anthropic-messages', native => 'openai-responses', other => 'openai-responses');
my $conf = "cooldown_base = 0\n";
my $g = start_gateway(
	upstreams => { map { ("u-$_" => { upstream => $up{$_}, dialect => $word{$_} }) } keys %up },
	workers => 3, conf => $conf,
);

sub post {
	my ($body, %opt) = @_;
	return $g->request('POST', '/v1/responses', body => $json->encode($body),
		headers => [$opt{key} ? [Authorization => "Bearer $opt{key}"] : ()]);
}

sub get {
	my ($id, %opt) = @_;
	return $g->request($opt{method} // 'GET', "/v1/responses/$id" . ($opt{query} // ''),
		headers => [$opt{key} ? [Authorization => "Bearer $opt{key}"] : ()]);
}

sub is_refused {
	my ($r, $status, $message, $param, $code, $what) = @_;
	is($r->{status}, $status, "$what: status") or diag $r->{body};
	my $e = (eval { $json->decode($r->{body}) } // {})->{error};
	is($e->{message}, $message, "$what: message");
	is($e->{type}, 'invalid_request_error', "$what: type");
	is($e->{param}, $param, "$what: param");
	is($e->{code}, $code, "$what: code");
}

# [role, text] of each turn that the upstream was sent.
sub said {
	return [map { my $m = $_; [$m->{role}, join '', map { $_->{text} } ref $m->{content} ? @{ $m->{content} } : { text => $m->{content} }] }
		@{ sent($_[0])->{messages} }];
}
sub events { return map { $json->decode($_->[1]) } grep { defined $_->[1] } OmniRoute::Grammar::sse_events($_[0]) }
sub chat_says { $up{chat}->script(OmniRoute::Upstream::reply_json(OmniRoute::Upstream::chat_json($_[0]))) }
sub sent { return $json->decode(($up{ $_[0] }->log)[-1]{body}) }

my $native_id = 'resp_' . 'a1' x 24;
sub native_answer {
	my ($id, $text) = @_;
	return { id => $id, object => 'response', created_at => 1700000000, status => 'completed', model => 'm', error => undef,
		incomplete_details => undef, output => [{ id => 'msg_' . substr($id, 5), type => 'message', status => 'completed', role => 'assistant',
			content => [{ type => 'output_text', text => $text, annotations => [] }] }],
		usage => { input_tokens => 3, output_tokens => 2, total_tokens => 5, input_tokens_details => { cached_tokens => 0 },
			output_tokens_details => { reasoning_tokens => 0 } } };
}

my $first;
subtest 'GET and DELETE' => sub {
	chat_says('One.');
	my $r = post({ model => 'u-chat/m', input => 'Say one', instructions => 'Be short' });
	is($r->{status}, 200, 'made') or diag $r->{body};
	$first = $json->decode($r->{body});
	my $got = get($first->{id});
	is($got->{status}, 200, 'found at once, on whichever worker') or diag $got->{body};
	is($got->{body}, $r->{body}, 'the same, to the byte');
	is(get($first->{id}, method => 'HEAD')->{status}, 200, 'HEAD');

	chat_says('Gone.');
	my $second = $json->decode(post({ model => 'u-chat/m', input => 'x' })->{body});
	my $d = get($second->{id}, method => 'DELETE');
	is($d->{status}, 200, 'deleted') or diag $d->{body};
	is_deeply($json->decode($d->{body}), { id => $second->{id}, object => 'response', deleted => $true }, 'as it is told');
	is(get($second->{id})->{status}, 404, 'gone');
	is(get($second->{id}, method => 'DELETE')->{status}, 404, 'twice');
	my $e = $json->decode(get($second->{id})->{body})->{error};
	is($e->{message}, "Response with id '$second->{id}' not found.", 'why');
	is($e->{code}, 'response_not_found', 'its code');
	is(get('resp_nothing')->{status}, 404, 'one that never was');
	is(get('a/b')->{status}, 404, 'no such path');
	is($g->request('POST', "/v1/responses/$first->{id}", body => '{}')->{status}, 405, 'POST is not taken there');
};

subtest 'previous_response_id at a Chat upstream' => sub {
	chat_says('Two.');
	my $r = post({ model => 'u-chat/m', input => [{ role => 'user', content => 'And two' }], previous_response_id => $first->{id} });
	is($r->{status}, 200, 'answered') or diag $r->{body};
	is_deeply(said('chat'),
		[[user => 'Say one'], [assistant => 'One.'], [user => 'And two']], 'the history in order, without the old instructions');
	my $second = $json->decode($r->{body});
	is($second->{previous_response_id}, $first->{id}, 'the answer names it');

	$up{messages}->script(OmniRoute::Upstream::reply_json({ id => 'msg_1', type => 'message', role => 'assistant', model => 'm',
		stop_reason => 'end_turn', stop_sequence => undef, content => [{ type => 'text', text => 'Three.' }],
		usage => { input_tokens => 5, output_tokens => 2 } }));
	$r = post({ model => 'u-messages/m', input => 'And three', previous_response_id => $second->{id} });
	is($r->{status}, 200, 'the third at a Messages upstream') or diag $r->{body};
	is_deeply(said('messages'),
		[[user => 'Say one'], [assistant => 'One.'], [user => 'And two'], [assistant => 'Two.'], [user => 'And three']],
		'the whole chain');

	# To a Responses upstream that has not made it: all items, and no reference that it could not know.
	$up{native}->script(OmniRoute::Upstream::reply_json(native_answer($native_id, 'Native.')));
	$r = post({ model => 'u-native/m', input => 'And four', previous_response_id => $second->{id} });
	is($r->{status}, 200, 'at a Responses upstream that has not made it') or diag $r->{body};
	my $sent = sent('native');
	ok(!defined $sent->{previous_response_id}, 'no reference is sent');
	is(scalar @{ $sent->{input} }, 5, 'all items are') or diag $json->encode($sent);
};

subtest 'tool calls of a stream' => sub {
	$up{chat}->script(OmniRoute::Upstream::reply_sse(
		qq(data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":"{\\"x\\":1}"}}]},"finish_reason":null}]}\n\n)
		. qq(data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n)));
	my $tools = [{ type => 'function', name => 'look', parameters => { type => 'object', properties => { x => { type => 'integer' } } } }];
	my $r = post({ model => 'u-chat/m', input => 'Look', stream => $true, tools => $tools });
	my ($last) = map { $_->{type} eq 'response.completed' ? $_->{response} : () } events($r->{body});
	ok($last, 'the stream is complete') or diag $r->{body};
	my ($call) = grep { $_->{type} eq 'function_call' } @{ $last->{output} };
	is_deeply($json->decode(get($last->{id})->{body}), $last, 'a streamed answer is stored as its last event shows it');

	chat_says('Seen.');
	$r = post({ model => 'u-chat/m', tools => $tools, previous_response_id => $last->{id},
		input => [{ type => 'function_call_output', call_id => $call->{call_id}, output => '42' }] });
	is($r->{status}, 200, 'the result finds its call') or diag $r->{body};
	my @m = @{ sent('chat')->{messages} };
	is_deeply([map { $_->{role} } @m], [qw(user assistant tool)], 'turns');
	is($m[1]{tool_calls}[0]{function}{name}, 'look', 'the call');
	is($m[2]{tool_call_id}, $m[1]{tool_calls}[0]{id}, 'its result');

	chat_says('Seen again.');
	$r = post({ model => 'u-chat/m', tools => $tools, input => [{ role => 'user', content => 'Look' },
		{ type => 'item_reference', id => $call->{id} }, { type => 'function_call_output', call_id => $call->{call_id}, output => '43' }] });
	is($r->{status}, 200, 'item_reference') or diag $r->{body};
	@m = @{ sent('chat')->{messages} };
	is_deeply([map { $_->{role} } @m], [qw(user assistant tool)], 'turns by reference');
	is($m[1]{tool_calls}[0]{function}{arguments}, '{"x":1}', 'the call by reference');

	my $replay = get($last->{id}, query => '?stream=true');
	is($replay->{status}, 200, 'replayed');
	like(OmniRoute::Http::header($replay, 'content-type'), qr{^text/event-stream}, 'as events');
	is(join("\n", OmniRoute::Grammar::grammar_faults('openai-responses', $replay->{body})), '', 'in the grammar of the dialect');
	my @all = events($replay->{body});
	is_deeply($all[-1]{response}, $last, 'its last event is the answer');
	my $rest = get($last->{id}, query => '?stream=true&starting_after=2');
	my @rest = events($rest->{body});
	is_deeply(\@rest, [grep { $_->{sequence_number} > 2 } @all], 'only what comes behind a number');
	cmp_ok(scalar @rest, '<', scalar @all, 'which is less');
};

subtest 'the upstream that made it' => sub {
	my $made = 'resp_' . 'd4' x 24;
	$up{native}->script(OmniRoute::Upstream::reply_json(native_answer($made, 'Native.')));
	my $r = post({ model => 'u-native/m', input => 'Hello' });
	is($r->{status}, 200, 'made by a Responses upstream') or diag $r->{body};
	my $next = 'resp_' . 'b2' x 24;
	$up{native}->script(OmniRoute::Upstream::reply_json(native_answer($next, 'Again.')));
	my $body = $json->encode({ model => 'u-native/m', input => 'Go on', previous_response_id => $made });
	$r = $g->request('POST', '/v1/responses', body => $body);
	is($r->{status}, 200, 'goes on there');
	is(($up{native}->log)[-1]{body}, $body =~ s{u-native/m}{m}r, 'and is asked byte for byte, with the reference');

	chat_says('Elsewhere.');
	$r = post({ model => 'u-chat/m', input => 'And here', previous_response_id => $next });
	is($r->{status}, 200, 'goes on elsewhere') or diag $r->{body};
	is_deeply(said('chat'),
		[[user => 'Hello'], [assistant => 'Native.'], [user => 'Go on'], [assistant => 'Again.'], [user => 'And here']], 'with all of it');

	my $strange = 'resp_' . 'c3' x 24;
	$up{native}->script({ status => 400, headers => [['Content-Type', 'application/json']],
		body64 => OmniRoute::Upstream::b64($json->encode({ error => { message => 'theirs', type => 'invalid_request_error', param => 'previous_response_id', code => 'previous_response_not_found' } })) });
	$body = $json->encode({ model => 'u-native/m', input => 'x', previous_response_id => $strange });
	$r = $g->request('POST', '/v1/responses', body => $body);
	is_refused($r, 400, 'theirs', 'previous_response_id', 'previous_response_not_found', 'one that only the upstream may know');
	is(($up{native}->log)[-1]{body}, $body =~ s{u-native/m}{m}r, 'which was asked for it');
};

subtest 'what is not there' => sub {
	my $before = () = $up{chat}->log;
	is_refused(post({ model => 'u-chat/m', input => 'x', previous_response_id => 'resp_unknown' }), 400,
		"Previous response with id 'resp_unknown' not found.", 'previous_response_id', 'previous_response_not_found', 'previous_response_id');
	is(post({ model => 'u-chat/m', input => 'x', previous_response_id => $_->[0] })->{status}, 400, $_->[1])
	    for ['r' x 5000, 'an id of any length'], [7, 'a number'], [{}, 'an object'], ["resp_\x{0}x", 'with a NUL'];
	my $r = post({ model => 'u-chat/m', input => [{ type => 'item_reference', id => 'fc_unknown' }] });
	is($r->{status}, 400, 'item_reference');
	is($json->decode($r->{body})->{error}{message}, "Item with id 'fc_unknown' not found.", 'and why');
	$r = post({ model => 'u-chat/m', input => 'x', conversation => 'conv_1' });
	is($r->{status}, 400, 'conversation');
	is(scalar(() = $up{chat}->log), $before, 'no upstream is asked');

	chat_says('Secret.');
	my $o = $json->decode(post({ model => 'u-chat/m', input => 'x', store => $false })->{body});
	is(get($o->{id})->{status}, 404, 'store:false is not stored');
	is_refused(post({ model => 'u-chat/m', input => 'x', previous_response_id => $o->{id} }), 400,
		"Previous response with id '$o->{id}' not found.", 'previous_response_id', 'previous_response_not_found', 'nor found');
};

subtest 'one key does not see what another has made' => sub {
	my %key = map { $_ => ($g->ctl('keys', 'add', $_))[1]{key}{key} } qw(ann bob);
	chat_says("Ann's.");
	my $o = $json->decode(post({ model => 'u-chat/m', input => 'x' }, key => $key{ann})->{body});
	is(get($o->{id}, key => $key{ann})->{status}, 200, 'hers');
	is(get($o->{id}, key => $key{bob})->{status}, 404, 'not his');
	is(get($o->{id})->{status}, 404, 'nor of those without a key');
	is(get($o->{id}, key => $key{bob}, method => 'DELETE')->{status}, 404, 'nor to be deleted');
	is(post({ model => 'u-chat/m', input => 'x', previous_response_id => $o->{id} }, key => $key{bob})->{status}, 400, 'nor to go on with');
	is_deeply([map { $_->{id} } map { @{ $_->{output} } } $json->decode(get($o->{id}, key => $key{ann})->{body})],
		[map { $_->{id} } @{ $o->{output} }], 'still hers');
};

subtest 'deaths' => sub {
	my @made;
	for my $i (1 .. 6) {
		chat_says("Number $i.");
		push @made, $json->decode(post({ model => 'u-chat/m', input => "n $i" })->{body});
	}
	# Answered, and perhaps not on disk: what a worker has handed over lives on when it dies.
	my @workers = $g->workers;
	$g->expect_errors(qr/ended by signal 9/);
	kill KILL => @workers;
	wait_until(20, sub { my %old = map { $_ => 1 } @workers; my @now = grep { !$old{$_} } $g->workers; @now == 3 }, 'new workers');
	wait_until(20, sub { ($g->request('GET', '/readyz')->{status} // 0) == 200 }, 'ready');
	for my $i (1 .. 6) {
		is(get($made[ $i - 1 ]{id})->{status}, 200, "response $i after the workers' death");
	}
	cmp_ok($g->counter('responses_handed_total'), '>=', 6, 'counted');
	wait_until(10, sub { my ($h, $k, $l) = map { $g->counter("responses_${_}_total") } qw(handed kept lost); $h == $k + $l }, 'all is settled');

	# On disk: told as kept.
	$g->kill_now;
	$g->restart;
	is($json->decode(get($made[5]{id})->{body})->{output}[0]{content}[0]{text}, 'Number 6.', 'after the death of the master');
	is(get($first->{id})->{status}, 200, 'the first, too');
	chat_says('Still.');
	is(post({ model => 'u-chat/m', input => 'x', previous_response_id => $made[5]{id} })->{status}, 200, 'and goes on');
};

# A master that does nothing holds nobody up; what was handed over is stored when it wakes.
subtest 'a master that hangs' => sub {
	my $h = start_gateway(upstreams => { u => { upstream => $up{chat} } }, workers => 2);
	chat_says('Kept later.');
	my $ask = sub { $json->decode($h->request('POST', '/v1/responses', body => $json->encode({ model => 'u/m', input => 'x' }))->{body})->{id} };
	my $warm = $ask->();
	wait_until(10, sub { $h->counter('responses_kept_total') == 1 }, 'the first is kept');
	$h->signal('STOP');
	my @ids = map { $ask->() } 1 .. 40;
	is(scalar(grep { defined } @ids), 40, 'answers come all the same');
	is($h->request('GET', "/v1/responses/$warm")->{status}, 200, 'what is stored is found');
	is($h->counter('responses_kept_total'), 1, 'nothing more is kept yet');
	$h->signal('CONT');
	wait_until(10, sub { $h->counter('responses_kept_total') + $h->counter('responses_lost_total') == 41 }, 'all is settled');
	is($h->counter('responses_lost_total'), 0, 'nothing is lost');
	is(scalar(grep { $h->request('GET', "/v1/responses/$_")->{status} == 200 } @ids), 40, 'all are there');
};

subtest 'workers of another user' => sub {
	plan skip_all => 'needs root' if $> != 0 || !defined getpwnam('nobody');
	my $h = start_gateway(upstreams => { u => { upstream => $up{chat} } }, workers => 2, conf => qq(user = "nobody"\n));
	chat_says("Nobody's.");
	my $o = $json->decode($h->request('POST', '/v1/responses', body => $json->encode({ model => 'u/m', input => 'x' }))->{body});
	is($h->request('GET', "/v1/responses/$o->{id}")->{status}, 200, 'they read what the master has stored');
	is((stat $h->data . '/cache/data.mdb')[2] & 0777, 0640, 'and cannot write it');
};

# A cache that cannot be had: the gateway serves, and says why nothing is found.
subtest 'no cache' => sub {
	my $h = start_gateway(upstreams => { u => { upstream => $up{chat} } }, workers => 1);
	chat_says('One.');
	my $o = $json->decode($h->request('POST', '/v1/responses', body => $json->encode({ model => 'u/m', input => 'x' }))->{body});
	wait_until(10, sub { $h->counter('responses_kept_total') == 1 }, 'kept');
	$h->kill_now;
	OmniRoute::Util::spew($h->data . '/cache/data.mdb', 'x' x 8192);
	$h->expect_errors(qr/cache|responses cannot be stored/);
	$h->restart;
	is($h->request('GET', "/v1/responses/$o->{id}")->{status}, 404, 'nothing is found');
	my $r = $h->request('POST', '/v1/responses', body => $json->encode({ model => 'u/m', input => 'x' }));
	is($r->{status}, 200, 'answers come');
	wait_until(10, sub { $h->counter('responses_lost_total') == 1 }, 'and are counted as lost');
};

subtest 'expiry' => sub {
	my $h = start_gateway(upstreams => { u => { upstream => $up{chat} } }, workers => 2, conf => "response_store_ttl = 2000\n");
	chat_says('Short.');
	my $o = $json->decode($h->request('POST', '/v1/responses', body => $json->encode({ model => 'u/m', input => 'x' }))->{body});
	is($h->request('GET', "/v1/responses/$o->{id}")->{status}, 200, 'there');
	wait_until(10, sub { $h->request('GET', "/v1/responses/$o->{id}")->{status} == 404 }, 'it expires');
	my $off = start_gateway(upstreams => { u => { upstream => $up{chat} } }, conf => "response_store_ttl = 0\n");
	chat_says('Never.');
	$o = $json->decode($off->request('POST', '/v1/responses', body => $json->encode({ model => 'u/m', input => 'x' }))->{body});
	is($off->request('GET', "/v1/responses/$o->{id}")->{status}, 404, 'off: not there');
	is($off->counter('responses_handed_total'), 0, 'off: not handed over');
};

finish();
