#!/usr/bin/perl
# Coding agents as their makers ship them, each at an upstream of another dialect: a task of three tool calls, one after the
# other. What the agent did is in its files, what the upstream was told in its log. Nothing leaves the loopback interface.
use strict;
use utf8;
use warnings;
use Cwd qw(abs_path);
use Encode qw(decode encode);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/../lib';
use File::Path qw(make_path);
use File::Temp;
use JSON::PP;
use OmniRoute;
use OmniRoute::Util qw(build_dir spawn reap);
use Test::More;

my $here = dirname(abs_path(__FILE__));
my $bin = ($ENV{OMNIROUTE_AGENTS} // abs_path("$here/../..") . '/build/agents') . '/node_modules/.bin';
my $json = JSON::PP->new->utf8->canonical;
my $LAST = 'All three steps are done: two lines.';
my $SECONDS = 60;

# ---- the task: a file, one made of it, and what is in that ----

my @shells = qw(Bash exec_command shell shell_command run_shell_command);

# The same command for the shell tool of each.
sub shell_call {
	my ($command, @also) = @_;
	my ($tool, $args) = @also;
	return { tools => [$tool // (), @shells], args => {
		Bash => { command => $command, description => 'a step' },
		exec_command => { cmd => $command },
		shell => { command => ['sh', '-c', $command] },
		shell_command => { command => $command },
		run_shell_command => { command => $command, description => 'a step' },
		$tool ? ($tool => $args) : () } };
}

sub task {
	my ($dir, $reader, $read_args) = @_;
	return { text => $LAST, calls => [
		shell_call('echo "eins, zwei: ÄÖ" > one.txt && echo made one'),
		shell_call('cat one.txt one.txt > two.txt && wc -l < two.txt'),
		shell_call('cat two.txt', $reader ? ($reader => $read_args) : ())] };
}

# ---- the agents ----

# Variables that keep each from asking the net for anything else.
my %quiet = (NO_COLOR => 1, TERM => 'dumb', CI => 1, DO_NOT_TRACK => 1, NO_UPDATE_NOTIFIER => 1, NPM_CONFIG_UPDATE_NOTIFIER => 'false');

my %agent = (
	claude => {
		name => 'Claude Code',
		task => sub { task($_[0], Read => { file_path => "$_[0]/two.txt" }) },
		env => sub { my ($g, $home) = @_; (
			ANTHROPIC_BASE_URL => $g->url, ANTHROPIC_AUTH_TOKEN => $KEY, ANTHROPIC_MODEL => 'up/m', ANTHROPIC_SMALL_FAST_MODEL => 'up/small',
			ANTHROPIC_DEFAULT_HAIKU_MODEL => 'up/small', CLAUDE_CONFIG_DIR => "$home/.claude", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC => 1,
			DISABLE_AUTOUPDATER => 1, DISABLE_TELEMETRY => 1, DISABLE_ERROR_REPORTING => 1, IS_SANDBOX => 1, API_TIMEOUT_MS => 20000) },
		command => ['-p', 'Make the two files and say how many lines there are.', '--allowedTools', 'Bash,Read', '--dangerously-skip-permissions',
			'--output-format', 'json'],
		last => sub { my ($r) = @_; my $o = eval { $json->decode($r->{out}) } // {}; ($o) = grep { $_->{type} eq 'result' } @$o if ref $o eq 'ARRAY'; return $o->{result} },
	},
	codex => {
		name => 'Codex',
		task => sub { task($_[0]) },
		files => sub { my ($g, $home) = @_; ("$home/.codex/config.toml" => <<"TOML") },
model = "up/m"
model_provider = "gateway"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[model_providers.gateway]
name = "gateway"
base_url = "@{[$g->url]}/v1"
wire_api = "responses"
env_key = "GATEWAY_KEY"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
TOML
		env => sub { my ($g, $home) = @_; (CODEX_HOME => "$home/.codex", GATEWAY_KEY => $KEY) },
		command => ['exec', '--skip-git-repo-check', '-o', 'last.txt', 'Make the two files and say how many lines there are.'],
		last => sub { my ($r, $dir) = @_; slurp("$dir/last.txt") },
	},
	gemini => {
		name => 'Gemini CLI',
		task => sub { task($_[0], read_file => { file_path => "two.txt" }) },
		files => sub { my ($g, $home) = @_; ("$home/.gemini/settings.json" => $json->encode({
			security => { auth => { selectedType => 'gemini-api-key' } }, privacy => { usageStatisticsEnabled => JSON::PP::false },
			general => { disableAutoUpdate => JSON::PP::true, disableUpdateNag => JSON::PP::true }, telemetry => { enabled => JSON::PP::false } })) },
		env => sub { my ($g, $home) = @_; (GOOGLE_GEMINI_BASE_URL => $g->url, GEMINI_API_KEY => $KEY, GEMINI_CLI_TRUST_WORKSPACE => 'true') },
		command => ['-m', 'up/m', '--yolo', '-o', 'json', '-p', 'Make the two files and say how many lines there are.'],
		last => sub { my ($r) = @_; my $o = eval { $json->decode($r->{out} =~ s/\A[^{]*//sr) } // {}; return $o->{response} },
	},
);

# ---- running one ----

sub text_of { return decode("UTF-8", slurp($_[0])) }

sub start_upstream {
	my ($tmp, $task) = @_;
	spew("$tmp/steps.json", $json->encode($task));
	open my $out, '>', "$tmp/upstream.log" or die;
	my $pid = spawn(['node', "$here/agents/upstream.mjs", "$tmp/steps.json"], out => $out);
	wait_until(20, sub { slurp("$tmp/upstream.log") =~ /^\d+\n/ }, 'the upstream');
	my ($port) = slurp("$tmp/upstream.log") =~ /^(\d+)\n/;
	return ($pid, $port);
}

sub write_files {
	my (%files) = @_;
	for my $path (keys %files) {
		make_path(dirname($path));
		spew($path, $files{$path});
	}
}

sub run_agent {
	my ($which, $dialect) = @_;
	my $a = $agent{$which};
	my $tmp = File::Temp->newdir('omniroute-agent.XXXXXX', TMPDIR => 1, CLEANUP => !$ENV{OMNIROUTE_KEEP});
	my ($home, $dir) = ("$tmp/home", "$tmp/work");
	mkdir $_ for $home, $dir;
	my ($pid, $port) = start_upstream("$tmp", $a->{task}->($dir));
	my $g = start_gateway(conf => qq(require_api_key = true\nkey "k" {\n\tkey = "$KEY"\n}\n),
		upstreams => { up => { base_url => "http://127.0.0.1:$port/v1", dialect => $dialect } });
	write_files($a->{files} ? $a->{files}->($g, $home) : ());
	my %env = (%quiet, PATH => $ENV{PATH}, HOME => $home, LANG => 'C.UTF-8', SHELL => '/bin/sh', $a->{env}->($g, $home));
	# timeout has the agent in a process group of its own and ends its children as well
	my $r = run(['timeout', '-k', '2', $SECONDS, "$bin/$which", @{ $a->{command} }], dir => $dir, clean => 1, env => \%env, timeout => $SECONDS + 5);
	my $last = $a->{last}->($r, $dir) // '';
	$g->stop;
	kill TERM => $pid;
	reap($pid, 10);
	my (undef, @log) = split /\n/, slurp("$tmp/upstream.log");
	diag "$tmp" if $ENV{OMNIROUTE_KEEP};
	return { %$r, last => $last, dir => $dir, tmp => $tmp, log => [map { $json->decode($_) } @log], gateway => $g };
}

sub agent_does_it {
	my ($which, $dialect) = @_;
	my $short = $dialect =~ s/^\w+-//r;
	subtest "$agent{$which}{name} at an upstream that speaks $dialect" => sub {
		plan skip_all => "$which is not installed (make build/agents/.installed does it where npm has it)" unless -x "$bin/$which";
		my $r = run_agent($which, $dialect);
		is($r->{code}, 0, 'exit status');
		is($r->{last} =~ s/\s+\z//r, $LAST, 'last words');
		is(text_of("$r->{dir}/one.txt"), "eins, zwei: ÄÖ\n", 'the first file');
		is(text_of("$r->{dir}/two.txt"), "eins, zwei: ÄÖ\n" x 2, 'the second');
		my @steps = grep { $_->{tools} } @{ $r->{log} };
		is_deeply([map { scalar @{ $_->{results} } } @steps], [0 .. 3], 'one more result in each request');
		my @results = @{ ($steps[-1] // {})->{results} // [] };
		like($results[0] // '', qr/made one/, 'the first result');
		like($results[1] // '', qr/\b2\b/, 'the second');
		like($results[2] // '', qr/eins, zwei: ÄÖ.*eins, zwei: ÄÖ/s, 'the third');
		is_deeply([grep { $_ ne $short } map { $_->{dialect} } @{ $r->{log} }], [], 'asked in its own dialect');
		diag $r->{out}, $r->{err}, map { $json->encode($_) . "\n" } @{ $r->{log} } unless Test::More->builder->is_passing;
		diag $r->{gateway}->stderr unless Test::More->builder->is_passing;
	};
}

agent_does_it(@$_) for grep { !$ENV{OMNIROUTE_AGENT} || $_->[0] eq $ENV{OMNIROUTE_AGENT} }
    [claude => 'openai-chat'], [codex => 'anthropic-messages'], [gemini => 'openai-chat'], [gemini => 'anthropic-messages'];
finish();
