#!/usr/bin/perl
# Every fuzz target reads its kept corpus again, without a fuzzer: a finding that was mended stays mended.
use strict;
use warnings;
use Test::More;

my $build = $ENV{OMNIROUTE_BUILD} // 'build';
my @targets = map { m{([^/]+)\.c$} ? $1 : () } sort glob 't/fuzz/*.c';
plan tests => scalar @targets;
for my $name (@targets) {
	my @corpus = sort glob "t/fuzz/corpus/$name/*";
	my $out = @corpus ? `$build/t/fuzz/$name @corpus 2>&1` : '';
	my $ok = () = $out =~ /^ok /mg;
	ok @corpus && $? == 0 && $ok == @corpus, "$name: " . @corpus . " files" or diag $out;
}
