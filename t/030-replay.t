#!/usr/bin/perl
# Exchanges with real providers through the translation: to their own dialect and back, and as clients of the other dialects
# see them. Recordings are looked for in $OMNIROUTE_RECORDINGS; t/data/replay/exchanges are our own.
#
#   t/data/replay/allowed    differences that may be, with a reason each
#   t/data/replay/digests    SHA-256 of what each client is sent; OMNIROUTE_DIGESTS=write writes it anew
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use lib dirname(abs_path(__FILE__)) . '/lib';
use JSON::PP;
use OmniRoute::Grammar;
use Test::More;

my $root = dirname(abs_path(__FILE__)) . '/..';
chdir $root or die;
my $build = $ENV{OMNIROUTE_BUILD} // 'build';
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $folder = $ENV{OMNIROUTE_RECORDINGS} || '../shared/recordings';
my @recorded = sort glob "$folder/*/*.json";
my @own = sort glob 't/data/replay/exchanges/*.json';

sub lines { my ($file) = @_; open my $f, "<", $file or return (); my @l = <$f>; chomp @l; return grep { !m{^\s*(?:#|$)} } @l }

sub replay {
	my ($what, @files) = @_;
	open my $out, '-|', "$build/t/replay", $what, @files or die "$build/t/replay: $!";
	my @found;
	while (my $line = <$out>) { push @found, $json->decode($line) }
	close $out;
	is($?, 0, "replay $what ends well");
	return @found;
}

# ---- to its own dialect and back ----------------------------------------------------------------------------------

# what, dialect or *, pattern of the text, reason
my @allowed = map { my ($what, $dialect, $text, $reason) = split /\t/, $_, 4;
	die "t/data/replay/allowed: no reason: $_" if !$reason; { what => $what, dialect => $dialect, text => qr/$text/, used => 0, line => $_ } }
	lines('t/data/replay/allowed');

sub is_allowed {
	my ($f) = @_;
	for my $a (@allowed) {
		next if $a->{what} ne $f->{what} || ($a->{dialect} ne '*' && $a->{dialect} ne $f->{dialect}) || $f->{text} !~ $a->{text};
		return ++$a->{used};
	}
	return 0;
}

sub own {
	my (@files) = @_;
	my %wrong;
	push @{ $wrong{ $_->{name} } }, "$_->{what}: $_->{text}" for grep { !is_allowed($_) } replay('own', @files);
	for my $name (map { basename $_ } @files) {
		my @w = @{ $wrong{$name} // [] };
		is(scalar @w, 0, "own: $name") or diag join "\n", @w[0 .. ($#w < 12 ? $#w : 12)];
	}
}

# ---- as the others see it -----------------------------------------------------------------------------------------

my %finish = (
	'openai-chat'        => { stop_sequence => 'stop', refusal => 'content_filter', pause => 'length', context_window => 'length' },
	'openai-responses'   => { stop_sequence => 'stop', refusal => 'content_filter', pause => 'length', context_window => 'length' },
	'anthropic-messages' => { content_filter => 'refusal' },
	'gemini'             => { stop_sequence => 'stop', refusal => 'content_filter', pause => 'length', context_window => 'length' },
);
my %id_fits = (
	'openai-chat' => qr/./s, 'openai-responses' => qr/\A.{1,64}\z/s, 'anthropic-messages' => qr/\A[a-zA-Z0-9_-]+\z/, 'gemini' => qr/./s,
);

sub texts { my ($parts, @kinds) = @_; return join '', map { $_->{text} // '' } grep { my $p = $_; grep { $p->{kind} eq $_ } @kinds } @$parts }

sub arguments {
	my ($p) = @_;
	my $v = eval { $json->decode($p->{args} // '') };
	$v = {} if !length($p->{args} // '') && !$p->{custom};
	return $p->{args} if !defined $v || $p->{custom};
	$v = $v->{input} if ref $v eq 'HASH' && keys %$v == 1 && exists $v->{input} && !ref $v->{input} && $p->{unwrap};
	return ref $v ? $json->encode($v) : $v;
}

# Sentences on what this client got that was not what the upstream said.
sub views {
	my ($x) = @_;
	my ($want, $got, $client) = ($x->{want}, $x->{got}, $x->{client});
	my @w;
	return ('the client cannot read it') if !$got;
	my ($wc, $gc) = ($want->{choices}[0], $got->{choices}[0]);
	my ($wp, $gp) = ($wc->{parts}, $gc->{parts});
	my $media = grep { $_->{kind} =~ /image|audio/ } @$wp;
	my ($wt, $gt) = map { texts($_, qw(text refusal)) } $wp, $gp;
	push @w, "text: want " . $json->encode(substr $wt, 0, 200) . ", got " . $json->encode(substr $gt, 0, 200)
		if $wt ne $gt && !($media && $client eq 'anthropic-messages');
	my ($wr, $gr) = map { texts($_, 'reasoning') } $wp, $gp;
	push @w, "reasoning: want " . $json->encode(substr $wr, 0, 200) . ", got " . $json->encode(substr $gr, 0, 200) if $wr ne $gr;
	my @wcalls = grep { $_->{kind} eq 'call' } @$wp;
	my @gcalls = grep { $_->{kind} eq 'call' } @$gp;
	push @w, sprintf('calls: want %d, got %d', scalar @wcalls, scalar @gcalls) if @wcalls != @gcalls;
	for my $i (0 .. (@wcalls < @gcalls ? $#wcalls : $#gcalls)) {
		my ($a, $b) = ($wcalls[$i], $gcalls[$i]);
		push @w, "call $i: name $b->{name}, not $a->{name}" if $a->{name} ne $b->{name};
		my ($aa, $ba) = (arguments($a), arguments({ %$b, unwrap => $a->{custom} }));
		push @w, "call $i: arguments $ba, not $aa" if $aa ne $ba;
		next if $client eq 'gemini' && !length($b->{id} // '');
		push @w, "call $i: no id" if !length($b->{id} // '');
		push @w, "call $i: id $b->{id}, not $a->{id}" if length($a->{id} // '') && $a->{id} =~ $id_fits{$client} && $a->{id} ne ($b->{id} // '');
	}
	my $end = $finish{$client}{ $wc->{finish} } // $wc->{finish};
	$end = 'tool_calls' if @wcalls && $end eq 'stop';
	$end = 'refusal' if $client eq 'anthropic-messages' && $end eq 'stop' && grep { $_->{kind} eq 'refusal' } @$wp;
	my $seen = $gc->{finish};
	$seen = 'tool_calls' if @gcalls && $seen eq 'stop';
	push @w, "finish: want $end, got $seen" if $end ne $seen && $wc->{finish} !~ /unknown|error|malformed/;
	if ($want->{usage}{has}) {
		my @numbers = ('in', 'out', 'cached', $client eq 'anthropic-messages' ? () : 'reasoning');
		for (@numbers) { push @w, "usage $_: want $want->{usage}{$_}, got $got->{usage}{$_}" if $want->{usage}{$_} != $got->{usage}{$_} }
	} else {
		push @w, 'usage: no estimate' if !$got->{usage}{has};
	}
	return @w;
}

my %digest = map { my ($name, $client, $hex) = split ' '; ("$name $client" => $hex) } lines('t/data/replay/digests');
my %now;

sub cross {
	my (@files) = @_;
	my (%notes, %seen);
	for my $f (replay('cross', @files)) {
		if ($f->{what} ne 'crossing') { push @{ $notes{ $f->{name} } }, "$f->{what}: $f->{text}" if !is_allowed($f); next }
		my ($key, @w) = ("$f->{name} $f->{client}");
		$seen{ $f->{name} }++;
		my $failed = !$f->{want};
		if ($failed) {
			push @w, 'the upstream failed, and the client was told nothing' if $f->{result} eq 'ok' && !$f->{error} && !length $f->{output};
		} else {
			push @w, "result: $f->{result}", $f->{error} // '' if $f->{result} ne 'ok';
			if ($f->{result} eq 'ok') {
				my $bytes = $f->{output};
				utf8::encode($bytes);
				push @w, map { "grammar: $_" } grammar_faults($f->{client}, $bytes, usage => 1) if $f->{stream};
				push @w, views($f);
				$now{$key} = $f->{digest};
				push @w, 'other bytes than before' if ($digest{$key} // '') ne $f->{digest} && !$ENV{OMNIROUTE_DIGESTS};
			}
		}
		@w = grep { !is_allowed({ what => 'view', dialect => $f->{client}, text => "$f->{name}: $_" }) } @w;
		is(scalar @w, 0, "$f->{client}: $f->{name}") or diag join "\n", @w[0 .. ($#w < 8 ? $#w : 8)];
	}
	for my $name (sort keys %notes) { fail("notes: $name"); diag join "\n", @{ $notes{$name} } }
}

SKIP: {
	skip 'no exchanges of our own', 1 unless @own;
	own(@own);
	cross(@own);
}
SKIP: {
	skip "no recordings in \$OMNIROUTE_RECORDINGS", 1 unless @recorded;
	own(@recorded);
	cross(@recorded);
	is($_->{used} > 0, 1, "still needed: $_->{line}") for @allowed;
}
if (($ENV{OMNIROUTE_DIGESTS} // '') eq 'write') {
	open my $f, '>', 't/data/replay/digests' or die;
	print $f "# What each client is sent for each exchange: name, client's dialect, SHA-256.\n", map { "$_ $now{$_}\n" } sort keys %now;
	close $f;
}
done_testing();
