/*
 * cross: what translating costs. Messages → Chat and Chat → Messages take turns with the same
 * requests and answers passed through as they are, by the same worker. Each way is measured against
 * the pass-through of its upstream's dialect, which has the same answers.
 */
#include "t/bench/bench.h"

#define ROUNDS 5
#define STREAMS 50
#define CHUNKS 200
#define INTERVAL_MS 8
#define PROMPT (400 * 1024)

enum way { PASS_CHAT, PASS_MESSAGES, TO_CHAT, TO_MESSAGES, WAYS };

static const struct {
	const char *model;
	enum wire client, upstream;
	enum way pass; /* compared with this one */
} ways[WAYS] = {
    [PASS_CHAT] = {"bench/m", WIRE_CHAT, WIRE_CHAT, PASS_CHAT},
    [PASS_MESSAGES] = {"other/m", WIRE_MESSAGES, WIRE_MESSAGES, PASS_MESSAGES},
    [TO_CHAT] = {"bench/m", WIRE_MESSAGES, WIRE_CHAT, PASS_CHAT},
    [TO_MESSAGES] = {"other/m", WIRE_CHAT, WIRE_MESSAGES, PASS_MESSAGES},
};

static struct target via[WAYS];
static FILE *out;
static int failures;

static double
median(const double v[ROUNDS])
{
	struct samples s = {0};
	double m;

	for (int i = 0; i < ROUNDS; i++)
		samples_add(&s, v[i]);
	m = samples_at(&s, 0.5);
	samples_free(&s);
	return m;
}

/* A row and what is said of it: `a` and `b` of the two ways, against a bar (none: 0). */
struct row {
	const char *what;
	int decimals;
	double v[WAYS];
	const char *unit; /* of a and b */
	int digits;
	double a, b, bar;
	bool at_least; /* the bar is a floor */
	uint64_t errors;
};

static void
row(const struct row *r)
{
	double worst = r->at_least ? MIN(r->a, r->b) : MAX(r->a, r->b);
	bool ok =
	    r->errors == 0 && (r->bar <= 0 || (r->at_least ? worst >= r->bar : worst <= r->bar));

	fprintf(out, "| %s ", r->what);
	for (int w = 0; w < WAYS; w++) {
		if (r->v[w] < 0)
			fprintf(out, "| – ");
		else
			fprintf(out, "| %.*f ", r->decimals, r->v[w]);
	}
	fprintf(out, "| %.*f and %.*f%s (bar: ", r->digits, r->a, r->digits, r->b, r->unit);
	if (r->bar > 0)
		fprintf(out, "%s %g)", r->at_least ? "≥" : "≤", r->bar);
	else
		fprintf(out, "none)");
	if (r->errors > 0)
		fprintf(out, ", %llu errors", (unsigned long long)r->errors);
	fprintf(out, "%s |\n", ok ? "" : " **missed**");
	fflush(out);
	failures += !ok;
}

static void
ratio(struct row *r)
{
	r->a = r->v[TO_CHAT] / r->v[PASS_CHAT];
	r->b = r->v[TO_MESSAGES] / r->v[PASS_MESSAGES];
}

static void
difference(struct row *r)
{
	r->a = r->v[TO_CHAT] - r->v[PASS_CHAT];
	r->b = r->v[TO_MESSAGES] - r->v[PASS_MESSAGES];
}

static void
absolute(struct row *r)
{
	r->a = r->v[TO_CHAT];
	r->b = r->v[TO_MESSAGES];
	row(r);
}

static void
bench_throughput(size_t body, const char *label, double bar)
{
	double rps[WAYS][ROUNDS], cpu[WAYS][ROUNDS];
	char what[96];
	struct row a = {
	    .what = what, .unit = " of pass-through", .digits = 2, .bar = bar, .at_least = true};
	struct row b = {.what = what, .decimals = 1, .unit = " µs more", .digits = 1};

	for (int round = 0; round < ROUNDS; round++)
		for (int w = 0; w < WAYS; w++) {
			struct load_result r;
			uint64_t before = target_worker_ns(&via[w]);

			if (load_closed(&via[w], 32, body, body, 1.0, &r) != 0)
				r.errors++;
			rps[w][round] = (double)r.requests / r.seconds;
			cpu[w][round] = (double)(target_worker_ns(&via[w]) - before) / 1e3 /
					(double)MAX(r.requests, 1u);
			a.errors += r.errors;
			load_result_free(&r);
		}
	for (int w = 0; w < WAYS; w++) {
		a.v[w] = median(rps[w]);
		b.v[w] = median(cpu[w]);
	}
	ratio(&a);
	difference(&b);
	snprintf(what, sizeof(what), "requests/s, 32 connections, %s both ways", label);
	row(&a);
	snprintf(what, sizeof(what), "CPU µs/request (worker), %s", label);
	row(&b);
}

