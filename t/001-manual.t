#!/usr/bin/perl
# The manual and the tables of the program say the same. What is in one and not in the other fails here.
#
# How the pages (man/, mdoc) name things. The section is a .Sh; what belongs to it stands in one or several .Bl lists there:
#
#   what                     page                     section       item                    table
#   option of the file       omniroute.conf.5         OPTIONS       .It Ic name ...         shared/options.def
#   its default              same                     same          in the item: Default: or default; "MIN to MAX", the
#                                                                   words of an enumeration, hot, roll or start, and .Ev NAME
#   option of a section      omniroute.conf.5         SECTIONS      .It Ic name ..., under  members[] in master/conf_*.c
#                                                                   .Ss section
#   list                     omniroute.conf.5         OPTIONS       .It Ic trusted_proxies  CFG_STR_LIST_CB in the same
#   environment              omniroute.8              ENVIRONMENT   .It Ev NAME             env column of shared/options.def,
#                                                                                           getenv("NAME") of the program
#   command line             omniroute.8              OPTIONS       .It Fl c , Fl -config   master/options.c
#   signal                   omniroute.8              SIGNALS       .It Dv SIGHUP           master/signals.c
#   exit code                omniroute.8              EXIT STATUS   .It 0                   MASTER_EXITS in master/options.h
#   exit code of a worker    omniroute-internals.7    EXIT STATUS   .It 0                   enum worker_exit in shared/channel.h
#   exit code of ctl         omniroute-ctl.8          EXIT STATUS   .It 0                   master/ctl/exit.def
#   command of ctl           omniroute-ctl.8          COMMANDS      .It Ic keys add Ar NAME ...   master/ctl/command.c
#   control method           omniroute-ctl.8          METHODS       .It Ic connection.create   master/control.c
#   counter                  omniroute-internals.7    COUNTERS      .It Ic requests_total   shared/counters.def
#   other metric             omniroute-internals.7    METRICS       .It Ic in_flight        worker/metrics.def
#   failure label            omniroute-internals.7    FAILURES      .It Ic reset            shared/failure.def
#   message of a channel     omniroute-internals.7    CHANNEL       .It 0 Ta Dv SNAPSHOT    enum channel_type in shared/channel.h
#   between masters          omniroute-internals.7    UPGRADE       .It 0 Ta Dv SERVING     enum peer_type in master/peer.c
#
#   member of a profile      omniroute-providers.7    PROFILE       .It Ic name , name      proto/profile.def
#   word of a dialect        omniroute-providers.7    DIALECTS      .It Ic word Ta ...      proto/canon_words.c
#   endpoint                 omniroute-api.7          ENDPOINTS     .It Ic /v1/messages     worker/endpoint.c
#   header of a reply        omniroute-api.7          REPLIES       .It Li X-OmniRoute-...  worker/*.c
#
# The drawings of the live region, the rings and the snapshot in omniroute-internals.7 are held against the compiler: each line
# of $layout below must stand there, blanks apart.
#
# One .It may name several: ".It Ic a , Ic b". etc/omniroute.conf has each option once at the left margin as "#name = default";
# what stands inside an example of a section is indented behind its "#".
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/lib';
use File::Temp;
use OmniRoute::Util qw(build_dir run slurp spew);
use Test::More;

chdir $OmniRoute::Util::root or die;

# ---- the tables ----

# Rows of an X-macro table: [name of macro, arguments …], texts without their quotes.
sub rows {
	my ($text, $macro) = @_;
	my @rows;
	while ($text =~ /^[ \t]*($macro)\(((?:"(?:[^"\\]|\\.)*"|[^()"]|\([^()]*\))*)\)/mg) {
		my ($m, $args) = ($1, $2);
		my @args = "$args," =~ /\G\s*("(?:[^"\\]|\\.)*"|[^,"]*?)\s*,/g;
		s/^"(.*)"$/$1/s && s/\\(.)/$1/g for @args;
		push @rows, [$m, @args];
	}
	return @rows;
}

