# What a client's official library demands of a stream, as a small state machine per dialect.
#
#   my @faults = grammar_faults('openai-chat', $bytes, usage => 1);
#
# Returns a sentence for each fault; none: the stream is well formed and has exactly one end. Options:
#   usage    Chat: the client asked for a usage chunk
#   array    Gemini: without alt=sse, one JSON array
#   failed   the stream is meant to end in an error
package OmniRoute::Grammar;
use strict;
use warnings;
use Exporter qw(import);
use JSON::PP ();

our @EXPORT = qw(grammar_faults sse_events);

my $json = JSON::PP->new->utf8->allow_nonref;

sub decode { my ($text) = @_; my $v = eval { $json->decode($text) }; return $v; }
sub same   { my ($x, $y) = @_; return $json->canonical->encode($x) eq $json->canonical->encode($y); }

# [event, data, raw] of each; comments have neither. Dies where the framing is broken.
sub sse_events {
	my ($bytes) = @_;
	my @events;
	while ($bytes =~ s/\A(.*?)(?:\r\n\r\n|\n\n)//s) {
		my $raw = $1;
		my ($event, @data);
		for my $line (split /\r?\n/, $raw) {
			if ($line =~ /\A:/) { next }
			elsif ($line =~ /\Aevent: (.*)\z/) { $event = $1 }
			elsif ($line =~ /\Adata: (.*)\z/s) { push @data, $1 }
			else { push @events, [undef, undef, $raw, "a line that is no field: " . substr $line, 0, 80]; next }
		}
		push @events, [$event, @data ? join("\n", @data) : undef, $raw];
	}
	push @events, [undef, undef, $bytes, 'bytes behind the last empty line: ' . substr $bytes, 0, 80] if length $bytes;
	return @events;
}

my %checks = (
	'openai-chat'        => \&chat,
	'openai-responses'   => \&responses,
	'anthropic-messages' => \&messages,
	'gemini'             => \&gemini,
);

sub grammar_faults {
	my ($dialect, $bytes, %opt) = @_;
	my @faults;
	$checks{$dialect}->($bytes, \%opt, sub { push @faults, sprintf shift, @_ });
	return @faults;
}

# ---- Chat -----------------------------------------------------------------------------------------------------------

