#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "master/conf.h"
#include "master/conf_option.h"
#include "providers/catalog.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"

static char dir[64], home[80];
static struct buf err;

static const char *const variables[] = {
    "PORT", "HOSTNAME", "DATA_DIR", "INITIAL_PASSWORD", "CONF_TEST_A", "CONF_TEST_B"};

static int
setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/omniroute-conf.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(home, sizeof home, "%s/home", dir);
	mkdir(home, 0700);
	setenv("HOME", home, 1);
	for (size_t i = 0; i < NELEM(variables); i++)
		unsetenv(variables[i]);
	for (unsigned i = 0; i < noptions; i++)
		if (options[i].env != NULL)
			unsetenv(options[i].env);
	buf_init(&err, 65536);
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	buf_clear(&err);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static char *
in_dir(const char *name)
{
	static char path[4][160];
	static unsigned turn;
	char *p = path[turn++ % 4];

	snprintf(p, sizeof path[0], "%s/%s", dir, name);
	return p;
}

static void
put_file(const char *name, const char *text)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int
load_with_port(const char *name, int port, struct conf **c)
{
	struct conf_override over = {.file = name != NULL ? in_dir(name) : NULL, .port = port};

	*c = NULL;
	buf_reset(&err);
	return conf_load(&over, c, &err);
}

/* The configuration of a text. */
static struct conf *
good(const char *text)
{
	struct conf *c;

	put_file("omniroute.conf", text);
	if (load_with_port("omniroute.conf", 0, &c) < 0)
		fail_msg("%s", buf_cstr(&err));
	return c;
}

/* The text is refused with exactly this message, in which the file's path is left out. */
static void
bad(const char *text, const char *want)
{
	struct conf *c;
	const char *said;

	put_file("omniroute.conf", text);
	assert_true(load_with_port("omniroute.conf", 0, &c) < 0);
	assert_null(c);
	said = buf_cstr(&err);
	if (strncmp(said, dir, strlen(dir)) == 0)
		said += strlen(dir) + 1;
	assert_string_equal(said, want);
}

/* ---- defaults --------------------------------------------------------------------------- */

static void
test_without_any_file(void **state)
{
	struct conf *c;

	(void)state;
	assert_int_equal(load_with_port(NULL, 0, &c), 0);
	assert_null(c->file);
	assert_int_equal(c->nlisten, 1);
	assert_string_equal(c->listen[0].name, "127.0.0.1:20128");
	assert_false(c->listen[0].tls);
	assert_string_equal(c->data_dir, in_dir("home/.omniroute"));
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->max_body_size, 52428800);
	assert_int_equal(c->max_body_memory, 1073741824);
	assert_int_equal(c->connect_timeout, 30000);
	assert_string_equal(c->log_file, "stderr");
	assert_string_equal(c->access_log, "");
	assert_int_equal(c->require_api_key, 0);
	assert_int_equal(c->log_level, LOG_LV_NOTICE);
	assert_int_equal(c->nconnections + c->nkeys + c->ntrusted, 0);
	assert_null(c->initial_password);
	conf_free(c);
}

static void
test_the_file_in_the_data_directory(void **state)
{
	struct conf *c;

	(void)state;
	mkdir(in_dir("home/.omniroute"), 0700);
	put_file("home/.omniroute/omniroute.conf", "workers = 3\n");
	assert_int_equal(load_with_port(NULL, 0, &c), 0);
	assert_string_equal(c->file, in_dir("home/.omniroute/omniroute.conf"));
	assert_int_equal(c->workers, 3);
	conf_free(c);
	mkdir(in_dir("other"), 0700);
	setenv("DATA_DIR", in_dir("other"), 1);
	assert_int_equal(load_with_port(NULL, 0, &c), 0);
	assert_null(c->file);
	assert_string_equal(c->data_dir, in_dir("other"));
	conf_free(c);
}

static void
test_a_missing_file(void **state)
{
	struct conf *c;
	char want[200];

	(void)state;
	assert_int_equal(load_with_port("nope.conf", 0, &c), E_SYSTEM);
	snprintf(want, sizeof want, "%s: No such file or directory", in_dir("nope.conf"));
	assert_string_equal(buf_cstr(&err), want);
}

/* ---- values ----------------------------------------------------------------------------- */

static void
test_suffixes(void **state)
{
	struct conf *c = good("connect_timeout = 90s idle_timeout = 2h\nbody_timeout = 1d\n"
			      "header_timeout = 250ms keepalive_timeout = 5m\n"
			      "max_body_size = 2G max_header_size = 64k max_response_size = 100m\n"
			      "send_timeout = \"1500\"\n");

	(void)state;
	assert_int_equal(c->connect_timeout, 90000);
	assert_int_equal(c->idle_timeout, 7200000);
	assert_int_equal(c->body_timeout, 86400000);
	assert_int_equal(c->header_timeout, 250);
	assert_int_equal(c->keepalive_timeout, 300000);
	assert_int_equal(c->max_body_size, 2147483648);
	assert_int_equal(c->max_header_size, 65536);
	assert_int_equal(c->max_response_size, 104857600);
	assert_int_equal(c->send_timeout, 1500);
	conf_free(c);
}

