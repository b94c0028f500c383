#!/usr/bin/perl
# At a terminal: a key is asked for without being shown, and a window that changes its size is no order to the master.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use POSIX ();
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use OmniRoute::Util qw(build_dir slurp wait_until reap);
use Test::More;

my %ioctl = (x86_64 => 1, aarch64 => 1, riscv64 => 1);    # the numbers below
plan skip_all => 'numbers of ioctl(2) not known here' if !$ioctl{ (POSIX::uname())[4] };
use constant { TIOCSWINSZ => 0x5414, TIOCGPTN => 0x80045430, TIOCSPTLCK => 0x40045431 };

# Runs a command in the foreground of a terminal of its own: {pid, tty}.
sub at_terminal {
	my ($env, @cmd) = @_;
	open my $tty, '+<', '/dev/ptmx' or plan skip_all => "/dev/ptmx: $!";
	my ($unlocked, $number) = (pack('i', 0), pack('i', 0));
	ioctl $tty, TIOCSPTLCK, $unlocked or die "TIOCSPTLCK: $!";
	ioctl $tty, TIOCGPTN, $number or die "TIOCGPTN: $!";
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		POSIX::setsid();
		open my $slave, '+<', '/dev/pts/' . unpack 'i', $number or POSIX::_exit(126);
		POSIX::dup2(fileno $slave, $_) for 0 .. 2;
		%ENV = %$env;
		exec @cmd or POSIX::_exit(127);
	}
	return { pid => $pid, tty => $tty, said => '' };
}

sub expect {
	my ($t, $what) = @_;
	local $SIG{ALRM} = sub { die "waited in vain for $what: $t->{said}\n" };
	alarm 20;
	while ($t->{said} !~ $what) {
		sysread $t->{tty}, my $more, 4096 or last;
		$t->{said} .= $more;
	}
	alarm 0;
	like($t->{said}, $what, "the terminal shows $what");
}

my $g = start_gateway();
my $ctl = build_dir() . '/omniroute-ctl';
my $secret = 'sk-typed-SECRET-0001';

subtest 'the key of a provider' => sub {
	my $t = at_terminal($g->env, $ctl, 'connections', 'add', 'groq', '--name', 'typed');
	expect($t, qr/Key for Groq[^:]*: /);
	syswrite $t->{tty}, "$secret\n";
	expect($t, qr/typed added/);
	is(reap($t->{pid}, 20), 0, 'exit code');
	unlike($t->{said}, qr/SECRET/, 'is not shown');
	is($g->ctl('connections', 'show', 'typed')->{connection}{has_key}, JSON::PP::true, 'is taken');
};

subtest 'the question is broken off' => sub {
	for my $case (["\x03", '^C'], ["\x04\x04", '^D']) {
		my ($keys, $name) = @$case;
		my $t = at_terminal($g->env, $ctl, 'connections', 'add', 'groq', '--name', 'half', '--key-stdin');
		expect($t, qr/Key: /);
		syswrite $t->{tty}, "sk-half$keys" . ($keys eq "\x03" ? "\n" : '');
		expect($t, qr/no key was given/);
		is(reap($t->{pid}, 20), 2 << 8, "$name: exit code");
		is(($g->ctl('connections', 'show', 'half'))[0], 4, "$name: nothing is added");
	}
};

subtest 'a window that changes its size' => sub {
	my $env = { %{ $g->env }, DATA_DIR => $g->dir . '/other', PORT => $g->port2, OMNIROUTE_WORKERS => 1 };
	my $t = at_terminal($env, build_dir() . '/omniroute');
	my $up = sub { my $r = eval { OmniRoute::Http::request($g->port2, GET => '/readyz', timeout => 2) }; $r && $r->{status} == 200 };
	expect($t, qr/curl -N/);
	my $status = sub { OmniRoute::Util::run([$ctl, 'status'], clean => 1, env => $env)->{out} };
	for my $columns (81 .. 90) {
		ioctl $t->{tty}, TIOCSWINSZ, pack('S4', 24, $columns, 0, 0) or die "TIOCSWINSZ: $!";
		select undef, undef, undef, 0.02;    # so that the signals are several
	}
	like($status->(), qr/^\s+0\s+\d+\s+ready/m, 'the worker stays');
	ok($up->(), 'and serves');
	kill WINCH => $t->{pid};
	wait_until(10, sub { $status->() !~ /^\s+0\s+\d+\s+ready/m }, 'one that somebody sends retires it');
	kill HUP => $t->{pid};
	wait_until(10, $up, 'HUP brings it back');
	syswrite $t->{tty}, "\x03";
	is(reap($t->{pid}, 20), 0, '^C ends it in order');
};

finish();