my $sources = join '', map { slurp($_) } glob('shared/*.[ch] shared/*.def proto/*.c providers/*.[ch] master/*.[ch] master/ctl/*.[ch] worker/*.[ch]');

sub exits {
	my ($text, $macro) = @_;
	return () unless $text =~ /#define \Q$macro\E\(X\)(.*?[^\\])\n/s;
	my $body = $1 =~ s/\\\n/\n/gr;
	return map { $_->[2] } rows($body, 'X');
}

my @options = rows(slurp('shared/options.def'), 'O_(?:INT|STR|ENUM)');
my %default = map { $_->[1] => $_->[2] } @options;
my %env = map { $_ => 1 } grep { $_ ne 'NULL' } map { $_->[0] eq 'O_INT' ? $_->[7] : $_->[0] eq 'O_STR' ? $_->[4] : $_->[5] } @options;
my @methods = slurp('master/control.c') =~ /\{"([a-z._]+)",\s*control_\w+,/g;
my ($worker_exits) = slurp('shared/channel.h') =~ /enum worker_exit \{(.*?)\};/s;
my @getopt = map { /getopt_long\(argc, argv, "([^"]+)"/ ? split(//, $1 =~ tr/://dr) : () } slurp('master/options.c');
my @getopt_long = map { "-$_" } slurp('master/options.c') =~ /^\s*\{"([a-z-]+)", (?:no|required)_argument/mg;
my $conf = join '', map { slurp($_) } glob 'master/conf*.c';
my @lists = $conf =~ /\bCFG_STR_LIST_CB\("(\w+)"/g;
my @section_options = map { /\{"(\w+)", "(\w+)"/ } $conf =~ /struct member members\[\] = \{(.*?)^\};/ms ? split /\n/, $1 : ();
@section_options = map { "$section_options[$_] $section_options[$_ + 1]" } grep { $_ % 2 == 0 } 0 .. $#section_options;
my @commands = map { s/ $//r } map { /^    \{"(\w+)", (?:"(\w+)"|NULL),/ ? join(' ', $1, $2 // '') : () }
    slurp('master/ctl/command.c') =~ /\bstruct ctl_command ctl_commands\[\] = \{(.*?)\};$/ms ? split /\n/, $1 : ();
my @signals = map { "SIG$_" } grep { !/^(?:CHLD|PIPE|_)/ } slurp('master/signals.c') =~ /\bSIG([A-Z]+[12]?)\b(?!_)/g;

# ---- the pages ----

# Items of a section of a page: what follows `macro` in its .It lines.
sub items {
	my ($page, $section, $macro) = @_;
	my $text = slurp("man/$page");
	my ($part) = $text =~ /^\.Sh \Q$section\E\n(.*?)(?=^\.Sh |\z)/ms or return ();
	my @found;
	my $under = '';
	for my $line ($part =~ /^\.((?:It|Ss) .*)$/mg) {
		$under = "$1 " and next if $line =~ /^Ss (.*)/;
		$line =~ s/^It //;
		if ($section eq 'COMMANDS') {    # words up to the first macro
			push @found, map { join ' ', grep { /^[a-z]/ } split / / } $line =~ /(?:^| )Ic ([a-z]+(?: [a-z]+)*)/g;
			next;
		}
		push @found, map { $section eq 'SECTIONS' ? "$under$_" : $_ } $macro eq '' ? $line =~ /^(-?\d+)/ : $line =~ /(?:^| )\Q$macro\E "?([^\s",]+)/g;
	}
	return map { s/\\&//gr =~ s/\\-/-/gr } @found;
}

sub uniq { my %s; return grep { !$s{$_}++ } @_ }

# Names that one side has and the other does not.
sub differences {
	my ($table, $manual) = @_;
	my %t = map { $_ => 1 } @$table;
	my %m = map { $_ => 1 } @$manual;
	return ((map { "$_ is not in the manual" } grep { !$m{$_} } sort keys %t),
		(map { "$_ is only in the manual" } grep { !$t{$_} } sort keys %m));
}

sub same {
	my ($what, $page, $section, $macro, @table) = @_;
	ok(@table > 0, "$what: the table was read");
	my @manual = items($page, $section, $macro);
	my @bad = differences(\@table, \@manual);
	is(scalar @bad, 0, "$what: $page, $section") or diag join "\n", @bad;
	my %count;
	$count{$_}++ for @manual;
	my @twice = grep { $count{$_} > 1 } sort keys %count;
	is("@twice", '', "$what: nothing twice");
}

is_deeply([differences(['a', 'b'], ['b', 'c'])], ['a is not in the manual', 'c is only in the manual'], 'a difference is seen');
is_deeply([rows(qq{X(a, "b, (c)", 1 + (2), "d\\"e")\nO_STR(x, "", HOT, NULL, "t")}, 'X|O_STR')],
	[['X', 'a', 'b, (c)', '1 + (2)', 'd"e'], ['O_STR', 'x', '', 'HOT', 'NULL', 't']], 'a table is read');

same('options', 'omniroute.conf.5', 'OPTIONS', 'Ic', @lists, map { $_->[1] } @options);
same('options of sections', 'omniroute.conf.5', 'SECTIONS', 'Ic', @section_options);
same('command line', 'omniroute.8', 'OPTIONS', 'Fl', @getopt, @getopt_long);
same('signals', 'omniroute.8', 'SIGNALS', 'Dv', uniq(@signals));
same('exit codes', 'omniroute.8', 'EXIT STATUS', '', exits(slurp('master/options.h'), 'MASTER_EXITS'));
same('exit codes of ctl', 'omniroute-ctl.8', 'EXIT STATUS', '', map { $_->[2] } rows(slurp('master/ctl/exit.def'), 'X'));
same('commands', 'omniroute-ctl.8', 'COMMANDS', 'Ic', @commands);
same('exit codes of a worker', 'omniroute-internals.7', 'EXIT STATUS', '', $worker_exits =~ /WORKER_EXIT_\w+ = (\d+)/g);
same('control methods', 'omniroute-ctl.8', 'METHODS', 'Ic', @methods);
same('counters', 'omniroute-internals.7', 'COUNTERS', 'Ic', map { $_->[2] } rows(slurp('shared/counters.def'), 'X'));
same('metrics', 'omniroute-internals.7', 'METRICS', 'Ic', map { $_->[2] } rows(slurp('worker/metrics.def'), 'X'));
same('failures', 'omniroute-internals.7', 'FAILURES', 'Ic', map { $_->[2] } rows(slurp('shared/failure.def'), 'X'));

# Environment: the manual may name more than the option table, but nothing that the program does not know.
my @ev = items('omniroute.8', 'ENVIRONMENT', 'Ev');
my %ev = map { $_ => 1 } @ev;
my @read = (join '', map { slurp($_) } glob 'shared/*.c master/*.c worker/*.c') =~ /\b(?:getenv\(|env_get\(\w+, )"(\w+)"/g;
my @missing = grep { !$ev{$_} } sort(keys %env), uniq(@read);
ok(@read >= 5, 'environment: what the program reads was found');
is("@missing", '', 'environment: every variable is in the manual');
my @unknown = grep { index($sources, "\"$_\"") < 0 } @ev;
is("@unknown", '', 'environment: the manual names nothing else');

my @bad;

# The default of each option stands in its entry.
subtest 'defaults in omniroute.conf.5' => sub {
	my ($part) = slurp('man/omniroute.conf.5') =~ /^\.Sh OPTIONS\n(.*?)(?=^\.Sh |\z)/ms;
	my %entry = ($part // '') =~ /^\.It Ic (\w+)[^\n]*\n(.*?)(?=^\.It |^\.El|\z)/msg;
	for my $o (@options) {
		my (undef, $name, $default) = @$o;
		my $text = $entry{$name} // '';
		ok($text =~ /default/i && ($default eq '' || index($text =~ s/\\&//gr, $default) >= 0 || $name eq 'access_log_format'),
			"$name: $default");
	}
};

# … with what is allowed, when it takes effect and the variable that stands over it.
subtest 'facts in omniroute.conf.5' => sub {
	my ($part) = slurp('man/omniroute.conf.5') =~ /^\.Sh OPTIONS\n(.*?)(?=^\.Sh |\z)/ms;
	my %entry = ($part // '') =~ /^\.It Ic (\w+)[^\n]*\n(.*?)(?=^\.It |^\.El|\z)/msg;
	for my $o (@options) {
		my ($kind, $name, @rest) = @$o;
		my $text = $entry{$name} // '';
		my ($apply, $variable) = $kind eq 'O_INT' ? @rest[4, 5] : $kind eq 'O_STR' ? @rest[1, 2] : @rest[2, 3];
		my %applies = map { $_ => 1 } $text =~ /\b(hot|roll|start)\b[;.]/g;
		is(join(' ', sort keys %applies), lc $apply, "$name: when it takes effect");
		is(join(' ', $text =~ /environment\n\.Ev (\w+)/g), $variable eq 'NULL' ? '' : $variable, "$name: environment");
		like($text, qr/\b\Q$rest[1] to $rest[2]\E\b/, "$name: range") if $kind eq 'O_INT';
		next if $kind ne 'O_ENUM' || $rest[1] eq 'false|true';
		like($text, qr/\b\Q$_\E\b/, "$name: $_") for split /\|/, $rest[1];
	}
};

# Variables of the access log.
my @variables = map { $_->[1] } rows(slurp('shared/logformat.def'), 'X');
same('access log', 'omniroute.conf.5', 'ACCESS LOG', 'Va', @variables);

# Providers: members of a profile with their words, dialects.
my @members = rows(slurp('proto/profile.def'), 'BOOL|WORD|NUMBER');
same('profile', 'omniroute-providers.7', 'PROFILE', 'Ic', map { s/ .*//r } map { $_->[1] } @members);
my @dialects = slurp('proto/canon_words.c') =~ /\[DIALECT_(?!NONE)\w+\] = "([a-z0-9-]+)"/g;
ok((grep { $_ eq 'openai-chat' } @dialects), 'dialects: the table was read');
my ($listed) = slurp('man/omniroute-providers.7') =~ /^\.Sh DIALECTS\n(.*?)(?=^\.Sh )/ms;
is(join(' ', sort(($listed // '') =~ /^\.It Ic (\S+) Ta/mg)), join(' ', sort(uniq(@dialects))), 'dialects: omniroute-providers.7');
subtest 'words of a profile' => sub {
	my ($part) = slurp('man/omniroute-providers.7') =~ /^\.Sh PROFILE\n(.*?)(?=^\.Sh |\z)/ms;
	my %entry = ($part // '') =~ /^\.It Ic (\w+)[^\n]*\n(.*?)(?=^\.It |^\.El|\z)/msg;
	for my $m (grep { $_->[0] eq 'WORD' } @members) {
		my (undef, $name, @words) = @$m;
		my @shown = map { grep { $_ ne ':' } split /[ ,;.]+/ } ($entry{$name} // '') =~ /^\.Cm ([^\n]*)/mg;
		is_deeply([sort @shown], [sort @words], $name);
	}
};

# The client API: endpoints, and the headers of replies that are ours.
my ($table) = slurp('worker/endpoint.c') =~ /^static const struct endpoint endpoints\[\] = \{(.*?)^\};/ms;
same('endpoints', 'omniroute-api.7', 'ENDPOINTS', 'Ic', uniq(($table // '') =~ /^\s*\{"([^"]+)"/mg));
my @reply_headers = uniq(map { slurp($_) =~ /"(X-[A-Za-z-]+)"/g } glob 'worker/*.c');
same('headers', 'omniroute-api.7', 'REPLIES', 'Li', @reply_headers);

# Options of the commands of omniroute-ctl: each is named in COMMANDS or DESCRIPTION of its page.
my ($ctl_page) = slurp('man/omniroute-ctl.8') =~ /^(\.Sh DESCRIPTION\n.*?)(?=^\.Sh PROTOCOL)/ms;
my %ctl_option = map { $_ => 1 } slurp('master/ctl/command.c') =~ /\{"([a-z0-9-]+)", (?:"[^"]+"|NULL), "[^"]+",[\s\\]+NULL\}/g;
my %ctl_shown = map { $_ => 1 } ($ctl_page // '') =~ /\bFl -([a-z0-9-]+)/g;
@bad = differences([keys %ctl_option], [keys %ctl_shown]);
is(scalar @bad, 0, 'options of commands: omniroute-ctl.8') or diag join "\n", @bad;

# ---- drawings ----

my $internals = slurp('man/omniroute-internals.7');
for (['CHANNEL', 'MSG', 'shared/channel.h', 'channel_type'], ['UPGRADE', 'PEER', 'master/peer.c', 'peer_type']) {
	my ($section, $prefix, $file, $enum) = @$_;
	my ($body) = slurp($file) =~ /^enum \Q$enum\E \{(.*?)\};/ms;
	my @names = grep { $_ ne 'TYPES' } ($body // '') =~ /\b${prefix}_(\w+)/g;
	my ($part) = $internals =~ /^\.Sh $section\n(.*?)(?=^\.Sh )/ms;
	my @shown = ($part // '') =~ /^\.It (\d+ Ta Dv \w+)/mg;
	is_deeply(\@shown, [map { "$_ Ta Dv $names[$_]" } 0 .. $#names], "messages: $file");
}

my $layout = <<'C';
#include <stdio.h>
#include "shared/channel.h"
#include "shared/live.h"
#include "shared/snapshot.h"
#define AT(type, member, fmt, ...) printf("%zu " fmt "\n", offsetof(struct type, member), __VA_ARGS__)
#define WORD(type, member, text) AT(type, member, "%zu " text, sizeof(((struct type *)0)->member))
#define ARRAY(type, member, text) AT(type, member, "%zu x %zu " text, sizeof(((struct type *)0)->member[0]), NELEM(((struct type *)0)->member))
#define ROWS(member, text) \
	AT(live, member, "%zu x %zu " text, NELEM(((struct live *)0)->member), sizeof(((struct live *)0)->member[0]))
int main(void) {
	WORD(live, head, "head");
	ROWS(conn, "provider connections"); ROWS(key, "client keys"); ROWS(worker, "workers");
	printf("%zu end\n", sizeof(struct live));
	WORD(live_head, magic, "magic"); WORD(live_head, major, "major"); WORD(live_head, minor, "minor"); WORD(live_head, len, "length");
	WORD(live_conn, id, "id"); WORD(live_conn, health, "health"); WORD(live_conn, last_used_wall_ms, "last used");
	WORD(live_conn, last_error, "last error"); ARRAY(live_conn, inflight, "in flight");
	WORD(live_key, id, "id"); WORD(live_key, last_used_wall_ms, "last used");
	printf("%zu %zu window\n", offsetof(struct live_key, rpm.head), sizeof(uint64_t));
	printf("%zu %zu x %u A\n", offsetof(struct live_key, rpm.entry), sizeof(uint64_t), RATE_ENTRIES);
	WORD(live_worker, owner, "owner"); WORD(live_worker, generation, "generation"); WORD(live_worker, pid, "pid");
	WORD(live_worker, state, "state"); WORD(live_worker, started_ns, "started"); WORD(live_worker, want_snap, "want");
	WORD(live_worker, have_snap, "have"); WORD(live_worker, heartbeat_ns, "heartbeat");
	WORD(live_worker, conns, "open client connections"); WORD(live_worker, open, "usage records reserved");
	ARRAY(live_worker, exchanges, "exchanges by state"); WORD(live_worker, rss_kb, "resident memory");
	ARRAY(live_worker, counter, "counters"); WORD(live_worker, latency, "latency");
	WORD(live_worker, ttft, "time to first byte"); ARRAY(live_worker, provider, "per provider"); WORD(live_worker, ring, "ring");
	WORD(ring, head, "head"); WORD(ring, generation, "generation"); WORD(ring, used, "used"); WORD(ring, tail, "tail");
	ARRAY(ring, queue, "queue"); ARRAY(ring, cell, "cells");
	printf("A record is %zu bytes\n", sizeof(struct usage_record));
	WORD(usage_record, generation, "generation"); WORD(usage_record, seq, "sequence"); WORD(usage_record, start_wall_us, "start");
	WORD(usage_record, end_wall_us, "end"); WORD(usage_record, latency_us, "latency"); WORD(usage_record, ttft_us, "time to first byte");
	WORD(usage_record, tokens_in, "tokens in"); WORD(usage_record, tokens_out, "out"); WORD(usage_record, tokens_cached, "cached");
	WORD(usage_record, tokens_reasoning, "reasoning"); WORD(usage_record, cost_udollar, "cost"); WORD(usage_record, status, "status");
	WORD(usage_record, attempts, "attempts"); WORD(usage_record, flags, "flags"); WORD(usage_record, bytes_in, "bytes in");
	WORD(usage_record, bytes_out, "bytes out"); WORD(usage_record, provider_slot, "provider slot");
	WORD(usage_record, conn_slot, "connection slot"); WORD(usage_record, error, "failure"); WORD(usage_record, request_id, "request id");
	WORD(usage_record, key_id, "key id"); WORD(usage_record, connection, "connection id"); WORD(usage_record, provider, "provider");
	WORD(usage_record, model_asked, "model asked"); WORD(usage_record, model_used, "model used"); WORD(usage_record, dialect, "dialect");
	WORD(snap_head, magic, "magic"); WORD(snap_head, version, "version"); WORD(snap_head, len, "length");
	WORD(snap_head, number, "number"); WORD(snap_head, checksum, "BLAKE2b-128"); WORD(snap_head, settings, "settings");
	AT(snap_head, listeners, "%zu x %zu tables", sizeof(struct snap_table),
	    (offsetof(struct snap_head, pool_off) - offsetof(struct snap_head, listeners)) / sizeof(struct snap_table));
	WORD(snap_head, pool_off, "offset of the string pool"); WORD(snap_head, pool_len, "its length");
	printf("%zu rows of %zu, %zu, %zu, %zu, %zu, %zu, %zu bytes\n", sizeof(struct snap_head), sizeof(struct snap_listener),
	    sizeof(struct snap_net), sizeof(struct snap_provider), sizeof(struct snap_conn), sizeof(struct snap_name),
	    sizeof(struct snap_model), sizeof(struct snap_key));
	WORD(channel_msg, version, "version"); WORD(channel_msg, type, "type"); WORD(channel_msg, arg, "arg"); WORD(channel_msg, arg2, "arg2");
	printf("one packet of %zu bytes\n", sizeof(struct channel_msg));
	printf("layout major %d, snapshot version %d and channel version %d\n", LIVE_MAJOR, SNAP_VERSION, CHANNEL_VERSION);
	printf("%d channel\n%d live region\n%d eventfd\n%d spool file\n%d error log\n%d access log\n%d ... listening sockets\n",
	    WORKER_FD_CHANNEL, WORKER_FD_LIVE, WORKER_FD_EVENT, WORKER_FD_SPOOL, WORKER_FD_LOG, WORKER_FD_ACCESS, WORKER_FD_LISTEN);
	return 0;
}
C
my $tmp = File::Temp->newdir;
spew("$tmp/layout.c", $layout);
my $cc = run([$ENV{CC} || 'cc', '-std=c17', '-D_GNU_SOURCE', '-I.', '-o', "$tmp/layout", "$tmp/layout.c"]);
is($cc->{code}, 0, 'drawings: the compiler') or diag $cc->{err};
my @lines = split /\n/, run(["$tmp/layout"])->{out};
my $drawn = ' ' . $internals =~ s/\s+/ /gr;
my @undrawn = grep { index($drawn, " $_") < 0 } @lines;
cmp_ok(scalar @lines, '>', 80, 'drawings: sizes and places');
is(scalar @undrawn, 0, 'drawings: omniroute-internals.7') or diag join "\n", @undrawn;

# ---- etc/omniroute.conf ----

my %shown;
my @twice = grep { $shown{$_}++ } slurp('etc/omniroute.conf') =~ /^#(\w+)[ \t]*=/mg;
@bad = differences([@lists, map { $_->[1] } @options], [keys %shown]);
s/manual/file/ for @bad;
is(scalar @bad, 0, 'etc/omniroute.conf: every option') or diag join "\n", @bad;
is("@twice", '', 'etc/omniroute.conf: each once');
subtest 'etc/omniroute.conf: at their defaults' => sub {
	my %value = slurp('etc/omniroute.conf') =~ /^#(\w+)[ \t]*=[ \t]*(?|"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s#]*))[ \t]*(?:#.*)?$/mg;
	is(($value{$_} // '?') =~ s/\\(["\\])/$1/gr, $default{$_}, $_) for sort keys %default;
};
my @active = grep { !/^\s*(?:#|$)/ } split /\n/, slurp('etc/omniroute.conf');
is("@active", '', 'etc/omniroute.conf: all of it is commented');

# ---- the pages themselves ----

my @pages = glob 'man/*.[578]';
cmp_ok(scalar @pages, '>=', 4, 'there are pages');
for my $page (@pages) {
	my $r = run(['mandoc', '-Tlint', '-W', 'warning', $page]);
	is($r->{out} . $r->{err}, '', "mandoc: $page");
	my $name = $page =~ s{man/(.*)\.\d$}{$1}r;
	like(slurp($page), qr/^\.Nm \Q$name\E$/m, "$page: its name");
}

# ---- README ----

my $readme = slurp('README.md');
my $makefile = slurp('Makefile');
my @blocks = $readme =~ /^    (\S.*)$/mg;
for my $target (uniq(map { /(?:^|`|&& )(?:sudo )?make ([a-z]+)/g } @blocks, map { "`$_" } $readme =~ /`([^`\n]+)`/g)) {
	like($makefile, qr/^\Q$target\E:/m, "README: make $target");
}
my $help = -x build_dir() . '/omniroute-ctl' ? run([build_dir() . '/omniroute-ctl', '--help'])->{out} : '';
for my $command (uniq($readme =~ m{omniroute-ctl ([a-z]+(?: (?:add|list|show|remove|enable|disable|test|available)\b)?)}g)) {
	my ($noun, $verb) = split / /, $command;
	ok($help =~ /^\s+(?:omniroute-ctl\s+)?\Q$noun\E\b/m && (!defined $verb || $help =~ /^\s.*\b\Q$noun\E\b.*\b\Q$verb\E\b/m),
		"README: omniroute-ctl $command");
}
for my $file (uniq($readme =~ m{(?<![\w/.-])((?:contrib|man|etc|t)/[\w./-]*\w)}g)) {
	ok(-e $file, "README: $file is there");
}
for my $option (uniq(grep { exists $default{$_} || /_/ } $readme =~ /`([a-z_]+)`/g)) {
	ok(exists $default{$option} || $sources =~ /"\Q$option\E"/, "README: $option is an option");
}

done_testing();
