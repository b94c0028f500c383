package OmniRoute::Upstream;

# build/t/upstream as an object: script it, ask what it saw. The behaviours are described in t/upstream/upstream.h.

use strict;
use warnings;
use JSON::PP;
use MIME::Base64 qw(encode_base64 decode_base64);
use OmniRoute::Http;
use OmniRoute::Util qw(build_dir spawn reap wait_until);

my $json = JSON::PP->new->utf8->canonical;

# start([tls => 1], [port => N])
sub start {
	my ($class, %opt) = @_;
	my @tls = $opt{tls} ? ('--tls', map { "$OmniRoute::Util::root/t/data/tls/server.$_" } qw(pem key)) : ();
	my @port = $opt{port} ? ('--port', $opt{port}) : ();
	pipe my $r, my $w or die "pipe: $!";
	my $self = bless { tls => !!$opt{tls} }, $class;
	$self->{err} = File::Temp->new;
	$self->{pid} = spawn([build_dir() . '/t/upstream', @port, @tls], out => $w, err => $self->{err});
	close $w;
	my $line = <$r> // '';
	($self->{port}) = $line =~ /^listening (\d+)$/ or die "upstream does not start: $line\n";
	return $self;
}

sub port     { $_[0]{port} }
sub base_url { ($_[0]{tls} ? 'https://localhost:' : 'http://127.0.0.1:') . $_[0]{port} . '/v1' }

sub _admin {
	my ($self, $method, $path, $body) = @_;
	my $r;
	if ($self->{tls}) {
		my @data = defined $body ? ('--data-binary', '@-') : ();
		$r = OmniRoute::Util::run(['curl', '-sS', '-k', '-X', $method, @data,
			"https://127.0.0.1:$self->{port}$path"], in => $body);
		die "upstream: $r->{err}" if $r->{code} != 0;
		my $got = $json->decode($r->{out});
		die "upstream: $got->{error}\n" if ref $got eq 'HASH' && $got->{error};
		return $got;
	}
	$r = OmniRoute::Http::request($self->{port}, $method, $path, defined $body ? (body => $body) : (), timeout => 30);
	die "upstream: $r->{status} $r->{body} " . ($r->{error} // '') . "\n" if $r->{status} != 200;
	return $json->decode($r->{body});
}

# Perl does not tell numbers from texts.
sub _json {
	my @all = map { { %$_ } } @_;
	for my $b (@all) {
		$b->{$_} += 0 for grep { defined $b->{$_} } qw(status times length piece first_delay head_delay delay sndbuf);
	}
	return $json->encode(\@all);
}

# Replaces the behaviours and forgets the log.
sub script {
	my ($self, @behaviours) = @_;
	$self->_admin(DELETE => '/_script');
	$self->_admin(PUT => '/_script', _json(@behaviours));
}

sub append { my ($self, @b) = @_; $self->_admin(POST => '/_script', _json(@b)) }

# The records; head (list of [name, value]) and body (bytes) decoded.
sub log {
	my ($self) = @_;
	my $log = $self->_admin(GET => '/_log');
	for my $r (@$log) {
		my $head = decode_base64($r->{head64});
		$head =~ s/\r\n\r\n\z/\r\n/;
		$r->{raw_head} = $head;
		$r->{headers}  = [map { [split /: ?/, $_, 2] } split /\r\n/, $head];
		$r->{body}     = decode_base64($r->{body64});
	}
	return @$log;
}

# The last record; waits until there are `n` of them.
sub seen {
	my ($self, $n) = @_;
	my @log;
	wait_until(10, sub { @log = $self->log; @log >= ($n // 1) }, 'a request at the upstream');
	return $log[-1];
}

# Waits until `test` is true of the last record.
sub wait_for {
	my ($self, $test, $seconds) = @_;
	my $last;
	wait_until($seconds // 10, sub { my @l = $self->log; $last = $l[-1]; $last && $test->($last) }, 'upstream');
	return $last;
}

sub stop {
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	kill TERM => $pid;
	my $status = reap($pid, 20);
	my $err = OmniRoute::Util::slurp($self->{err}->filename);
	OmniRoute::Util::forget($pid);
	return $status if defined $status && $status == 0 && $err eq '';
	Test::More::diag("upstream: status " . ($status // 'hung') . " $err");
	return $status // -1;
}

# ---- behaviours ----

sub b64 { my $s = encode_base64($_[0], ''); return $s }

sub reply_json {
	my ($body, %more) = @_;
	return { headers => [['Content-Type', 'application/json']],
		body64 => b64(ref $body ? $json->encode($body) : $body), %more };
}

sub reply_sse {
	my ($body, %more) = @_;
	return { headers => [['Content-Type', 'text/event-stream']], framing => 'chunked', body64 => b64($body), %more };
}

# A whole answer and a whole stream, in bytes that no serialiser would make.
sub chat_json {
	my ($text) = @_;
	return qq({"id": "chatcmpl-1","object":"chat.completion",  "created":1.7e9,"model":"m-up",)
	    . qq("choices":[{"index":0,"message":{"role":"assistant","content":"$text"},"finish_reason":"stop"}],\n)
	    . qq("usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10},"x_future":{"z":1,"a":[1.50,1e3]}});
}

sub chat_event {
	my ($delta, $finish) = @_;
	$finish = defined $finish ? qq("$finish") : 'null';
	return qq(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m-up",)
	    . qq("choices":[{"index":0,"delta":$delta,"finish_reason":$finish}]}\n\n);
}

sub chat_sse {
	my (@words) = @_;
	return join '', chat_event('{"role":"assistant","content":""}'),
	    (map { chat_event(qq({"content":"$_"})) } @words), chat_event('{}', 'stop'),
	    qq(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m-up","choices":[],)
	    . qq("usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}\n\n), "data: [DONE]\n\n";
}

1;
