/* Counting tokens where no upstream does: the estimate of proto/tokens.h, in the client's dialect.
 */
#include "proto/dialect.h"
#include "proto/tokens.h"
#include "shared/err.h"
#include "worker/exchange_own.h"
#include "worker/worker.h"

/* The number stands between these; Gemini says it twice. */
static const struct {
	const char *before, *between, *after;
} forms[DIALECTS] = {
    [DIALECT_MESSAGES] = {"{\"input_tokens\":", NULL, ",\"source\":\"estimated\"}"},
    [DIALECT_RESPONSES] = {"{\"object\":\"response.input_tokens\",\"input_tokens\":", NULL, "}"},
    [DIALECT_GEMINI] = {"{\"totalTokens\":",
	",\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":", "}]}"},
};

static int
estimate(struct exchange *x, uint64_t *n, struct canon_error *err)
{
	const struct decode_request q = {.arena = x->arena,
	    .body = x->req->body,
	    .model = x->ask.path_model,
	    .betas = http_header_get(x->req, "anthropic-beta")};
	struct canon_request *asked = NULL;
	int r = dialect_get(x->ask.dialect)->decode_request(&q, &asked, err);

	if (r == 0)
		*n = tokens_request(asked, x->ask.dialect);
	return r;
}

void
count_reply(struct exchange *x)
{
	struct canon_error err = {.class = ERROR_SERVER, .message = span_of("Out of memory")};
	const char *between = forms[x->ask.dialect].between;
	struct buf text = BUF_INIT(512);
	uint64_t n = 0;
	int r = estimate(x, &n, &err);

	exchange_end(x, r == 0 ? 200 : r == E_DENIED ? 400 : 500, 0, NULL, NULL);
	buf_addf(&text, "%s%llu", forms[x->ask.dialect].before, (unsigned long long)n);
	if (between != NULL)
		buf_addf(&text, "%s%llu", between, (unsigned long long)n);
	buf_str(&text, forms[x->ask.dialect].after);
	if (r == 0 && buf_ok(&text))
		http_reply(x->req, 200, "application/json", text.data, text.len);
	else
		http_fail(x->req, &err);
	buf_clear(&text);
}
