/*
 * echo: the built-in provider: answers by itself, in the shape of OpenAI Chat Completions, as if
 * it were an upstream (the call-backs are relay's, with the same rules), so that everything behind
 * it (streams, accounting, limits) can be tried without an account. Any model name is taken.
 *
 *   It repeats the last user message (up to 64 KB), word by word, a few milliseconds apart when
 *     streamed. Usage counts words.
 *   tools and a tool_choice that is "required" or names a function: calls that function (the first
 *     one for "required"), with {"input":"<message>"} as arguments.
 *   tools and a message "call <tool> {json}": calls it with that object, unless tool_choice is
 *     "none".
 *   A message "error <status> [text]" (400..599): fails so; 429 and 503 come with Retry-After: 1.
 *   A message "slow <ms> [text]": waits that long before each word (at most 10000 ms).
 *   stream_options.include_usage is honoured; max_tokens and max_completion_tokens cut the answer
 *     after so many words ("length").
 *
 * echo_start   NULL: out of memory. q's head must live until the end.
 * echo_cancel, echo_resume  as relay_cancel, relay_resume.
 */
#ifndef OMNIROUTE_WORKER_ECHO_H
#define OMNIROUTE_WORKER_ECHO_H

#include "shared/base.h"
#include "worker/relay.h"

struct echo;
struct echo_request {
	struct span body; /* valid JSON, an object */
	const char *model;
	bool streamed;
	uint64_t deadline_ns; /* 0: none; else FAIL_TOTAL_TIMEOUT then */
	struct reply_head *head;
};

struct echo *echo_start(
    const struct echo_request *q, const struct relay_handler *h, void *ctx) must_check;
void echo_cancel(struct echo *e);
void echo_resume(struct echo *e);

#endif
