/* logprobsResult ↔ the model's form, which is Chat's (spec 10.4). */
#include "proto/gemini/gemini.h"

#define LOGPROBS_MAX (64u << 20)

static void
put_token(struct jsonw *w, struct arena *a, const struct json *c)
{
	const struct json *p = gemini_get(c, "logProbability");
	struct span token = json_text(a, gemini_get(c, "token"));

	jsonw_m_text(w, "token", token.p != NULL ? token : span_of(""));
	jsonw_m_raw(w, "logprob", json_is(p, 'n') ? p->raw : span_of("0"));
	jsonw_m_open(w, "bytes", '[');
	for (size_t i = 0; i < token.n; i++)
		jsonw_u64(w, (unsigned char)token.p[i]);
	jsonw_close(w, ']');
}

struct span
gemini_read_logprobs(struct arena *a, const struct json *result)
{
	const struct json *chosen = gemini_get(result, "chosenCandidates");
	const struct json *tops = gemini_get(result, "topCandidates"), *top;
	struct buf b = BUF_INIT(LOGPROBS_MAX);
	struct jsonw w = {.b = &b};

	if (!json_is(chosen, 'a'))
		return (struct span){NULL, 0};
	top = json_is(tops, 'a') ? tops->child : NULL;
	jsonw_open(&w, '{');
	jsonw_m_open(&w, "content", '[');
	json_each (c, chosen) {
		const struct json *list = gemini_get(top, "candidates");

		if (tops != NULL && top == NULL)
			break; /* the shorter list */
		jsonw_open(&w, '{');
		put_token(&w, a, c);
		jsonw_m_open(&w, "top_logprobs", '[');
		json_each (t, json_is(list, 'a') ? list : NULL) {
			jsonw_open(&w, '{');
			put_token(&w, a, t);
			jsonw_close(&w, '}');
		}
		jsonw_close(&w, ']');
		jsonw_close(&w, '}');
		top = top != NULL ? top->next : NULL;
	}
	jsonw_close(&w, ']');
	jsonw_close(&w, '}');
	return gemini_take(a, &b);
}

static void
put_candidate(struct gemini_writer *o, const struct json *t)
{
	const struct json *p = json_want(t, "logprob");

	jsonw_open(&o->w, '{');
	jsonw_m_text(&o->w, "token", json_text(o->a, json_want(t, "token")));
	if (json_is(p, 'n'))
		jsonw_m_raw(&o->w, "logProbability", p->raw);
	jsonw_close(&o->w, '}');
}

void
gemini_put_logprobs(struct gemini_writer *o, struct span chat)
{
	const struct json *root, *content, *list;
	int r;

	if (chat.p == NULL)
		return;
	if ((r = json_parse(o->a, chat, &root)) != 0) {
		o->error = r;
		return;
	}
	content = json_want(root, "content");
	if (!json_is(content, 'a'))
		return;
	jsonw_m_open(&o->w, "logprobsResult", '{');
	jsonw_m_open(&o->w, "topCandidates", '[');
	json_each (t, content) {
		jsonw_open(&o->w, '{');
		jsonw_m_open(&o->w, "candidates", '[');
		list = json_want(t, "top_logprobs");
		json_each (c, json_is(list, 'a') ? list : NULL)
			put_candidate(o, c);
		jsonw_close(&o->w, ']');
		jsonw_close(&o->w, '}');
	}
	jsonw_close(&o->w, ']');
	jsonw_m_open(&o->w, "chosenCandidates", '[');
	json_each (t, content)
		put_candidate(o, t);
	jsonw_close(&o->w, ']');
	jsonw_close(&o->w, '}');
}
