#!/usr/bin/perl
# The operator's program against a running gateway: what a command answered is in force, secrets stay inside, every failure has
# its exit code and its sentence.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IO::Socket::UNIX;
use JSON::PP;
use POSIX ();
use Socket qw(SOCK_STREAM);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use OmniRoute::Util qw(build_dir slurp spew run wait_until free_port);
use Test::More;

my %exit = slurp(dirname(abs_path(__FILE__)) . '/../../master/ctl/exit.def') =~ /^X\((\w+), (\d+),/mg;
is_deeply([sort keys %exit], [qw(DENIED EXISTS FAILED NOT_FOUND NOT_RUNNING OK USAGE)], 'the exit codes this test knows');

my $secret = 'sk-live-SECRETSECRET0001';
my $up = OmniRoute::Upstream->start;
my $g = start_gateway(upstreams => { filed => $up }, workers => 4);
my $answer = OmniRoute::Upstream::chat_json('Hello');
my $ctl = build_dir() . '/omniroute-ctl';

sub text {    # without --json
	my (@args) = @_;
	return run([$ctl, @args], clean => 1, env => $g->env);
}

sub fails {
	my ($code, $why, @args) = @_;
	my ($got, $o, $err) = $g->ctl(@args);
	my @words = grep { !ref } @args;
	is($got, $exit{$code}, "@words: exit code");
	is($o->{error}{code}, lc $code, "@words: code in JSON");
	like($err, $why, "@words: sentence");
	like($o->{error}{message}, $why, "@words: sentence in JSON");
	unlike($err . encode_json($o), qr/SECRET/, "@words: no secret");
}

sub rpc {     # lines out, all lines until the end of file in
	my (@lines) = @_;
	my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $g->data . '/control.sock') or die "control.sock: $!";
	print $s @lines;
	$s->flush;
	shutdown $s, 1;
	local $SIG{ALRM} = sub { die "no end of file\n" };
	alarm 20;
	my @got = map { decode_json($_) } <$s>;
	alarm 0;
	return @got;
}

subtest 'status' => sub {
	my $s = wait_until(10, sub { my $now = $g->ctl('status'); !(grep { $_->{state} ne 'ready' } @{ $now->{workers} }) && $now },
		'all workers');
	is($s->{pid}, $g->pid, 'pid');
	is($s->{state}, 'running', 'state');
	is(scalar @{ $s->{workers} }, 4, 'workers');
	is($_->{state}, 'ready', "worker $_->{slot}") for @{ $s->{workers} };
	is($_->{snapshot}, $s->{snapshot}, "worker $_->{slot} has the snapshot") for @{ $s->{workers} };
	is_deeply([map { $_->{name} } @{ $s->{listeners} }], ['127.0.0.1:' . $g->port], 'listeners');
	is_deeply([map { "$_->{name} $_->{source} $_->{state}" } @{ $s->{connections} }], ['filed file ready'], 'connections');
	my $t = text('status');
	is($t->{code}, 0, 'as text');
	like($t->{out}, qr/^OmniRoute \S+  running, pid \d+, up \S+/, 'head');
	is(scalar(grep { length > 80 && !/^(data|config) / } split /\n/, $t->{out}), 0, '80 columns');
};

