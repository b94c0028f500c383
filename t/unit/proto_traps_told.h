/* Answers as the official SDKs read them; part of proto_traps.h. */
#ifndef OMNIROUTE_T_UNIT_PROTO_TRAPS_TOLD_H
#define OMNIROUTE_T_UNIT_PROTO_TRAPS_TOLD_H

struct told {
	struct arena *a;
	struct buf b;
	char last; /* kind of the last line, which may go on */
};

static inline struct span
told_span(struct told *t, const struct json *j)
{
	struct span s = json_text(t->a, j);

	return s.p != NULL ? s : span_of("");
}

static inline void
told_words(struct told *t, char kind, const char *word, struct span s)
{
	if (t->last != kind)
		buf_addf(&t->b, "%s%s ", t->b.len > 0 ? "\n" : "", word);
	buf_add(&t->b, s.p, s.n);
	t->last = kind;
}

static inline void
told_line(struct told *t, const char *word, struct span s)
{
	t->last = 0;
	told_words(t, 1, word, s);
	t->last = 0;
}

static inline void
told_call(struct told *t, const struct json *id, const struct json *name, struct span args)
{
	told_line(t, "call", told_span(t, id));
	buf_str(&t->b, " ");
	buf_add(&t->b, told_span(t, name).p, told_span(t, name).n);
	buf_str(&t->b, " ");
	buf_add(&t->b, args.p, args.n);
}

/* ---- Chat ---- */

static inline void
told_chat_calls(struct told *t, const struct json *events, uint32_t choice)
{
	struct buf args = BUF_INIT(1 << 20);
	const struct json *head;

	for (int64_t want = 0;; want++) {
		head = NULL;
		buf_reset(&args);
		json_each (e, events)
			json_each (c, json_get(e, "choices")) {
				int64_t at, index = 0;
				if (!json_int(json_get(c, "index"), &index) || index != choice)
					continue;
				json_each (call, json_get(json_get(c, "delta"), "tool_calls")) {
					const struct json *f = json_get(call, "function");
					struct span s = told_span(t, json_get(f, "arguments"));
					assert_true(json_int(json_get(call, "index"), &at));
					if (at != want)
						continue;
					if (json_get(f, "name") !=
					    NULL) { /* once, with all that names it */
						assert_null(head);
						assert_true(
						    told_span(t, json_get(f, "name")).n > 0);
						assert_true(
						    told_span(t, json_get(call, "id")).n > 0);
						assert_true(json_equals(
						    json_get(call, "type"), "function"));
						head = call;
					} else {
						assert_non_null(head);
						assert_null(json_get(call, "id"));
					}
					buf_add(&args, s.p, s.n);
				}
			}
		if (head == NULL)
			break;
		told_call(t, json_get(head, "id"), json_get(json_get(head, "function"), "name"),
		    (struct span){arena_strndup(t->a, args.data, args.len), args.len});
	}
	buf_clear(&args);
}

static inline void
told_chat(struct told *t, const struct json *events)
{
	static const char *const members[] = {"reasoning_content", "content", "refusal"};
	static const char *const words[] = {"reasoning", "text", "refusal"};

	for (uint32_t choice = 0; choice < 3; choice++) {
		unsigned finishes = 0;
		struct span finish = span_of("");

		for (size_t i = 0; i < NELEM(members); i++)
			json_each (e, events)
				json_each (c, json_get(e, "choices")) {
					int64_t index = 0;
					struct span s = told_span(
					    t, json_get(json_get(c, "delta"), members[i]));
					assert_true(json_int(json_get(c, "index"), &index));
					if (index == choice && s.n > 0)
						told_words(
						    t, (char)('a' + 8 * choice + i), words[i], s);
				}
		told_chat_calls(t, events, choice);
		json_each (e, events)
			json_each (c, json_get(e, "choices")) {
				int64_t index = 0;
				if (json_int(json_get(c, "index"), &index) && index == choice &&
				    json_want(c, "finish_reason") != NULL) {
					finish = told_span(t, json_get(c, "finish_reason"));
					finishes++;
				}
			}
		assert_true(finishes <= 1);
		if (finishes > 0)
			told_line(t, "finish", finish);
	}
	json_each (e, events)
		if (json_get(e, "error") != NULL)
			told_line(
			    t, "error", told_span(t, json_get(json_get(e, "error"), "message")));
}

