#!/usr/bin/perl
# Every program of build/t/unit, as a subtest. One that crashes, hangs, prints no plan, or runs fewer tests than its plan says, fails.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use lib dirname(abs_path(__FILE__)) . '/lib';
use OmniRoute::Util qw(build_dir run);
use Test::More;

chdir $OmniRoute::Util::root or die;

# Groups of tests, each with a plan: (lines of failed ones, number that ran, what is wrong with the output).
sub read_tap {
	my ($out) = @_;
	my ($planned, $ran, @failed, @wrong, $open) = (0, 0);
	for my $line (split /\n/, $out) {
		if ($line =~ /^1\.\.(\d+)/) {
			push @wrong, "a plan of $planned, but $ran ran" if $open && $ran != $planned;
			$planned += $1;
			$open = 1;
		} elsif ($line =~ /^(not )?ok\b/) {
			$ran++;
			push @failed, $line if $1 && $line !~ /# (?:SKIP|TODO)/;
		}
	}
	push @wrong, 'no plan' unless $planned;
	push @wrong, "a plan of $planned, but $ran ran" if $planned && $ran != $planned && !@wrong;
	return (\@failed, $ran, @wrong);
}

is_deeply([read_tap("1..2\nok 1 - a\nnot ok 2 - b\n")], [['not ok 2 - b'], 2], 'a failure is seen');
is_deeply([read_tap("1..2\nok 1 - a\n")], [[], 1, 'a plan of 2, but 1 ran'], 'a crash half-way is seen');
is_deeply([read_tap('')], [[], 0, 'no plan'], 'silence is seen');

my %have = map { basename($_) => $_ } grep { -f && -x } glob build_dir() . '/t/unit/*';
my @want = map { basename($_, '.c') } glob 't/unit/*.c';
ok(@want > 0, 'there are unit tests');
for my $name (@want) {
	subtest $name => sub {
		ok($have{$name}, 'was built') or return;
		my $r = run([$have{$name}], env => { %ENV, CMOCKA_MESSAGE_OUTPUT => 'TAP' }, clean => 1, timeout => 300);
		my ($failed, $ran, @wrong) = read_tap($r->{out});
		is($r->{code}, 0, 'exit code');
		is("@wrong", '', 'complete output');
		is(scalar @$failed, 0, "$ran tests pass") or diag join "\n", @$failed;
		diag $r->{err}, $r->{out} if $r->{code} != 0 || @wrong;
		unlike($r->{err}, qr/AddressSanitizer|LeakSanitizer|runtime error:/, 'nothing from a sanitizer');
	};
}

done_testing();
