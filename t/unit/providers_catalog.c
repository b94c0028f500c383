#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "providers/catalog.h"
#include "providers/catalog_data.h"
#include "shared/err.h"

static int
setup(void **state)
{
	(void)state;
	return catalog_load();
}

static int
teardown(void **state)
{
	(void)state;
	catalog_free();
	return 0;
}

static void
test_every_provider_is_complete(void **state)
{
	(void)state;
	assert_int_equal(catalog_count(), catalog_ntexts);
	assert_true(catalog_count() > 100);
	assert_null(catalog_at(catalog_count()));
	for (unsigned i = 0; i < catalog_count(); i++) {
		const struct catalog_provider *p = catalog_at(i);

		assert_string_equal(p->id, catalog_texts[i].id);
		if (i > 0)
			assert_true(strcmp(catalog_at(i - 1)->id, p->id) < 0);
		assert_ptr_equal(catalog_find(p->id), p);
		if (*p->alias != '\0')
			assert_ptr_equal(catalog_find(p->alias), p);
		assert_true(*p->name != '\0' && *p->category != '\0');
		assert_non_null(p->headers);
		assert_true(p->builtin || p->path[p->dialect][0] == '/');
		assert_true(p->nmodels == 0 || p->models != NULL);
		if (p->base_url != NULL)
			assert_int_equal(catalog_base_url_check(p->base_url, p->local), 0);
	}
}

static void
test_openai(void **state)
{
	const struct catalog_provider *p = catalog_find("openai");
	bool mini = false;

	(void)state;
	assert_non_null(p);
	assert_string_equal(p->base_url, "https://api.openai.com/v1");
	assert_string_equal(p->chat_path, "/chat/completions");
	assert_string_equal(p->models_path, "/models");
	assert_string_equal(p->auth_header, "Authorization");
	assert_string_equal(p->auth_scheme, "Bearer");
	assert_true(p->key_required && !p->local && !p->builtin);
	for (unsigned i = 0; i < p->nmodels; i++)
		if (strcmp(p->models[i].id, "gpt-4o-mini") == 0)
			mini = p->models[i].context_length == 128000;
	assert_true(mini);
}

static void
test_special_ones(void **state)
{
	const struct catalog_provider *p = catalog_find("echo");

	(void)state;
	assert_true(p->builtin && !p->key_required);
	assert_null(p->base_url);
	assert_null(p->auth_header);
	assert_int_equal(p->nmodels, 1);
	assert_string_equal(p->models[0].id, "echo-1");
	p = catalog_find("openai-compatible");
	assert_true(!p->local && !p->builtin && !p->key_required);
	assert_null(p->base_url);
	p = catalog_find("local");
	assert_true(p->local);
	assert_null(p->base_url);
	p = catalog_find("ollama");
	assert_true(p->local && !p->key_required);
	assert_int_equal(p->dialect, DIALECT_OLLAMA);
	assert_string_equal(p->path[DIALECT_OLLAMA], "/api/chat");
	assert_null(p->path[DIALECT_CHAT]);
	p = catalog_find("openai");
	assert_int_equal(p->dialect, DIALECT_CHAT);
	assert_string_equal(p->path[DIALECT_RESPONSES], "/responses");
	assert_non_null(strstr(p->profile, "\"max_completion_tokens\":true"));
	p = catalog_find("anthropic");
	assert_int_equal(p->dialect, DIALECT_MESSAGES);
	assert_string_equal(p->auth_header, "x-api-key");
	assert_string_equal(p->headers, "anthropic-version: 2023-06-01\n");
	assert_true(catalog_find("bedrock")->sigv4 && catalog_find("bedrock")->auth_header == NULL);
	assert_string_equal(catalog_find("openrouter")->headers, "X-Title: OmniRoute\n");
	assert_string_equal(catalog_find("clarifai")->auth_scheme, "Key");
	assert_string_equal(
	    catalog_find("fireworks")->models[0].id, "accounts/fireworks/models/deepseek-v4-flash");
	assert_null(catalog_find("no-such-provider"));
	assert_null(catalog_find(""));
}

