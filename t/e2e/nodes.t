#!/usr/bin/perl
# Servers of one's own, added while the gateway runs: by base URL and dialect, in force on every worker when the command returns.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use OmniRoute::Util qw(build_dir run slurp spew);
use Test::More;

my %exit = slurp(dirname(abs_path(__FILE__)) . '/../../master/ctl/exit.def') =~ /^X\((\w+), (\d+),/mg;
my %up = map { $_ => OmniRoute::Upstream->start } qw(chat messages filed);
my $g = start_gateway(upstreams => { filed => $up{filed} }, workers => 4, conf => "allow_private_provider_urls = true\n");
my $secret = 'sk-node-SECRET-0001';
spew($g->data . '/node.key', "$secret\n");

sub text {
	my (@args) = @_;
	return run([build_dir() . '/omniroute-ctl', @args], clean => 1, env => $g->env);
}

sub fails {
	my ($code, $why, @args) = @_;
	my ($got, $o, $err) = $g->ctl(@args);
	is($got, $exit{$code}, "@args: exit code");
	is($o->{error}{code}, lc $code, "@args: code");
	like($err, $why, "@args: sentence");
	unlike($err . encode_json($o), qr/SECRET/, "@args: no secret");
}

my $message = { id => 'msg_1', type => 'message', role => 'assistant', model => 'm', stop_reason => 'end_turn', stop_sequence => undef,
	content => [{ type => 'text', text => 'from Messages' }], usage => { input_tokens => 5, output_tokens => 2 } };

# Each request over a connection of its own: the kernel spreads them over the workers.
sub ask {
	my ($model) = @_;
	return $g->request('POST', '/v1/chat/completions',
		body => encode_json({ model => $model, messages => [{ role => 'user', content => 'Hi' }] }));
}

subtest 'a Messages node and a Chat node' => sub {
	my ($code, $o) = $g->ctl('nodes', 'add', 'lab', '--dialect', 'anthropic-messages', '--base-url', $up{messages}->base_url,
		'--key-file', $g->data . '/node.key');
	is($code, 0, 'a Messages node is added');
	is($o->{connection}{dialect}, 'anthropic-messages', 'its dialect');
	is($o->{connection}{node}, JSON::PP::true, 'it is a node');
	is($o->{in_force}{late}, 0, 'no worker is late');
	($code, $o) = $g->ctl('nodes', 'add', 'plain', '--base-url', $up{chat}->base_url, '--no-key');
	is($code, 0, 'a Chat node is added');
	is($o->{connection}{dialect}, 'openai-chat', 'which is what a node speaks when nothing is said');

	for my $i (1 .. 16) {
		$up{messages}->script(OmniRoute::Upstream::reply_json($message));
		my $r = ask('lab/m');
		is($r->{status}, 200, "Messages, request $i") or diag $r->{body};
		is(decode_json($r->{body})->{choices}[0]{message}{content}, 'from Messages', "Messages, answer $i");
		$up{chat}->script(OmniRoute::Upstream::reply_json(OmniRoute::Upstream::chat_json('from Chat')));
		is(decode_json(ask('plain/m')->{body})->{choices}[0]{message}{content}, 'from Chat', "Chat, answer $i");
	}
	my $asked = ($up{messages}->log)[-1];
	is($asked->{target}, '/v1/messages', 'path of the dialect');
	is(OmniRoute::Http::header($asked, 'x-api-key'), $secret, 'its key, as the dialect wants it');
	ok(OmniRoute::Http::header($asked, 'anthropic-version'), 'its version');
	$asked = ($up{chat}->log)[-1];
	is($asked->{target}, '/v1/chat/completions', 'path of Chat');
	is(OmniRoute::Http::header($asked, 'authorization'), undef, 'no key, none sent');
};

subtest 'list and remove' => sub {
	my ($code, $o) = $g->ctl('nodes', 'list');
	is($code, 0, 'list');
	my %node = map { $_->{name} => $_ } @{ $o->{nodes} };
	is($node{lab}{dialect}, 'anthropic-messages', 'lab');
	is($node{plain}{dialect}, 'openai-chat', 'plain');
	like(text('nodes', 'list')->{out}, qr/^\S+\s+lab\s.*anthropic-messages/m, 'as a table');
	unlike(text('nodes', 'list')->{out}, qr/SECRET/, 'without its key');
	like(text('connections', 'show', 'lab')->{out}, qr/^dialect\s+anthropic-messages$/m, 'connections show');

	is(($g->ctl('nodes', 'remove', 'lab'))[0], 0, 'remove');
	my $before = () = $up{messages}->log;
	is(ask('lab/m')->{status}, 404, 'it is gone for the next request') for 1 .. 8;
	is(scalar(() = $up{messages}->log), $before, 'and is not asked');
	fails(NOT_FOUND => qr/no connection/, 'nodes', 'remove', 'lab');
};

subtest 'what is refused' => sub {
	my $url = $up{chat}->base_url;
	fails(USAGE => qr/--base-url/, 'nodes', 'add', 'x');
	fails(USAGE => qr/"telepathy" is not known; allowed: openai-chat openai-responses anthropic-messages/,
		'nodes', 'add', 'x', '--dialect', 'telepathy', '--base-url', $url);
	fails(EXISTS => qr/taken|plain/, 'nodes', 'add', 'plain', '--base-url', $url);
	fails(EXISTS => qr/that of a provider/, 'nodes', 'add', 'openai', '--base-url', $url);
	fails(USAGE => qr/not allowed/, 'nodes', 'add', 'a/b', '--base-url', $url);
	fails(USAGE => qr/base_url is not valid/, 'nodes', 'add', 'x', '--base-url', 'ftp://example.com');
	is(($g->ctl('connections', 'add', 'openai', '--key-file', $g->data . '/node.key'))[0], 0, 'a connection to a provider');
	fails(NOT_FOUND => qr/is no node/, 'nodes', 'remove', 'openai');
	my ($code, $o) = $g->ctl('connections', 'list');
	is(scalar(grep { $_->{name} eq 'openai' } @{ $o->{connections} }), 1, 'it is still there');
};

finish();