static void
test_number_parse(void **state)
{
	static const struct {
		const char *text, *unit;
		int64_t want; /* -1: refused */
	} cases[] = {
	    {"0", "", 0},
	    {"9223372036854775807", "", INT64_MAX},
	    {"9223372036854775808", "", -1},
	    {"", "", -1},
	    {"-1", "", -1},
	    {"+1", "", -1},
	    {" 1", "", -1},
	    {"1 ", "", -1},
	    {"0x10", "", -1},
	    {"1e3", "", -1},
	    {"1.5", "", -1},
	    {"1k", "", -1},
	    {"1s", "bytes", -1},
	    {"1k", "ms", -1},
	    {"1k", "bytes", 1024},
	    {"1kb", "bytes", -1},
	    {"9007199254740992k", "bytes", -1},
	    {"s", "ms", -1},
	    {"1S", "ms", 1000},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		int64_t n = -1;
		int r = number_parse(cases[i].text, cases[i].unit, 0, INT64_MAX, &n);

		if (n != cases[i].want || (r == 0) != (cases[i].want >= 0))
			fail_msg("\"%s\": %lld", cases[i].text, (long long)n);
	}
}

static void
test_words(void **state)
{
	struct conf *c = good("require_api_key = on\nlog_level = DEBUG\nupstream_http2 = yes\n"
			      "log_format = json allow_private_provider_urls = 1\n");

	(void)state;
	assert_int_equal(c->require_api_key, 2);
	assert_int_equal(c->log_level, LOG_LV_DEBUG);
	assert_int_equal(c->upstream_http2, 1);
	assert_int_equal(c->log_format, 1);
	assert_int_equal(c->allow_private_provider_urls, 1);
	conf_free(c);
}

/* ---- errors ----------------------------------------------------------------------------- */

static void
test_errors_name_the_place(void **state)
{
	(void)state;
	bad("workers = 65\n",
	    "omniroute.conf:1: option \"workers\": value \"65\" is not allowed; allowed: 0 to 64");
	bad("# a\n// b\n/* c\n d */\n\nworkers = many # e\n",
	    "omniroute.conf:6: option \"workers\": value \"many\" is not allowed; allowed: 0 to "
	    "64");
	bad("connect_timeout = 0\n", "omniroute.conf:1: option \"connect_timeout\": value \"0\" is "
				     "not allowed; allowed: 1 to "
				     "86400000 ms (or with ms, s, m, h, d behind the number)");
	bad("max_body_size = 5t\n", "omniroute.conf:1: option \"max_body_size\": value \"5t\" is "
				    "not allowed; allowed: 1024 to "
				    "2147483648 bytes (or with k, m, g behind the number)");
	bad("\nlog_level = loud\n", "omniroute.conf:2: option \"log_level\": value \"loud\" is not "
				    "allowed; allowed: error, warn, "
				    "notice, info, debug");
	bad("log_file = \"a\nb\"\n", "omniroute.conf:2: option \"log_file\": value holds a control "
				     "character; allowed: one line of text");
	bad("access_log_format = '$status $remote_adr'\n",
	    "omniroute.conf:1: option \"access_log_format\": value \"$status $remote_adr\": "
	    "unknown "
	    "variable $remote_adr; there are"
#define X(name, token, help) " $" #name
#include "shared/logformat.def"
#undef X
	);
	bad("# x\nworkerz = 1\n", "omniroute.conf:2: option \"workerz\": there is no such option; "
				  "did you mean \"workers\"?");
	bad("zzzzzzzzzzzzzz = 1\n", "omniroute.conf:1: option \"zzzzzzzzzzzzzz\": there is no such "
				    "option; omniroute.conf(5) lists them");
	bad("workers 5\n", "omniroute.conf:1: option \"workers\": an equal sign is missing");
	bad("log_file = \"a\n", "omniroute.conf:2: a string is not closed");
	bad("/* a\n", "omniroute.conf:2: a comment is not closed");
	bad("trusted_proxies = {10.0.0.0/33}\n", "omniroute.conf:1: option \"trusted_proxies\": "
						 "value \"10.0.0.0/33\" is not allowed; allowed: "
						 "an address or a range such as 10.0.0.0/8");
}