subtest 'a connection is in force on all workers when the command returns' => sub {
	my ($code, $o) = $g->ctl('connections', 'add', 'local', '--name', 'mine', '--base-url', $up->base_url, '--models', 'm1,m2',
		'--key-stdin', { in => "$secret\n" });
	is($code, 0, 'added');
	is($o->{in_force}{workers}, 4, 'all four');
	is($o->{in_force}{late}, 0, 'none late');
	is($o->{connection}{has_key}, JSON::PP::true, 'it has a key');
	unlike(encode_json($o), qr/SECRET/, 'which is not shown');
	$up->script(map { OmniRoute::Upstream::reply_json($answer) } 1);
	is($g->chat(chat_body('mine/m1'))->{status}, 200, "request $_") for 1 .. 12;
	my @heads = map { $_->{raw_head} } $up->log;
	is(scalar(grep { /^Authorization: Bearer \Q$secret\E\r$/mi } @heads), 12, 'with the key');
	like(encode_json($g->ctl('models')), qr{"mine/m2"}, 'its models are listed');
	like($g->request(GET => '/v1/models')->{body}, qr{"mine/m2"}, 'to clients too');

	is($g->ctl('connections', 'disable', 'mine')->{connection}{state}, 'disabled', 'disabled');
	isnt($g->chat(chat_body('mine/m1'))->{status}, 200, "not used, request $_") for 1 .. 8;
	is($g->ctl('connections', 'enable', substr $o->{connection}{id}, 0, 8)->{connection}{state}, 'ready', 'enabled, by a part of its id');
	is($g->chat(chat_body('mine/m1'))->{status}, 200, "used, request $_") for 1 .. 8;
	is($g->ctl('connections', 'update', 'mine', '--name', 'ours', '--priority', 7)->{connection}{priority}, 7, 'changed');
	is($g->chat(chat_body('ours/m1'))->{status}, 200, 'under its new name');
	is($g->ctl('connections', 'remove', 'ours')->{name}, 'ours', 'removed');
	isnt($g->chat(chat_body('ours/m1'))->{status}, 200, "gone, request $_") for 1 .. 8;
};

subtest 'a key is in force on all workers when the command returns' => sub {
	my $k = $g->ctl('keys', 'add', 'laptop', '--rpm', 100, '--expires', '30d')->{key};
	like($k->{key}, qr/^or-[\w-]{40,}$/, 'shown once');
	is($g->request(GET => '/v1/models', headers => [['Authorization', "Bearer $k->{key}"]])->{status}, 200, "request $_") for 1 .. 12;
	my ($row) = @{ $g->ctl('keys', 'list')->{keys} };
	is("$row->{name} $row->{rpm} @{ $row->{scopes} }", 'laptop 100 chat', 'in the list');
	is($row->{prefix}, substr($k->{key}, 0, 12), 'by its first characters');
	unlike(encode_json($row), qr/\Q@{[ substr $k->{key}, 13 ]}\E/, 'without the rest');
	my $piped = text('keys', 'add', 'piped');
	like($piped->{out}, qr/^or-[\w-]+\n\z/, 'alone on standard output');
	$g->ctl('keys', 'remove', 'laptop');
	is($g->request(GET => '/v1/models', headers => [['Authorization', "Bearer $k->{key}"]])->{status}, 401, "refused, request $_") for 1 .. 12;
};

subtest 'test of a connection' => sub {
	$g->ctl('connections', 'add', 'local', '--name', 'probe', '--base-url', $up->base_url, '--key-env', 'K', { env => { K => $secret } });
	$up->script(OmniRoute::Upstream::reply_json('{"data":[{"id":"a"},{"id":"b"}]}', times => 1));
	my ($code, $o) = $g->ctl('connections', 'test', 'probe');
	is($code, 0, 'valid: exit code');
	is("$o->{status} $o->{models}", '200 2', 'valid: status and models');
	is($up->seen->{target}, '/v1/models', 'what was asked');
	for my $case ([401, 'status_auth', 0], [503, 'status_5xx', 0], [302, 'redirect', 0], [404, 'none', 1]) {
		my ($status, $failure, $valid) = @$case;
		$up->script(OmniRoute::Upstream::reply_json(qq({"error":"$secret"}), status => $status, times => 1));
		my ($rc, $r, $err) = $g->ctl('connections', 'test', 'probe');
		is($rc, $valid ? 0 : $exit{FAILED}, "$status: exit code");
		is("$r->{status} $r->{failure}", "$status $failure", "$status: outcome");
		unlike(encode_json($r) . $err, qr/SECRET/, "$status: an upstream that echoes the key");
	}
	my $dead = free_port();
	($code, $o) = $g->ctl('connections', 'add', 'local', '--name', 'dead', '--base-url', "http://127.0.0.1:$dead/v1", '--test');
	is($code, $exit{FAILED}, 'added and tested: exit code');
	is($o->{test}{failure}, 'connect', 'added and tested: outcome');
	is($o->{connection}{name}, 'dead', 'it is added all the same');
};

