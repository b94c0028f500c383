package OmniRoute::Http;

# A client that sends exactly the bytes it is given and keeps exactly the bytes that came back, with the times at which
# they came. Decoding is a separate step. See t/lib/README.

use strict;
use warnings;
use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

# connect(PORT or "/path", [rcvbuf => bytes])
sub connect {
	my ($class, $to, %opt) = @_;
	my $sock;
	if ($to =~ m{^/}) {
		$sock = IO::Socket::UNIX->new(Peer => $to) or die "connect $to: $!\n";
	} else {
		my $host = $opt{host} // '127.0.0.1';
		if ($opt{rcvbuf}) {    # has to be known before the handshake, or the window is larger
			$sock = IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1') or die "socket: $!\n";
			setsockopt($sock, SOL_SOCKET, SO_RCVBUF, $opt{rcvbuf});
			$sock->connect(Socket::pack_sockaddr_in($to, Socket::inet_aton($host)))
			    or die "connect $to: $!\n";
		} else {
			$sock = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $to, Proto => 'tcp')
			    or die "connect $host:$to: $!\n";
		}
		setsockopt($sock, IPPROTO_TCP, TCP_NODELAY, 1);
	}
	binmode $sock;
	$sock->blocking(0);
	return bless { sock => $sock, in => '', eof => 0, arrivals => [] }, $class;
}

sub fd { fileno $_[0]{sock} }

