package OmniRoute;

# A gateway under test: the real binary, an own data directory, a free port. See t/lib/README.

use strict;
use warnings;
use Exporter qw(import);
use File::Path qw(remove_tree);
use File::Temp;
use IO::Socket::INET;
use JSON::PP;
use OmniRoute::Http;
use OmniRoute::Upstream;
use OmniRoute::Util qw(build_dir spawn run reap wait_until slurp spew free_port memory_kb);
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(start_gateway finish is_error error_of chat_body wait_until slurp spew run memory_kb $KEY);
our $KEY = 'or-testkeytestkeytestkeytestkeytestkey000001';
my @running;
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# start_gateway(conf => text, env => {…}, args => […], upstreams => { name => $upstream or {…} }, listen => text,
#               workers => 1, dies => 1)
# upstreams: a connection for each, provider "local". dies: it is to end by itself; see ended. In `conf` and `listen`
# @DIR@, @PORT@ and @PORT2@ (another free port) are filled in.
sub start_gateway {
	my (%opt) = @_;
	for my $try (1 .. 5) {
		my $g = _start(%opt);
		return $g if $g;
		diag "port taken, try $try";
	}
	BAIL_OUT('no port for a gateway');
}

sub connection_conf {
	my ($name, $up) = @_;
	my %c = ref $up eq 'HASH' ? %$up : (upstream => $up);
	my $u = delete $c{upstream};
	%c = (provider => 'local', base_url => $u ? $u->base_url : '', key => 'sk-upstream-secret-0001', %c);
	delete $c{key} unless defined $c{key};
	return "connection \"$name\" {\n"
	    . join('', map { "\t$_ = " . ($c{$_} =~ /^(\d+|true|false|\{.*\})$/ ? $c{$_} : "\"$c{$_}\"") . "\n" } sort keys %c)
	    . "}\n";
}

