#!/usr/bin/perl
# The official openai client, straight at two workers and through nginx with the shipped configuration.
use strict;
use warnings;
use lib 't/lib';
use OmniRoute;
use OmniRoute::Nginx;
use Cwd qw(abs_path);
use Test::More;

my $modules = abs_path('build/sdk');
plan skip_all => 'the client is not installed (make check does it)' unless $modules && -d "$modules/node_modules/openai";

my $up = OmniRoute::Upstream->start;
my $g = start_gateway(workers => 2, upstreams => { map { $_ => $up } qw(plain c404 c429 c500 ccut) },
	conf => qq(trusted_proxies = {"127.0.0.1"}\ncooldown_base = 0\nkey "sdk" { key = "$KEY" }\n));

for my $way (['straight', sub { $g->url }], ['through nginx', sub { OmniRoute::Nginx->start($g) }]) {
	my ($name, $make) = @$way;
	SKIP: {
		skip 'nginx is not installed', 1 if $name ne 'straight' && !OmniRoute::Nginx::available();
		my $front = $make->();
		local %ENV = (%ENV, GATEWAY => ref $front ? $front->url : $front, UPSTREAM => 'http://127.0.0.1:' . $up->port,
			KEY => $KEY, MODULES => $modules, STREAMS => 200);
		my $r = OmniRoute::Util::run(['node', 't/sdk/openai.mjs'], timeout => 180);
		subtest $name => sub {
			my ($planned) = $r->{out} =~ /^1\.\.(\d+)$/m;
			is($r->{code}, 0, 'exit status') or diag $r->{out} . $r->{err};
			ok($planned && $planned >= 24, 'every test of the client ran') or diag $r->{out} . $r->{err};
			ok($1 eq 'ok', $2) while $r->{out} =~ /^(ok|not ok) \d+ - (.*)$/mg;
			is($front->stop, '', 'nginx has nothing to complain about') if ref $front;
		};
	}
}

my $m = $g->metrics;
my @served = grep { $m->{$_} > 0 } grep { /^omniroute_worker_requests_total\{.*worker=/ } keys %$m;
is(scalar @served, 2, 'both workers served') or diag join "\n", grep { /requests_total/ } keys %$m;
is($up->stop, 0, 'the upstream leaves in order');
finish();
