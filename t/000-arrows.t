#!/usr/bin/perl
# The rooms and who may use whom, from the #include lines:
#
#   shared <- proto <- providers <- worker       master stands on the first three; worker and master never meet
#
# Tests may include everything.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find qw(find);
use Test::More;

chdir dirname(abs_path(__FILE__)) . '/..' or die;

my %may = (
	shared    => [qw(shared)],
	proto     => [qw(proto shared)],
	providers => [qw(providers proto shared)],
	worker    => [qw(worker providers proto shared)],
	master    => [qw(master providers proto shared)],
	t         => [qw(t master worker providers proto shared)],
);
# proto is pure: nothing of the system that reads, writes, waits or looks at a clock.
my $impure = qr{^(?:sys/(?!(?:types|queue)\.h)|event2/|curl/|openssl/|lmdb|sodium|pthread|unistd|fcntl|poll|netdb|arpa/|time\.h|signal\.h|jansson)};

# What is wrong with `text` as the file `path`: list of sentences.
sub wrong {
	my ($path, $text) = @_;
	my ($room) = $path =~ m{^([^/]+)/};
	my @bad;
	while ($text =~ /^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]/mg) {
		my ($kind, $what) = ($1, $2);
		my ($to) = $what =~ m{^([^/]+)/};
		if ($kind eq '<') {
			push @bad, "$path: <$what> in proto, which is pure" if $room eq 'proto' && $what =~ $impure;
			push @bad, "$path: <$what> is ours, and has to stand in quotes" if defined $to && $may{$to} && -e $what;
			next;
		}
		if (!defined $to) {
			push @bad, "$path: \"$what\" without its folder";
		} elsif (!grep { $_ eq $to } @{ $may{$room} }) {
			push @bad, "$path: $room must not include \"$what\"";
		} elsif (!-e $what) {
			push @bad, "$path: \"$what\" does not exist";
		} elsif ($what =~ m{^proto/([^/]+)/} && $path !~ m{^(?:proto/\Q$1\E|t)/}) {
			push @bad, "$path: \"$what\" belongs to one dialect; the others know dialect.h";
		}
	}
	return @bad;
}

my @files;
find({ no_chdir => 1, wanted => sub { push @files, $_ if /\.(?:c|h|def)$/ } }, grep { -d } sort keys %may);
cmp_ok(scalar @files, '>', 40, 'files were found');
for my $room (sort keys %may) {
	my @bad = map { wrong($_, slurp($_)) } sort grep { m{^$room/} } @files;
	is(scalar @bad, 0, "arrows of $room") or diag join "\n", @bad;
}

# A header is included by somebody, or it is not part of the house.
my $all = join '', map { slurp($_) } @files;
my @alone = grep { /\.h$/ && index($all, "#include \"$_\"") < 0 } @files;
is("@alone", '', 'every header is included somewhere');

# The test itself can fail.
for my $sample (
	['shared/x.c',    '#include "proto/sse.h"'],
	['proto/x.c',     '#include "providers/catalog.h"'],
	['proto/x.c',     '#include <unistd.h>'],
	['providers/x.c', '#include "worker/http.h"'],
	['worker/x.c',    '#include "master/master.h"'],
	['master/x.c',    "int x;\n #  include \"worker/http.h\""],
	['shared/x.c',    '#include "base.h"'],
	['shared/x.c',    '#include "shared/no_such_header.h"'],
) {
	my ($line) = $sample->[1] =~ /include (.*)/;
	is(scalar wrong(@$sample), 1, "refused: $sample->[0] with $line");
}
is(scalar wrong('worker/x.c', '#include "shared/base.h"'), 0, 'accepted: worker with shared');

sub slurp {
	my ($path) = @_;
	open my $f, '<', $path or die "$path: $!";
	local $/;
	return scalar <$f>;
}

done_testing();