sub chat {
	my ($bytes, $opt, $fault) = @_;
	my (%first, %role, %finished, %calls, $done, $error, $usage, $chunks);
	for my $ev (sse_events($bytes)) {
		my ($event, $data, $raw, $broken) = @$ev;
		if ($broken) { $fault->($broken); next }
		$fault->("an event: line") if defined $event;
		next if !defined $data;
		$fault->('something behind [DONE]: %s', substr $data, 0, 80) if $done;
		if ($data eq '[DONE]') { $done = 1; next }
		my $c = decode($data);
		if (ref $c ne 'HASH') { $fault->('no JSON object: %s', substr $data, 0, 80); next }
		$fault->('a chunk behind an error') if $error;
		if ($c->{error}) {
			$error = 1;
			for (qw(message type param code)) { $fault->("error without $_") if !exists $c->{error}{$_} }
			next;
		}
		$chunks++;
		$fault->("object is %s", $c->{object} // 'absent') if ($c->{object} // '') ne 'chat.completion.chunk';
		for (qw(id created model)) {
			if (!defined $c->{$_}) { $fault->("chunk without $_"); next }
			$first{$_} //= $c->{$_};
			$fault->("$_ changes") if $first{$_} ne $c->{$_};
		}
		if (ref $c->{choices} ne 'ARRAY') { $fault->('chunk without choices'); next }
		if (!@{ $c->{choices} }) {
			$fault->('choices: [] although no usage was asked for') if !$opt->{usage};
			$fault->('choices: [] without usage') if !$c->{usage};
			$fault->('usage twice') if $usage++;
			usage_chat($c->{usage}, $fault) if $c->{usage};
			next;
		}
		$fault->('a choice behind usage') if $usage;
		$fault->('usage is not null in a chunk before its own') if $opt->{usage} && (!exists $c->{usage} || defined $c->{usage});
		chat_choice($_, \%role, \%finished, \%calls, $fault) for @{ $c->{choices} };
	}
	$fault->('no chunk at all') if !$chunks && !$error;
	$fault->('no [DONE]') if !$done;
	$fault->('an error, and not meant to') if $error && !$opt->{failed};
	return if $error;
	$fault->('no error') if $opt->{failed};
	$fault->('no usage chunk') if $opt->{usage} && !$usage;
	for (keys %role) { $fault->("choice $_ without finish_reason") if !$finished{$_} }
}

sub chat_choice {
	my ($ch, $role, $finished, $calls, $fault) = @_;
	my ($i, $d) = ($ch->{index}, $ch->{delta});
	if (!defined $i || ref $d ne 'HASH') { $fault->('choice without index or delta'); return }
	for (qw(logprobs finish_reason)) { $fault->("choice without $_") if !exists $ch->{$_} }
	if (!$role->{$i}++) { $fault->('first delta without role') if ($d->{role} // '') ne 'assistant' }
	elsif (exists $d->{role}) { $fault->('role again') }
	$fault->('something behind finish_reason') if $finished->{$i};
	for my $call (@{ $d->{tool_calls} // [] }) {
		my $n = $call->{index};
		if (!defined $n) { $fault->('call without index'); next }
		my $f = $call->{function} // $call->{custom} // {};
		if (!$calls->{$i}{$n}) {
			$fault->("call $n is not the next") if $n != scalar keys %{ $calls->{$i} // {} };
			$fault->("call $n begins without id, type or name") if !length($call->{id} // '') || !$call->{type} || !length($f->{name} // '');
			$calls->{$i}{$n} = 1;
		} else {
			$fault->("call $n: id, type or name again") if exists $call->{id} || exists $call->{type} || exists $f->{name};
		}
		$fault->("call $n: arguments is no string") if defined $f->{arguments} && ref $f->{arguments};
	}
	return if !defined $ch->{finish_reason};
	$finished->{$i} = 1;
	$fault->("finish_reason %s", $ch->{finish_reason}) if $ch->{finish_reason} !~ /\A(?:stop|length|tool_calls|content_filter|function_call)\z/;
	$fault->('calls, but finish_reason %s', $ch->{finish_reason}) if $calls->{$i} && $ch->{finish_reason} eq 'stop';
}

sub usage_chat {
	my ($u, $fault) = @_;
	for (qw(prompt_tokens completion_tokens total_tokens)) { $fault->("usage without $_") if !defined $u->{$_} }
	$fault->('total_tokens is no sum') if $u->{total_tokens} != $u->{prompt_tokens} + $u->{completion_tokens};
	$fault->('usage without its details') if !$u->{prompt_tokens_details} || !$u->{completion_tokens_details};
}

# ---- Messages -------------------------------------------------------------------------------------------------------

my %delta_of = (
	text              => qr/\A(?:text_delta|citations_delta)\z/,
	thinking          => qr/\A(?:thinking_delta|signature_delta)\z/,
	tool_use          => qr/\Ainput_json_delta\z/,
	server_tool_use   => qr/\Ainput_json_delta\z/,
	redacted_thinking => qr/\A(?!)/,
);

sub messages {
	my ($bytes, $opt, $fault) = @_;
	my ($started, $open, $next, $delta, $stopped, $error, %block, $calls, $content) = (0, undef, 0, 0, 0, 0);
	for my $ev (sse_events($bytes)) {
		my ($event, $data, $raw, $broken) = @$ev;
		if ($broken) { $fault->($broken); next }
		next if !defined $data && !defined $event;
		my $m = decode($data // '');
		if (ref $m ne 'HASH') { $fault->('no JSON object: %s', substr $data // '', 0, 80); next }
		my $type = $m->{type} // '';
		$fault->('event %s with type %s', $event // 'absent', $type) if ($event // '') ne $type;
		$fault->("$type behind the end") if $stopped || $error;
		if ($type eq 'error') {
			$error = 1;
			$fault->('error without type or message') if !$m->{error}{type} || !defined $m->{error}{message};
			next;
		}
		$fault->("$type before message_start") if !$started && $type ne 'message_start';
		if ($type eq 'message_start') {
			$fault->('message_start twice') if $started++;
			message_start($m->{message}, $fault);
		} elsif ($type eq 'content_block_start') {
			$fault->('block %s is opened in block %d', $m->{index} // '?', $open) if defined $open;
			$fault->('block %s is not the next (%d)', $m->{index} // '?', $next) if ($m->{index} // -1) != $next;
			$fault->('a block behind message_delta') if $delta;
			$open = $next++;
			%block = %{ $m->{content_block} // {} };
			block_start(\%block, $fault);
			$calls++ if $block{type} eq 'tool_use';
		} elsif ($type eq 'content_block_delta') {
			if (!defined $open || ($m->{index} // -1) != $open) { $fault->('delta for a block that is not open'); next }
			my $kind = $m->{delta}{type} // '';
			my $fits = $delta_of{ $block{type} } // qr/./;
			$fault->("$kind in a $block{type} block") if $kind !~ $fits;
			$block{seen}{$kind}++;
			$block{json} .= $m->{delta}{partial_json} // '' if $kind eq 'input_json_delta';
			$fault->('empty signature') if $kind eq 'signature_delta' && !length($m->{delta}{signature} // '');
			$fault->('delta behind the signature') if $block{type} eq 'thinking' && $kind eq 'thinking_delta' && $block{seen}{signature_delta};
		} elsif ($type eq 'content_block_stop') {
			$fault->('stop of a block that is not open') if !defined $open || ($m->{index} // -1) != $open;
			block_stop(\%block, $fault, \my $whole);
			$content = $whole if $block{type} eq 'tool_use';
			undef $open;
		} elsif ($type eq 'message_delta') {
			$fault->('message_delta with a block open') if defined $open;
			$fault->('message_delta without usage') if !$m->{usage} || !defined $m->{usage}{output_tokens};
			$fault->('message_delta without stop_reason') if !exists $m->{delta}{stop_reason} || !exists $m->{delta}{stop_sequence};
			my $reason = $m->{delta}{stop_reason} // '';
			$fault->("stop_reason %s", $reason) if $reason !~ /\A(?:end_turn|max_tokens|stop_sequence|tool_use|pause_turn|refusal|model_context_window_exceeded)\z/;
			$fault->('calls, but stop_reason end_turn') if $calls && $reason eq 'end_turn';
			$delta++;
		} elsif ($type eq 'message_stop') {
			$fault->('message_stop without message_delta') if !$delta;
			$stopped++;
		} elsif ($type ne 'ping') {
			$fault->("unknown event $type");
		}
	}
	$fault->('an error, and not meant to') if $error && !$opt->{failed};
	return if $error;
	$fault->('no error') if $opt->{failed};
	$fault->('no message_stop') if !$stopped;
}

sub message_start {
	my ($m, $fault) = @_;
	for (qw(id type role model content stop_reason stop_sequence usage)) { $fault->("message_start without $_") if !exists $m->{$_} }
	$fault->('message_start with content') if @{ $m->{content} // [] };
	$fault->('message_start without input_tokens') if !$m->{usage}{input_tokens} && !$m->{usage}{cache_read_input_tokens};
}

sub block_start {
	my ($b, $fault) = @_;
	my $t = $b->{type} //= 'absent';
	$fault->('text block without text') if $t eq 'text' && !defined $b->{text};
	$fault->('thinking block without thinking or signature') if $t eq 'thinking' && (!defined $b->{thinking} || !defined $b->{signature});
	$fault->('redacted_thinking without data') if $t eq 'redacted_thinking' && !length($b->{data} // '');
	$fault->('tool_use without id, name or input') if $t eq 'tool_use' && (!length($b->{id} // '') || !length($b->{name} // '') || ref $b->{input} ne 'HASH');
	$fault->("tool_use id $b->{id}") if $t eq 'tool_use' && ($b->{id} // '') !~ /\A[a-zA-Z0-9_-]+\z/;
	$fault->('input in the start of a tool_use') if $t eq 'tool_use' && ref $b->{input} eq 'HASH' && %{ $b->{input} };
}

sub block_stop {
	my ($b, $fault, $whole) = @_;
	$fault->('a text block with nothing in it') if $b->{type} eq 'text' && !$b->{seen};
	$fault->('a thinking block without a signature') if $b->{type} eq 'thinking' && !$b->{seen}{signature_delta} && !length $b->{signature};
	$fault->('two signatures') if ($b->{seen}{signature_delta} // 0) > 1;
	$fault->('a tool_use without deltas') if $b->{type} eq 'tool_use' && !$b->{seen};
	$$whole = $b->{json};
}

# ---- Responses ------------------------------------------------------------------------------------------------------

sub responses {
	my ($bytes, $opt, $fault) = @_;
	my ($n, $item, $part, @done, $terminal, $created, $failed) = (0);
	my ($text, $next) = ('', 0);
	for my $ev (sse_events($bytes)) {
		my ($event, $data, $raw, $broken) = @$ev;
		if ($broken) { $fault->($broken); next }
		next if !defined $data && !defined $event;
		my $m = decode($data // '');
		if (ref $m ne 'HASH') { $fault->('no JSON object: %s', substr $data // '', 0, 80); next }
		my $type = $m->{type} // '';
		$fault->('event %s with type %s', $event // 'absent', $type) if ($event // '') ne $type;
		$fault->("$type behind the end") if $terminal;
		$fault->('sequence_number %s, not %d', $m->{sequence_number} // 'absent', $n) if !defined $m->{sequence_number} || $m->{sequence_number} != $n;
		$n++;
		if ($type eq 'response.created') {
			$fault->('response.created is not the first') if $n != 1;
			$created = $m->{response};
			skeleton($created, $fault);
			next;
		}
		if (!$created) { $fault->("$type before response.created"); next }
		if ($type eq 'response.in_progress') { next }
		if ($type =~ /\Aresponse\.(completed|incomplete|failed)\z/) {
			$terminal = $1;
			$fault->("$type with an item open") if $item && $terminal ne 'failed';
			terminal($m->{response}, $terminal, \@done, $created, $fault);
			next;
		}
		if ($type eq 'response.output_item.added') {
			$fault->('an item in an item') if $item;
			$fault->('output_index %s, not %d', $m->{output_index} // 'absent', $next) if !defined $m->{output_index} || $m->{output_index} != $next;
			$item = { %{ $m->{item} // {} }, deltas => 0, parts => 0 };
			$text = '';
			undef $part;
			added($item, $fault);
			next;
		}
		if (!$item) { $fault->("$type outside an item"); next }
		$fault->("$type: output_index") if defined $m->{output_index} && $m->{output_index} != $next;
		$fault->("$type: item_id changes") if exists $m->{item_id} && $m->{item_id} ne $item->{id};
		if ($type eq 'response.output_item.done') {
			$fault->('the id of an item changes') if ($m->{item}{id} // '') ne $item->{id};
			$fault->('a part is open at the end of its item') if $part;
			item_done($m->{item}, $item, $text, $fault);
			push @done, $m->{item};
			undef $item;
			$next++;
		} elsif ($type eq 'response.content_part.added' || $type eq 'response.reasoning_summary_part.added') {
			$fault->('a part in a part') if $part;
			$part = { %{ $m->{part} // {} } };
			$text = '';
			my $k = $m->{content_index} // $m->{summary_index};
			$fault->("$type: index") if !defined $k || $k != $item->{parts}++;
			$fault->('output_text part without annotations or logprobs') if ($part->{type} // '') eq 'output_text' && (!$part->{annotations} || !$part->{logprobs});
		} elsif ($type =~ /\Aresponse\.(?:output_text|refusal|reasoning_summary_text|reasoning_text)\.delta\z/) {
			$fault->("$type without a part") if !$part;
			$fault->("$type without logprobs") if $type =~ /output_text/ && !$m->{logprobs};
			$text .= $m->{delta} // '';
		} elsif ($type =~ /\Aresponse\.(?:output_text|reasoning_summary_text|reasoning_text)\.done\z/) {
			$fault->("$type: the text is not the sum of its deltas") if ($m->{text} // '') ne $text;
			$fault->("$type twice") if $part && $part->{done}++;
		} elsif ($type eq 'response.refusal.done') {
			$fault->("$type: the refusal is not the sum of its deltas") if ($m->{refusal} // '') ne $text;
		} elsif ($type eq 'response.content_part.done' || $type eq 'response.reasoning_summary_part.done') {
			$fault->("$type without a part") if !$part;
			my $said = $m->{part}{text} // $m->{part}{refusal} // '';
			$fault->("$type: other text than its deltas") if $said ne $text;
			$item->{text} .= $text;
			undef $part;
		} elsif ($type =~ /\Aresponse\.(?:function_call_arguments|custom_tool_call_input)\.delta\z/) {
			$item->{deltas}++;
			$text .= $m->{delta} // '';
		} elsif ($type =~ /\Aresponse\.(?:function_call_arguments|custom_tool_call_input)\.done\z/) {
			$fault->("$type: not the sum of its deltas") if ($m->{arguments} // $m->{input} // '') ne $text;
		} elsif ($type !~ /\Aresponse\.(?:output_text\.annotation\.added|web_search_call\.\w+|image_generation_call\.\w+)\z/) {
			$fault->("unknown event $type");
		}
	}
	if (!$terminal) { $fault->('no terminal event'); return }
	$fault->('failed, and not meant to') if $terminal eq 'failed' && !$opt->{failed};
	$fault->('not failed') if $terminal ne 'failed' && $opt->{failed};
}

sub skeleton {
	my ($r, $fault) = @_;
	for (qw(id object created_at status error incomplete_details instructions max_output_tokens model output parallel_tool_calls
		previous_response_id reasoning store temperature text tool_choice tools top_p truncation usage user metadata)) {
		$fault->("response without $_") if !exists $r->{$_};
	}
	$fault->('object %s', $r->{object} // '') if ($r->{object} // '') ne 'response';
}

sub added {
	my ($i, $fault) = @_;
	my $t = $i->{type} // '';
	$fault->('item without id or type') if !length($i->{id} // '') || !$t;
	$i->{id} //= '';
	$fault->('message item without content: []') if $t eq 'message' && (ref $i->{content} ne 'ARRAY' || @{ $i->{content} } || ($i->{role} // '') ne 'assistant');
	$fault->('reasoning item without summary: []') if $t eq 'reasoning' && ref $i->{summary} ne 'ARRAY';
	$fault->('call without call_id or name') if $t =~ /function_call\z|custom_tool_call\z/ && (!length($i->{call_id} // '') || !length($i->{name} // ''));
	$fault->('arguments in the added event') if $t eq 'function_call' && ($i->{arguments} // 'absent') ne '';
}

sub item_done {
	my ($done, $item, $text, $fault) = @_;
	my $t = $item->{type} // '';
	$fault->('the type of an item changes') if ($done->{type} // '') ne $t;
	if ($t eq 'function_call') {
		$fault->('arguments of the done item are not those that were streamed') if ($done->{arguments} // '') ne $text;
	} elsif ($t eq 'message') {
		my $all = join '', map { $_->{text} // $_->{refusal} // '' } @{ $done->{content} // [] };
		$fault->('text of the done item is not what was streamed') if $all ne ($item->{text} // '');
		$fault->('status %s', $done->{status} // 'absent') if ($done->{status} // '') !~ /\A(?:completed|incomplete)\z/;
	}
}

sub terminal {
	my ($r, $how, $done, $created, $fault) = @_;
	skeleton($r, $fault);
	$fault->('status %s in response.%s', $r->{status} // '', $how) if ($r->{status} // '') ne $how;
	$fault->('the id of the response changes') if ($r->{id} // '') ne ($created->{id} // '');
	if ($how eq 'failed') {
		$fault->('failed without error code or message') if !$r->{error} || !defined $r->{error}{code} || !defined $r->{error}{message};
		return;
	}
	$fault->('output is not the list of done items') if !same($r->{output}, $done);
	$fault->('incomplete without a reason') if $how eq 'incomplete' && !$r->{incomplete_details}{reason};
	my $u = $r->{usage} // {};
	for (qw(input_tokens output_tokens total_tokens)) { $fault->("usage without $_") if !defined $u->{$_} }
	$fault->('usage without its details') if !defined $u->{input_tokens_details}{cached_tokens} || !defined $u->{output_tokens_details}{reasoning_tokens};
}

# ---- Gemini ---------------------------------------------------------------------------------------------------------

sub gemini {
	my ($bytes, $opt, $fault) = @_;
	my ($error, @chunks);
	if ($opt->{array}) {
		my $all = decode($bytes);
		if (ref $all ne 'ARRAY') { $fault->('no JSON array'); return }
		@chunks = @$all;
	} else {
		if ($bytes =~ s/(\A|\r\n\r\n)(\{"error":.*\})\n\n\z/$1/s) { $error = decode($2) }
		while ($bytes =~ s/\Adata: (.*?)\r\n\r\n//s) {
			push @chunks, decode($1);
			$fault->('no JSON: %s', substr $1, 0, 80) if ref $chunks[-1] ne 'HASH';
		}
		$fault->('bytes that are no event: %s', substr $bytes, 0, 80) if length $bytes;
	}
	$error = pop @chunks if @chunks && ref $chunks[-1] eq 'HASH' && $chunks[-1]{error};
	my ($finished, $id) = (0);
	for my $c (@chunks) {
		next if ref $c ne 'HASH';
		$fault->('chunk without candidates') if ref $c->{candidates} ne 'ARRAY' && !$c->{promptFeedback};
		$fault->('chunk without modelVersion or responseId') if !length($c->{modelVersion} // '') || !length($c->{responseId} // '');
		$id //= $c->{responseId};
		$fault->('responseId changes') if defined $id && ($c->{responseId} // '') ne $id;
		$fault->('a chunk behind finishReason') if $finished;
		for my $cand (@{ $c->{candidates} // [] }) {
			$fault->('candidate without index') if !defined $cand->{index};
			gemini_part($_, $fault) for @{ $cand->{content}{parts} // [] };
			$fault->('content without role model') if $cand->{content} && ($cand->{content}{role} // '') ne 'model';
			next if !defined $cand->{finishReason};
			$finished = 1;
			my $u = $c->{usageMetadata} // {};
			$fault->('the last chunk has no full usageMetadata') if !defined $u->{promptTokenCount} || !defined $u->{totalTokenCount};
		}
		$finished = 1 if $c->{promptFeedback}{blockReason};
	}
	if ($error) {
		$fault->('an error, and not meant to') if !$opt->{failed};
		for (qw(code message status)) { $fault->("error without $_") if !defined $error->{error}{$_} }
		return;
	}
	$fault->('no error') if $opt->{failed};
	$fault->('no finishReason') if !$finished;
}

sub gemini_part {
	my ($p, $fault) = @_;
	if (ref $p ne 'HASH') { $fault->('a part that is no object'); return }
	my @kinds = grep { exists $p->{$_} } qw(text functionCall inlineData executableCode codeExecutionResult fileData toolCall toolResponse);
	$fault->('a part of %d kinds', scalar @kinds) if @kinds != 1;
	$fault->('functionCall without name or args') if $p->{functionCall} && (!length($p->{functionCall}{name} // '') || ref($p->{functionCall}{args} // {}) ne 'HASH');
}

1;