static void
test_errors_in_sections(void **state)
{
	(void)state;
	bad("connection \"a\" {\n provider = local\n priority = 0\n}\n",
	    "omniroute.conf:3: connection \"a\": option \"priority\": value \"0\" is not allowed; "
	    "allowed: 1 "
	    "to 1000, the lower is asked first");
	bad("connection \"a\" { provider = openia }\n",
	    "omniroute.conf:1: connection \"a\": option \"provider\": value \"openia\" is not in "
	    "the "
	    "catalogue; did you mean \"openai\"?");
	bad("connection \"a\" { provider = openai }\n",
	    "omniroute.conf:1: connection \"a\": openai needs a key; allowed: one of key, "
	    "key_file, key_env");
	bad("connection \"a\" { }\n", "omniroute.conf:1: connection \"a\": provider is missing; "
				      "for any server with a base_url it is "
				      "\"openai-compatible\", or \"local\" in one's own network");
	bad("connection \"a\" { provider = local }\n",
	    "omniroute.conf:1: connection \"a\": base_url is missing: the address up to and with "
	    "/v1; local "
	    "has none of its own");
	bad("connection \"a\" { provider = local key = x key_env = HOME }\n",
	    "omniroute.conf:1: connection \"a\": option \"key_env\": there is a key already; "
	    "allowed: one of "
	    "key, key_file, key_env");
	bad("connection \"groq\" { provider = openai key = x }\n",
	    "omniroute.conf:1: connection \"groq\": the name is that of the provider groq (Groq); "
	    "allowed: "
	    "any other");
	bad("connection \"vllm\" { provider = openai key = x }\n",
	    "omniroute.conf:1: connection \"vllm\": the name is that of the provider vllm (vLLM); "
	    "allowed: "
	    "any other");
	bad("connection \"gpu\" { provider = vllm }\nconnection \"vllm\" { provider = local "
	    "base_url = \"http://127.0.0.1:8000/v1\" }\n",
	    "omniroute.conf:2: connection \"vllm\": the name is that of the provider vllm (vLLM); "
	    "allowed: "
	    "any other");
	bad("connection \"e\" { provider = echo key = x }\n",
	    "omniroute.conf:1: connection \"e\": echo is built in and takes no key");
	bad("connection \"a/b\" { provider = openai key = x }\n",
	    "omniroute.conf:1: connection \"a/b\": the name is not allowed; allowed: 1 to 64 "
	    "letters, digits, "
	    "'.', '_', '-', beginning with a letter, a digit or '_'");
	bad("key \"k\" { key = short }\n",
	    "omniroute.conf:1: key \"k\": the key has 5 characters; allowed: 16 to 512");
	bad("key \"k\" { }\n", "omniroute.conf:1: key \"k\": the key is missing; allowed: one of "
			       "key, key_file, key_env");
	bad("key \"k\" { scopes = {chat, root} }\n",
	    "omniroute.conf:1: key \"k\": option \"scopes\": value \"root\" is not allowed; "
	    "allowed: chat, manage");
	bad("key \"k\" { key_env = CONF_TEST_A }\n",
	    "omniroute.conf:1: key \"k\": option \"key_env\": the environment variable CONF_TEST_A "
	    "is not set");
	bad("key \"k\" { key = 0123456789abcdef }\n\nkey \"k\" { key = 0123456789abcdef }\n",
	    "omniroute.conf:3: there is already one named \"k\"");
	bad("key \"k\" { kay = x }\n", "omniroute.conf:1: key \"k\": option \"kay\": there is no "
				       "such option; did you mean \"key\"?");
}

/* What is refused may be a secret in the wrong place: it is not repeated. */
static void
test_errors_do_not_show_keys(void **state)
{
	struct conf *c;

	(void)state;
	put_file(
	    "omniroute.conf", "connection \"a\" { provider = openai key = \"sec ret-Value\" }\n");
	assert_true(load_with_port("omniroute.conf", 0, &c) < 0);
	assert_null(strstr(buf_cstr(&err), "ret-Value"));
	put_file(
	    "omniroute.conf", "connection \"a\" { provider = local key = k1 { secret-Value }\n");
	assert_true(load_with_port("omniroute.conf", 0, &c) < 0);
	assert_null(strstr(buf_cstr(&err), "secret-Value"));
	put_file("omniroute.conf",
	    "connection \"a\" { provider = local base_url = \"http://u:secret-Value@h/\" }\n");
	assert_true(load_with_port("omniroute.conf", 0, &c) < 0);
	assert_null(strstr(buf_cstr(&err), "secret-Value"));
}

/* ---- sections --------------------------------------------------------------------------- */