# Writes all of it, or returns the number of bytes taken when the peer closed or the deadline passed.
sub write {
	my ($self, $bytes, $timeout) = @_;
	my ($done, $end) = (0, time + ($timeout // 20));
	local $SIG{PIPE} = 'IGNORE';
	while ($done < length $bytes) {
		my $n = syswrite $self->{sock}, $bytes, 1 << 20, $done;
		if (defined $n) { $done += $n; next }
		return $done unless $!{EAGAIN} || $!{EINTR};
		my $left = $end - time;
		return $done if $left <= 0;
		my $w = '';
		vec($w, $self->fd, 1) = 1;
		select undef, $w, undef, $left;
	}
	return $done;
}

# Waits for bytes and adds them to {in}. 1: some came, 0: the peer closed ({reset} when harshly), undef: nothing in time.
sub fill {
	my ($self, $timeout) = @_;
	return 0 if $self->{eof};
	my $end = time + ($timeout // 20);
	while (1) {
		my $n = sysread $self->{sock}, my $buf, 1 << 18;
		if (defined $n && $n > 0) {
			$self->{in} .= $buf;
			push @{ $self->{arrivals} }, [time, $n];
			return 1;
		}
		if (defined $n || !($!{EAGAIN} || $!{EINTR})) {
			$self->{reset} = 1 unless defined $n;
			$self->{eof}   = 1;
			return 0;
		}
		my $left = $end - time;
		return undef if $left <= 0;
		my $r = '';
		vec($r, $self->fd, 1) = 1;
		select $r, undef, undef, $left;
	}
}

# Reads until the peer closes; what came, or undef when it does not close in time.
sub drain {
	my ($self, $timeout) = @_;
	my $end = time + ($timeout // 20);
	while (!$self->{eof}) {
		return undef unless defined $self->fill($end - time);
	}
	my $all = $self->{in};
	$self->{in} = '';
	return $all;
}

sub close_write { shutdown $_[0]{sock}, 1 }
sub close       { CORE::close(delete $_[0]{sock}) }

sub reset {
	my ($self) = @_;
	setsockopt($self->{sock}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
	CORE::close(delete $self->{sock});
}

# The bytes of a request. headers: [[name, value], …] as they are; Host and Content-Length are added unless given or
# bare => 1.
sub build {
	my ($method, $target, %opt) = @_;
	my @h    = @{ $opt{headers} // [] };
	my $body = $opt{body};
	unless ($opt{bare}) {
		unshift @h, [Host => '127.0.0.1'] unless grep { lc $_->[0] eq 'host' } @h;
		push @h, ['Content-Type' => 'application/json']
		    if defined $body && !grep { lc $_->[0] eq 'content-type' } @h;
		push @h, ['Content-Length' => length $body]
		    if defined $body && !grep { lc($_->[0]) =~ /^(content-length|transfer-encoding)$/ } @h;
	}
	return join('', "$method $target HTTP/1.1\r\n", (map { "$_->[0]: $_->[1]\r\n" } @h), "\r\n") . ($body // '');
}

sub header {
	my ($r, $name) = @_;
	my @v = map { $_->[1] } grep { lc $_->[0] eq lc $name } @{ $r->{headers} };
	return wantarray ? @v : $v[0];
}

# A chunked body: (payload, complete?, bytes used, [[payload so far, chunk length], …]); dies on bad framing.
sub decode_chunked {
	my ($raw) = @_;
	my ($out, $at, @chunks) = ('', 0);
	while (1) {
		pos($raw) = $at;
		return ($out, 0, $at, \@chunks) unless $raw =~ /\G([0-9a-fA-F]+)(?:;[^\r\n]*)?\r\n/g;
		my ($n, $start) = (hex $1, pos $raw);
		if ($n == 0) {
			pos($raw) = $start;
			return ($out, 0, $at, \@chunks) unless $raw =~ /\G(?:[^\r\n]+\r\n)*\r\n/g;
			return ($out, 1, pos $raw, \@chunks);
		}
		if (length($raw) < $start + $n + 2) {
			return ($out . substr($raw, $start, $n), 0, $at, \@chunks);
		}
		die "chunk without its end\n" if substr($raw, $start + $n, 2) ne "\r\n";
		$out .= substr $raw, $start, $n;
		push @chunks, $n;
		$at = $start + $n + 2;
	}
}

# One response. {status headers body complete} and {error}: 'timeout', 'closed' (before the head), 'cut' (inside the body).
# head => 1: the answer to HEAD. Bytes behind it stay in {in}.
sub response {
	my ($self, %opt) = @_;
	my $end = time + ($opt{timeout} // 20);
	my %r = (status => 0, headers => [], body => '', complete => 0);
	while ($self->{in} !~ /\r\n\r\n/) {
		my $got = $self->fill($end - time);
		return { %r, error => defined $got ? 'closed' : 'timeout' } unless $got;
	}
	$self->{in} =~ s/^(.*?\r\n)\r\n//s;
	my ($line, @fields) = split /\r\n/, $1;
	$r{raw_head} = $1;
	$r{head_at}  = time;
	@r{ 'version', 'status', 'reason' } = $line =~ m{^HTTP/(1\.[01]) (\d{3}) ?(.*)$}
	    or return { %r, error => "bad status line: $line" };
	$r{headers} = [map { /^([^:\s]+): ?(.*)$/ ? [$1, $2] : ['', $_] } @fields];
	return $self->response(%opt) if $r{status} == 100 && !$opt{keep_100};
	$self->_body(\%r, $end, %opt);
	return \%r;
}

sub _body {
	my ($self, $r, $end, %opt) = @_;
	my $length = header($r, 'content-length');
	if ($opt{head} || $r->{status} =~ /^(1..|204|304)$/) {
		$r->{complete} = 1;
		return;
	}
	my $chunked = lc(header($r, 'transfer-encoding') // '') eq 'chunked';
	while (1) {
		my $used;
		if ($chunked) {
			@{$r}{ 'body', 'complete' } = ();
			($r->{body}, $r->{complete}, $used, $r->{chunks}) = decode_chunked($self->{in});
		} elsif (defined $length) {
			$r->{body}     = substr $self->{in}, 0, $length;
			$r->{complete} = length $r->{body} == $length ? 1 : 0;
			$used          = $length;
		} else {
			@{$r}{ 'body', 'complete' } = ($self->{in}, $self->{eof});
			$used = length $self->{in};
		}
		if ($r->{complete}) {
			$r->{raw_body} = substr $self->{in}, 0, $used, '';
			return;
		}
		my $got = $self->fill($end - time);
		next if $got || (defined $got && !$chunked && !defined $length);
		$r->{error}    = defined $got ? 'cut' : 'timeout';
		$r->{raw_body} = $self->{in};
		return;
	}
}

# One request on a connection of its own: request(PORT, METHOD, TARGET, [headers, body, bare, timeout]).
sub request {
	my ($to, $method, $target, %opt) = @_;
	my $c     = __PACKAGE__->connect($to);
	my $start = time;
	$c->write(build($method, $target, %opt));
	my $r = $c->response(head => $method eq 'HEAD', timeout => $opt{timeout});
	$r->{took_ms} = (time - $start) * 1000;
	$c->close;
	return $r;
}

# Server-sent events: ({event, data, id, comments => […]}, …); what is not ended by an empty line comes with {cut} = 1.
sub parse_sse {
	my ($bytes) = @_;
	my (@events, %ev);
	$bytes =~ s/^\xef\xbb\xbf//;
	while ($bytes =~ /\G([^\r\n]*)(\r\n|\n|\r|\z)/gc) {
		my ($line, $eol) = ($1, $2);
		if ($line eq '') {
			push @events, {%ev} if %ev;
			%ev = ();
			last if $eol eq '';
		} elsif ($line =~ /^:(.*)/s) {
			push @{ $ev{comments} }, $1;
		} else {
			my ($k, $v) = $line =~ /^([^:]*):? ?(.*)$/s;
			$ev{$k} = $k eq 'data' && defined $ev{data} ? "$ev{data}\n$v" : $v;
		}
		if ($eol eq '') {
			push @events, { %ev, cut => 1 } if %ev;
			last;
		}
	}
	return @events;
}

1;