static void
test_load_twice_and_free(void **state)
{
	(void)state;
	assert_int_equal(catalog_load(), 0);
	catalog_free();
	assert_int_equal(catalog_count(), 0);
	assert_null(catalog_find("openai"));
	assert_int_equal(catalog_load(), 0);
	assert_non_null(catalog_find("openai"));
}

struct url_case {
	const char *url;
	int strict, relaxed; /* allow_private false, true */
};

static const struct url_case urls[] = {
    {"https://api.openai.com/v1", 0, 0},
    {"http://llm.example.com:8000/v1", 0, 0},
    {"HTTPS://API.OPENAI.COM/v1", 0, 0},
    {"https://8.8.8.8/v1", 0, 0},
    {"https://[2606:4700::1111]/v1", 0, 0},
    {"https://localhost.example.com/", 0, 0},
    {"https://10.example.com/", 0, 0},
    /* not a base URL */
    {"", E_SYNTAX, E_SYNTAX},
    {"api.openai.com/v1", E_SYNTAX, E_SYNTAX},
    {"//api.openai.com/v1", E_SYNTAX, E_SYNTAX},
    {"ftp://example.com/", E_SYNTAX, E_SYNTAX},
    {"file:///etc/passwd", E_SYNTAX, E_SYNTAX},
    {"gopher://example.com/", E_SYNTAX, E_SYNTAX},
    {"http://", E_SYNTAX, E_SYNTAX},
    {"http:///v1", E_SYNTAX, E_SYNTAX},
    {"https://user@example.com/v1", E_SYNTAX, E_SYNTAX},
    {"https://user:pw@example.com/v1", E_SYNTAX, E_SYNTAX},
    {"https://example.com\\@127.0.0.1/", E_SYNTAX, E_SYNTAX},
    {"https://example.com/v1?a=b", E_SYNTAX, E_SYNTAX},
    {"https://example.com/v1#f", E_SYNTAX, E_SYNTAX},
    {"https://example.com/v1#", E_SYNTAX, E_SYNTAX},
    {"https://exa%20mple.com/", E_SYNTAX, E_SYNTAX},
    {"https://exa%09mple.com/", E_SYNTAX, E_SYNTAX},
    {"https://exa%25mple.com/", E_SYNTAX, E_SYNTAX},
    {"https://exa%5cmple.com/", E_SYNTAX, E_SYNTAX},
    {"https://exa%c3%a9mple.com/", E_SYNTAX, E_SYNTAX},
    {"https://exa mple.com/", E_SYNTAX, E_SYNTAX},
    {"https://example.com/\r\nX: y", E_SYNTAX, E_SYNTAX},
    {"https://example.com:0/", E_SYNTAX, E_SYNTAX},
    {"https://example.com:99999/", E_SYNTAX, E_SYNTAX},
    {"https://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/", E_SYNTAX, E_SYNTAX}, /* wide digits */
    {"http://[::1", E_SYNTAX, E_SYNTAX},
    {"http://[zz]/", E_SYNTAX, E_SYNTAX},
    /* this machine, this network */
    {"http://127.0.0.1:8000/v1", E_DENIED, 0},
    {"http://127.0.0.1./v1", E_DENIED, 0},
    {"http://localhost:11434/v1", E_DENIED, 0},
    {"http://LOCALHOST/", E_DENIED, 0},
    {"http://localhost./", E_DENIED, 0},
    {"http://a.localhost/", E_DENIED, 0},
    {"http://ip6-localhost/", E_DENIED, 0},
    {"http://2130706433/", E_DENIED, 0},
    {"http://0x7f000001/", E_DENIED, 0},
    {"http://017700000001/", E_DENIED, 0},
    {"http://0x7f.1/", E_DENIED, 0},
    {"http://127.1/", E_DENIED, 0},
    {"http://127.0.1/", E_DENIED, 0},
    {"http://0177.0.0.1/", E_DENIED, 0},
    {"http://%31%32%37.0.0.1/", E_DENIED, 0},
    {"http://10.1.2.3/", E_DENIED, 0},
    {"http://172.16.0.1/", E_DENIED, 0},
    {"http://172.31.255.255/", E_DENIED, 0},
    {"http://172.32.0.1/", 0, 0},
    {"http://192.168.1.1/", E_DENIED, 0},
    {"http://3232235777/", E_DENIED, 0},
    {"http://100.64.0.1/", E_DENIED, 0},
    {"http://[::1]:8000/", E_DENIED, 0},
    {"http://[0:0:0:0:0:0:0:1]/", E_DENIED, 0},
    {"http://[::ffff:127.0.0.1]/", E_DENIED, 0},
    {"http://[::ffff:7f00:1]/", E_DENIED, 0},
    {"http://[::ffff:0:127.0.0.1]/", E_DENIED, 0},
    {"http://[::127.0.0.1]/", E_DENIED, 0},
    {"http://[64:ff9b::10.0.0.1]/", E_DENIED, 0},
    {"http://[64:ff9b:1::1.2.3.4]/", E_DENIED, 0},
    {"http://[2002:c0a8:0101::1]/", E_DENIED, 0},
    {"http://[2001:0:0:0:0:0:f5ff:fffe]/", E_DENIED, 0}, /* Teredo of 10.0.0.1 */
    {"http://[fd12:3456::1]/", E_DENIED, 0},
    /* never */
    {"http://169.254.169.254/latest", E_DENIED, E_DENIED},
    {"http://2852039166/", E_DENIED, E_DENIED},
    {"http://0xa9fea9fe/", E_DENIED, E_DENIED},
    {"http://0251.0376.0251.0376/", E_DENIED, E_DENIED},
    {"http://169.254.169.254./", E_DENIED, E_DENIED},
    {"http://169.254.43518/", E_DENIED, E_DENIED},
    {"http://[::ffff:169.254.169.254]/", E_DENIED, E_DENIED},
    {"http://[::ffff:a9fe:a9fe]/", E_DENIED, E_DENIED},
    {"http://[64:ff9b::a9fe:a9fe]/", E_DENIED, E_DENIED},
    {"http://[64:ff9b:1::a9fe:a9fe]/", E_DENIED, E_DENIED},
    {"http://[2002:a9fe:a9fe::1]/", E_DENIED, E_DENIED},
    {"http://[fd00:ec2::254]/", E_DENIED, E_DENIED},
    {"http://[fd00:ec2::23]/", E_DENIED, E_DENIED},
    {"http://[fd00:ec3::23]/", E_DENIED, 0},
    {"http://[fd00:c1::a9fe:a9fe]/", E_DENIED, E_DENIED},
    {"http://[fd00:c1::a9fe:a9ff]/", E_DENIED, 0},
    {"http://[FD00:0EC2:0:0:0:0:0:0254]/", E_DENIED, E_DENIED},
    {"http://[::FFFF:0A00:0001]/", E_DENIED, 0},
    {"http://[::a00:1]/", E_DENIED, 0},
    {"http://[fec0::1]/", E_DENIED, 0},
    {"http://[febf::1]/", E_DENIED, E_DENIED},
    {"http://[2002:7f00:1::]/", E_DENIED, 0},
    {"http://0xA.0x0.0x0.0x1/", E_DENIED, 0},
    {"http://0300.0250.1.1/", E_DENIED, 0},
    {"http://192.168.257/", E_DENIED, 0},
    {"http://172.16.1/", E_DENIED, 0},
    {"http://100.127.255.255/", E_DENIED, 0},
    {"http://100.128.0.1/", 0, 0},
    {"http://198.19.255.255/", E_DENIED, 0},
    {"http://198.20.0.1/", 0, 0},
    {"http://192.0.0.1/", E_DENIED, 0},
    {"http://192.0.0.192/", E_DENIED, E_DENIED},
    {"http://240.0.0.1/", E_DENIED, E_DENIED},
    {"http://0.1.2.3/", E_DENIED, E_DENIED},
    {"http://%6c%6f%63%61%6c%68%6f%73%74/", E_DENIED, 0},
    {"http://1%36%39.254.169.254/", E_DENIED, E_DENIED},
    {"http://169.254.169.254:80/", E_DENIED, E_DENIED},
    {"http://127.0.0.1%00.example.com/", E_SYNTAX, E_SYNTAX},
    {"http://example.com%2f@127.0.0.1/", E_SYNTAX, E_SYNTAX},
    {"http://[::1]@example.com/", E_SYNTAX, E_SYNTAX},
    {"http://[fd20:ce::254]/", E_DENIED, E_DENIED},
    {"http://100.100.100.200/", E_DENIED, E_DENIED},
    {"http://168.63.129.16/", E_DENIED, E_DENIED},
    {"http://metadata.google.internal/", E_DENIED, E_DENIED},
    {"http://Metadata.Google.Internal./", E_DENIED, E_DENIED},
    {"http://metadata/", E_DENIED, E_DENIED},
    {"http://[fe80::1]/", E_DENIED, E_DENIED},
    {"http://[fe80::1%25eth0]/", E_DENIED, E_DENIED},
    {"http://[::1%25lo]/", E_DENIED, E_DENIED},
    {"http://0.0.0.0:8000/", E_DENIED, E_DENIED},
    {"http://0/", E_DENIED, E_DENIED},
    {"http://[::]/", E_DENIED, E_DENIED},
    {"http://224.0.0.1/", E_DENIED, E_DENIED},
    {"http://255.255.255.255/", E_DENIED, E_DENIED},
    {"http://[ff02::1]/", E_DENIED, E_DENIED},
};