/* ---- Messages ---- */

struct told_block {
	const struct json *start;
	int64_t index;
	bool open, signature;
	struct buf args;
};

static inline void
told_messages_delta(struct told *t, struct told_block *k, const struct json *delta)
{
	const struct json *type = json_get(json_get(k->start, "content_block"), "type");
	struct span s;

	if (json_equals(json_get(delta, "type"), "text_delta")) {
		assert_true(json_equals(type, "text"));
		told_words(t, 'a', "text", told_span(t, json_get(delta, "text")));
	} else if (json_equals(json_get(delta, "type"), "input_json_delta")) {
		assert_true(json_equals(type, "tool_use"));
		s = told_span(t, json_get(delta, "partial_json"));
		buf_add(&k->args, s.p, s.n);
	} else if (json_equals(json_get(delta, "type"), "thinking_delta")) {
		assert_true(json_equals(type, "thinking"));
		told_words(t, 'b', "reasoning", told_span(t, json_get(delta, "thinking")));
	} else if (json_equals(json_get(delta, "type"), "signature_delta")) {
		assert_true(json_equals(type, "thinking") && !k->signature);
		k->signature = true;
	} else {
		assert_true(json_equals(json_get(delta, "type"), "citations_delta"));
	}
}

static inline void
told_messages_block(struct told *t, struct told_block *k, const struct json *e)
{
	const struct json *block = json_get(k->start, "content_block");

	if (json_equals(json_get(e, "type"), "content_block_start")) {
		int64_t at = -1;
		assert_true(!k->open && json_int(json_get(e, "index"), &at) && at == k->index);
		*k = (struct told_block){
		    .start = e, .index = at, .open = true, .args = BUF_INIT(1 << 20)};
		t->last = 0;
		if (json_equals(json_get(json_get(e, "content_block"), "type"), "tool_use"))
			assert_int_equal(json_get(json_get(e, "content_block"), "input")->count, 0);
		return;
	}
	assert_true(k->open);
	if (json_equals(json_get(e, "type"), "content_block_delta")) {
		told_messages_delta(t, k, json_get(e, "delta"));
		return;
	}
	if (json_equals(json_get(block, "type"), "tool_use")) {
		struct span args = {
		    arena_strndup(t->a, k->args.len > 0 ? k->args.data : "", k->args.len),
		    k->args.len};
		trap_parse(t->a, args.p, args.n);
		told_call(t, json_get(block, "id"), json_get(block, "name"), args);
	} else if (json_equals(json_get(block, "type"), "thinking")) {
		if (t->last == 0)
			told_line(t, "reasoning", span_of(""));
		buf_str(&t->b, k->signature ? " (signed)" : " (unsigned)");
	}
	t->last = 0;
	buf_clear(&k->args);
	k->open = false;
	k->index++;
}

static inline void
told_messages(struct told *t, const struct json *events)
{
	struct told_block k = {0};
	unsigned n = 0, stops = 0, deltas = 0;

	json_each (e, events) {
		const struct json *type = json_get(e, "type");
		assert_int_equal(stops, 0);
		if (json_equals(type, "message_start")) {
			assert_int_equal(n, 0);
		} else if (json_equals(type, "error")) {
			told_line(
			    t, "error", told_span(t, json_get(json_get(e, "error"), "message")));
			stops++;
			buf_clear(&k.args);
			k.open = false;
		} else if (json_equals(type, "message_delta")) {
			int64_t out;
			assert_true(!k.open && deltas++ == 0);
			assert_true(
			    json_int(json_get(json_get(e, "usage"), "output_tokens"), &out));
			told_line(t, "finish",
			    told_span(t, json_get(json_get(e, "delta"), "stop_reason")));
		} else if (json_equals(type, "message_stop")) {
			assert_int_equal(deltas, 1);
			stops++;
		} else if (!json_equals(type, "ping")) {
			told_messages_block(t, &k, e);
		}
		n++;
	}
	assert_true(n == 0 || stops == 1);
}

/* ---- Responses ---- */