static void
test_connections_and_keys(void **state)
{
	struct conf *c;

	(void)state;
	put_file("k", "  upstream-key \nsecond line\n");
	setenv("CONF_TEST_A", "or-0123456789abcdef", 1);
	c = good("connection \"one\" { provider = openai key_file = k models = {\"a/b:c\", d}\n"
		 " models += {e} priority = 7 enabled = false insecure = true http2 = true }\n"
		 "connection two { provider = ollama }\n"
		 "key \"laptop\" { key_env = CONF_TEST_A rpm = 600 }\n"
		 "key \"ops\" { key = \"0123456789abcdef\" scopes = {chat, manage} }\n");
	assert_int_equal(c->nconnections, 2);
	assert_string_equal(c->connection[0].name, "one");
	assert_string_equal(c->connection[0].key, "upstream-key");
	assert_int_equal(c->connection[0].nmodels, 3);
	assert_string_equal(c->connection[0].models[0], "a/b:c");
	assert_string_equal(c->connection[0].models[2], "e");
	assert_int_equal(c->connection[0].priority, 7);
	assert_false(c->connection[0].enabled);
	assert_true(c->connection[0].insecure);
	assert_int_equal(c->connection[0].http2, 1);
	assert_string_equal(c->connection[1].provider, "ollama");
	assert_null(c->connection[1].key);
	assert_null(c->connection[1].base_url);
	assert_null(c->connection[1].dialect);
	assert_int_equal(c->connection[1].priority, 100);
	assert_true(c->connection[1].enabled);
	assert_int_equal(c->connection[1].http2, -1);
	assert_int_equal(c->nkeys, 2);
	assert_string_equal(c->key[0].key, "or-0123456789abcdef");
	assert_int_equal(c->key[0].rpm, 600);
	assert_int_equal(c->key[0].scopes, SCOPE_CHAT);
	assert_int_equal(c->key[1].scopes, SCOPE_CHAT | SCOPE_MANAGE);
	assert_int_equal(c->key[1].rpm, 0);
	conf_free(c);
}

/* A server of one's own may be called what it is. */
static void
test_local_server_named_after_its_kind(void **state)
{
	struct conf *c =
	    good("connection \"vllm\" { provider = local base_url = "
		 "\"http://127.0.0.1:8000/v1\" }\nconnection \"b\" { provider = ollama }\n");

	(void)state;
	assert_int_equal(c->nconnections, 2);
	assert_string_equal(c->connection[0].name, "vllm");
	assert_string_equal(c->connection[0].provider, "local");
	conf_free(c);
}

static void
test_dialects(void **state)
{
	static const char text[] = "connection \"a\" { provider = local base_url = "
				   "\"http://127.0.0.1:8000/v1\" dialect = \"%s\" }\n";
	struct conf *c;
	char full[256];

	(void)state;
	snprintf(full, sizeof full, text, "anthropic-messages");
	c = good(full);
	assert_string_equal(c->connection[0].dialect, "anthropic-messages");
	conf_free(c);
	snprintf(full, sizeof full, text, "klingon");
	bad(full,
	    "omniroute.conf:1: connection \"a\": option \"dialect\": value \"klingon\" is not "
	    "known; allowed: openai-chat openai-responses anthropic-messages gemini cohere-v2 "
	    "ollama-chat bedrock-converse");
	bad("connection \"a\" { provider = echo dialect = gemini }\n",
	    "omniroute.conf:1: connection \"a\": echo is built in and takes no dialect");
	bad("connection \"a\" { provider = bedrock key = \"only-one-part\" }\n",
	    "omniroute.conf:1: connection \"a\": the key of bedrock must be "
	    "ACCESS_KEY_ID:SECRET_ACCESS_KEY, with :SESSION_TOKEN behind it for temporary ones");
}

static void
test_private_base_urls(void **state)
{
	static const char text[] = "connection \"a\" { provider = openai-compatible base_url = "
				   "\"http://10.0.0.1/v1\" }\nallow_private_provider_urls = ";
	char full[256];

	(void)state;
	snprintf(full, sizeof full, "%s true\n", text);
	conf_free(good(full));
	snprintf(full, sizeof full, "%s false\n", text);
	bad(full, "omniroute.conf:1: connection \"a\": option \"base_url\": value "
		  "\"http://10.0.0.1/v1\" is "
		  "not allowed: link-local and metadata addresses never are; private ones are for "
		  "provider "
		  "= \"local\", or for all with allow_private_provider_urls = true");
	/* The environment stands over the file. */
	setenv("OMNIROUTE_ALLOW_PRIVATE_PROVIDER_URLS", "true", 1);
	conf_free(good(full));
}

static void
test_trusted_proxies(void **state)
{
	static const uint8_t v4[16] = {[10] = 0xff, [11] = 0xff, [12] = 10};
	static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb0};
	struct conf *c = good("trusted_proxies = {\"10.1.2.3/8\",\n \"2001:dbf::1/28\"}\n"
			      "trusted_proxies += {127.0.0.1, \"::/0\"}\n");

	(void)state;
	assert_int_equal(c->ntrusted, 4);
	assert_int_equal(c->trusted[0].bits, 104);
	assert_memory_equal(&c->trusted[0].addr, v4, 16);
	assert_int_equal(c->trusted[1].bits, 28);
	assert_memory_equal(&c->trusted[1].addr, v6, 16);
	assert_int_equal(c->trusted[2].bits, 128);
	assert_int_equal(c->trusted[3].bits, 0);
	conf_free(c);
}

