#include <stdlib.h>

#include "t/bench/bench.h"

void
samples_add(struct samples *s, double v)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 4096;
		s->v = realloc(s->v, s->cap * sizeof(*s->v));
		if (s->v == NULL)
			abort();
	}
	s->v[s->n++] = v;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
samples_at(struct samples *s, double quantile)
{
	if (s->n == 0)
		return 0;
	qsort(s->v, s->n, sizeof(*s->v), by_value);
	return s->v[MIN(s->n - 1, (size_t)(quantile * (double)s->n))];
}

void
samples_free(struct samples *s)
{
	free(s->v);
	*s = (struct samples){0};
}

void
load_result_free(struct load_result *r)
{
	samples_free(&r->latency);
	samples_free(&r->chunk);
}
