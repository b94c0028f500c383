#!/usr/bin/perl
# TLS and Unix listeners, TLS and HTTP/2 upstreams. The certificates are in t/data/tls.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use JSON::PP;
use OmniRoute;
use OmniRoute::Util qw(spawn free_port reap);
use Test::More;
use Time::HiRes qw(time);

my $tls = "$OmniRoute::Util::root/t/data/tls";
my $answer = OmniRoute::Upstream::chat_json('Hello');
my $stream = OmniRoute::Upstream::chat_sse('Hel', 'lo');
my $event = OmniRoute::Upstream::chat_event('{"content":"x"}');
my $plain = OmniRoute::Upstream->start;
my $asked = chat_body('up/m', stream => JSON::PP::true);
sub reply_json { return OmniRoute::Upstream::reply_json(@_) }
sub reply_sse { return OmniRoute::Upstream::reply_sse(@_) }

# curl over TLS: {code, out, err}
sub curl {
	my ($port, $path, @args) = @_;
	return run(['curl', '-sS', '--max-time', 20, '--cacert', "$tls/ca.pem", @args, "https://localhost:$port$path"]);
}

subtest 'a TLS listener' => sub {
	my $g = start_gateway(upstreams => { up => $plain }, workers => 2, ready => '@DIR@/sock', listen => <<"EOC");
listen "127.0.0.1:\@PORT\@" { tls = true certificate = "$tls/server.pem" private_key = "$tls/server.key" }
listen "unix:\@DIR\@/sock" {}
EOC
	my $port = $g->port;
	$plain->script(reply_json($answer));
	my @json = ('-H', 'Content-Type: application/json', '--data-binary');
	my $r = curl($port, '/v1/chat/completions', @json, chat_body('up/m'));
	is($r->{code}, 0, 'the certificate is good') or diag $r->{err};
	is($r->{out}, $answer, 'an answer');
	$plain->script(reply_sse($stream, piece => 9));
	is(curl($port, '/v1/chat/completions', '-N', @json, $asked)->{out}, $stream, 'a stream');
	my $big = chat_body('up/m', pad => 'x' x (3 << 20));
	my $file = $g->dir . '/big';
	spew($file, $big);
	$plain->script(reply_json($answer));
	is(curl($port, '/v1/chat/completions', @json, "\@$file")->{out}, $answer, 'a big body');
	is($plain->seen->{body_len}, length($big) - 3, 'is whole');
	$plain->script(reply_sse($event, bulk => { unit => $event, bytes => 8 << 20 }, tail => "data: [DONE]\n\n"));
	my $out = curl($port, '/v1/chat/completions', '-N', @json, $asked)->{out};
	like($out, qr/data: \[DONE\]\n\n\z/, 'a long stream comes to its end');
	is(($out =~ tr/\n//) % 2, 0, 'in whole events');
	cmp_ok(length $out, '>', 8 << 20, 'and has its length');
	is(curl($port, '/healthz', '--tls-max', '1.2', '-o', '/dev/null', '-w', '%{http_code} %{ssl_verify_result}')->{out}, '200 0', 'TLS 1.2');
	isnt(curl($port, '/healthz', '--tls-max', '1.1')->{code}, 0, 'not TLS 1.1');
	is(curl($port, '/healthz', '-o', '/dev/null', '-w', '%{http_version}')->{out}, '1.1', 'HTTP/1.1');

	my $c = $g->connect;
	$c->write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
	my $said = $c->drain(5);
	ok(defined $said && $said !~ /200 OK/, 'plain HTTP is not served there');
	$c->close;
	is(OmniRoute::Http::request($g->dir . '/sock', GET => '/readyz')->{status}, 200, 'the Unix listener');
	$plain->script(reply_json($answer));
	is(OmniRoute::Http::request($g->dir . '/sock', POST => '/v1/chat/completions', body => chat_body('up/m'))->{body}, $answer, 'serves without a key');
	my $mode = (stat $g->dir . '/sock')[2] & 0777;
	is($mode & 07, 0, sprintf 'mode %o: not for everybody', $mode);

	# a client that leaves
	$plain->script(reply_sse($event, end => 'hang', unended => JSON::PP::true));
	my $pid = spawn(['curl', '-sS', '-N', '--cacert', "$tls/ca.pem", '-d', $asked, "https://localhost:$port/v1/chat/completions"],
		out => File::Temp->new, err => File::Temp->new);
	$plain->wait_for(sub { $_[0]{state} eq 'hang' });
	my $left = time * 1000;
	kill KILL => $pid;
	reap($pid, 5);
	my $rec = $plain->wait_for(sub { $_[0]{state} eq 'gone' });
	cmp_ok($rec->{gone_at} - $left, '<', 100, 'its upstream is cancelled within 100 ms');
	wait_until(5, sub {
		OmniRoute::Http::request($g->dir . '/sock', GET => '/metrics')->{body} =~ /^omniroute_in_flight\{[^}]*\} [1-9]/m ? 0 : 1;
	}, 'nothing in flight');
	$g->stop;
	ok(!-e $g->dir . '/sock', 'the socket is gone');
};

subtest 'certificates that cannot be used' => sub {
	my $bad = start_gateway(dies => 1, listen => qq(listen "127.0.0.1:\@PORT\@" { tls = true certificate = "$tls/ca.pem" private_key = "$tls/server.key" }\n));
	my $status = $bad->ended(10);
	is($status, 1 << 8, 'it does not start');
	like($bad->stderr, qr/ca\.pem|server\.key/, 'and says which');
	my $none = start_gateway(dies => 1, listen => qq(listen "127.0.0.1:\@PORT\@" { tls = true certificate = "/nowhere.pem" private_key = "$tls/server.key" }\n));
	is($none->ended(10), 1 << 8, 'nor without one');
	like($none->stderr, qr{/nowhere\.pem}, 'and says so');
};

subtest 'a TLS upstream' => sub {
	my $up = OmniRoute::Upstream->start(tls => 1);
	my $g = start_gateway(upstreams => { up => $up }, conf => qq(upstream_ca_file = "$tls/ca.pem"\ncooldown_base = 0\nidle_timeout = 500\n));
	$up->script(reply_json($answer));
	my $r = $g->chat(chat_body('up/m'));
	is($r->{status}, 200, 'trusted') or diag $r->{body};
	is($r->{body}, $answer, 'an answer');
	$up->script(reply_sse($stream, piece => 3));
	is($g->chat($asked)->{body}, $stream, 'a stream');
	$up->script(reply_sse($event, unended => JSON::PP::true, end => 'fin'));
	$r = $g->chat($asked);
	like($r->{body}, qr/^\Q$event\Edata: \{"error":/, 'cut: an error event');
	$up->script(reply_sse($stream, framing => 'close', end => 'close'));
	is($g->chat($asked)->{body}, $stream, 'until the close');
	$up->script(reply_json(substr($answer, 0, 90), framing => 'close', end => 'fin'));
	is_error($g->chat(chat_body('up/m')), 502, message => qr/broke off|Invalid JSON/, name => 'cut without close_notify');
	$up->script(reply_sse($event, end => 'hang', unended => JSON::PP::true));
	my $c = $g->connect;
	$c->write(OmniRoute::Http::build(POST => '/v1/chat/completions', body => $asked));
	$c->fill(5);
	my $left = time * 1000;
	$c->close;
	cmp_ok($up->wait_for(sub { $_[0]{state} eq 'gone' })->{gone_at} - $left, '<', 100, 'cancelled within 100 ms');
	$g->stop;

	my $strict = start_gateway(upstreams => { up => $up, lax => { upstream => $up, insecure => 'true' },
		named => { base_url => 'https://127.0.0.2:' . $up->port . '/v1' } }, conf => "cooldown_base = 0\n");
	$up->script(reply_json($answer));
	is_error($strict->chat(chat_body('up/m')), 502, message => qr/TLS handshake with the upstream failed/, name => 'not trusted');
	is($strict->chat(chat_body('lax/m'))->{status}, 200, 'insecure: not verified');
	is(scalar($up->log), 1, 'nothing was sent to the untrusted one');
	$strict->stop;
	$up->stop;
};

subtest 'plain where TLS is expected' => sub {
	my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp', Listen => 5);
	my $pid = fork // die;
	if ($pid == 0) {
		while (my $c = $l->accept) {
			syswrite $c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
		}
		POSIX::_exit(0);
	}
	my $g = start_gateway(upstreams => { up => { base_url => 'https://127.0.0.1:' . $l->sockport . '/v1' } }, conf => "cooldown_base = 0\n");
	is_error($g->chat(chat_body('up/m')), 502, message => qr/TLS handshake/);
	$g->stop;
	kill KILL => $pid;
	waitpid $pid, 0;
};

# HTTP/2 upstreams: nginx speaks it to us and passes on to the upstream.
SKIP: {
	my ($nginx) = grep { -x } '/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx';
	skip 'nginx is not installed', 1 unless $nginx;
	subtest 'an HTTP/2 upstream' => sub {
		my $tmp = File::Temp->newdir('omniroute-h2.XXXXXX', TMPDIR => 1);
		my $port = free_port();
		my $to = $plain->port;
		spew("$tmp/nginx.conf", <<"EOC");
daemon off; master_process off; pid $tmp/pid; error_log $tmp/error.log;
events { worker_connections 1024; }
http {
	log_format proto '\$server_protocol \$status \$connection'; access_log $tmp/access.log proto;
	client_body_temp_path $tmp/a; proxy_temp_path $tmp/b; fastcgi_temp_path $tmp/c; uwsgi_temp_path $tmp/d; scgi_temp_path $tmp/e;
	server {
		listen 127.0.0.1:$port ssl http2; ssl_certificate $tls/server.pem; ssl_certificate_key $tls/server.key;
		client_max_body_size 50m;
		location / { proxy_pass http://127.0.0.1:$to; proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off; }
	}
}
EOC
		my $log = File::Temp->new;
		my $pid = spawn([$nginx, '-c', "$tmp/nginx.conf", '-e', "$tmp/error.log"], out => $log, err => $log);
		wait_until(10, sub { eval { OmniRoute::Http->connect($port)->close; 1 } }, 'nginx');
		my $g = start_gateway(upstreams => { up => { base_url => "https://localhost:$port/v1" } },
			conf => qq(upstream_http2 = true\nupstream_ca_file = "$tls/ca.pem"\ncooldown_base = 0\n));
		$plain->script(reply_json($answer));
		my $r = $g->chat(chat_body('up/m'));
		is($r->{body}, $answer, 'an answer') or diag $r->{status}, slurp("$tmp/error.log");
		my $big = chat_body('up/m', pad => 'x' x (3 << 20));
		is($g->chat($big)->{status}, 200, 'a big body');
		is(($plain->log)[-1]{body_len}, length($big) - 3, 'is whole');
		$plain->script(reply_sse($stream, piece => 40, delay => 20));
		my @c = map { $g->connect } 1 .. 10;
		$_->write(OmniRoute::Http::build(POST => '/v1/chat/completions', body => $asked)) for @c;
		is($_->response->{body}, $stream, 'streams side by side') for @c;
		for my $n (1, 3) {
			$plain->script(reply_sse($event, end => 'hang', unended => JSON::PP::true));
			my @s = map { $g->connect } 1 .. $n;
			for my $s (@s) {
				$s->write(OmniRoute::Http::build(POST => '/v1/chat/completions', body => $asked));
				$s->fill(5);
			}
			my $left = time * 1000;
			$s[0]->close;
			my $gone = eval { wait_until(3, sub { (grep { $_ > $left - 1 } map { $_->{gone_at} } $plain->log)[0] }, 'the cancel') } // $left + 9999;
			cmp_ok($gone - $left, '<', 100, 'cancelled within 100 ms, ' . ($n == 1 ? 'alone' : 'beside other streams'));
			$_->close for @s[1 .. $#s];
			wait_until(5, sub { $g->counter('in_flight') == 0 }, 'nothing in flight');
		}
		$_->close for @c;
		$plain->script(reply_json('{}', status => 503));
		is_error($g->chat(chat_body('up/m')), 503, message => qr/\S/, name => 'an error');
		$plain->script(reply_sse($event, unended => JSON::PP::true, end => 'rst'));
		like($g->chat($asked)->{body}, qr/^\Q$event\Edata: \{"error":/, 'a stream that breaks');
		$plain->script(reply_json($answer));
		is($g->chat(chat_body('up/m'))->{body}, $answer, 'and it goes on');
		$g->stop;
		kill TERM => $pid;
		reap($pid, 5);
		my @lines = split /\n/, slurp("$tmp/access.log");
		is(scalar(grep { !/^HTTP\/2\.0 / } @lines), 0, 'all of it over HTTP/2');
		cmp_ok(scalar @lines, '>=', 16, scalar(@lines) . ' requests');
		my @conns = map { (split)[2] } @lines;
		is($conns[1], $conns[0], 'a connection is used again');
		my %streamed = map { $_ => 1 } @conns[2 .. 11];
		is(scalar keys %streamed, 10, 'by one request at a time');
	};
}

$plain->stop;
finish();
