#!/usr/bin/perl
# The official SDKs, each at an upstream of every dialect: text, streams, tools over two turns, images, structured output, reasoning,
# signatures, aborts and every class of error. kit.mjs says what must come out; upstream.mjs is what they talk to.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use OmniRoute;
use OmniRoute::Util qw(spawn reap);
use Test::More;

my $here = dirname(abs_path(__FILE__));
my $modules = $ENV{OMNIROUTE_SDKS} // abs_path("$here/../..") . '/build/sdk';
plan skip_all => 'the SDKs are not installed (make check does it)' unless -d "$modules/node_modules/openai";
my %word = (chat => 'openai-chat', messages => 'anthropic-messages', gemini => 'gemini', responses => 'openai-responses');

my $tmp = File::Temp->newdir('omniroute-sdk.XXXXXX', TMPDIR => 1);
open my $out, '>', "$tmp/port" or die;
my $up = spawn(['node', "$here/upstream.mjs"], out => $out);
wait_until(20, sub { slurp("$tmp/port") =~ /^\d+\n/ }, 'the upstream');
my ($port) = slurp("$tmp/port") =~ /^(\d+)\n/;

# One gateway for each client, as it finds connections that had to slow down resting.
sub gateway {
	return start_gateway(workers => 2, conf => qq(require_api_key = true\ncooldown_base = 0\nkey "sdk" {\n\tkey = "$KEY"\n}\n),
		upstreams => { map { my $u = $_; map { ("$_-$u" => { base_url => "http://127.0.0.1:$port/v1", dialect => $word{$u} }) } 'u', map { "r$_" } 1 .. 6 } keys %word });
}

for my $client (sort glob("$here/clients/*.mjs")) {
	my $name = basename($client, '.mjs');
	next if $ENV{OMNIROUTE_CLIENT} && $name ne $ENV{OMNIROUTE_CLIENT};
	my $g = gateway();
	local %ENV = (%ENV, GATEWAY => $g->url, UPSTREAM => "http://127.0.0.1:$port", KEY => $KEY, MODULES => $modules);
	my $r = OmniRoute::Util::run(['node', $client], timeout => 60);
	subtest $name => sub {
		my ($planned) = $r->{out} =~ /^1\.\.(\d+)$/m;
		is($r->{code}, 0, 'exit status') or diag $r->{err}, grep { /^(not ok|#)/ } $r->{out} =~ /^.*\n/mg;
		cmp_ok($planned // 0, '>=', 150, 'every scene was played');
		ok($1 eq 'ok', $2) while $r->{out} =~ /^(ok|not ok) \d+ - (.*)$/mg;
	};
}

kill TERM => $up;
reap($up, 10);
finish();
