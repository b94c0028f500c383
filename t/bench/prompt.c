/*
 * prompt: what is asked and what is answered, in either dialect. A text of prose is one as agents
 * send it: quotes, line ends, code, letters beyond ASCII; the other is one letter again and again.
 */
#include <stdlib.h>
#include <string.h>

#include "t/bench/bench.h"

/* The inside of a JSON string. */
static const char prose[] =
    "The reviewer wrote: \\\"why is this slow?\\\" \\u2014 and then, an hour later:\\n\\n"
    "```c\\nstatic int\\nadd(int a, int b)\\n{\\n\\treturn a + b; /* \\\"sum\\\" */\\n}\\n```\\n"
    "Na\xc3\xafve caf\xc3\xa9 owners in K\xc3\xb6ln ask \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e "
    "questions \xf0\x9f\x99\x82 about paths such as C:\\\\temp\\\\new and about "
    "what a plain sentence without any of this costs; most of what is sent to a model is of that "
    "kind, line after line, paragraph after paragraph, and only now and then there is a quote.\\n";

static void
fill(char *p, size_t n, bool wordy)
{
	size_t unit = sizeof(prose) - 1;

	for (; wordy && n >= unit; p += unit, n -= unit)
		memcpy(p, prose, unit);
	memset(p, 'y', n);
}

/* head, a text, tail: `want` bytes where they fit. */
static char *
around(const char *head, const char *tail, size_t want, bool wordy, size_t *len)
{
	size_t h = strlen(head), t = strlen(tail), pad = want > h + t ? want - h - t : 0;
	char *s = malloc(h + pad + t + 1);

	if (s == NULL)
		abort();
	memcpy(s, head, h);
	fill(s + h, pad, wordy);
	memcpy(s + h + pad, tail, t + 1);
	*len = h + pad + t;
	return s;
}

char *
prompt_make(enum wire w, const char *model, size_t body, bool stream, bool wordy, size_t *len)
{
	char head[256];

	snprintf(head, sizeof(head),
	    "{\"model\":\"%s\",%s\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"",
	    model, w == WIRE_MESSAGES ? "\"max_tokens\":4096," : "", stream ? "true" : "false");
	return around(head, "\"}]}", body, wordy, len);
}

char *
reply_make(enum wire w, size_t want, size_t *len)
{
	if (w == WIRE_MESSAGES)
		return around("{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\","
			      "\"model\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"",
		    "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{"
		    "\"input_tokens\":10,\"output_tokens\":20}}",
		    want, false, len);
	return around("{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1,"
		      "\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
		      "\"assistant\",\"content\":\"",
	    "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,"
	    "\"completion_tokens\":20,\"total_tokens\":30}}",
	    want, false, len);
}

static size_t
chat_event(bool last, uint64_t ns, char out[1024])
{
	return (size_t)snprintf(out, 1024,
	    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1,"
	    "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"token " STAMP
	    "%llu \"},\"finish_reason\":%s}]}\n\n%s",
	    (unsigned long long)ns, last ? "\"stop\"" : "null", last ? "data: [DONE]\n\n" : "");
}

static size_t
messages_event(bool first, bool last, uint64_t ns, char out[1024])
{
	return (size_t)snprintf(out, 1024,
	    "%sevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
	    "\"delta\":{\"type\":\"text_delta\",\"text\":\"token " STAMP "%llu \"}}\n\n%s",
	    first ? "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":"
		    "\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
		    "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"
		    "\"input_tokens\":10,\"output_tokens\":1}}}\n\n"
		    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":"
		    "0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
		  : "",
	    (unsigned long long)ns,
	    last ? "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}"
		   "\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
		   "\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{"
		   "\"output_tokens\":20}}\n\n"
		   "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
		 : "");
}

size_t
event_make(enum wire w, unsigned i, unsigned n, uint64_t ns, char out[1024])
{
	return w == WIRE_MESSAGES ? messages_event(i == 0, i + 1 == n, ns, out)
				  : chat_event(i + 1 == n, ns, out);
}
