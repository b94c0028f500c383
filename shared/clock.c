#include "shared/clock.h"

#include <time.h>

/* The last microsecond that has a year of four digits. */
#define WALL_MAX UINT64_C(253402300799999999)

uint64_t
clock_now_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) != 0)
		bug("CLOCK_MONOTONIC cannot be read");
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t
clock_wall_us(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		bug("CLOCK_REALTIME cannot be read");
	if (ts.tv_sec < 0)
		return 0; /* a clock set before 1970 */
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static char *
put_digits(char *p, unsigned value, unsigned digits, char after)
{
	for (unsigned i = digits; i-- > 0; value /= 10)
		p[i] = (char)('0' + value % 10);
	p[digits] = after;
	return p + digits + 1;
}

void
clock_format_iso(uint64_t wall_us, char out[CLOCK_ISO_LEN])
{
	uint64_t us = MIN(wall_us, WALL_MAX);
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm = {0};
	char *p = out;

	if (gmtime_r(&seconds, &tm) == NULL)
		bug("gmtime_r refuses %llu", (unsigned long long)seconds);
	p = put_digits(p, (unsigned)tm.tm_year + 1900, 4, '-');
	p = put_digits(p, (unsigned)tm.tm_mon + 1, 2, '-');
	p = put_digits(p, (unsigned)tm.tm_mday, 2, 'T');
	p = put_digits(p, (unsigned)tm.tm_hour, 2, ':');
	p = put_digits(p, (unsigned)tm.tm_min, 2, ':');
	p = put_digits(p, (unsigned)tm.tm_sec, 2, '.');
	p = put_digits(p, (unsigned)(us / 1000 % 1000), 3, 'Z');
	*p = '\0';
}