/* A self-signed certificate and its key. */
static EVP_PKEY *
make_pair(const char *certificate, const char *private_key)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *x = X509_new();
	FILE *f = fopen(in_dir(certificate), "w");

	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	PEM_write_X509(f, x);
	fclose(f);
	f = fopen(in_dir(private_key), "w");
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	X509_free(x);
	return key;
}

static void
test_listeners(void **state)
{
	struct conf *c;

	(void)state;
	EVP_PKEY_free(make_pair("c.pem", "k.pem"));
	c = good(
	    "listen \"localhost:8000\" {}\nlisten \"[::1]:8000\" {}\nlisten \"*:443\" { tls = "
	    "true\n"
	    "certificate = c.pem private_key = k.pem }\nlisten \"unix:/run/x\" { mode = 0660 }\n");
	assert_int_equal(c->nlisten, 4);
	assert_string_equal(c->listen[0].name, "127.0.0.1:8000");
	assert_string_equal(c->listen[1].name, "[::1]:8000");
	assert_string_equal(c->listen[2].name, "*:443");
	assert_true(c->listen[2].tls);
	assert_string_equal(c->listen[2].certificate, in_dir("c.pem"));
	assert_string_equal(c->listen[2].private_key, in_dir("k.pem"));
	assert_string_equal(c->listen[3].name, "unix:/run/x");
	assert_int_equal(c->listen[3].mode, 0660);
	conf_free(c);
}

static void
test_bad_listeners(void **state)
{
	static const char *const names[] = {"", "20128", ":20128", "127.0.0.1", "127.0.0.1:0",
	    "127.0.0.1:65536", "127.0.0.1:x", "::1:80", "[::1]", "[1.2.3.4]:80", "example.com:80",
	    "1.2.3:80"};
	char text[200], want[300];
	struct conf *c;

	(void)state;
	for (size_t i = 0; i < NELEM(names); i++) {
		snprintf(text, sizeof text, "listen \"%s\" {}\n", names[i]);
		snprintf(want, sizeof want,
		    "omniroute.conf:1: listen \"%s\": this is no address; allowed: "
		    "\"127.0.0.1:20128\", "
		    "\"[::1]:20128\", \"*:443\" (every address), \"unix:/path\"",
		    names[i]);
		bad(text, want);
	}
	bad("listen \"unix:run/x\" {}\n",
	    "omniroute.conf:1: listen \"unix:run/x\": allowed: unix: and an "
	    "absolute path of at most 107 bytes");
	bad("listen \"localhost:80\" {}\nlisten \"127.0.0.1:80\" {}\n",
	    "omniroute.conf:2: listen \"127.0.0.1:80\": there is already one at this address");
	bad("listen \"*:443\" {\n tls = true }\n",
	    "omniroute.conf:2: listen \"*:443\": tls needs both certificate and private_key");
	bad("listen \"*:443\" { certificate = a }\n",
	    "omniroute.conf:1: listen \"*:443\": certificate and private_key need tls = true");
	/* A key that belongs to another certificate. */
	EVP_PKEY_free(make_pair("c.pem", "other.pem"));
	EVP_PKEY_free(make_pair("c.pem", "k.pem"));
	put_file("omniroute.conf",
	    "listen \"*:443\" { tls = true certificate = c.pem private_key = other.pem }\n");
	assert_true(load_with_port("omniroute.conf", 0, &c) < 0);
	assert_non_null(strstr(buf_cstr(&err), "does not belong to the certificate"));
}

/* ---- precedence ------------------------------------------------------------------------- */

static void
test_precedence(void **state)
{
	struct conf *c;

	(void)state;
	mkdir(in_dir("d"), 0700);
	put_file(
	    "omniroute.conf", "data_dir = d\nworkers = 2\nconnect_timeout = 3\nidle_timeout = 4\n");
	put_file("d/.env", "# comment\n\nexport OMNIROUTE_WORKERS = 5 # five\n"
			   "FETCH_CONNECT_TIMEOUT_MS='6'\nINITIAL_PASSWORD=\"a \\\"b\\\" "
			   "\\$c\"\nDATA_DIR=/nope\n");
	setenv("OMNIROUTE_WORKERS", "7", 1);
	assert_int_equal(load_with_port("omniroute.conf", 0, &c), 0);
	assert_int_equal(c->workers, 7);         /* environment over .env over file */
	assert_int_equal(c->connect_timeout, 6); /* .env over file */
	assert_int_equal(c->idle_timeout, 4);    /* file over default */
	assert_int_equal(c->body_timeout, 60000);
	assert_string_equal(c->initial_password, "a \"b\" $c");
	assert_string_equal(c->data_dir, in_dir("d"));
	conf_free(c);
	assert_null(getenv("INITIAL_PASSWORD"));
	setenv("OMNIROUTE_WORKERS", "", 1); /* set and empty: neither from .env */
	assert_int_equal(load_with_port("omniroute.conf", 0, &c), 0);
	assert_int_equal(c->workers, 2);
	conf_free(c);
}

