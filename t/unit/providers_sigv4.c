#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "providers/sigv4.h"
#include "shared/digest.h"
#include "shared/err.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define S(text) ((struct span){text, sizeof text - 1})

/* The vectors that AWS publishes: one key, one moment. */
static const char stamp[] = "20150830T123600Z";

struct vector {
	const char *name, *service, *method, *path, *query, *host, *type, *body, *signature;
};

static const struct vector vectors[] = {
    {"get-vanilla", "service", "GET", "/", "", "example.amazonaws.com", NULL, "",
	"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"post-vanilla", "service", "POST", "/", "", "example.amazonaws.com", NULL, "",
	"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"get-vanilla-query-order-key-case", "service", "GET", "/", "Param1=value1&Param2=value2",
	"example.amazonaws.com", NULL, "",
	"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-utf8", "service", "GET", "/\xe1\x88\xb4", "", "example.amazonaws.com", NULL, "",
	"8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"post-x-www-form-urlencoded", "service", "POST", "/", "", "example.amazonaws.com",
	"application/x-www-form-urlencoded", "Param1=value1",
	"ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
    {"iam list users", "iam", "GET", "/", "Action=ListUsers&Version=2010-05-08",
	"iam.amazonaws.com", "application/x-www-form-urlencoded; charset=utf-8", "",
	"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
    /* white space in a value */
    {"trim", "service", "GET", "/", "", "  example.amazonaws.com\t", NULL, "",
	"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
};

static struct span
text(const char *s)
{
	return (struct span){s, s != NULL ? strlen(s) : 0};
}

static void
test_published(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct sigv4_key key = {
		    S("AKIDEXAMPLE"), S(SECRET), {NULL, 0}, S("us-east-1"), text(v->service)};
		struct sigv4_request q = {
		    .method = text(v->method), .path = text(v->path), .query = text(v->query)};
		struct sigv4_header headers[3];
		struct buf out = BUF_INIT(4096);
		struct span body = text(v->body);
		uint8_t digest[SHA256_BYTES];
		char hash[2 * SHA256_BYTES + 1];
		unsigned n = 0;

		if (v->type != NULL)
			headers[n++] = (struct sigv4_header){"content-type", text(v->type)};
		headers[n++] = (struct sigv4_header){"host", text(v->host)};
		headers[n++] = (struct sigv4_header){"x-amz-date", text(stamp)};
		digest_sha256(&body, 1, digest);
		digest_hex(digest, sizeof digest, hash);
		assert_int_equal(sigv4_authorize(&key, &q, headers, n, stamp, hash, &out), 0);
		assert_non_null(buf_cstr(&out));
		if (strcmp(strstr(out.data, "Signature=") + 10, v->signature) != 0)
			fail_msg("%s: %s", v->name, out.data);
		buf_clear(&out);
	}
}

/* As a call of a model goes; checked against an implementation of the algorithm in another
 * language. */
static void
test_bedrock(void **state)
{
	struct arena *a = arena_new(65536);
	struct buf path = BUF_INIT(256);
	struct sigv4_lines lines;
	struct sigv4_key key;
	struct sigv4_request q = {.host = S("bedrock-runtime.eu-central-1.amazonaws.com"),
	    .content_type = S("application/json"),
	    .body = S("{\"messages\":[]}"),
	    .now_s = 1767323045};

	(void)state;
	assert_int_equal(sigv4_key_parse(S("AKIDEXAMPLE:" SECRET ":FwoGZXIvYXdzEBY"), &key), 0);
	key.region = sigv4_region(q.host);
	key.service = S("bedrock");
	buf_str(&path, "/model/");
	assert_int_equal(sigv4_escape(&path, S("us.anthropic.claude-sonnet-4-5-20250929-v1:0")), 0);
	buf_str(&path, "/converse");
	assert_string_equal(
	    buf_cstr(&path), "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse");
	q.path = (struct span){path.data, path.len};
	assert_int_equal(sigv4_sign(a, &key, &q, &lines), 0);
	assert_int_equal(lines.n, 4);
	assert_string_equal(lines.line[0],
	    "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-central-1/bedrock/"
	    "aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;"
	    "x-amz-security-token, "
	    "Signature=003afc3bfff21dd193843e57b80d5d1b534b29e1ab6317e51344f0da1e69613a");
	assert_string_equal(lines.line[1], "X-Amz-Date: 20260102T030405Z");
	assert_string_equal(
	    lines.line[2], "X-Amz-Content-Sha256: "
			   "5e4ce7b36ba37b78a5d5f9fd08e6b7b54ba6879d651aa46ec9e1d6fa24ebe30a");
	assert_string_equal(lines.line[3], "X-Amz-Security-Token: FwoGZXIvYXdzEBY");
	key.session = (struct span){NULL, 0};
	assert_int_equal(sigv4_sign(a, &key, &q, &lines), 0);
	assert_int_equal(lines.n, 3);
	assert_null(strstr(lines.line[0], "security-token"));
	buf_clear(&path);
	arena_free(a);
}

static void
test_key(void **state)
{
	static const char *const bad[] = {
	    "", "AKID", ":secret", "AKID:", "AKID::token", "AKID:secret:"};
	struct sigv4_key key;

	(void)state;
	for (size_t i = 0; i < NELEM(bad); i++)
		assert_int_equal(sigv4_key_parse(text(bad[i]), &key), E_SYNTAX);
	assert_int_equal(sigv4_key_parse(S("AKID:se/cr+et"), &key), 0);
	assert_memory_equal(key.secret.p, "se/cr+et", 8);
	assert_int_equal(key.secret.n, 8);
	assert_null(key.session.p);
	assert_int_equal(sigv4_key_parse(S("AKID:s:t:u"), &key), 0);
	assert_int_equal(key.session.n, 3);
}

static void
test_region(void **state)
{
	static const struct {
		const char *host, *region;
	} hosts[] = {
	    {"bedrock-runtime.us-east-1.amazonaws.com", "us-east-1"},
	    {"bedrock-runtime-fips.us-gov-west-1.amazonaws.com:443", "us-gov-west-1"},
	    {"bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"},
	    {"vpce-0a1b-x.bedrock-runtime.eu-west-3.vpce.amazonaws.com", "eu-west-3"},
	    {"iam.amazonaws.com", NULL},
	    {"127.0.0.1:8000", NULL},
	    {"amazonaws.com", NULL},
	    {"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(hosts); i++) {
		struct span got = sigv4_region(text(hosts[i].host));
		if (hosts[i].region == NULL) {
			assert_null(got.p);
			continue;
		}
		assert_int_equal(got.n, strlen(hosts[i].region));
		assert_memory_equal(got.p, hosts[i].region, got.n);
	}
}

static void
test_limits(void **state)
{
	static char long_secret[300];
	struct sigv4_key key = {
	    S("A"), {long_secret, sizeof long_secret}, {NULL, 0}, S("r"), S("s")};
	struct sigv4_request q = {.path = S("/"), .now_s = 1};
	struct arena *a = arena_new(65536);
	struct sigv4_lines lines;
	struct buf b = BUF_INIT(64);

	(void)state;
	assert_int_equal(sigv4_sign(a, &key, &q, &lines), E_TOO_LONG);
	key.secret.n = 10;
	q.now_s = UINT64_MAX;
	assert_int_equal(sigv4_sign(a, &key, &q, &lines), E_RANGE);
	assert_int_equal(sigv4_escape(&b, S("arn:aws:bedrock:x/y ~")), 0);
	assert_string_equal(buf_cstr(&b), "arn%3Aaws%3Abedrock%3Ax%2Fy%20~");
	buf_clear(&b);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_published),
	    cmocka_unit_test(test_bedrock),
	    cmocka_unit_test(test_key),
	    cmocka_unit_test(test_region),
	    cmocka_unit_test(test_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
