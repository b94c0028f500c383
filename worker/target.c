#include "worker/target.h"

#include <stdlib.h>
#include <string.h>

#include "proto/scan.h"
#include "proto/signature.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"
#include "worker/route.h"

#define URL_MAX 8192

/* ---- rows of providers ---- */

struct row {
	bool known[DIALECTS];
	struct profile profile[DIALECTS];
};

/* Of the snapshot with this number. An exchange that still holds the one before reads its row anew.
 */
static struct {
	uint64_t number;
	uint32_t n;
	struct row **row;
} rows;

void
target_free(void)
{
	for (uint32_t i = 0; i < rows.n; i++)
		free(rows.row[i]);
	free(rows.row);
	memset(&rows, 0, sizeof rows);
}

static struct row *
row_of(const struct snapshot *snap, const struct snap_provider *p)
{
	const struct snap_head *h = snapshot_head(snap);
	uint32_t i = (uint32_t)(p - snapshot_provider(snap, 0));

	if (rows.row == NULL || rows.number != h->number || rows.n != h->providers.count) {
		target_free();
		rows.row = calloc(h->providers.count, sizeof *rows.row);
		if (rows.row == NULL)
			return NULL;
		rows.number = h->number;
		rows.n = h->providers.count;
	}
	if (rows.row[i] == NULL)
		rows.row[i] = calloc(1, sizeof **rows.row);
	return rows.row[i];
}

static int
read_profile(struct target *t, struct arena *a, const struct target_request *q)
{
	struct span text = snapshot_span(q->snap, q->provider->profile);
	struct row *row = row_of(q->snap, q->provider);
	const char *why;

	if (row == NULL)
		return E_NOMEM;
	if (!row->known[t->dialect]) {
		struct profile *p = &row->profile[t->dialect];

		profile_init(p, t->dialect);
		if (text.n > 0 && profile_parse(a, t->dialect, text, p, &why) != 0) {
			log_error("the profile of provider %s is not used: %s",
			    snapshot_cstr(q->snap, q->provider->id), why);
			profile_init(p, t->dialect);
		}
		row->known[t->dialect] = true;
	}
	t->profile = row->profile[t->dialect];
	return 0;
}

/* ---- where ---- */

/* What is put behind the URL of a dialect; NULL: it cannot be had. */
static const struct {
	const char *whole, *stream, *count, *compact;
} tails[DIALECTS] = {
    [DIALECT_CHAT] = {"", "", NULL, NULL},
    [DIALECT_RESPONSES] = {"", "", "/input_tokens", "/compact"},
    [DIALECT_MESSAGES] = {"", "", "/count_tokens", NULL},
    [DIALECT_GEMINI] = {":generateContent", ":streamGenerateContent?alt=sse", ":countTokens", NULL},
    [DIALECT_COHERE] = {"", "", NULL, NULL},
    [DIALECT_OLLAMA] = {"", "", NULL, NULL},
    [DIALECT_CONVERSE] = {"/converse", "/converse-stream", NULL, NULL},
};

static const char *
tail_of(enum dialect_id dialect, enum ask_kind kind, bool streamed)
{
	switch (kind) {
	case ASK_COUNT:
		return tails[dialect].count;
	case ASK_COMPACT:
		return tails[dialect].compact;
	default:
		return streamed ? tails[dialect].stream : tails[dialect].whole;
	}
}

static void
put_model(struct buf *b, const char *model)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *model != '\0'; model++) {
		if (strchr(plain, *model) != NULL)
			buf_add(b, model, 1);
		else
			buf_addf(b, "%%%02X", (unsigned char)*model);
	}
}

static int
make_url(struct target *t, struct arena *a, struct span url, const char *model, const char *tail)
{
	static const char hole[] = "{model}";
	const char *at = memmem(url.p, url.n, hole, sizeof hole - 1);
	struct buf b = BUF_INIT(URL_MAX);

	if (at != NULL) {
		buf_add(&b, url.p, (size_t)(at - url.p));
		put_model(&b, model);
		at += sizeof hole - 1;
		buf_add(&b, at, (size_t)(url.p + url.n - at));
	} else {
		buf_add(&b, url.p, url.n);
	}
	buf_str(&b, tail);
	t->url = buf_ok(&b) ? arena_strndup(a, b.data, b.len) : NULL;
	buf_clear(&b);
	return t->url != NULL ? 0 : E_NOMEM;
}