static void
test_bad_environment(void **state)
{
	struct conf *c;
	char want[200];

	(void)state;
	setenv("LOG_LEVEL", "loud", 1);
	assert_int_equal(load_with_port(NULL, 0, &c), E_RANGE);
	assert_string_equal(buf_cstr(&err), "environment: LOG_LEVEL: value \"loud\" is not "
					    "allowed; allowed: error, warn, notice, info, debug");
	unsetenv("LOG_LEVEL");
	mkdir(in_dir("home/.omniroute"), 0700);
	put_file("home/.omniroute/.env", "A=1\nREQUIRE_API_KEY=perhaps\n");
	assert_int_equal(load_with_port(NULL, 0, &c), E_RANGE);
	snprintf(want, sizeof want,
	    "%s:2: REQUIRE_API_KEY: value \"perhaps\" is not allowed; allowed: auto, false, true",
	    in_dir("home/.omniroute/.env"));
	assert_string_equal(buf_cstr(&err), want);
	put_file("home/.omniroute/.env", "A=1\n\nwhat is this\n");
	assert_int_equal(load_with_port(NULL, 0, &c), E_SYNTAX);
	snprintf(
	    want, sizeof want, "%s:3: this is no NAME=value line", in_dir("home/.omniroute/.env"));
	assert_string_equal(buf_cstr(&err), want);
	put_file("home/.omniroute/.env", "A=\"1\n");
	assert_int_equal(load_with_port(NULL, 0, &c), E_SYNTAX);
}

static const char *
first_listener(const char *file, int port)
{
	static char name[128];
	struct conf *c;

	if (load_with_port(file, port, &c) < 0)
		return buf_cstr(&err);
	snprintf(name, sizeof name, "%s", c->listen[0].name);
	conf_free(c);
	return name;
}

static void
test_port_and_hostname(void **state)
{
	struct conf *c;

	(void)state;
	setenv("PORT", "3000", 1);
	assert_string_equal(first_listener(NULL, 0), "127.0.0.1:3000");
	assert_string_equal(first_listener(NULL, 4000), "127.0.0.1:4000");
	setenv("HOSTNAME", "::", 1);
	assert_string_equal(first_listener(NULL, 0), "[::]:3000");
	setenv("HOSTNAME", "0.0.0.0", 1);
	assert_string_equal(first_listener(NULL, 0), "0.0.0.0:3000");
	setenv("HOSTNAME", "localhost", 1);
	assert_string_equal(first_listener(NULL, 0), "127.0.0.1:3000");
	setenv("HOSTNAME", "3f2a9c0d1e7b", 1); /* a container's */
	assert_string_equal(first_listener(NULL, 0), "127.0.0.1:3000");
	put_file("l.conf", "listen \"[::1]:8000\" {}\nlisten \"127.0.0.1:9000\" {}\n");
	assert_string_equal(first_listener("l.conf", 0), "[::1]:3000");
	unsetenv("PORT");
	assert_string_equal(first_listener("l.conf", 0), "[::1]:8000");
	assert_string_equal(first_listener("l.conf", 70000),
	    "command line: port: value \"70000\" is not allowed; allowed: 1 to 65535");
	setenv("PORT", "http", 1);
	assert_string_equal(first_listener("l.conf", 0),
	    "environment: PORT: value \"http\" is not allowed; allowed: 1 to 65535");
	setenv("PORT", "9000", 1);
	setenv("HOSTNAME", "127.0.0.1", 1);
	assert_string_equal(
	    first_listener("l.conf", 0), "PORT or HOSTNAME makes two listeners at 127.0.0.1:9000");
	put_file("u.conf", "listen \"unix:/run/x\" {}\n");
	assert_int_equal(load_with_port("u.conf", 0, &c), 0);
	assert_int_equal(c->nlisten, 2);
	assert_string_equal(c->listen[0].name, "unix:/run/x");
	assert_string_equal(c->listen[1].name, "127.0.0.1:9000");
	conf_free(c);
	unsetenv("PORT");
	unsetenv("HOSTNAME");
	assert_int_equal(load_with_port("u.conf", 0, &c), 0);
	assert_int_equal(c->nlisten, 1);
	conf_free(c);
}

/* ---- text of the files ------------------------------------------------------------------ */

