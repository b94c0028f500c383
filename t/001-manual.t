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
#
# One .It may name several: ".It Ic a , Ic b". etc/omniroute.conf has each option once at the left margin as "#name = default";
# what stands inside an example of a section is indented behind its "#".
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use lib dirname(abs_path(__FILE__)) . '/lib';
use OmniRoute::Util qw(build_dir run slurp);
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

# Options of the commands of omniroute-ctl: each is named in COMMANDS or DESCRIPTION of its page.
my ($ctl_page) = slurp('man/omniroute-ctl.8') =~ /^(\.Sh DESCRIPTION\n.*?)(?=^\.Sh PROTOCOL)/ms;
my %ctl_option = map { $_ => 1 } slurp('master/ctl/command.c') =~ /\{"([a-z0-9-]+)", (?:"[^"]+"|NULL), "[^"]+",[\s\\]+NULL\}/g;
my %ctl_shown = map { $_ => 1 } ($ctl_page // '') =~ /\bFl -([a-z0-9-]+)/g;
@bad = differences([keys %ctl_option], [keys %ctl_shown]);
is(scalar @bad, 0, 'options of commands: omniroute-ctl.8') or diag join "\n", @bad;

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