static inline void
told_responses_item(struct told *t, const struct json *item)
{
	if (json_equals(json_get(item, "type"), "message")) {
		t->last = 0;
		json_each (p, json_get(item, "content")) {
			bool refusal = json_equals(json_get(p, "type"), "refusal");
			told_words(t, refusal ? 'r' : 'a', refusal ? "refusal" : "text",
			    told_span(t, json_get(p, refusal ? "refusal" : "text")));
		}
	} else if (json_equals(json_get(item, "type"), "reasoning")) {
		t->last = 0;
		told_words(t, 'b', "reasoning", span_of(""));
		json_each (p, json_get(item, "summary"))
			told_words(t, 'b', "reasoning", told_span(t, json_get(p, "text")));
	} else if (json_equals(json_get(item, "type"), "function_call")) {
		told_call(t, json_get(item, "call_id"), json_get(item, "name"),
		    told_span(t, json_get(item, "arguments")));
	} else {
		told_line(t, "item", told_span(t, json_get(item, "type")));
	}
}

static inline void
told_responses(struct told *t, const struct json *events)
{
	int64_t number = 0, at, items = 0;
	const struct json *response = NULL, *item = NULL;
	bool ended = false;

	json_each (e, events) {
		const struct json *type = json_get(e, "type");
		assert_true(
		    !ended && json_int(json_get(e, "sequence_number"), &at) && at == number++);
		if (json_equals(type, "response.output_item.added")) {
			assert_true(item == NULL && json_int(json_get(e, "output_index"), &at) &&
				    at == items);
			item = json_get(e, "item");
		} else if (json_equals(type, "response.output_item.done")) {
			assert_true(item != NULL && json_same(json_get(item, "id"),
							json_get(json_get(e, "item"), "id")));
			told_responses_item(t, json_get(e, "item"));
			items++;
			item = NULL;
		} else if (json_get(e, "item_id") != NULL) {
			assert_true(item != NULL &&
				    json_same(json_get(e, "item_id"), json_get(item, "id")));
		} else if (json_equals(type, "response.completed") ||
			   json_equals(type, "response.incomplete") ||
			   json_equals(type, "response.failed")) {
			response = json_get(e, "response");
			ended = true;
		}
	}
	if (response == NULL)
		return;
	assert_int_equal(json_get(response, "output")->count, items);
	if (json_want(response, "error") != NULL)
		told_line(
		    t, "error", told_span(t, json_get(json_get(response, "error"), "message")));
	else
		told_line(t, "finish", told_span(t, json_get(response, "status")));
}

/* ---- Gemini ---- */

static inline void
told_gemini(struct told *t, const struct json *events)
{
	struct span finish = {NULL, 0};

	json_each (e, events) {
		json_each (c, json_get(e, "candidates")) {
			json_each (p, json_get(json_get(c, "content"), "parts")) {
				const struct json *call = json_get(p, "functionCall");
				bool thought = json_yes(json_get(p, "thought"));
				struct span s = told_span(t, json_get(p, "text"));
				if (call != NULL) {
					const char *args =
					    trap_compact(t->a, json_get(call, "args"));
					told_call(t, json_get(call, "id"), json_get(call, "name"),
					    span_of(args));
				} else if (s.n > 0) {
					told_words(t, thought ? 'b' : 'a',
					    thought ? "reasoning" : "text", s);
				}
			}
			if (json_get(c, "finishReason") != NULL) {
				assert_null(finish.p);
				finish = told_span(t, json_get(c, "finishReason"));
			}
		}
		if (json_get(e, "error") != NULL)
			told_line(
			    t, "error", told_span(t, json_get(json_get(e, "error"), "message")));
	}
	if (finish.p != NULL)
		told_line(t, "finish", finish);
}

static inline const char *
trap_told(struct trap *x)
{
	static void (*const readers[DIALECTS])(struct told *, const struct json *) = {
	    [DIALECT_CHAT] = told_chat,
	    [DIALECT_RESPONSES] = told_responses,
	    [DIALECT_MESSAGES] = told_messages,
	    [DIALECT_GEMINI] = told_gemini};
	struct told t = {.a = x->a, .b = BUF_INIT(1 << 22)};
	const char *s;

	readers[x->client](&t, trap_events(x));
	if (t.b.len > 0)
		buf_str(&t.b, "\n");
	s = arena_strndup(x->a, t.b.len > 0 ? t.b.data : "", t.b.len);
	buf_clear(&t.b);
	return s;
}

#endif