static void
test_variables(void **state)
{
	struct conf *c;

	(void)state;
	setenv("CONF_TEST_A", "a\"b\\c${d}#e", 1);
	c = good("log_file = \"/x/${CONF_TEST_A}/y\"\nuser = \"${CONF_TEST_B:-nobody}\"\n"
		 "upstream_ca_file = '/${CONF_TEST_A}'\npid_file = \"/\\${x}\"\n");
	assert_string_equal(c->log_file, "/x/a\"b\\c${d}#e/y");
	assert_string_equal(c->user, "nobody");
	assert_string_equal(c->upstream_ca_file, "/${CONF_TEST_A}");
	assert_string_equal(c->pid_file, "/${x}");
	conf_free(c);
	bad("\nuser = \"${CONF_TEST_B}\"\n",
	    "omniroute.conf:2: ${CONF_TEST_B} is not set in the environment or "
	    ".env; ${CONF_TEST_B:-…} gives it a default");
	bad("user = \"${CONF\"\n", "omniroute.conf:1: ${ is not closed");
	/* .env counts too, and may lie where the file itself says. */
	mkdir(in_dir("d"), 0700);
	put_file("d/.env", "CONF_TEST_B=me\n");
	c = good("user = \"${CONF_TEST_B}\"\ndata_dir = \"d\"\n");
	assert_string_equal(c->user, "me");
	conf_free(c);
}

static void
test_include(void **state)
{
	struct conf *c;

	(void)state;
	mkdir(in_dir("conf.d"), 0700);
	put_file("conf.d/1.conf", "# one\nworkers = 1\nkey \"a\" { key = 0123456789abcdef }");
	put_file("conf.d/2.conf", "\n\nworkers = 2\n");
	put_file("conf.d/bad", "\n# x\nworkers = x\n");
	c = good("workers = 9\ninclude \"conf.d/*.conf\"\ninclude(\"none/*.conf\")\nuser = u\n");
	assert_int_equal(c->workers, 2);
	assert_int_equal(c->nkeys, 1);
	assert_string_equal(c->user, "u");
	conf_free(c);
	bad("user = u\ninclude \"conf.d/bad\"\n",
	    "conf.d/bad:3: option \"workers\": value \"x\" is not allowed; allowed: 0 to 64");
	bad("include \"conf.d/*.conf\"\n# y\nworkers = y\n",
	    "omniroute.conf:3: option \"workers\": value \"y\" is not allowed; allowed: 0 to 64");
	bad("include conf.d\n",
	    "omniroute.conf:1: include wants the name of a file in quotes: include "
	    "\"conf.d/*.conf\"");
	put_file("loop", "include \"loop\"\n");
	bad("include \"loop\"\n",
	    "loop:1: include: nested too deeply; does a file include itself?");
}

static void
test_ceilings(void **state)
{
	size_t n = 5u << 20;
	char *text = malloc(n + 1);
	struct conf *c = NULL;

	(void)state;
	memset(text, '\n', n);
	text[n] = '\0';
	put_file("omniroute.conf", text);
	assert_int_equal(load_with_port("omniroute.conf", 0, &c), E_TOO_LONG);
	assert_non_null(strstr(buf_cstr(&err), "longer than"));
	free(text);
	buf_reset(&err);
	assert_true(conf_parse_text("workers\0 = 1", 12, &c, &err) < 0);
	buf_reset(&err);
	assert_true(conf_parse_text("include \"/etc/passwd\"", 21, &c, &err) < 0);
	assert_string_equal(buf_cstr(&err), "text:1: include is not possible here");
}

/* ---- dump, diff, the shipped file ------------------------------------------------------- */

static void
test_dump_can_be_read_back(void **state)
{
	struct buf out = BUF_INIT(1 << 20);
	struct conf *c, *again;

	(void)state;
	c = good("log_file = \"/a\\\"b\\\\c\"\nuser = 'q ${x} $y'\nworkers = "
		 "3\nlog_level = warn\n"
		 "trusted_proxies = {10.0.0.0/8, \"2001:db8::/32\"}\n"
		 "connection \"one\" { provider = openai key = upstream-secret models = {\"a/b\"} "
		 "http2 = false }\n"
		 "key \"ops\" { key = client-secret-123456 scopes = {chat, manage} rpm = 5 }\n"
		 "listen \"unix:/run/x\" { mode = 0640 }\nlisten \"[::1]:5\" {}\n");
	conf_dump(c, &out);
	assert_true(buf_ok(&out));
	assert_null(strstr(buf_cstr(&out), "secret"));
	buf_reset(&err);
	if (conf_parse_text(out.data, out.len, &again, &err) < 0)
		fail_msg("%s\n%s", buf_cstr(&err), buf_cstr(&out));
	/* All is the same but the keys. */
	free(again->connection[0].key);
	again->connection[0].key = strdup("upstream-secret");
	free(again->key[0].key);
	again->key[0].key = strdup("client-secret-123456");
	assert_int_equal(conf_diff(c, again, &err), CONF_SAME);
	assert_string_equal(again->user, "q ${x} $y");
	assert_int_equal(again->listen[0].mode, 0640);
	conf_free(again);
	conf_free(c);
	buf_clear(&out);
}