/* ---- may the bytes pass? ---- */

/* Members of a Chat body that a row may want changed: where this flag of it has this value. */
static const struct demand {
	const char *member;
	size_t flag;
	bool value;
	bool by_model; /* and the model wants the new name of the limit */
} demands[] = {
    {"max_completion_tokens", offsetof(struct profile, max_completion_tokens), false, false},
    {"max_tokens", offsetof(struct profile, max_completion_tokens), true, true},
    {"stream_options", offsetof(struct profile, stream_options), false, false},
    {"frequency_penalty", offsetof(struct profile, no_penalties), true, false},
    {"presence_penalty", offsetof(struct profile, no_penalties), true, false},
    {"logprobs", offsetof(struct profile, no_logprobs), true, false},
    {"top_logprobs", offsetof(struct profile, no_logprobs), true, false},
    {"seed", offsetof(struct profile, no_seed), true, false},
    {"seed", offsetof(struct profile, random_seed), true, false},
    {"stop", offsetof(struct profile, no_stop), true, false},
    {"n", offsetof(struct profile, no_n), true, false},
    {"user", offsetof(struct profile, no_user), true, false},
    {"parallel_tool_calls", offsetof(struct profile, no_parallel_tools), true, false},
    {"tool_choice", offsetof(struct profile, required_is_any), true, false},
    {"tool_choice", offsetof(struct profile, no_required_choice), true, false},
    {"tool_choice", offsetof(struct profile, no_named_choice), true, false},
};

static bool
says(struct span body, const char *word)
{
	return memmem(body.p, body.n, word, strlen(word)) != NULL;
}

/* Whether the row of a provider wants something of this body changed. */
static bool
row_demands(const struct profile *p, const char *model, struct span body)
{
	struct scan_want want[NELEM(demands) + 1];
	bool new_name = model_facts_of(span_of(model))->max_field_new;
	unsigned n = 0;
	size_t at;

	if ((!p->developer_role && says(body, "\"developer\"")) ||
	    (p->ids != IDS_ANY && says(body, "\"tool_call")))
		return true;
	for (size_t i = 0; i < NELEM(demands); i++)
		if (*((const bool *)(const void *)p + demands[i].flag) == demands[i].value &&
		    (!demands[i].by_model || new_name) &&
		    (n == 0 || strcmp(want[n - 1].name, demands[i].member) != 0))
			want[n++] = (struct scan_want){.name = demands[i].member};
	if (p->reasoning != REASON_EFFORT && p->reasoning != REASON_NONE)
		want[n++] = (struct scan_want){.name = "reasoning_effort"};
	if (scan_members(body.p, body.n, want, n, &at) != 0)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (scan_type(want[i].value) != 0 && scan_type(want[i].value) != '0')
			return true;
	return false;
}

static void
decide(struct target *t, const struct target_request *q)
{
	const struct ask *ask = q->ask;
	bool chat = t->dialect == DIALECT_CHAT, row = q->provider->profile.len > 0;

	if (ask->kind != ASK_ANSWER)
		return;
	t->translate = t->dialect != ask->dialect || ask->completion || ask->array ||
		       signature_present(q->body) ||
		       (chat && row && row_demands(&t->profile, q->model, q->body));
	t->ask_usage = !t->translate && chat && row && q->streamed && t->profile.stream_options &&
		       ask_member(q->body, "stream_options").p == NULL;
}

int
target_choose(struct target *t, struct arena *a, const struct target_request *q)
{
	struct span url = {NULL, 0};
	const char *tail;
	int r;

	*t = (struct target){.dialect = DIALECT_CHAT};
	if (q->conn != &route_builtin) {
		url = snapshot_span(q->snap, q->conn->url[q->ask->dialect]);
		t->dialect = url.n > 0 ? q->ask->dialect : (enum dialect_id)q->conn->dialect;
		url = snapshot_span(q->snap, q->conn->url[t->dialect]);
	}
	tail = tail_of(t->dialect, q->ask->kind, q->streamed);
	if (tail == NULL || (url.n == 0 && q->conn != &route_builtin) ||
	    (q->ask->kind != ASK_ANSWER && t->dialect != q->ask->dialect))
		return E_DENIED;
	if ((r = read_profile(t, a, q)) != 0)
		return r;
	decide(t, q);
	return url.n > 0 ? make_url(t, a, url, q->model, tail) : 0;
}
