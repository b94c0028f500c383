#!/usr/bin/perl
# The master as an operator meets it: how it starts, refuses to start, goes into the background, and what it leaves behind.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp;
use IO::Socket::INET;
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use OmniRoute::Util qw(build_dir slurp spew run reap spawn wait_until free_port);
use Test::More;

my $omniroute = build_dir() . '/omniroute';
my $ctl = build_dir() . '/omniroute-ctl';

sub place {    # a home of its own
	my $tmp = File::Temp->newdir('omniroute-test.XXXXXX', TMPDIR => 1);
	return { tmp => $tmp, dir => "$tmp", data => "$tmp/data", port => free_port() };
}

sub env_of {
	my ($p) = @_;
	my %keep = map { $_ => $ENV{$_} } grep { defined $ENV{$_} } qw(PATH LANG UBSAN_OPTIONS LSAN_OPTIONS ASAN_OPTIONS);
	return { %keep, HOME => $p->{dir}, DATA_DIR => $p->{data}, PORT => $p->{port}, OMNIROUTE_WORKERS => 1 };
}

sub omniroute { my ($p, @args) = @_; return run([$omniroute, @args], clean => 1, env => env_of($p), timeout => 30) }
sub ctl { my ($p, @args) = @_; return run([$ctl, @args], clean => 1, env => env_of($p), timeout => 60) }
sub log_of { return slurp("$_[0]{data}/omniroute.log") }

sub quit {
	my ($p) = @_;
	my $r = ctl($p, 'quit');
	is($r->{code}, 0, 'it quits') or diag $r->{err} . log_of($p);
	ok(!-e "$p->{data}/$_", "no $_ is left") for qw(omniroute.pid control.sock);
}

# Until the end of file on the read end of a pipe; undef: not within the time.
sub drain {
	my ($fh, $seconds) = @_;
	my $text = '';
	local $SIG{ALRM} = sub { die "late\n" };
	alarm $seconds;
	my $ok = eval { $text .= $_ while <$fh>; 1 };
	alarm 0;
	return $ok ? $text : undef;
}

