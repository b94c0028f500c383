/*
 * main: the measurements and the tables. `bench BUILD_DIR OUT.md`; `bench cross …`: the second
 * table alone. Every figure is a median over rounds in which direct, nginx and OmniRoute take
 * turns; what counts are the ratios and differences within a row.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "t/bench/bench.h"

#define ROUNDS 5
#define HELD 5000
#define PROXY_CPU 0
#define LOAD_CPU 1

static struct target targets[TARGET_KINDS];
static const char *build;
static int origin_port;
static FILE *out;
static int failures;

static void
row(const char *what, int decimals, const double v[TARGET_KINDS], const char *verdict)
{
	char cell[TARGET_KINDS][32];

	for (int k = 0; k < TARGET_KINDS; k++) {
		if (v[k] < 0)
			snprintf(cell[k], sizeof(cell[k]), "–");
		else
			snprintf(cell[k], sizeof(cell[k]), "%.*f", decimals, v[k]);
	}
	fprintf(out, "| %s | %s | %s | %s | %s |\n", what, cell[0], cell[1], cell[2], verdict);
	fflush(out);
}

static const char *
verdict(bool ok, int decimals, double v, const char *unit, const char *bar)
{
	static char text[128];
	int n = snprintf(text, sizeof(text), unit[0] == '+' ? "%+.*f%s" : "%.*f%s", decimals, v,
	    unit[0] == '+' ? unit + 1 : unit);

	snprintf(text + n, sizeof(text) - (size_t)n, " (bar: %s)%s", bar, ok ? "" : " **missed**");
	failures += !ok;
	return text;
}

static double
median(double v[ROUNDS])
{
	struct samples s = {0};
	double m;

	for (int i = 0; i < ROUNDS; i++)
		samples_add(&s, v[i]);
	m = samples_at(&s, 0.5);
	samples_free(&s);
	return m;
}

static void
bench_throughput(size_t body, const char *label, double bar)
{
	double rps[TARGET_KINDS][ROUNDS], cpu[TARGET_KINDS][ROUNDS], m[TARGET_KINDS],
	    c[TARGET_KINDS];
	uint64_t errors = 0;
	char what[96];

	for (int round = 0; round < ROUNDS; round++)
		for (int k = 0; k < TARGET_KINDS; k++) {
			struct load_result r;
			uint64_t before = target_cpu_ns(&targets[k]);

			if (load_closed(&targets[k], 32, body, body, 2.0, &r) != 0)
				r.errors++;
			rps[k][round] = (double)r.requests / r.seconds;
			cpu[k][round] = r.requests ? (double)(target_cpu_ns(&targets[k]) - before) /
							 1e3 / (double)r.requests
						   : 0;
			errors += r.errors;
			load_result_free(&r);
		}
	for (int k = 0; k < TARGET_KINDS; k++) {
		m[k] = median(rps[k]);
		c[k] = k == TARGET_DIRECT ? -1 : median(cpu[k]);
	}
	snprintf(what, sizeof(what), "requests/s, 32 connections, %s both ways", label);
	row(what, 0, m,
	    bar > 0
		? verdict(m[2] / m[1] >= bar && errors == 0, 2, m[2] / m[1], " of nginx", "0.50")
		: verdict(errors == 0, 2, m[2] / m[1], " of nginx", "none"));
	snprintf(what, sizeof(what), "CPU µs/request (worker + master), %s", label);
	row(what, 1, c, verdict(true, 2, c[2] / c[1], " of nginx", "none"));
}

static void
bench_latency(void)
{
	double p50[TARGET_KINDS][ROUNDS], p99[TARGET_KINDS][ROUNDS], a[TARGET_KINDS],
	    b[TARGET_KINDS];

	for (int round = 0; round < ROUNDS; round++)
		for (int k = 0; k < TARGET_KINDS; k++) {
			struct load_result r;

			if (load_rate(&targets[k], 16, 1024, 500, 3.0, &r) != 0)
				r.errors++;
			p50[k][round] = samples_at(&r.latency, 0.50);
			p99[k][round] = samples_at(&r.latency, 0.99);
			load_result_free(&r);
		}
	for (int k = 0; k < TARGET_KINDS; k++) {
		a[k] = median(p50[k]);
		b[k] = median(p99[k]);
	}
	row("latency p50 µs at 500 requests/s", 0, a,
	    verdict(a[2] - a[0] <= 150, 0, a[2] - a[0], "+ µs", "+150"));
	row("latency p99 µs at 500 requests/s", 0, b,
	    verdict(b[2] - b[0] <= 1000, 0, b[2] - b[0], "+ µs", "+1000"));
}

static void
bench_streams(void)
{
	double first[TARGET_KINDS][ROUNDS], mid[TARGET_KINDS][ROUNDS], late[TARGET_KINDS][ROUNDS];
	double f[TARGET_KINDS], m[TARGET_KINDS], l[TARGET_KINDS], stalls[TARGET_KINDS] = {0};
	uint64_t errors = 0;

	for (int round = 0; round < ROUNDS; round++)
		for (int k = 0; k < TARGET_KINDS; k++) {
			struct load_result r;

			if (load_streams(&targets[k], 100, 50, 20, NULL, NULL, &r) != 0)
				r.errors++;
			first[k][round] = samples_at(&r.latency, 0.5);
			mid[k][round] = samples_at(&r.chunk, 0.5);
			late[k][round] = samples_at(&r.chunk, 0.99);
			stalls[k] += (double)r.stalls;
			errors += r.errors;
			load_result_free(&r);
		}
	for (int k = 0; k < TARGET_KINDS; k++) {
		f[k] = median(first[k]);
		m[k] = median(mid[k]);
		l[k] = median(late[k]);
	}
	row("first byte of a stream p50 µs, 100 streams", 0, f,
	    verdict(f[2] - f[0] <= 300 && errors == 0, 0, f[2] - f[0], "+ µs", "+300"));
	row("chunk delay p50 µs", 0, m, verdict(true, 0, m[2] - m[0], "+ µs", "none"));
	row("chunk delay p99 µs", 0, l, verdict(true, 0, l[2] - l[0], "+ µs", "none"));
	row("chunks later than 35 ms", 0, stalls,
	    verdict(stalls[2] <= stalls[0], 0, stalls[2], "", "none of 40 ms"));
}

struct held {
	const struct target *t;
	uint64_t rss, pss;
};

static void
when_held(void *ctx)
{
	struct held *h = ctx;

	target_memory(h->t, &h->rss, &h->pss);
}

static void
bench_memory(void)
{
	double per[TARGET_KINDS] = {-1, -1, -1}, errors[TARGET_KINDS] = {-1, -1, -1};
	double idle_rss[TARGET_KINDS] = {-1, -1, -1}, idle_pss[TARGET_KINDS] = {-1, -1, -1};

	for (int k = TARGET_NGINX; k < TARGET_KINDS; k++) {
		struct target t;
		struct held h = {.t = &t};
		struct load_result r;
		uint64_t rss, pss;

		if (target_start(&t, (enum target_kind)k, build, origin_port, PROXY_CPU) != 0) {
			failures++;
			continue;
		}
		usleep(1000000);
		target_memory(&t, &rss, &pss);
		idle_rss[k] = (double)rss / 1024;
		idle_pss[k] = (double)pss / 1024;
		if (load_streams(&t, HELD, 8, 2000, when_held, &h, &r) != 0)
			r.errors += HELD;
		errors[k] = (double)r.errors + (h.rss == 0);
		per[k] = h.rss > rss ? (double)(h.rss - rss) / HELD : 0;
		load_result_free(&r);
		target_stop(&t);
	}
	row("worker idle, resident MB", 1, idle_rss,
	    verdict(true, 1, idle_rss[2], " MB", "see next"));
	row("worker idle, proportional (PSS) MB", 1, idle_pss,
	    verdict(idle_pss[2] <= 10, 1, idle_pss[2], " MB", "10"));
	row("5,000 open streams: errors", 0, errors,
	    verdict(errors[2] == 0, 0, errors[2], "", "0"));
	row("5,000 open streams: KB each", 1, per,
	    verdict(per[2] <= 64 && per[2] > 0, 1, per[2], " KB", "64"));
}

static void
bench_start(void)
{
	double ms[TARGET_KINDS] = {-1, -1, -1}, v[ROUNDS];

	for (int k = TARGET_NGINX; k < TARGET_KINDS; k++) {
		for (int round = 0; round < ROUNDS; round++) {
			struct target t;
			struct load_result r;
			uint64_t begin = now_ns();

			if (target_start(&t, (enum target_kind)k, build, origin_port, PROXY_CPU) !=
				0 ||
			    load_closed(&t, 1, 1024, 1024, 0.0001, &r) != 0) {
				failures++;
				continue;
			}
			v[round] = (double)(now_ns() - begin) / 1e6;
			load_result_free(&r);
			target_stop(&t);
		}
		ms[k] = median(v);
	}
	row("start to first answer, ms", 0, ms, verdict(ms[2] <= 200, 0, ms[2], " ms", "200"));
}

/* The origin alone, for tests: prints its port and serves until standard input ends. */
static int
origin(void)
{
	char junk[64];
	int port;

	if (origin_start(LOAD_CPU, &port) < 0)
		return 1;
	printf("port %d\n", port);
	fflush(stdout);
	while (read(0, junk, sizeof(junk)) > 0)
		;
	return 0;
}

