#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "master/ctl/ctl.h"

#define SPAN_MAX (INT64_C(86400) * 36500)

bool
ctl_parse_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || end == text || *end || v < min || v > max ||
	    strspn(text, "-0123456789") != strlen(text))
		return false;
	*out = v;
	return true;
}

bool
ctl_parse_span(const char *text, int64_t *seconds)
{
	static const struct {
		char name;
		int64_t seconds;
	} unit[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	char digits[24];
	size_t n = strlen(text);
	int64_t v;

	if (n < 2 || n >= sizeof digits)
		return false;
	memcpy(digits, text, n - 1);
	digits[n - 1] = '\0';
	for (size_t i = 0; i < NELEM(unit); i++)
		if (unit[i].name == text[n - 1]) {
			if (!ctl_parse_number(digits, 0, SPAN_MAX / unit[i].seconds, &v))
				return false;
			*seconds = v * unit[i].seconds;
			return true;
		}
	return false;
}

bool
ctl_parse_time(const char *text, int64_t now_s, int64_t *wall_s)
{
	static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ"};
	int64_t span;

	if (ctl_parse_span(text, &span)) {
		*wall_s = now_s - span;
		return true;
	}
	for (size_t i = 0; i < NELEM(formats); i++) {
		struct tm tm = {0};
		const char *end = strptime(text, formats[i], &tm);
		int day = tm.tm_mday;

		if (!end || *end)
			continue;
		*wall_s = timegm(&tm);
		return tm.tm_mday == day && *wall_s >= 0; /* not the 31st of February */
	}
	return false;
}
