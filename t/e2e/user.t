#!/usr/bin/perl
# Started by root with `user`: the workers are that user's and lack nothing; the control socket is for its owner and root.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Temp;
use POSIX ();
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use OmniRoute::Util qw(build_dir slurp spew run wait_until);
use Test::More;

plan skip_all => 'needs root' if $> != 0;
my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
plan skip_all => 'there is no user nobody' if !defined $uid;

my $up = OmniRoute::Upstream->start;
my $g = start_gateway(workers => 2, upstreams => { o => $up },
	conf => qq(user = "nobody"\naccess_log = "\@DIR\@/access.txt"\nlog_file = "\@DIR\@/error.txt"\n));
chmod 0755, $g->dir;
my $mode = sub { (stat $_[0])[2] & 07777 };

subtest 'what a worker is' => sub {
	for my $w ($g->workers) {
		my $status = slurp("/proc/$w/status");
		like($status, qr/^Uid:(\s+$uid){4}$/m, 'user');
		like($status, qr/^Gid:(\s+$gid){4}$/m, 'group');
		like($status, qr/^Groups:\s*($gid\s*)?$/m, 'no other group');
		like($status, qr/^CapEff:\s+0+$/m, 'no capability');
		like($status, qr/^NoNewPrivs:\s+1$/m, 'and none to come');
		my %open = map { /(\d+)$/ ? ($1 => readlink) : () } glob "/proc/$w/fd/*";
		is_deeply([@open{0 .. 2}], ['/dev/null', '/dev/null', $g->dir . '/stderr'], 'standard descriptors');
		is_deeply([grep { $open{$_} =~ m{/store/|omniroute\.(key|lock)|memfd:omniroute-snapshot} } keys %open], [],
			'nothing of the store, the key or the lock');
		unlike(slurp("/proc/$w/cmdline") . slurp("/proc/$w/environ"), qr/SECRET|sk-|DATA_DIR/, 'no secret to be seen');
	}
};

subtest 'what a worker does' => sub {
	$up->script(OmniRoute::Upstream::reply_json(OmniRoute::Upstream::chat_json('Hello')));
	is($g->chat(chat_body('o/m'))->{status}, 200, 'a chat');
	rename $g->dir . "/$_.txt", $g->dir . "/$_.1" for qw(access error);
	is(($g->ctl('reopen'))[0], 0, 'logs are opened again');
	is($g->chat(chat_body('o/m'))->{status}, 200, 'a chat') for 1 .. 8;
	wait_until(5, sub { slurp($g->dir . '/access.txt') =~ /chat/ }, 'the new access log');
	is($mode->($g->dir . '/access.txt') & 07, 0, 'which is not for everybody');
	is(($g->ctl('reload'))[0], 0, 'reload');
	my $total = sub { my $n = 0; $n += $_->{requests} for @{ $g->ctl('usage', '--total')->{totals} }; $n };
	wait_until(10, sub { $total->() == 9 }, 'all are accounted');
	my @workers = $g->workers;
	kill STOP => $g->pid;
	is($g->chat(chat_body('o/m'))->{status}, 200, 'a chat while the master sleeps');
	kill KILL => $g->pid;
	$g->ended(10);
	wait_until(20, sub { !grep { kill 0, $_ } @workers }, 'workers leave without their master');
	$g->restart;
	is($total->(), 10, 'its record was spooled');
};

subtest 'another user at the control socket' => sub {
	my $sock = $g->data . '/control.sock';
	# A copy, because the tree may lie where nobody else may look.
	my $bin = File::Temp->newdir(TMPDIR => 1);
	copy(build_dir() . '/omniroute-ctl', "$bin/omniroute-ctl") or die "copy: $!";
	chmod 0755, $bin, "$bin/omniroute-ctl";
	my $as_nobody = sub {
		my (@args) = @_;
		my $pid = open(my $fh, '-|') // die "fork: $!";
		if (!$pid) {
			($(, $)) = ($gid, "$gid $gid");
			($<, $>) = ($uid, $uid);
			open STDERR, '>&', \*STDOUT;
			exec "$bin/omniroute-ctl", '--socket', $sock, @args or POSIX::_exit(127);
		}
		local $/;
		my $said = <$fh>;
		close $fh;
		return ($? >> 8, $said);
	};
	my ($code, $said) = $as_nobody->('keys', 'add', 'x');
	is($code, 5, 'behind the folder: exit code');
	like($said, qr/permission denied/, 'behind the folder: sentence');
	chmod 0755, $g->data;
	chmod 0666, $sock;
	($code, $said) = $as_nobody->('keys', 'add', 'x');
	is($code, 5, 'who comes as far as the socket: exit code');
	like($said, qr/only the user that OmniRoute runs as, and root, may do this/, 'who comes as far as the socket: sentence');
	is_deeply([map { $_->{name} } @{ $g->ctl('keys', 'list')->{keys} }], [], 'nothing was done');
	like(slurp($g->dir . '/error.txt'), qr/control: refused uid=$uid pid=\d+/, 'and it is in the log');
};

subtest 'a user that does not exist' => sub {
	my $good = slurp($g->{conf_file});
	spew($g->{conf_file}, $good =~ s/"nobody"/"no-such-user"/r);
	my ($code, undef, $err) = $g->ctl('reload');
	is($code, 1, 'reload: exit code');
	like($err, qr/user "no-such-user": no such user on this system/, 'reload: sentence');
	my $t = run([build_dir() . '/omniroute', '-t', '-c', $g->{conf_file}], clean => 1, env => $g->env);
	is($t->{code}, 1, 'test: exit code');
	like($t->{err}, qr/user "no-such-user"/, 'test: sentence');
	spew($g->{conf_file}, $good);
	$g->expect_errors(qr/reload refused/);
};

$up->stop;
finish();
