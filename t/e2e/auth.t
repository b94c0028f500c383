#!/usr/bin/perl
# Who is served: a key that is presented must be valid, whatever else is configured; without one only local listeners serve.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use OmniRoute::Util;
use Test::More;

my $up = OmniRoute::Upstream->start;
my $answer = OmniRoute::Upstream::chat_json('Hello');
my $body = chat_body('up/m');
my $wrong = 'or-wrongkeywrongkeywrongkeywrongkeywrongk000002';
my $any;    # port of a second listener: on every address, so not a local one
my $listen = qq(listen "127.0.0.1:\@PORT\@" {}\nlisten "*:\@PORT2\@" {}\nlisten "unix:\@DIR\@/sock" {}\n);
my $keys = qq(key "laptop" { key = "$KEY" }\nkey "admin" { key = "or-adminadminadminadminadminadminadmin000003" scopes = {"manage"} }\n);

sub gateway {
	my (%opt) = @_;
	my $g = start_gateway(upstreams => { up => $up }, listen => $listen, conf => $keys . ($opt{conf} // ''), workers => $opt{workers},
		env => $opt{env} // {});
	$any = $g->port2;
	return $g;
}

sub ask {
	my ($to, @headers) = @_;
	return OmniRoute::Http::request($to, POST => '/v1/chat/completions', headers => \@headers, body => $body);
}

my $refused = { type => 'authentication_error', code => 'invalid_api_key' };
my @good = (['Authorization', "Bearer $KEY"], ['authorization', "bearer   $KEY"], ['X-Api-Key', $KEY], ['x-goog-api-key', $KEY]);
my @bad = (['Authorization', "Bearer $wrong"], ['Authorization', "Bearer " . substr($KEY, 0, -1)], ['Authorization', "Bearer ${KEY}0"],
	['Authorization', 'Basic b3ItdGVzdDp4'], ['Authorization', $KEY], ['x-api-key', $wrong], ['x-goog-api-key', 'x'], ['Authorization', 'Bearer x']);

for my $case (['auto', '', 1, 0], ['true', "require_api_key = true\n", 0, 0], ['false', "require_api_key = false\n", 1, 1]) {
	my ($name, $conf, $local_open, $any_open) = @$case;
	subtest "require_api_key $name" => sub {
		my $g = gateway(conf => $conf);
		my @listeners = (['loopback', $g->port, $local_open], ['Unix', $g->dir . '/sock', $local_open], ['any address', $any, $any_open]);
		for my $l (@listeners) {
			my ($what, $to, $open) = @$l;
			$up->script(OmniRoute::Upstream::reply_json($answer));
			my $r = ask($to);
			$open ? is($r->{status}, 200, "$what: without a key")
			    : is_error($r, 401, %$refused, message => qr/\S/, name => "$what: without a key");
			is(ask($to, $_)->{status}, 200, "$what: $_->[0] with a good key") for @good;
			is(ask($to, ['Authorization', 'Bearer '])->{status}, $open ? 200 : 401, "$what: an empty key is none");
			$up->script(OmniRoute::Upstream::reply_json($answer));
			is_error(ask($to, $_), 401, %$refused, name => "$what: $_->[0]: " . substr($_->[1], 0, 14)) for @bad;
			is_error(ask($to, $good[0], ['x-api-key', $wrong]), 401, %$refused, name => "$what: a good and a bad one");
			is_error(ask($to, $good[2], ['x-api-key', $wrong]), 401, %$refused, name => "$what: one of two in the same header");
			is_error(ask($to, ['Authorization', ''], ['authorization', "Bearer $wrong"]), 401, %$refused, name => "$what: behind an empty one");
			for my $unknown ([GET => '/v1/none'], [DELETE => '/v1/models'], [GET => '/api/none'], [GET => '/none'], [GET => '/metrics']) {
				my $r = OmniRoute::Http::request($to, @$unknown, headers => [['x-api-key', $wrong]]);
				is_error($r, 401, %$refused, name => "$what: a wrong key at @$unknown");
			}
			is_error(OmniRoute::Http::request($to, GET => '/v1/none'), 404, code => 'unknown_url', name => "$what: an unknown path");
			is_error(OmniRoute::Http::request($to, GET => '/v1/none', headers => [$good[2]]), 404, name => "$what: with a key");
			is_error(OmniRoute::Http::request($to, DELETE => '/v1/models'), 405, code => 'method_not_allowed', name => "$what: an unknown method");
			is(OmniRoute::Http::request($to, OPTIONS => '/v1/chat/completions')->{status}, 204, "$what: OPTIONS takes no key");
			is(scalar($up->log), 0, "$what: nothing went upstream");
			is(OmniRoute::Http::request($to, GET => '/healthz', headers => [['x-api-key', $wrong]])->{status}, 200, "$what: /healthz is open");
		}
		is(ask($any, ['X-Forwarded-For', '127.0.0.1'])->{status}, $any_open ? 200 : 401, 'a header makes nobody local');
		$g->stop;
	};
}

subtest 'the environment stands above the file' => sub {
	my $g = gateway(conf => "require_api_key = false\n", env => { REQUIRE_API_KEY => 'true' });
	is_error(ask($g->port), 401, %$refused);
	$g->stop;
};

subtest 'scopes' => sub {
	my $g = gateway();
	my $admin = ['Authorization', 'Bearer or-adminadminadminadminadminadminadmin000003'];
	is_error(ask($any, $admin), 403, type => 'permission_error', name => 'a management key does not chat');
	is($g->request(GET => '/metrics')->{status}, 200, 'metrics to a local peer');
	is($g->request(GET => '/metrics', headers => [$admin])->{status}, 200, 'with the management key');
	is_error($g->request(GET => '/metrics', headers => [['x-api-key', $wrong]]), 401, %$refused, name => 'with a wrong key');
	$g->stop;
};

subtest 'behind a proxy that nobody named' => sub {
	my $g = gateway(conf => '');
	$up->script(OmniRoute::Upstream::reply_json($answer));
	for my $field (['X-Forwarded-For', '203.0.113.5'], ['X-Forwarded-For', '127.0.0.1'], ['X-Real-IP', '127.0.0.1'],
		['Forwarded', 'for=127.0.0.1']) {
		is_error(ask($g->port, $field), 401, %$refused, name => "its clients are not local: @$field");
		is(OmniRoute::Http::request($g->port, GET => '/metrics', headers => [$field])->{status}, 401, 'nor for metrics');
		is(ask($g->port, $field, $good[0])->{status}, 200, 'a key does');
	}
	is(ask($g->port)->{status}, 200, 'who speaks for himself is');
	$g->stop;
};

subtest 'behind a trusted proxy' => sub {
	my $g = gateway(conf => qq(trusted_proxies = {"127.0.0.1/32"}\n));
	my @far = ['X-Forwarded-For', '203.0.113.5'];
	$up->script(OmniRoute::Upstream::reply_json($answer));
	is_error(ask($g->port, @far), 401, %$refused, name => 'a client from outside needs a key');
	is(ask($g->port, @far, $good[0])->{status}, 200, 'and is served with one');
	is_error(ask($g->port, ['X-Forwarded-For', '127.0.0.1, 203.0.113.5']), 401, %$refused, name => 'it cannot put an address in front');
	is(OmniRoute::Http::request($g->port, GET => '/metrics', headers => \@far)->{status}, 401, 'no metrics for it');
	is_error(ask($g->port, ['X-Forwarded-For', 'nonsense']), 401, %$refused, name => 'what is not an address is not local');
	$g->stop;
};

subtest 'one path, one answer' => sub {
	my $g = gateway(conf => "require_api_key = true\n");
	$up->script(OmniRoute::Upstream::reply_json($answer));
	no warnings 'qw';
	for my $path (qw(//v1/chat/completions /v1//chat/completions /v1/./chat/completions /v1/x/../chat/completions /V1/chat/completions
		/v1/CHAT/completions /v1/%63hat/completions /v1/chat%2fcompletions /v1/chat%2Fcompletions /v1/chat/completions/ /v1/chat/completions%00
		/v1/chat/completions%20 /v1/chat/completions;x /healthz/../v1/chat/completions /v1/models/../chat/completions /%76%31/chat/completions
		/v1/chat/completions?/healthz /v1/chat/completions#/healthz http://127.0.0.1/v1/chat/completions /api/v1/chat/completions
		/v1/%2e%2e/v1/chat/completions /v1/chat\\completions * v1/chat/completions /chat/completions /v1/v1/chat/completions)) {
		my $r = OmniRoute::Http::request($g->port, POST => $path, body => $body);
		cmp_ok($r->{status}, '>=', 300, "$path: $r->{status}");
		unlike($r->{body}, qr/chatcmpl/, 'no answer');
	}
	is(scalar($up->log), 0, 'nothing went upstream');
	$g->stop;
};

subtest 'before the body is read' => sub {
	my $g = gateway(conf => "require_api_key = true\n");
	for my $case ([[]], [[['x-api-key', $wrong]]], [[['x-api-key', $wrong], ['Expect', '100-continue']]]) {
		my $c = $g->connect;
		$c->write(OmniRoute::Http::build(POST => '/v1/chat/completions', bare => 1,
			headers => [['Host', 'x'], ['Content-Length', 50 << 20], @{ $case->[0] }]));
		my $r = $c->response(timeout => 5, keep_100 => 1);
		is_error($r, 401, %$refused, name => 'refused without a byte of the body');
		is(lc(OmniRoute::Http::header($r, 'connection') // ''), 'close', 'and the connection ends');
		$c->close;
	}
	my $before = $g->counter('denied_total');
	cmp_ok($before, '>=', 3, 'counted');
	$g->stop;
};

subtest 'a key is made and taken back' => sub {
	my $g = gateway(workers => 4);
	$up->script(OmniRoute::Upstream::reply_json($answer));
	for my $round (1 .. 3) {
		my $made = $g->ctl('keys', 'add', "phone$round");
		my ($key) = JSON::PP->new->canonical->encode($made) =~ /"(or-[A-Za-z0-9_-]{20,})"/;
		ok($key, 'a key');
		my @status = map { ask($any, ['x-api-key', $key])->{status} } 1 .. 40;
		is(scalar(grep { $_ != 200 } @status), 0, 'in force on all workers at once');
		$g->ctl('keys', 'remove', "phone$round");
		@status = map { ask($any, ['x-api-key', $key])->{status} } 1 .. 40;
		is(scalar(grep { $_ != 401 } @status), 0, 'and gone on all at once');
		unlike(JSON::PP->new->encode(scalar $g->ctl('keys', 'list')), qr/\Q$key\E/, 'never shown again');
		unlike($g->stderr, qr/\Q$key\E/, 'nor logged');
	}
	my $c = OmniRoute::Http->connect($any);
	my ($key) = JSON::PP->new->encode(scalar $g->ctl('keys', 'add', 'tablet')) =~ /"(or-[A-Za-z0-9_-]{20,})"/;
	my $req = OmniRoute::Http::build(POST => '/v1/chat/completions', body => $body, headers => [['x-api-key', $key]]);
	$c->write($req);
	is($c->response->{status}, 200, 'over an open connection');
	$g->ctl('keys', 'remove', 'tablet');
	$c->write($req);
	is($c->response->{status}, 401, 'the next request is refused');
	$c->close;
	$g->stop;
};

$up->stop;
finish();