subtest 'in the background nothing of the caller stays open' => sub {
	my $p = place();
	pipe my $out, my $out_end or die;
	my ($other, $other_end);
	{
		local $^F = 100;    # inherited
		pipe $other, $other_end or die;
	}
	my $pid = spawn([$omniroute, '-d'], out => $out_end, err => $out_end, clean => 1, env => env_of($p));
	close $out_end;
	close $other_end;
	is(reap($pid, 30), 0, 'it returns') or diag log_of($p);
	my $said = drain($out, 10);
	ok(defined $said, 'end of file on its standard output');
	like($said // '', qr{serves http://127\.0\.0\.1:$p->{port}/v1\n.*First-run password.*curl -N}s, 'the banner');
	ok(defined drain($other, 10), 'end of file on another descriptor');
	my ($master) = slurp("$p->{data}/omniroute.pid") =~ /(\d+)/;
	my $again = omniroute($p, '-d');
	is($again->{code}, 1, 'a second one on this data directory: exit code');
	is($again->{out}, '', 'nothing on standard output');
	like($again->{err}, qr/^omniroute: data directory \Q$p->{data}\E is in use by the gateway with process id $master; to stop that one: kill -QUIT $master\n\z/,
		'one line: who holds it, and what to do');
	my $q = { %{ place() }, port => $p->{port} };
	my $began = time;
	my $taken = omniroute($q, '-d');
	cmp_ok(time - $began, '<', 4, 'a port that is taken: nobody is waited for');
	is($taken->{code}, 1, 'a port that is taken: exit code');
	like($taken->{err}, qr/^omniroute: listen 127\.0\.0\.1:$p->{port}: Address already in use: another program has it; stop that one or choose/,
		'which, and what to do');
	ok(!-e "$q->{data}/omniroute.pid", 'no pid file of one that did not serve');
	quit($p);
	unlike(log_of($p), qr/ error /, 'no error in the log');
};

subtest 'a path too long for the address of a Unix socket' => sub {
	my $p = place();
	$p->{data} = "$p->{dir}/" . join('/', ('a folder with a long name') x 5);
	my $r = omniroute($p, '-d');
	is($r->{code}, 0, 'it starts') or diag $r->{err};
	is(ctl($p, 'status')->{code}, 0, 'and answers');
	is(ctl($p, 'keys', 'add', 'x')->{code}, 0, 'and takes changes');
	is(ctl($p, 'upgrade')->{code}, 0, 'and is upgraded');
	quit($p);
};

subtest 'a data directory that is not as it should be' => sub {
	my $p = place();
	is(omniroute($p, '-d')->{code}, 0, 'a first start');
	quit($p);
	my $key = slurp("$p->{data}/omniroute.key");
	my $refused = sub {
		my ($what, $why) = @_;
		my $r = omniroute($p, '-q');
		is($r->{code}, 1, "$what: exit code") or return;
		like($r->{err}, $why, "$what: sentence");
	};
	unlink "$p->{data}/omniroute.key";
	$refused->('key file missing', qr{omniroute\.key is missing, and what is sealed in \S+/store cannot be read without it});
	ok(!-e "$p->{data}/omniroute.key", 'none is made');
	spew("$p->{data}/omniroute.key", 'x' x 32);
	chmod 0600, "$p->{data}/omniroute.key";
	$refused->('another key file', qr/omniroute\.key is not the key that this data directory was made with/);
	spew("$p->{data}/omniroute.key", 'x' x 31);
	$refused->('half a key file', qr/has less than 32 bytes/);
	spew("$p->{data}/omniroute.key", $key);
	chmod 0644, "$p->{data}/omniroute.key";
	$refused->('a key file for everybody', qr/has mode 0644, so others can read it/);
	like(omniroute($p, '-d')->{err}, qr/^omniroute: key file: .*; \Q$p->{data}\E\/omniroute\.log says more$/m, 'in the background: where to look');
	chmod 0600, "$p->{data}/omniroute.key";
	my $store = slurp("$p->{data}/store/data.mdb");
	spew("$p->{data}/store/data.mdb", 'y' x length $store);
	$refused->('a damaged store', qr/store \S+: cannot be opened/);
	is(slurp("$p->{data}/store/data.mdb"), 'y' x length $store, 'it is left as it is');
	spew("$p->{data}/store/data.mdb", $store);
	is(omniroute($p, '-d')->{code}, 0, 'all put back: it starts');
	quit($p);
	spew("$p->{dir}/file", '');
	$p->{data} = "$p->{dir}/file";
	$refused->('a file in its place', qr{data directory \S+/file: });
	SKIP: {
		skip 'root may write everywhere', 2 if $> == 0;
		mkdir "$p->{dir}/ro", 0500;
		$p->{data} = "$p->{dir}/ro";
		$refused->('a read-only one', qr{data directory \S+/ro: Permission denied});
	}
};

subtest 'a reload onto a port that is taken' => sub {
	my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp', Listen => 1) or die;
	my $port = $other->sockport;
	my $g = start_gateway(conf => "access_log = \"\@DIR\@/access.txt\"\n");
	my $good = slurp($g->{conf_file});
	spew($g->{conf_file}, $good . qq(listen "127.0.0.1:$port" {}\n) =~ s/access\.txt/other.txt/r);
	my ($code, undef, $err) = $g->ctl('reload');
	is($code, 1, 'refused');
	like($err, qr/listen 127\.0\.0\.1:$port: Address already in use/, 'the address is named');
	$g->expect_errors(qr/reload refused/);
	is($g->chat(chat_body('echo/echo-1'))->{status}, 200, 'the old configuration serves');
	wait_until(5, sub { slurp("$g->{dir}/access.txt") =~ /chat/ }, 'the access log');
	spew($g->{conf_file}, ($good =~ s/access\.txt/other.txt/r) . qq(log_file = "$g->{dir}/none/x"\n));
	($code, undef, $err) = $g->ctl('reload');
	like($err, qr{log_file \S+/none/x: No such file}, 'a log that cannot be opened');
	my $had = length slurp("$g->{dir}/access.txt");
	my ($first) = $g->workers;
	$g->expect_errors(qr/ended by signal 9/);
	kill KILL => $first;
	wait_until(10, sub { my @w = $g->workers; @w && $w[0] != $first && $g->ready }, 'another worker');
	is($g->chat(chat_body('echo/echo-1'))->{status}, 200, 'it serves on');
	wait_until(5, sub { length slurp("$g->{dir}/access.txt") > $had }, 'the access log is still the old one');
	close $other;
	spew($g->{conf_file}, $good . qq(listen "127.0.0.1:$port" {}\n));
	is(($g->ctl('reload'))[0], 0, 'the port is free: taken into use');
};

subtest 'a worker that hangs does not hold up a change' => sub {
	my $g = start_gateway(workers => 2);
	my ($hung) = $g->workers;
	kill STOP => $hung;
	my $began = time;
	my $k = $g->ctl('keys', 'add', 'x');
	cmp_ok(time - $began, '<=', 6, 'it is answered soon');
	is("$k->{in_force}{workers} $k->{in_force}{late}", '1 1', 'one has it, one is late');
	kill CONT => $hung;
	for (1 .. 12) {
		is($g->request(GET => '/v1/models', headers => [['Authorization', "Bearer $k->{key}{key}"]])->{status}, 200, "request $_");
	}
};

subtest 'the next master has no more descriptors than the first' => sub {
	my $p = place();
	is(omniroute($p, '-d')->{code}, 0, 'it starts');
	my $open = sub {
		my $pid = slurp("$p->{data}/omniroute.pid") + 0;
		return join "\n", sort map { (readlink // '') =~ s/\d+//gr } glob "/proc/$pid/fd/*";
	};
	my $before = $open->();
	is(ctl($p, 'upgrade')->{code}, 0, "upgrade $_") for 1 .. 3;
	is($open->(), $before, 'the same after three upgrades');
	quit($p);
};

subtest 'an upgrade that fails changes nothing' => sub {
	my $p = place();
	my $own = "$p->{dir}/omniroute";
	my $put = sub {
		my ($text, $mode) = @_;
		spew("$own.new", $text);
		chmod $mode // 0755, "$own.new";
		rename "$own.new", $own or die;
	};
	$put->(slurp($omniroute));
	my $r = run([$own, '-d'], clean => 1, env => env_of($p));
	is($r->{code}, 0, 'it starts') or diag $r->{err};
	my $pid = slurp("$p->{data}/omniroute.pid");
	for my $case (['not executable', slurp($omniroute), 0644, qr/not where it was, or cannot be executed/],
		['no program', 'no program', 0755, qr/the program cannot be executed/],
		['one that exits', "#!/bin/sh\nexit 3\n", 0755, qr/it exited with code 3 before it served/],
		['one that crashes', "#!/bin/sh\nkill -SEGV \$\$\n", 0755, qr/it was ended by signal 11/]) {
		my ($what, $text, $mode, $why) = @$case;
		$put->($text, $mode);
		my $u = ctl($p, 'upgrade');
		is($u->{code}, 1, "$what: exit code");
		like($u->{err}, $why, "$what: sentence");
		is(slurp("$p->{data}/omniroute.pid"), $pid, "$what: the pid file");
		is(ctl($p, 'keys', 'add', $what =~ s/ /-/gr)->{code}, 0, "$what: changes are taken");
	}
	$put->(slurp($omniroute));
	spew("$p->{data}/omniroute.conf", "workerz = 1\n");
	like(ctl($p, 'upgrade')->{err}, qr{omniroute\.conf:1: option "workerz"}, 'a configuration that it does not take');
	unlink "$p->{data}/omniroute.conf";
	$put->("#!/bin/sh\nexec sleep 1000\n");
	open my $null, '>', '/dev/null' or die;
	my $first = spawn([$ctl, 'upgrade'], err => $null, clean => 1, env => env_of($p));
	wait_until(10, sub { -e "$p->{data}/omniroute.pid.oldbin" }, 'an upgrade under way');
	my $second = ctl($p, 'upgrade');
	like($second->{err}, qr/an upgrade is under way/, 'a second upgrade meanwhile');
	my $hung = wait_until(10, sub {
		(grep { slurp("/proc/$_/cmdline") =~ /^sleep/ } split ' ', slurp("/proc/@{[ $pid + 0 ]}/task/@{[ $pid + 0 ]}/children"))[0];
	}, 'the program that hangs');
	kill KILL => $hung;
	isnt(reap($first, 20), 0, 'one that is killed: exit code');
	$put->(slurp($omniroute));
	is(ctl($p, 'upgrade', '--keep-old')->{code}, 0, 'one that is good');
	my $new = slurp("$p->{data}/omniroute.pid") + 0;
	isnt($new, $pid + 0, 'another master');
	kill KILL => $pid + 0;
	wait_until(10, sub { !-e "$p->{data}/omniroute.pid.oldbin" }, 'the pid file of the old one, killed, is gone');
	wait_until(20, sub { ctl($p, 'status')->{out} =~ /^OmniRoute .* pid $new,/ }, 'the new one answers');
	is(ctl($p, 'keys', 'add', 'last')->{code}, 0, 'and takes changes');
	quit($p);
};

finish();