sub _conf {
	my ($g, %opt) = @_;
	my $text = $opt{listen} // qq(listen "127.0.0.1:\@PORT\@" {}\n);
	my %up = %{ $opt{upstreams} // {} };
	$text .= 'workers = ' . ($opt{workers} // 1) . "\n" . ($opt{conf} // '') . "\n";
	$text .= connection_conf($_, $up{$_}) for sort keys %up;
	$text =~ s/\@DIR\@/$g->{dir}/g;
	$text =~ s/\@PORT\@/$g->{port}/g;
	$text =~ s/\@PORT2\@/$g->{port2}/g;
	return $text;
}

sub _start {
	my (%opt) = @_;
	my $tmp = File::Temp->newdir('omniroute-test.XXXXXX', TMPDIR => 1);
	my $g = bless { tmp => $tmp, dir => "$tmp", port => free_port(), port2 => free_port(), expected => [], opt => \%opt }, 'OmniRoute::Gateway';
	mkdir "$g->{dir}/data" or die "$g->{dir}/data: $!";
	$g->{conf_file} = "$g->{dir}/omniroute.conf";
	spew($g->{conf_file}, _conf($g, %opt));
	$g->{errlog} = "$g->{dir}/stderr";
	$g->{outlog} = "$g->{dir}/stdout";
	$g->launch;
	return $g if $opt{dies};
	my $ready = eval { wait_until(30, sub { $g->ready || !$g->alive }, 'a gateway that is ready') };
	if ($ready && $g->alive) {
		push @running, $g;
		return $g;
	}
	my $said = $g->stderr;
	$g->kill_now;
	return undef if $said =~ /address already in use|in use/i;
	BAIL_OUT("the gateway does not start: $said");
}

# Stops what runs, checks how it ended, and ends the test.
sub finish {
	$_->stop for @running;
	done_testing();
}

# ---- shapes ----

sub error_of {
	my ($r) = @_;
	my $o = eval { $json->decode($r->{body}) };
	return ref $o eq 'HASH' && ref $o->{error} eq 'HASH' ? $o->{error} : undef;
}

# An OpenAI-shaped error: status, JSON content type, exactly {"error":{message,type,code…}}, request id, and the values given.
# A pattern or a text each: message, type, code.
sub is_error {
	my ($r, $status, %want) = @_;
	my $name = delete $want{name} // "error $status";
	my %extra = %{ delete $want{extra} // {} };
	subtest $name => sub {
		is($r->{status}, $status, 'status') or diag explain { map { $_ => $r->{$_} } qw(error raw_head body) };
		like(OmniRoute::Http::header($r, 'content-type') // '', qr{^application/json}, 'content type');
		ok($r->{complete}, 'complete');
		ok(length(OmniRoute::Http::header($r, 'x-request-id') // ''), 'request id');
		my $o = eval { $json->decode($r->{body}) };
		is_deeply([sort keys %{ $o // {} }], ['error'], 'one member') or diag $r->{body};
		my $e = error_of($r) // {};
		ok(defined $e->{$_} && !ref $e->{$_}, "$_ is there") for qw(message type code);
		for my $k (sort keys %want) {
			ref $want{$k} ? like($e->{$k} // '', $want{$k}, $k) : is($e->{$k}, $want{$k}, $k);
		}
		is($e->{$_}, $extra{$_}, $_) for sort keys %extra;
		unlike($r->{raw_head} . $r->{body}, qr/sk-upstream-secret|or-testkey/, 'no secret');
	};
}

sub chat_body {
	my ($model, %more) = @_;
	return $json->encode({ model => $model, messages => [{ role => 'user', content => 'Hi' }], %more });
}

END {
	local $?;
	$_->kill_now for grep { $_->alive } @running;
}

package OmniRoute::Gateway;

use strict;
use warnings;
use OmniRoute::Util qw(build_dir spawn run reap wait_until slurp spew);
use Test::More;

sub port  { $_[0]{port} }
sub port2 { $_[0]{port2} }
sub url  { 'http://127.0.0.1:' . $_[0]{port} }
sub pid  { $_[0]{pid} }
sub dir  { $_[0]{dir} }
sub data { $_[0]{dir} . '/data' }

sub stderr { slurp($_[0]{errlog}) }
sub stdout { slurp($_[0]{outlog}) }

sub env {
	my ($g) = @_;
	my %env = map { $_ => $ENV{$_} } grep { defined $ENV{$_} } qw(PATH LANG LC_ALL TZ UBSAN_OPTIONS LSAN_OPTIONS LD_LIBRARY_PATH);
	return { %env, HOME => $g->{dir}, DATA_DIR => $g->data, ASAN_OPTIONS => $ENV{ASAN_OPTIONS} // 'detect_leaks=1:exitcode=99',
		%{ $g->{opt}{env} // {} } };
}

sub launch {
	my ($g) = @_;
	open my $out, '>>', $g->{outlog} or die;
	open my $err, '>>', $g->{errlog} or die;
	delete @{$g}{qw(status stopped)};
	$g->{pid} = spawn([build_dir() . '/omniroute', '-c', $g->{conf_file}, @{ $g->{opt}{args} // [] }],
		out => $out, err => $err, clean => 1, env => $g->env);
}

# Waits for the end of a gateway that is to end by itself, or was killed; its wait status.
sub ended {
	my ($g, $seconds) = @_;
	$g->{status} = reap($g->{pid}, $seconds // 30) unless exists $g->{status};
	$g->{stopped} = 1;
	return $g->{status};
}

# Starts the same gateway again after it ended.
sub restart {
	my ($g) = @_;
	$g->launch;
	wait_until(30, sub { $g->ready || !$g->alive }, 'a gateway that is ready');
	die 'the gateway does not start again: ' . $g->stderr unless $g->alive;
}

sub alive {
	my ($g) = @_;
	return 0 if exists $g->{status};
	my $got = waitpid $g->{pid}, POSIX::WNOHANG();
	return 1 if $got == 0;
	$g->{status} = $got == $g->{pid} ? $? : -1;
	OmniRoute::Util::forget($g->{pid});
	return 0;
}

sub ready {
	my ($g) = @_;
	my $to = $g->{opt}{ready} // $g->{port};
	$to =~ s/\@DIR\@/$g->{dir}/;
	my $r = eval { OmniRoute::Http::request($to, GET => '/readyz', timeout => 2) };
	return $r && $r->{status} == 200;
}

sub request { my $g = shift; return OmniRoute::Http::request($g->{port}, @_) }
sub connect { my $g = shift; return OmniRoute::Http->connect($g->{port}, @_) }

# A chat: body (text, or what chat_body takes), key, headers, path.
sub chat {
	my ($g, $body, %opt) = @_;
	my @h = @{ $opt{headers} // [] };
	push @h, ['Authorization', "Bearer $opt{key}"] if defined $opt{key};
	return $g->request(POST => $opt{path} // '/v1/chat/completions', headers => \@h, body => $body,
		timeout => $opt{timeout} // 20);
}

# omniroute-ctl --json: the answer, decoded; in list context (exit code, answer or undef, stderr). The last argument may be
# { in => text for its standard input, env => {…} }.
sub ctl {
	my ($g, @args) = @_;
	my %opt = ref $args[-1] ? %{ pop @args } : ();
	my $r = run([build_dir() . '/omniroute-ctl', '--json', @args], clean => 1, env => { %{ $g->env }, %{ $opt{env} // {} } },
		in => $opt{in});
	my $answer = eval { $json->decode($r->{out}) };
	return ($r->{code}, $answer, $r->{err}) if wantarray;
	die "omniroute-ctl @args: exit $r->{code}: $r->{err}$r->{out}\n" if $r->{code} != 0;
	return $answer;
}

# {'name{labels}' => value} of GET /metrics.
sub metrics {
	my ($g) = @_;
	my $r = $g->request(GET => '/metrics');
	die "metrics: $r->{status}\n" if $r->{status} != 200;
	return { map { /^([^#\s]\S*(?:\{.*\})?) (\S+)$/ ? ($1 => $2) : () } split /\n/, $r->{body} };
}

# Sum of a family over its labels (those that match `label`, if given), without the prefix omniroute_.
sub counter {
	my ($g, $name, $label) = @_;
	my ($m, $sum) = ($g->metrics, 0);
	for my $k (keys %$m) {
		$sum += $m->{$k} if $k =~ /^omniroute_\Q$name\E(?:\{|$)/ && (!defined $label || $k =~ $label);
	}
	return $sum;
}

# Processes of this gateway's workers.
sub workers {
	my ($g) = @_;
	return split ' ', slurp("/proc/$g->{pid}/task/$g->{pid}/children");
}

sub signal { my ($g, $name) = @_; kill $name => $g->{pid} }

# Lines of the error log that this pattern matches are no failure.
sub expect_errors { my ($g, @patterns) = @_; push @{ $g->{expected} }, @patterns }

sub error_lines {
	my ($g) = @_;
	my @lines = map { split /\n/, slurp($_) } $g->{errlog}, glob("$g->{dir}/*.log");
	my @bad = grep { /^\S+ error \S+\[\d+\]: / || /"level":"error"/ } @lines;
	for my $p (@{ $g->{expected} }) {
		@bad = grep { $_ !~ $p } @bad;
	}
	return @bad;
}

# Asks it to leave (QUIT) and checks that it did so in order: exit code 0, no error lines, nothing from a sanitizer.
sub stop {
	my ($g, $signal) = @_;
	return if $g->{stopped}++ && exists $g->{status};
	my $hung = 0;
	if ($g->alive) {
		kill $signal // 'QUIT', $g->{pid};
		my $status = reap($g->{pid}, 40);
		$hung = !defined $status;
		$g->kill_now if $hung;
		$g->{status} = $status // -1;
	}
	subtest 'the gateway leaves in order' => sub {
		ok(!$hung, 'in time');
		is($g->{status}, $g->{expected_status} // 0, 'exit status') or diag $g->stderr;
		my @bad = $g->error_lines;
		is(scalar @bad, 0, 'no errors in the log') or diag join "\n", @bad;
		my $err = $g->stderr;
		unlike($err, qr/AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehaviorSanitizer|ThreadSanitizer/,
			'nothing from a sanitizer');
	};
}

sub kill_now {
	my ($g) = @_;
	my @workers = $g->workers;
	kill KILL => $g->{pid}, @workers;
	reap($g->{pid}, 10);
	$g->{status} //= -1;
	$g->{stopped} = 1;
}

1;