static void
test_diff(void **state)
{
	static const struct {
		const char *text;
		int change;
		const char *named;
	} cases[] = {
	    {"", CONF_SAME, ""},
	    {"log_level = debug", CONF_HOT, ""},
	    {"workers = 4", CONF_ROLL, ""},
	    {"pid_file = \"/x\"", CONF_START, "pid_file"},
	    {"pid_file = \"/x\" data_dir = \"/y\" idle_timeout = 1", CONF_START | CONF_HOT,
		"data_dir, pid_file"},
	    {"listen \"127.0.0.1:20128\" {}", CONF_SAME, ""},
	    {"listen \"127.0.0.1:20129\" {}", CONF_ROLL, ""},
	    {"trusted_proxies = {127.0.0.1}", CONF_HOT, ""},
	    {"connection \"a\" { provider = ollama }", CONF_HOT, ""},
	    {"key \"a\" { key = 0123456789abcdef }", CONF_HOT, ""},
	};
	struct conf *old = good("");

	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct conf *new = good(cases[i].text);

		buf_reset(&err);
		if (conf_diff(old, new, &err) != cases[i].change)
			fail_msg("%s: %d", cases[i].text, conf_diff(old, new, &err));
		assert_string_equal(buf_cstr(&err), cases[i].named);
		conf_free(new);
	}
	conf_free(old);
}

/* etc/omniroute.conf names every option, at its default, and its examples are right. */
static void
test_the_shipped_file(void **state)
{
	FILE *f = fopen("etc/omniroute.conf", "r");
	struct buf at_default = BUF_INIT(1 << 20), examples = BUF_INIT(1 << 20);
	struct conf *c, *defaults;
	bool inside = false;
	char line[1024];

	(void)state;
	if (f == NULL)
		fail_msg("etc/omniroute.conf is looked for from the root of the tree");
	while (fgets(line, sizeof line, f) != NULL) {
		bool head = strncmp(line, "# listen ", 9) == 0 ||
			    strncmp(line, "# key \"", 7) == 0 ||
			    strncmp(line, "# connection ", 13) == 0;

		if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z')
			buf_str(&at_default, line + 1);
		inside = inside || head;
		if (inside)
			buf_str(&examples, line + 1);
		if (strcmp(line, "# }\n") == 0)
			inside = false;
	}
	fclose(f);
	for (unsigned i = 0; i < noptions; i++) {
		char want[80];

		snprintf(want, sizeof want, "%s = ", options[i].name);
		if (strstr(buf_cstr(&at_default), want) == NULL)
			fail_msg("%s is missing", options[i].name);
	}
	assert_non_null(strstr(buf_cstr(&at_default), "trusted_proxies = {}\n"));
	c = good(buf_cstr(&at_default));
	defaults = good("");
	assert_int_equal(conf_diff(defaults, c, &err), CONF_SAME);
	conf_free(c);
	conf_free(defaults);
	EVP_PKEY_free(make_pair("fullchain.pem", "privkey.pem"));
	put_file("openai.key", "sk-1\n");
	setenv("OPENAI_API_KEY", "sk-2", 1);
	setenv("OMNIROUTE_LAPTOP_KEY", "0123456789abcdef", 1);
	assert_non_null(buf_cstr(&examples));
	for (char *p; (p = strstr(examples.data, "/etc/omniroute/")) != NULL;)
		memcpy(p, "./././././././/", 15);
	c = good(buf_cstr(&examples));
	assert_int_equal(c->nlisten, 4);
	assert_int_equal(c->nconnections, 3);
	assert_int_equal(c->nkeys, 1);
	conf_free(c);
	buf_clear(&at_default);
	buf_clear(&examples);
	unsetenv("OPENAI_API_KEY");
	unsetenv("OMNIROUTE_LAPTOP_KEY");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_without_any_file),
	    TEST(test_the_file_in_the_data_directory),
	    TEST(test_a_missing_file),
	    TEST(test_suffixes),
	    TEST(test_number_parse),
	    TEST(test_words),
	    TEST(test_errors_name_the_place),
	    TEST(test_errors_in_sections),
	    TEST(test_errors_do_not_show_keys),
	    TEST(test_connections_and_keys),
	    TEST(test_local_server_named_after_its_kind),
	    TEST(test_dialects),
	    TEST(test_private_base_urls),
	    TEST(test_trusted_proxies),
	    TEST(test_listeners),
	    TEST(test_bad_listeners),
	    TEST(test_precedence),
	    TEST(test_bad_environment),
	    TEST(test_port_and_hostname),
	    TEST(test_variables),
	    TEST(test_include),
	    TEST(test_ceilings),
	    TEST(test_dump_can_be_read_back),
	    TEST(test_diff),
	    TEST(test_the_shipped_file),
	};
	int failed;

	log_set_level(LOG_LV_ERROR);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	catalog_free();
	return failed;
}
