#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/log.h"

static char path[] = "/tmp/omniroute-log.XXXXXX";

static int
setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	close(fd);
	return log_open(path);
}

static int
teardown(void **state)
{
	(void)state;
	return unlink(path);
}

/* What was written since the last call. */
static const char *
written(void)
{
	static char text[65536];
	static long at;
	FILE *f = fopen(path, "r");
	size_t n;

	fseek(f, at, SEEK_SET);
	n = fread(text, 1, sizeof(text) - 1, f);
	at = ftell(f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void
one_line_per_event(void **state)
{
	char expect[128];

	(void)state;
	log_set_role("worker");
	log_context("slot=3");
	log_error("cannot open \"%s\": line\nbreak \x1b[31m", "/x");
	snprintf(expect, sizeof(expect),
	    " error worker[%d]: cannot open \"/x\": line\\nbreak \\x1b[31m slot=3\n",
	    (int)getpid());
	assert_string_equal(written() + strlen("2026-01-31T12:34:56.789Z"), expect);
	log_context(NULL);
}

static void
json_lines(void **state)
{
	char expect[160];

	(void)state;
	log_set_json(true);
	log_context("a=1");
	log_warn("quote \" backslash \\ byte \xff");
	snprintf(expect, sizeof(expect),
	    "\",\"level\":\"warn\",\"role\":\"worker\",\"pid\":%d,\"message\":\"quote \\\" "
	    "backslash \\\\ byte \\ufffd\",\"context\":\"a=1\"}\n",
	    (int)getpid());
	assert_string_equal(written() + strlen("{\"time\":\"2026-01-31T12:34:56.789Z"), expect);
	log_set_json(false);
	log_context(NULL);
}

/* What is UTF-8 stays, at the end of a message too; what is not, and what a terminal obeys, does
 * not. */
static void
only_text_goes_out(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"\xc3\xa9", "\xc3\xa9"},
	    {"\xe2\x82\xac", "\xe2\x82\xac"},
	    {"\xe0\xa0\x80\xef\xbf\xbf", "\xe0\xa0\x80\xef\xbf\xbf"},
	    {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
	    {"\xed\x9f\xbf", "\xed\x9f\xbf"},
	    {"\xc2\xa0", "\xc2\xa0"},
	    {"\xc2\x9b", "\\xc2\\x9b"}, /* C1 */
	    {"\xc1\xbf", "\\xc1\\xbf"},
	    {"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf"},
	    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
	    {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"},
	    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
	    {"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
	    {"\xe2\x82", "\\xe2\\x82"},
	    {"\xe2\x82z", "\\xe2\\x82z"},
	    {"\xe2\x82\xc0", "\\xe2\\x82\\xc0"},
	    {"\xc3", "\\xc3"},
	    {"\x01\t\r\x1f\x7f~ ", "\\x01\\t\\r\\x1f\\x7f~ "},
	};
	char expect[80];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *line, *text;

		log_error("%s", rows[i].in);
		snprintf(expect, sizeof expect, "]: %s\n", rows[i].out);
		line = written();
		text = strstr(line, "]: ");
		assert_non_null(text);
		assert_string_equal(text, expect);
	}
}

/* Secrets that are long, replaced by others, or cut with the line. */
static void
long_and_many_secrets(void **state)
{
	char secret[LOG_SECRET_MAX + 40], line[2048], name[32];
	size_t n;

	(void)state;
	memset(secret, 'Z', sizeof secret - 1);
	secret[sizeof secret - 1] = '\0';
	log_secret(secret);
	n = (size_t)snprintf(line, sizeof line, "a %s b", secret);
	n = log_redact(line, n);
	assert_int_equal(n, strlen("a *** b"));
	assert_memory_equal(line, "a *** b", n);
	for (unsigned i = 0; i < 64; i++) {
		snprintf(name, sizeof name, "secret-number-%03u", i);
		log_secret(name);
		log_secret(name); /* known: takes no second place */
	}
	for (unsigned i = 0; i < 64; i++) {
		n = (size_t)snprintf(line, sizeof line, "(secret-number-%03u)", i);
		n = log_redact(line, n);
		assert_int_equal(n, 5);
		assert_memory_equal(line, "(***)", n);
	}
	n = (size_t)snprintf(line, sizeof line, "%s", secret); /* the oldest made room */
	assert_int_equal(log_redact(line, n), n);
	log_secret("12345678");
	n = (size_t)snprintf(line, sizeof line, "x12345678x1234567");
	n = log_redact(line, n);
	assert_int_equal(n, strlen("x***x1234567"));
	assert_memory_equal(line, "x***x1234567", n);
}

/* A descriptor that is given up is closed; the same one given twice is not. */
static void
descriptors(void **state)
{
	int one = open("/dev/null", O_WRONLY), two = open("/dev/null", O_WRONLY);

	(void)state;
	assert_true(one > 2 && two > 2);
	log_use_fd(one);
	one = log_fd(); /* opened again */
	log_use_fd(two);
	assert_int_equal(fcntl(one, F_GETFD), -1);
	log_use_fd(log_fd());
	assert_int_not_equal(fcntl(log_fd(), F_GETFD), -1);
	assert_int_equal(log_open(path), 0);
	one = log_fd();
	log_use_fd(one);
	assert_int_not_equal(fcntl(one, F_GETFD), -1);
}

static void
levels(void **state)
{
	enum log_level level;

	(void)state;
	assert_true(log_level_parse("warn", &level));
	assert_int_equal(level, LOG_LV_WARN);
	assert_false(log_level_parse("warning", &level));
	log_set_level(LOG_LV_WARN);
	log_notice("not seen");
	log_debug("not seen");
	assert_string_equal(written(), "");
	errno = EPIPE;
	log_warn("seen");
	assert_int_equal(errno, EPIPE);
	assert_non_null(strstr(written(), ": seen\n"));
	log_set_level(LOG_LV_NOTICE);
}

static void
long_lines_are_cut(void **state)
{
	char big[9000];
	const char *line;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_context("kept=yes");
	log_error("%s", big);
	line = written();
	assert_true(strlen(line) <= LOG_LINE_MAX);
	assert_non_null(strstr(line, "x... kept=yes\n"));
	log_context(NULL);
}

static void
secrets_leave_as_stars(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"key sk-abcdefghijkl end", "key *** end"},
	    {"or-0123456789abcdef", "***"},
	    {"Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"},
	    {"Bearer token is missing", "Bearer token is missing"},
	    {"GET /x?key=abcd&y=1", "GET /x?key=***&y=1"},
	    {"api_key=\"zzzzzzzz\"", "api_key=\"***\""},
	    {"task-management monkey=1 sk-", "task-management monkey=1 sk-"},
	    {"registered correct-horse-battery!", "registered ***!"},
	    {"sk-ant-api03-AbCd_12-xyz, next", "***, next"},
	    {"(AIzaSyA0123456789abcdefghijklmnopqrstu)", "(***)"},
	    {"AIza is how they begin", "AIza is how they begin"},
	    {"gsk_0123456789abcdef xai-0123456789abcdef", "*** ***"},
	    {"hf_AbCdEfGhIjKlMnOpQr ghp_0123456789abcdefghij", "*** ***"},
	    {"pplx-0123456789 nvapi-0123456789 r8_0123456789abcdef", "*** *** ***"},
	    {"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-X_Y end", "jwt *** end"},
	    {"Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"},
	    {"authorization: plainvalue", "authorization: ***"},
	    {"\"Authorization\": \"Bearer abcdef\"", "\"Authorization\": \"Bearer ***\""},
	    {"Authorization: Bearer token is missing", "Authorization: Bearer token is missing"},
	    {"Proxy Basic Zm9vOmJhcg==", "Proxy Basic ***"},
	    {"Basic authentication is not offered", "Basic authentication is not offered"},
	    {"basic Authentication", "basic Authentication"},
	    {"x-api-key: abcdef, next", "x-api-key: ***, next"},
	    {"X-Goog-Api-Key:abcdef", "X-Goog-Api-Key:***"},
	    {"{\"api_key\": \"abcdef\"}", "{\"api_key\": \"***\"}"},
	    {"{\\\"apiKey\\\":\\\"abcdef\\\"}", "{\\\"apiKey\\\":\\\"***\\\"}"},
	    {"OPENAI_API_KEY=abcdef x", "OPENAI_API_KEY=*** x"},
	    {"invalid_api_key: Incorrect", "invalid_api_key: Incorrect"},
	    {"/cb?token=abcdef&access_token=ghijkl#x", "/cb?token=***&access_token=***"},
	    {"tokens=12 token: none", "tokens=12 token: none"},
	    {"Basic aB345678 Basic aB34567", "Basic *** Basic aB34567"},
	    {"Basic", "Basic"},
	    {"basic ", "basic "},
	    {"authorization: ", "authorization: "},
	    {"authorization: Basic ", "authorization: *** "},
	    {"sk-12345678 sk-1234567 or-12345678 or-1234567", "*** sk-1234567 *** or-1234567"},
	    {"gsk_12345678 gsk_1234567 xai-12345678 xai-1234567",
		"*** gsk_1234567 *** xai-1234567"},
	    {"hf_1234567890123456 hf_123456789012345", "*** hf_123456789012345"},
	    {"eyJ1234567890.23456 eyJ123456789.12345", "*** eyJ123456789.12345"},
	    {"Bearer realm=\"x\" bearer: Bearer authentication.",
		"Bearer realm=\"x\" bearer: Bearer authentication."},
	    {"Bearer keys Bearer keyz", "Bearer keys Bearer ***"},
	};
	char line[256];

	(void)state;
	log_secret("correct-horse-battery");
	log_secret("short");
	for (size_t i = 0; i < NELEM(rows); i++) {
		size_t n = strlen(rows[i].in);
		memcpy(line, rows[i].in, n);
		n = log_redact(line, n);
		line[n] = '\0';
		assert_string_equal(line, rows[i].out);
	}
	log_error("with %s", "correct-horse-battery");
	assert_null(strstr(written(), "horse"));
}