/* The translation alone, for a profiler. */
static int
inner(size_t body)
{
	static const char *const names[] = {[WIRE_CHAT] = "chat", [WIRE_MESSAGES] = "messages"};

	for (int i = 0; i < 2; i++) {
		enum wire from = (enum wire)i, to = (enum wire) !i;
		struct inner in;

		if (inner_measure(from, to, body, body, &in) != 0)
			return 1;
		printf("%s to %s: request %.1f, answer %.1f, chunk %.3f us\n", names[from],
		    names[to], in.request, in.whole, in.chunk);
	}
	return 0;
}

static void
against_nginx(void)
{
	fprintf(
	    out, "| measurement | direct | nginx | OmniRoute | verdict |\n|---|--:|--:|--:|---|\n");
	bench_throughput(1024, "1 KB", 0.5);
	bench_throughput(50 * 1024, "50 KB", 0);
	bench_latency();
	bench_streams();
	bench_memory();
	bench_start();
}

static int
bench(const char *path, bool cross_only)
{
	int from = cross_only ? TARGET_OMNIROUTE : TARGET_DIRECT, rc = 1;

	out = fopen(path, "w");
	if (out == NULL || origin_start(LOAD_CPU, &origin_port) < 0) {
		perror("bench");
		return 1;
	}
	pin(0, LOAD_CPU);
	for (int k = from; k < TARGET_KINDS; k++)
		if (target_start(&targets[k], (enum target_kind)k, build, origin_port, PROXY_CPU) !=
		    0) {
			fprintf(stderr, "bench: %s does not start (see %s)\n", targets[k].name,
			    targets[k].dir);
			goto out;
		}
	if (!cross_only)
		against_nginx();
	failures += cross(&targets[TARGET_OMNIROUTE], out);
	rc = failures > 0 ? 1 : 0;
out:
	for (int k = from; k < TARGET_KINDS; k++)
		target_stop(&targets[k]);
	fclose(out);
	return rc;
}

int
main(int argc, char **argv)
{
	bool cross_only = argc == 4 && strcmp(argv[1], "cross") == 0;
	struct rlimit lim;

	if (argc == 7 && strcmp(argv[1], "soak") == 0)
		return soak(argv + 2);
	if (argc == 2 && strcmp(argv[1], "origin") == 0)
		return origin();
	if (argc == 3 && strcmp(argv[1], "inner") == 0)
		return inner((size_t)atol(argv[2]));
	if (argc != 3 && !cross_only) {
		fprintf(stderr, "usage: bench [cross] BUILD_DIR OUT.md\n"
				"       bench inner BYTES\n"
				"       bench origin\n"
				"       bench soak PORT KEY MODEL CONNECTIONS STREAMS\n");
		return 2;
	}
	argv += cross_only;
	build = argv[1];
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	return bench(argv[2], cross_only);
}
