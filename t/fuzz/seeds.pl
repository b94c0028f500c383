#!/usr/bin/perl
# Seeds for the fuzz targets of the dialects out of recorded exchanges, where there are any: byte 0 says request (0), answer (1)
# or stream (2); translate: client and upstream, length of the request, request, answer. They are not kept.
#
#   seeds.pl OUT [FOLDER]      FOLDER: $OMNIROUTE_RECORDINGS, else ../shared/recordings
use strict;
use warnings;
use File::Path qw(make_path);
use JSON::PP;
use MIME::Base64 qw(decode_base64);

my ($out, $folder) = @ARGV;
$folder ||= $ENV{OMNIROUTE_RECORDINGS} || '../shared/recordings';
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my %target = ('openai-chat' => 'chat', 'groq-chat' => 'chat', 'mistral-chat' => 'chat', 'openai-responses' => 'responses',
	'anthropic-messages' => 'messages', 'bedrock-invoke-anthropic' => 'messages', gemini => 'gemini', 'cohere-v2' => 'cohere',
	'ollama-chat' => 'ollama', 'bedrock-converse' => 'converse');
my %number = (chat => 0, responses => 1, messages => 2, gemini => 3, cohere => 4, ollama => 5, converse => 6);
my $most = 16384;
my $n = 0;

sub seed {
	my ($name, $bytes) = @_;
	return if length $bytes > $most;
	make_path("$out/$name");
	open my $f, '>:raw', sprintf('%s/%s/%04d', $out, $name, $n++) or die "$out/$name: $!";
	print $f $bytes;
	close $f;
}

for my $file (sort glob "$folder/*/*.json") {
	open my $f, '<:raw', $file or next;
	my $x = $json->decode(do { local $/; <$f> });
	my $t = $target{ $x->{dialect} } or next;
	my $request = $x->{request}{body} ? $json->encode($x->{request}{body}) : '';
	my $body = $x->{response}{body};
	my $answer = defined $x->{response}{body_base64} ? decode_base64($x->{response}{body_base64})
		: ref $body ? $json->encode($body) : $body // '';
	utf8::encode($answer) if utf8::is_utf8($answer);
	seed("dialect_$t", "\0$request") if length $request;
	seed("dialect_$t", ($x->{stream} ? "\2" : "\1") . $answer);
	seed('framing', chr($x->{framing} eq 'aws-eventstream' ? 3 : $x->{framing} eq 'json-array' ? 2 : $x->{framing} eq 'ndjson' ? 1 : 0) . $answer) if $x->{stream};
	my $client = '{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}],"input":"hi","contents":[{"parts":[{"text":"hi"}]}]}';
	seed('translate', chr($_ | $number{$t} << 2 | ($x->{stream} ? 0 : 3 << 6)) . pack('n', length $client) . $client . $answer) for 0 .. 3;
}
print "$n seeds in $out\n";