static void
test_base_urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(urls); i++) {
		int strict = catalog_base_url_check(urls[i].url, false);
		int relaxed = catalog_base_url_check(urls[i].url, true);

		if (strict != urls[i].strict || relaxed != urls[i].relaxed)
			fail_msg("%s: %s, %s", urls[i].url, err_text(strict), err_text(relaxed));
	}
}

static void
check_address(const char *text, bool private, bool forbidden)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
	struct sockaddr_in sin = {.sin_family = AF_INET};
	const struct sockaddr *sa = (struct sockaddr *)&sin;

	if (inet_pton(AF_INET, text, &sin.sin_addr) != 1) {
		assert_int_equal(inet_pton(AF_INET6, text, &sin6.sin6_addr), 1);
		sa = (struct sockaddr *)&sin6;
	}
	if (address_private(sa) != private || address_forbidden(sa) != forbidden)
		fail_msg("%s: private %d, forbidden %d", text, address_private(sa),
		    address_forbidden(sa));
}

static void
test_resolved_addresses(void **state)
{
	struct sockaddr un = {.sa_family = AF_UNIX};

	(void)state;
	check_address("1.1.1.1", false, false);
	check_address("9.255.255.255", false, false);
	check_address("10.0.0.0", true, false);
	check_address("11.0.0.0", false, false);
	check_address("127.255.255.254", true, false);
	check_address("169.253.255.255", false, false);
	check_address("169.255.0.0", false, false);
	check_address("223.255.255.255", false, false);
	check_address("169.254.169.254", false, true);
	check_address("2606:4700::1111", false, false);
	check_address("2001:db8::1", false, false);
	check_address("::1", true, false);
	check_address("::", false, true);
	check_address("::ffff:8.8.8.8", false, false);
	check_address("::ffff:10.0.0.1", true, false);
	check_address("::ffff:168.63.129.16", false, true);
	check_address("::ffff:168.63.129.17", false, false);
	check_address("2002:a83f:8110::1", false, true);
	check_address("2002:a83f:8111::1", false, false);
	check_address("0.255.255.255", false, true);
	check_address("100.63.255.255", false, false);
	check_address("191.255.255.255", false, false);
	check_address("192.0.1.0", false, false);
	check_address("198.17.255.255", false, false);
	check_address("fd00:ec2::23", true, true);
	check_address("fe7f::1", false, false);
	check_address("febf::1", false, true);
	check_address("fec0::1", true, false);
	check_address("fbff::1", false, false);
	assert_true(address_private(&un) && address_forbidden(&un));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_provider_is_complete),
	    cmocka_unit_test(test_openai),
	    cmocka_unit_test(test_special_ones),
	    cmocka_unit_test(test_load_twice_and_free),
	    cmocka_unit_test(test_base_urls),
	    cmocka_unit_test(test_resolved_addresses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