/* A line that offers a start at every place: what was looked at is not looked at again, or a MiB
 * would take minutes. */
static void
long_lines_take_no_longer(void **state)
{
	static const char *const teeth[] = {"sk-", "eyJ.", "bearer ", "basic ", "api_key",
	    "api_key:", "Authorization: ", "authorization:bearer ", "AIza", "x-api-key: \"", "\\\"",
	    "key=", "?token", "basic aaaaaaaaaaaa", "bearer token\"", "eyJa.eyJ-"};
	size_t n = 1u << 20;
	char *line = malloc(n);

	(void)state;
	assert_non_null(line);
	for (size_t i = 0; i < sizeof teeth / sizeof *teeth; i++) {
		size_t len = strlen(teeth[i]);
		clock_t start = clock();

		for (size_t at = 0; at < n; at++)
			line[at] = teeth[i][at % len];
		assert_true(log_redact(line, n) <= n);
		if (clock() - start > 2 * CLOCKS_PER_SEC)
			fail_msg("a line of %s takes %ld us", teeth[i], (long)(clock() - start));
	}
	free(line);
}

/* A full pipe loses lines and says so; it never blocks. */
static void
full_pipe(void **state)
{
	int fds[2], before = log_fd();
	char text[4096];
	ssize_t n;
	bool told = false;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	log_use_fd(dup(fds[1]));
	for (int i = 0; i < 3000; i++)
		log_error("line %d is long enough to fill the pipe after a while", i);
	assert_true(log_lost() > 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (read(fds[0], text, sizeof(text)) > 0)
		continue;
	log_error("room again");
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	told = strstr(text, "log lines lost\n") != NULL;
	assert_true(told);
	assert_non_null(strstr(text, "room again\n"));
	close(fds[0]);
	close(fds[1]);
	assert_int_not_equal(before, log_fd());
	assert_int_equal(log_open(path), 0);
}

static void
bad_path_keeps_the_old_sink(void **state)
{
	int fd = log_fd();

	(void)state;
	assert_int_not_equal(log_open("/nonexistent-dir/x.log"), 0);
	assert_int_equal(log_fd(), fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_line_per_event),
	    cmocka_unit_test(json_lines),
	    cmocka_unit_test(only_text_goes_out),
	    cmocka_unit_test(levels),
	    cmocka_unit_test(long_lines_are_cut),
	    cmocka_unit_test(secrets_leave_as_stars),
	    cmocka_unit_test(long_and_many_secrets),
	    cmocka_unit_test(descriptors),
	    cmocka_unit_test(long_lines_take_no_longer),
	    cmocka_unit_test(full_pipe),
	    cmocka_unit_test(bad_path_keeps_the_old_sink),
	};
	return cmocka_run_group_tests_name("shared/log", tests, setup, teardown);
}