static void
bench_streams(void)
{
	double first[WAYS][ROUNDS], chunk[WAYS][ROUNDS];
	struct row a = {.what = "first byte of a stream p50 µs, 50 streams", .unit = " µs more"};
	struct row b = {.what = "CPU µs per streamed chunk (worker)",
	    .decimals = 1,
	    .unit = " µs more",
	    .digits = 1,
	    .bar = 10};

	for (int round = 0; round < ROUNDS; round++)
		for (int w = 0; w < WAYS; w++) {
			struct load_result r;
			uint64_t before = target_worker_ns(&via[w]);

			if (load_streams(&via[w], STREAMS, CHUNKS, INTERVAL_MS, NULL, NULL, &r) !=
			    0)
				r.errors++;
			first[w][round] = samples_at(&r.latency, 0.5);
			chunk[w][round] =
			    (double)(target_worker_ns(&via[w]) - before) / 1e3 / (STREAMS * CHUNKS);
			a.errors += r.errors + (r.chunk.n != STREAMS * CHUNKS);
			load_result_free(&r);
		}
	for (int w = 0; w < WAYS; w++) {
		a.v[w] = median(first[w]);
		b.v[w] = median(chunk[w]);
	}
	difference(&a);
	difference(&b);
	row(&a);
	row(&b);
}

static void
bench_prompt(void)
{
	double ms[WAYS][ROUNDS];
	struct row a = {.what = "answer to a prompt of 400 KB p50 ms, 1 connection",
	    .decimals = 2,
	    .unit = " ms more",
	    .digits = 2,
	    .bar = 5};

	for (int round = 0; round < ROUNDS; round++)
		for (int w = 0; w < WAYS; w++) {
			struct load_result r;

			if (load_closed(&via[w], 1, PROMPT, 1024, 0.3, &r) != 0)
				r.errors++;
			ms[w][round] = samples_at(&r.latency, 0.5) / 1e3;
			a.errors += r.errors + (r.requests == 0);
			load_result_free(&r);
		}
	for (int w = 0; w < WAYS; w++)
		a.v[w] = median(ms[w]);
	difference(&a);
	row(&a);
}

/* The translation alone, without a process around it. */
static void
bench_inner(void)
{
	struct row prompt = {.what = "translation alone: 400 KB prompt, CPU ms",
	    .decimals = 2,
	    .unit = " ms",
	    .digits = 2,
	    .bar = 5};
	struct row whole = {.what = "translation alone: 50 KB answer, CPU µs", .unit = " µs"};
	struct row chunk = {.what = "translation alone: a chunk, CPU µs",
	    .decimals = 2,
	    .unit = " µs",
	    .digits = 2,
	    .bar = 10};

	for (int w = 0; w < WAYS; w++) {
		struct inner in;

		prompt.v[w] = whole.v[w] = chunk.v[w] = -1;
		if (ways[w].client == ways[w].upstream)
			continue;
		if (inner_measure(ways[w].client, ways[w].upstream, PROMPT, 50 * 1024, &in) != 0) {
			prompt.errors++;
			continue;
		}
		prompt.v[w] = in.request / 1e3;
		whole.v[w] = in.whole;
		chunk.v[w] = in.chunk;
	}
	absolute(&prompt);
	absolute(&whole);
	absolute(&chunk);
}

int
cross(const struct target *t, FILE *f)
{
	out = f;
	for (int w = 0; w < WAYS; w++) {
		via[w] = *t;
		via[w].model = ways[w].model;
		via[w].client = ways[w].client;
		via[w].prose = true;
	}
	fprintf(out, "\n| one dialect to another | Chat as it is | Messages as it is | Messages → "
		     "Chat | Chat → Messages | the two translated |\n|---|--:|--:|--:|--:|---|\n");
	bench_throughput(1024, "1 KB", 0.6);
	bench_throughput(50 * 1024, "50 KB", 0);
	bench_streams();
	bench_prompt();
	bench_inner();
	return failures;
}
