package OmniRoute::Util;

# Processes, files, waiting. Nothing here knows the gateway.

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp;
use POSIX qw(:sys_wait_h _exit);
use Time::HiRes qw(time);

our @EXPORT_OK = qw(build_dir sanitized spawn run reap forget wait_until slurp spew free_port memory_kb);
our $root = abs_path(dirname(__FILE__) . '/../../..');
my %children;
my $owner = $$;

sub build_dir {
	my $dir = $ENV{OMNIROUTE_BUILD} || 'build';
	return $dir =~ m{^/} ? $dir : "$root/$dir";
}

# Is this a build with AddressSanitizer? It needs more memory.
sub sanitized {
	return slurp(build_dir() . '/omniroute') =~ /__asan_init/ ? 1 : 0;
}

sub slurp {
	my ($path) = @_;
	open my $f, '<:raw', $path or return '';
	local $/;
	return scalar(<$f>) // '';
}

sub spew {
	my ($path, $bytes) = @_;
	open my $f, '>:raw', $path or die "$path: $!";
	print $f $bytes;
	close $f or die "$path: $!";
}

# Polls `test` every 5 ms for `seconds`; its value, or dies naming `what`.
sub wait_until {
	my ($seconds, $test, $what) = @_;
	my $end = time + $seconds;
	while (1) {
		my $v = $test->();
		return $v if $v;
		die "waited ${seconds} s in vain for " . ($what // 'it') . "\n" if time > $end;
		select undef, undef, undef, 0.005;
	}
}

# spawn([program, args], env => {…}, clean => 1, in/out/err => handle, dir =>): pid. The child dies with the test at its END.
sub spawn {
	my ($cmd, %opt) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDIN,  '<&', $opt{in}  if $opt{in};
		open STDOUT, '>&', $opt{out} if $opt{out};
		open STDERR, '>&', $opt{err} if $opt{err};
		chdir $opt{dir} if $opt{dir};
		%ENV = %{ $opt{env} } if $opt{clean};
		{ no warnings; exec { $cmd->[0] } @$cmd }
		print STDERR "exec $cmd->[0]: $!\n";
		_exit(127);
	}
	$children{$pid} = $cmd->[0];
	return $pid;
}

sub forget { delete $children{ $_[0] } }

# The wait status, or undef when it does not end in time.
sub reap {
	my ($pid, $seconds) = @_;
	my $end = time + $seconds;
	while (1) {
		if (waitpid($pid, WNOHANG) == $pid) {
			delete $children{$pid};
			return $?;
		}
		return undef if time > $end;
		select undef, undef, undef, 0.005;
	}
}

# Runs to its end: {code, out, err}; code is -1 when it did not end in time, 128 + n for signal n.
sub run {
	my ($cmd, %opt) = @_;
	my ($out, $err, $in) = (File::Temp->new, File::Temp->new);
	if (defined $opt{in}) {
		$in = File::Temp->new;
		spew($in->filename, $opt{in});
		open $in, '<', $in->filename;
	}
	my $pid = spawn($cmd, %opt, out => $out, err => $err, in => $in);
	my $status = reap($pid, $opt{timeout} // 60);
	unless (defined $status) {
		kill KILL => $pid;
		reap($pid, 10);
	}
	my $code = !defined $status ? -1 : $status & 127 ? 128 + ($status & 127) : $status >> 8;
	return { code => $code, out => slurp($out->filename), err => slurp($err->filename) };
}

# A port that is free now, below the range from which the kernel gives: others who ask it for any port do not meet it.
sub free_port {
	for (1 .. 200) {
		my $port = 12000 + int rand 20000;
		my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Proto => 'tcp', Listen => 1);
		next unless $s;
		close $s;
		return $port;
	}
	die "no free port\n";
}

# VmRSS, or another field of /proc/PID/status, in KB.
sub memory_kb {
	my ($pid, $field) = @_;
	$field //= 'VmRSS';
	return slurp("/proc/$pid/status") =~ /^$field:\s+(\d+) kB/m ? $1 : 0;
}

END {
	if ($$ == $owner) {
		local $?;
		for my $pid (keys %children) {
			kill KILL => $pid;
			waitpid $pid, 0;
		}
	}
}

1;
