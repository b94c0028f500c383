#!/usr/bin/perl
# Limits of keys are exact over all workers: a key of 100 requests a minute gets 100, no burst on top, however many ask.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use POSIX qw(_exit);
use Test::More;
use Time::HiRes qw(time);

my $second = 'or-secondkeysecondkeysecondkeysecondkey00000004';
my $free   = 'or-freefreefreefreefreefreefreefreefree00000005';
my $g = start_gateway(workers => 8, conf => <<"EOC");
key "limited" { key = "$KEY" rpm = 100 }
key "second" { key = "$second" rpm = 7 }
key "free" { key = "$free" }
EOC
my $body = chat_body('echo/echo-1');

# Eight processes, each over several connections: counts by status, and one of the refusals.
sub hammer {
	my ($key, $each) = @_;
	my @pipes;
	for my $child (1 .. 8) {
		pipe my $r, my $w or die;
		my $pid = fork // die;
		if ($pid == 0) {
			close $r;
			my %n;
			my $refused = '';
			my @c = map { $g->connect } 1 .. 4;
			my $bytes = OmniRoute::Http::build(POST => '/v1/chat/completions', body => $body, headers => [['x-api-key', $key]]);
			for my $i (1 .. $each) {
				my $c = $c[$i % @c];
				$c->write($bytes);
				my $a = $c->response;
				$n{ $a->{status} }++;
				$refused = join '|', $a->{status}, OmniRoute::Http::header($a, 'retry-after') // '', $a->{body} if $a->{status} != 200;
			}
			print $w join(' ', map { "$_=$n{$_}" } sort keys %n), "\n$refused\n";
			close $w;
			_exit(0);
		}
		close $w;
		push @pipes, [$pid, $r];
	}
	my (%sum, $refused);
	for my $p (@pipes) {
		my ($counts, $why) = map { $_ // '' } readline $p->[1];
		chomp($counts, $why);
		$sum{$1} += $2 while $counts =~ /(\d+)=(\d+)/g;
		$refused = $why if $why ne '';
		waitpid $p->[0], 0;
	}
	return (\%sum, $refused);
}

my $start = time;
my ($n, $refused) = hammer($KEY, 40);
is_deeply($n, { 200 => 100, 429 => 220 }, '100 of 320 are served, exactly') or diag explain $n;
my ($status, $after, $text) = split /\|/, $refused // '', 3;
like($after, qr/^[1-9]\d?$/, 'Retry-After');
like($text, qr/^\{"error":\{"message":"[^"]+","type":"rate_limit_error","code":"rate_limit_exceeded"/, 'the error');
($n) = hammer($KEY, 5);
is_deeply($n, { 429 => 40 }, 'and none more');
($n) = hammer($second, 2);
is_deeply($n, { 200 => 7, 429 => 9 }, 'another key has its own count');
($n) = hammer($free, 10);
is_deeply($n, { 200 => 80 }, 'a key without a limit has none');
is($g->chat($body)->{status}, 200, 'nor has who needs no key');
is($g->counter('limited_total'), 220 + 40 + 9, 'refusals are counted');
my @busy = grep { $_ > 0 } map { $g->counter('worker_requests_total', qr/worker="$_"/) } 0 .. 7;
diag scalar(@busy), ' workers took part';
cmp_ok(scalar @busy, '>=', 2, 'over several workers');
cmp_ok(time - $start, '<', 55, 'all within one minute, or the test says nothing');
is($g->request(GET => '/v1/models', headers => [['x-api-key', $KEY]])->{status}, 200, 'looking costs nothing');

$g->ctl('reload');
($n) = hammer($KEY, 5);
is_deeply($n, { 429 => 40 }, 'a reload forgets nothing') if time - $start < 55;

finish();
