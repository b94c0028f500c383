#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/collect.h"
#include "proto/framing.h"
#include "shared/digest.h"
#include "shared/err.h"
#include "t/replay/replay.h"

/* ---- what is printed ---- */

static void
print_line(struct buf *b)
{
	if (buf_ok(b))
		printf("%.*s\n", (int)b->len, b->data);
	else
		printf("{\"what\":\"lost\"}\n");
	buf_clear(b);
}

void
say(const struct recording *r, const char *what, const char *fmt, ...)
{
	struct buf b = BUF_INIT(64 << 20);
	struct jsonw w = {.b = &b};
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	jsonw_open(&w, '{');
	jsonw_m_cstr(&w, "name", r->name);
	jsonw_m_cstr(&w, "dialect", dialect_word(r->dialect));
	jsonw_m_cstr(&w, "what", what);
	jsonw_m_cstr(&w, "text", text);
	jsonw_close(&w, '}');
	print_line(&b);
}

/* ---- loading ---- */

static const struct {
	const char *word;
	enum dialect_id dialect;
} dialects[] = {
    {"openai-chat", DIALECT_CHAT},
    {"groq-chat", DIALECT_CHAT},
    {"mistral-chat", DIALECT_CHAT},
    {"openai-responses", DIALECT_RESPONSES},
    {"anthropic-messages", DIALECT_MESSAGES},
    {"bedrock-invoke-anthropic", DIALECT_MESSAGES},
    {"gemini", DIALECT_GEMINI},
    {"cohere-v2", DIALECT_COHERE},
    {"ollama-chat", DIALECT_OLLAMA},
    {"bedrock-converse", DIALECT_CONVERSE},
};

static const struct {
	const char *word;
	int framing;
} framings[] = {
    {"json", WHOLE},
    {"text", WHOLE},
    {"sse", FRAMING_SSE},
    {"ndjson", FRAMING_NDJSON},
    {"json-array", FRAMING_JSON_ARRAY},
    {"aws-eventstream", FRAMING_EVENTSTREAM},
};

static char *
slurp(struct arena *a, const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	char *p = NULL;
	long size;

	if (f == NULL)
		return NULL;
	if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0 &&
	    (p = arena_alloc(a, (size_t)size + 1)) != NULL) {
		*n = fread(p, 1, (size_t)size, f);
		p[*n] = '\0';
	}
	fclose(f);
	return p;
}

static struct span
answer_bytes(struct arena *a, const struct json *response)
{
	const struct json *body = json_get(response, "body");
	struct buf b = BUF_INIT(64 << 20);
	struct span out = {NULL, 0};
	char *copy;

	if (json_is(body, 's'))
		return json_text(a, body);
	if (body != NULL)
		return body->raw;
	if (base64_decode(&b, json_text(a, json_get(response, "body_base64"))) == 0 &&
	    (copy = arena_strndup(a, b.data, b.len)) != NULL)
		out = (struct span){copy, b.len};
	buf_clear(&b);
	return out;
}

bool
recording_load(struct arena *a, const char *path, struct recording *r)
{
	size_t n;
	char *text = slurp(a, path, &n);
	const struct json *root = NULL, *request, *response;
	const char *slash = strrchr(path, '/');
	int64_t status = 0;

	*r = (struct recording){.name = slash != NULL ? slash + 1 : path, .framing = WHOLE};
	if (text == NULL || json_parse(a, (struct span){text, n}, &root) != 0) {
		say(r, "unreadable", "no JSON");
		return false;
	}
	for (size_t i = 0; i < NELEM(dialects); i++)
		if (json_equals(json_get(root, "dialect"), dialects[i].word))
			r->dialect = dialects[i].dialect;
	for (size_t i = 0; i < NELEM(framings); i++)
		if (json_equals(json_get(root, "framing"), framings[i].word))
			r->framing = framings[i].framing;
	request = json_get(root, "request");
	response = json_get(root, "response");
	r->stream = json_yes(json_get(root, "stream"));
	r->path = json_text(a, json_get(root, "path"));
	r->provider = json_text(a, json_get(root, "provider"));
	r->betas = json_text(a, json_get(json_get(request, "headers"), "anthropic-beta"));
	(void)json_int(json_get(response, "status"), &status);
	r->status = (int)status;
	if (json_get(request, "body") != NULL)
		r->request = json_get(request, "body")->raw;
	r->answer = answer_bytes(a, response);
	return r->dialect != DIALECT_NONE;
}