subtest 'exit codes and sentences' => sub {
	fails(USAGE => qr/did you mean connections\?/, 'conections', 'list');
	fails(USAGE => qr/did you mean list\?/, 'connections', 'lst');
	fails(USAGE => qr/did you mean --rpm\?/, 'keys', 'add', 'x', '--rpn', '3');
	fails(USAGE => qr/--key-stdin, --key-file FILE or --key-env/, 'connections', 'add', 'openai', "--key=$secret");
	fails(USAGE => qr/openai needs a key/, 'connections', 'add', 'openai');
	fails(USAGE => qr/no such variable/, 'connections', 'add', 'openai', '--key-env', 'NOPE');
	fails(USAGE => qr/standard input holds no key/, 'connections', 'add', 'openai', '--key-stdin', { in => "\n" });
	fails(USAGE => qr/scope "root" is not known: chat, manage/, 'keys', 'add', 'x', '--scope', 'root');
	fails(USAGE => qr/not a span such as/, 'quit', '--timeout', 'soon');
	fails(USAGE => qr/up to and including/, 'connections', 'add', 'openai-compatible', '--name', 'x');
	fails(USAGE => qr/needs an argument: CONNECTION/, 'connections', 'show');
	fails(NOT_FOUND => qr/there is no connection "nobody"/, 'connections', 'show', 'nobody');
	fails(NOT_FOUND => qr/did you mean openai\?/, 'connections', 'add', 'opanai');
	fails(NOT_FOUND => qr/there is no key "nobody"/, 'keys', 'remove', 'nobody');
	fails(DENIED => qr/\Q$g->{conf_file}\E/, 'connections', 'remove', 'filed');
	fails(DENIED => qr/link-local and metadata addresses never/, 'connections', 'add', 'local', '--name', 'x', '--base-url',
		'http://169.254.169.254/v1');
	fails(DENIED => qr/allow_private_provider_urls/, 'connections', 'add', '--name', 'x', '--base-url', 'http://127.0.0.1/v1');
	fails(EXISTS => qr/there is a connection "dead" already/, 'connections', 'add', 'local', '--name', 'dead', '--base-url', $up->base_url);
	fails(EXISTS => qr/that of the provider groq/, 'connections', 'add', 'openai', '--name', 'groq', '--key-stdin', { in => $secret });
	fails(NOT_RUNNING => qr/not running on this data directory/, '--data-dir', $g->dir . '/none', 'status');
};

subtest 'help on every level' => sub {
	my $all = text('--help');
	is($all->{code}, 0, 'exit code');
	like($all->{out}, qr/^  $_  /m, "exit code $_ in the help") for values %exit;
	for my $r ($all, text('connections', '--help'), run([build_dir() . '/omniroute', '--help'], clean => 1, env => $g->env)) {
		is(join("\n", grep { length > 80 } split /\n/, $r->{out}), '', '80 columns');
	}
	my @commands = $all->{out} =~ /^  ([a-z]+(?: [a-z]+)?)(?: \[?[A-Z]+\]?)? {2}/mg;
	cmp_ok(scalar @commands, '>=', 20, 'commands');
	for my $c (@commands) {
		my $one = text(split(/ /, $c), '--help');
		is($one->{code}, 0, "$c --help");
		is(join("\n", grep { length > 80 } split /\n/, $one->{out}), '', "$c --help: 80 columns");
		like($one->{out}, qr/^Usage: omniroute-ctl \[OPTIONS\] \Q$c\E/, "$c: usage");
	}
};

