package OmniRoute::Soak;

# Load without end (t/bench: origin and soak) for the tests that reload, upgrade and kill.
#
#   my $origin = OmniRoute::Soak::origin;               # {port}: an instant provider
#   my $soak = OmniRoute::Soak->start($port, $key, $model, connections => 32, streams => 50);
#   $soak->more(100);                                   # waits until 100 more answers are there
#   my $sum = $soak->finish;                            # {requests streams failed cut refused max_ms errors}

use strict;
use warnings;
use Exporter qw(import);
use JSON::PP;
use OmniRoute::Util qw(build_dir spawn reap wait_until);
use Test::More;

sub pipes {
	pipe my $r, my $w or die "pipe: $!";
	return ($r, $w);
}

# Lives until the object is dropped.
sub origin {
	my ($in, $hold) = pipes();
	my ($read, $out) = pipes();
	my $pid = spawn([build_dir() . '/t/bench', 'origin'], in => $in, out => $out);
	close $_ for $in, $out;
	my $line = <$read> // '';
	my ($port) = $line =~ /^port (\d+)$/ or die "no origin: $line\n";
	return { port => $port, pid => $pid, hold => $hold, read => $read };
}

# The connection of a gateway that leads to an origin, for start_gateway(upstreams => …).
sub connection {
	my ($origin) = @_;
	return { base_url => "http://127.0.0.1:$origin->{port}/v1" };
}

sub start {
	my ($class, $port, $key, $model, %opt) = @_;
	my ($in, $hold) = pipes();
	my ($read, $out) = pipes();
	my $pid = spawn([build_dir() . '/t/bench', 'soak', $port, $key, $model, $opt{connections} // 32, $opt{streams} // 50],
		in => $in, out => $out);
	close $_ for $in, $out;
	$read->blocking(0);
	my $self = bless { pid => $pid, hold => $hold, read => $read, text => '', count => 0 }, $class;
	$self->more(1);
	return $self;
}

sub _read {
	my ($self) = @_;
	my $n;
	do { $n = sysread $self->{read}, $self->{text}, 65536, length $self->{text} } while $n;
	$self->{count} = $1 while $self->{text} =~ s/^s (\d+)\n//;
	return defined $n; # end of file
}

# Answers so far; told once a second.
sub count { my ($self) = @_; $self->_read; return $self->{count} }

sub more {
	my ($self, $n, $seconds) = @_;
	my $goal = $self->count + $n;
	wait_until($seconds // 30, sub { $self->count >= $goal }, "$n more answers");
}

sub finish {
	my ($self, $seconds) = @_;
	close delete $self->{hold};
	wait_until($seconds // 60, sub { $self->_read }, 'the end of the load');
	reap($self->{pid}, 10);
	my $sum = eval { JSON::PP->new->decode($self->{text}) } or die "load: $self->{text}\n";
	diag "load: $self->{text}" if $ENV{TEST_VERBOSE};
	return $sum;
}

# The one bar of most of these tests: nothing failed, nothing was cut, nobody was turned away.
sub is_whole {
	my ($sum, $name) = @_;
	return subtest $name => sub {
		is($sum->{$_}, 0, $_) for qw(failed cut refused);
		ok($sum->{requests} > 0 && $sum->{streams} > 0, "$sum->{requests} answers, $sum->{streams} streams");
		diag join "\n", @{ $sum->{errors} } if @{ $sum->{errors} };
	};
}

1;
