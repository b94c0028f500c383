#!/usr/bin/perl
# Checks providers/<id>.json and writes them to standard output as C (catalog_data.h). Any fault ends the build.
#
#   id            [a-z0-9-], the name of the file          alias         a second, shorter one
#   name          for people                               category      apikey free cheap local builtin
#   website       where one gets a key                     notes         what a user of it should know
#   base_url      https, or http when local; absent: the operator must give one
#   dialects      what it speaks, ["openai-chat"] unless said otherwise; the first one is spoken to clients of all others
#   chat_path, models_path   behind the base URL; no models_path: it has no list of models in this form. Other dialects have a fixed path
#   profile       what it wants beyond its dialect: proto/profile.def
#   auth          {header, scheme, required, sign}: "header: scheme key"; header null: no credential; sign "sigv4": AWS keys
#   headers       {name: value}, sent with every request
#   local         loopback and private addresses are allowed
#   builtin       answered by the worker itself
#   models        [{id, name, context_length, max_output_tokens}]; the id is the provider's own
use strict;
use warnings;
use JSON::PP;

my %known = map { $_ => 1 } qw(id alias name category website base_url dialects chat_path models_path profile auth headers local builtin models notes);
my %dialect = map { $_ => 1 } qw(openai-chat openai-responses anthropic-messages gemini cohere-v2 ollama-chat bedrock-converse);
my %profile = map { $_ => 1 } map { /^(?:BOOL|WORD|NUMBER)\((\w+)/ ? $1 : () } do {
	open my $fh, '<', (($0 =~ m{^(.*/)})[0] // './') . '../proto/profile.def' or die "proto/profile.def: $!\n";
	<$fh>;
};
my %auth_known  = map { $_ => 1 } qw(header scheme required sign);
my %model_known = map { $_ => 1 } qw(id name context_length max_output_tokens);
my %category    = map { $_ => 1 } qw(apikey free cheap local builtin);
my ($file, %taken);

sub fault { die "$file: @_\n" }

sub only {
	my ($what, $object, $allowed) = @_;
	fault("$what must be an object") unless ref $object eq 'HASH';
	$allowed->{$_} or fault("$what: unknown member \"$_\"; known: " . join(' ', sort keys %$allowed)) for sort keys %$object;
}

sub text {
	my ($what, $value, $pattern) = @_;
	fault("$what must be a string that matches $pattern")
		if !defined $value || ref $value || $value !~ $pattern || $value =~ /[\x00-\x1f\x7f]/;
}

sub flag {
	my ($what, $value) = @_;
	fault("$what must be true or false") unless JSON::PP::is_bool($value);
}

sub check_auth {
	my ($auth) = @_;
	only('auth', $auth, \%auth_known);
	fault('auth.header is missing (null: no credential)') unless exists $auth->{header};
	if (exists $auth->{sign}) {
		fault('auth.sign must be "sigv4"') unless ($auth->{sign} // '') eq 'sigv4';
		fault('auth.header must be null where requests are signed') if defined $auth->{header};
		flag('auth.required', $auth->{required});
	}
	return unless defined $auth->{header};
	text('auth.header', $auth->{header}, qr/^[A-Za-z][A-Za-z0-9-]*$/);
	text('auth.scheme', $auth->{scheme}, qr/^[A-Za-z]*$/);
	flag('auth.required', $auth->{required});
}

sub check_models {
	my ($models) = @_;
	my %seen;
	fault('models must be a list') unless ref $models eq 'ARRAY';
	for my $m (@$models) {
		only('a model', $m, \%model_known);
		text('models.id', $m->{id}, qr/^[!-~]{1,128}$/);
		text("models.name of $m->{id}", $m->{name}, qr/^.+$/);
		fault("model $m->{id} is there twice") if $seen{$m->{id}}++;
		for (qw(context_length max_output_tokens)) {
			fault("$_ of $m->{id} must be a whole number above 0")
				if exists $m->{$_} && ($m->{$_} !~ /^[1-9][0-9]{0,9}$/ || $m->{$_} > 0xffffffff);
		}
	}
}

sub check {
	my ($p) = @_;
	only('the provider', $p, \%known);
	text('id', $p->{id}, qr/^[a-z0-9][a-z0-9-]{0,30}$/);
	fault('the file must be named for its id') unless $file =~ m{(?:^|/)\Q$p->{id}\E\.json$};
	text('alias', $p->{alias}, qr/^[a-z0-9][a-z0-9-]{0,30}$/) if exists $p->{alias};
	for my $name (grep { defined } $p->{id}, $p->{alias}) {
		fault("\"$name\" is also the id or alias of $taken{$name}") if $taken{$name};
		$taken{$name} = $file;
	}
	text('name', $p->{name}, qr/^.+$/);
	fault('category must be one of ' . join(' ', sort keys %category)) unless $category{$p->{category} // ''};
	for (qw(local builtin)) { flag($_, $p->{$_}) if exists $p->{$_} }
	my $local = $p->{local};
	text('website',  $p->{website},  qr{^https://[^\s]+$}) if exists $p->{website};
	text('base_url', $p->{base_url}, $local ? qr{^https?://[^\s?#@]+[^/\s?#@]$} : qr{^https://[^\s?#@]+[^/\s?#@]$})
		if exists $p->{base_url};
	my @dialects = ref $p->{dialects} eq 'ARRAY' ? @{$p->{dialects}} : exists $p->{dialects} ? fault('dialects must be a list') : 'openai-chat';
	my %speaks;
	$dialect{$_ // ''} && !$speaks{$_}++ or fault('dialects: each once, of ' . join(' ', sort keys %dialect)) for @dialects;
	fault('dialects must not be empty') unless @dialects;
	text('chat_path', $p->{chat_path}, qr{^/[^\s#]+$}) if exists $p->{chat_path} || ($speaks{'openai-chat'} && !$p->{builtin});
	fault('chat_path without openai-chat') if exists $p->{chat_path} && !$speaks{'openai-chat'};
	only('profile', $p->{profile}, \%profile) if exists $p->{profile};
	text('models_path', $p->{models_path}, qr{^/[^\s#]+$}) if exists $p->{models_path};
	text('notes', $p->{notes}, qr/^.+$/) if exists $p->{notes};
	check_auth($p->{auth});
	check_models($p->{models});
	return unless exists $p->{headers};
	fault('headers must be an object') unless ref $p->{headers} eq 'HASH';
	for (sort keys %{$p->{headers}}) {
		text('a name in headers', $_, qr/^[A-Za-z][A-Za-z0-9-]*$/);
		text("headers.$_", $p->{headers}{$_}, qr/^[ -~]+$/);
	}
}

# One C string literal per line of the file. "?" is escaped for the sake of trigraphs.
sub literal {
	my ($line) = @_;
	$line =~ s/([\\"?])/\\$1/g;
	$line =~ s/\t/\\t/g;
	$line =~ s/\n/\\n/g;
	$line =~ s/([^ -~])/sprintf '\\%03o', ord $1/ge;
	return "\"$line\"";
}

my %out;
die "usage: embed.pl providers/*.json\n" unless @ARGV;
for (@ARGV) {
	$file = $_;
	open my $fh, '<:raw', $file or die "$file: $!\n";
	my @lines = <$fh>;
	close $fh;
	my $p = eval { JSON::PP->new->utf8->decode(join '', @lines) } or fault("not JSON: $@");
	check($p);
	my $len = 0;
	$len += length for @lines;
	$out{$p->{id}} = "\t{\"$p->{id}\",\n" . join('', map { "\t    " . literal($_) . "\n" } @lines) . "\t    , $len},\n";
}
print "/* Made by providers/embed.pl. */\n#include \"providers/catalog_data.h\"\n\n",
	"const struct catalog_text catalog_texts[] = {\n", map({ $out{$_} } sort keys %out), "};\n",
	"const unsigned catalog_ntexts = ", scalar(keys %out), ";\n";