/* The model of a path: behind "/models/" or "/model/", up to what is done with it. */
static struct span
path_model(struct span path)
{
	static const char *const before[] = {"/models/", "/model/"};
	struct span m = {NULL, 0};

	for (size_t i = 0; i < NELEM(before); i++) {
		const char *p = memmem(path.p, path.n, before[i], strlen(before[i]));

		if (p == NULL)
			continue;
		m.p = p + strlen(before[i]);
		while (
		    m.p + m.n < path.p + path.n && strchr(i == 0 ? ":?/" : "?/", m.p[m.n]) == NULL)
			m.n++;
		return m;
	}
	return m;
}

struct decode_request
recording_call(struct arena *a, const struct recording *r)
{
	return (struct decode_request){
	    .arena = a,
	    .body = r->request,
	    .model = path_model(r->path),
	    .stream = r->stream,
	    .betas = r->betas,
	};
}

struct span
recording_model(struct arena *a, const struct recording *r)
{
	struct span m = path_model(r->path);
	const struct json *root;

	if (m.p != NULL || r->request.n == 0 || json_parse(a, r->request, &root) != 0)
		return m;
	return json_text(a, json_get(root, "model"));
}

void
recording_profile(const struct recording *r, struct profile *p)
{
	profile_init(p, r->dialect);
	if (span_is(r->provider, "openai") || span_is(r->provider, "azure-openai")) {
		p->openai = true;
		p->max_completion_tokens = p->developer_role = true;
	}
	if (r->dialect == DIALECT_MESSAGES && memmem(r->path.p, r->path.n, "/invoke", 7) != NULL)
		p->invoke = true;
	if (span_is(r->provider, "mistral")) {
		p->ids = IDS_MISTRAL;
		p->required_is_any = true;
		p->stream_options = false;
	}
}

/* ---- streams ---- */

int
decode_stream(struct arena *a, const struct recording *r, struct span bytes, size_t piece,
    const struct canon_sink *sink)
{
	const struct dialect *d = dialect_get(r->dialect);
	struct arena *scratch = arena_new(256 << 20);
	struct framing_reader *f = framing_new(a, (enum framing)r->framing, 64 << 20);
	struct profile p;
	struct frame frame;
	void *state;
	int result = 0;

	recording_profile(r, &p);
	state = d->decoder_new(a, scratch, &p);
	for (size_t at = 0; result == 0 && at <= bytes.n;) {
		size_t n = piece == 0 ? bytes.n : MIN(piece, bytes.n - at);

		result = at == bytes.n ? framing_end(f) : framing_feed(f, bytes.p + at, n);
		while (result == 0 && (result = framing_next(f, &frame)) == 1) {
			arena_reset(scratch);
			result = d->decode(state, &frame, sink);
		}
		if (at == bytes.n)
			break;
		at += n;
	}
	if (result == 0)
		result = d->decode_end(state, sink);
	framing_free(f);
	arena_free(scratch);
	return result;
}

int
collect_stream(struct arena *a, const struct recording *r, struct span bytes, size_t piece,
    struct collect **c, struct canon_response *out, struct canon_error *err)
{
	struct canon_sink sink = {.take = collect_take};
	int result;

	*c = collect_new(a, 64 << 20);
	sink.ctx = *c;
	result = decode_stream(a, r, bytes, piece, &sink);
	return result != 0 ? result : collect_end(*c, out, err);
}