subtest 'the protocol' => sub {
	my @r = rpc("nonsense\n", qq({"jsonrpc":"2.0","id":1,"method":"nope"}\n), qq({"jsonrpc":"2.0","id":2,"method":"version"}\n),
		qq({"jsonrpc":"2.0","id":3,"method":"key.create","params":{"name":"x","rpmm":1}}\n),
		qq({"jsonrpc":"2.0","id":4,"method":"key.create","params":{"name":7}}\n),
		qq({"jsonrpc":"2.0","id":5,"method":"key.create"}\n));
	is(scalar @r, 6, 'every line has its answer, in order');
	is($r[0]{error}{code}, -32700, 'no JSON');
	is($r[1]{error}{code}, -32601, 'no such method');
	is($r[2]{result}{pid}, $g->pid, 'the next request is served');
	like($r[3]{error}{message}, qr/no parameter "rpmm"; allowed: name, rpm, scopes, expires_at/, 'unknown parameter');
	like($r[4]{error}{message}, qr/name must be a string/, 'type');
	like($r[5]{error}{message}, qr/needs the parameter name/, 'required');
	is((stat $g->data . '/control.sock')[2] & 07777, 0600, 'mode of the socket');
	my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $g->data . '/control.sock') or die "control.sock: $!";
	my ($n, $line) = (3000, qq({"jsonrpc":"2.0","id":1,"method":"version","params":{}} ) . ' ' x 600 . "\n");
	my $writer = fork // die "fork: $!";
	if (!$writer) {
		print $s $line x $n;
		$s->flush;
		POSIX::_exit(0);
	}
	my $got = 0;
	local $SIG{ALRM} = sub { die "$got of $n answers\n" };
	alarm 60;
	while ($got < $n && defined(my $answer = <$s>)) {
		last if $answer !~ /"result"/;
		$got++;
	}
	alarm 0;
	close $s;
	waitpid $writer, 0;
	is($got, $n, 'more requests at once than one line may be long');
	my %methods = map { $_->{name} => $_ } @{ $g->ctl('methods')->{methods} };
	ok($methods{$_}, "method $_") for qw(connection.create connection.test key.create status upgrade usage.total);
};

subtest 'usage' => sub {
	$g->chat(chat_body('echo/echo-1'));
	my $u;
	wait_until(10, sub { $u = $g->ctl('usage', '--limit', 1); ($u->{records}[0]{model_asked} // '') eq 'echo/echo-1' }, 'the record');
	is("$u->{records}[0]{status} $u->{records}[0]{provider}", '200 echo', 'newest first');
	my ($t) = grep { $_->{provider} eq 'echo' } @{ $g->ctl('usage', '--total', '--since', '2d')->{totals} };
	cmp_ok($t->{requests}, '>=', 1, 'totals');
};

subtest 'secrets' => sub {
	unlike($g->stderr . $g->stdout, qr/SECRET/, 'not in the logs');
	like($g->stderr, qr/control: connection.create mine by uid=\d+ pid=\d+: done/, 'the audit line');
	like($g->stderr, qr/control: connection.remove|control: connection.delete/, 'of a removal too');
};

subtest 'reload, reopen and stop wait for the outcome' => sub {
	cmp_ok($g->ctl('reload')->{in_force}{workers}, '>=', 4, 'reload');
	my $good = slurp($g->{conf_file});
	spew($g->{conf_file}, $good . "workerz = 3\n");
	my ($code, undef, $err) = $g->ctl('reload');
	is($code, $exit{FAILED}, 'a bad file: exit code');
	like($err, qr/\Q$g->{conf_file}\E.*workerz/s, 'a bad file: file and option');
	$g->expect_errors(qr/workerz/);
	spew($g->{conf_file}, $good);
	is($g->ctl('reopen')->{pid}, $g->pid, 'reopen');
	my $before = $g->ctl('connections', 'list');
	is($g->ctl('stop')->{pid}, $g->pid, 'stop');
	is($g->ended(0), 0, 'the master is gone when stop returns');
	fails(NOT_RUNNING => qr/not running/, 'quit');
	$g->restart;
	is_deeply([map { "$_->{id} $_->{name} $_->{slot}" } @{ $g->ctl('connections', 'list')->{connections} }],
		[map { "$_->{id} $_->{name} $_->{slot}" } @{ $before->{connections} }], 'what was answered is still there');
	is($g->ctl('quit')->{pid}, $g->pid, 'quit');
	is($g->ended(0), 0, 'the master is gone when quit returns');
};

$up->stop;
finish();
