#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/registry.h"
#include "providers/catalog.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"
#include "shared/store.h"

static struct master m;
static struct conf conf;
static char dir[64];
static struct buf why = BUF_INIT(4096);

static void
open_store(void)
{
	assert_int_equal(store_open(dir, &m.store), 0);
}

static int
setup(void **state)
{
	char path[96];
	int fd;

	(void)state;
	memset(&m, 0, sizeof m);
	memset(&conf, 0, sizeof conf);
	strcpy(dir, "/tmp/omniroute-registry-XXXXXX");
	if (!mkdtemp(dir) || live_create(&fd) != 0 || live_map(fd, &m.live) != 0)
		return -1;
	close(fd);
	snprintf(path, sizeof path, "%s/key", dir);
	m.conf = &conf;
	memset(m.key_salt, 7, sizeof m.key_salt);
	buf_reset(&why);
	return seal_key_load(path, true, &m.seal) || store_open(dir, &m.store) ? -1 : 0;
}

static int
teardown(void **state)
{
	char command[96];

	(void)state;
	store_close(m.store);
	live_unmap(m.live);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

static struct connection
sample(const char *name, const char *provider, const char *base_url, const char *secret)
{
	struct connection c = {.name = strdup(name),
	    .provider = strdup(provider),
	    .base_url = base_url ? strdup(base_url) : NULL,
	    .secret = secret ? strdup(secret) : NULL,
	    .priority = 1,
	    .http2 = -1,
	    .enabled = true};

	return c;
}

/* Adds and forgets; the error. */
static int
add(const char *name, const char *provider, const char *base_url, const char *secret)
{
	struct connection c = sample(name, provider, base_url, secret);
	int r;

	buf_reset(&why);
	r = registry_add_connection(&m, &c, &why);
	connection_clear(&c);
	return r;
}

static void
assert_why(const char *part)
{
	assert_non_null(buf_cstr(&why));
	if (!strstr(why.data, part))
		fail_msg("\"%s\" does not say \"%s\"", why.data, part);
}

static struct connection
get(const char *which)
{
	struct connection c;

	buf_reset(&why);
	assert_int_equal(registry_find_connection(&m, which, &c, &why), 0);
	return c;
}

static int
count_connection(void *ctx, const struct connection *c)
{
	(void)c;
	++*(int *)ctx;
	return 0;
}

static int
count(void)
{
	int n = 0;

	assert_int_equal(registry_each_connection(&m, count_connection, &n), 0);
	return n;
}

/* ---- connections ---- */

static void
connection_survives_reopen(void **state)
{
	struct connection c = sample("work", "openai", NULL, "sk-live-0123456789"), d;
	char *models[] = {"ft:one", "two"};

	(void)state;
	c.models = calloc(2, sizeof *c.models);
	c.models[0] = strdup(models[0]);
	c.models[1] = strdup(models[1]);
	c.nmodels = 2;
	c.priority = 42;
	c.http2 = 1;
	c.insecure = true;
	assert_int_equal(registry_add_connection(&m, &c, &why), 0);
	assert_int_equal(strlen(c.id), 36);
	store_close(m.store);
	open_store();
	d = get("work");
	assert_string_equal(d.id, c.id);
	assert_string_equal(d.provider, "openai");
	assert_null(d.base_url);
	assert_null(d.dialect);
	assert_string_equal(d.secret, "sk-live-0123456789");
	assert_int_equal(d.nmodels, 2);
	assert_string_equal(d.models[1], "two");
	assert_int_equal(d.priority, 42);
	assert_int_equal(d.http2, 1);
	assert_true(d.enabled && d.insecure && !d.from_file && !d.broken);
	assert_int_equal(d.slot, c.slot);
	assert_true(d.created_wall_us > 0 && d.created_wall_us == c.created_wall_us);
	connection_clear(&c);
	connection_clear(&d);
}

static void
secret_is_sealed_for_its_row(void **state)
{
	struct connection c, d;
	char *a, *b, *at;
	size_t na, nb;

	(void)state;
	assert_int_equal(add("one", "openai", NULL, "sk-one-0123456789"), 0);
	assert_int_equal(add("two", "openai", NULL, "sk-two-0123456789"), 0);
	c = get("one");
	d = get("two");
	assert_int_equal(store_get_doc(m.store, "connection", c.id, &a, &na), 0);
	assert_int_equal(store_get_doc(m.store, "connection", d.id, &b, &nb), 0);
	assert_null(memmem(a, na, "sk-one", 6));
	at = memmem(a, na, "\"s1:", 4);
	assert_non_null(at);
	free(a);
	free(b);
	connection_clear(&c);
	connection_clear(&d);
	seal_key_wipe(&m.seal);
	c = get("one");
	assert_true(c.broken);
	assert_false(c.enabled);
	assert_null(c.secret);
	/* A change would lose the sealed credential for ever. */
	c.priority = 9;
	assert_int_equal(registry_update_connection(&m, &c, &why), E_CRYPTO);
	assert_why("give it a new key");
	connection_clear(&c);
}

static void
names_are_unique(void **state)
{
	(void)state;
	assert_int_equal(add("work", "openai", NULL, "sk-0123456789"), 0);
	assert_int_equal(add("work", "groq", NULL, "gsk-0123456789"), E_EXISTS);
	assert_why("\"work\" already");
	assert_int_equal(add("Work", "groq", NULL, "gsk-0123456789"), 0);
	assert_int_equal(count(), 2);
}

static void
name_of_another_provider(void **state)
{
	(void)state;
	assert_int_equal(add("groq", "openai", NULL, "sk-0123456789"), E_EXISTS);
	assert_why("that of the provider groq");
	assert_int_equal(add("openai", "openai", NULL, "sk-0123456789"), 0);
	/* A bare base URL with a provider's name is that provider. */
	assert_int_equal(add("groq", "groq", "https://proxy.example/v1", "gsk-0123456789"), 0);
	assert_int_equal(count(), 2);
}

static void
name_of_a_local_preset(void **state)
{
	(void)state;
	assert_int_equal(add("vllm", "local", "http://127.0.0.1:8000/v1", NULL), 0);
	/* "vllm/…" would mean either. */
	assert_int_equal(add("second", "vllm", NULL, NULL), E_EXISTS);
	assert_why("could mean two things");
	assert_int_equal(registry_remove_connection(&m, "vllm", &why), 0);
	assert_int_equal(add("second", "vllm", NULL, NULL), 0);
	assert_int_equal(add("vllm", "local", "http://127.0.0.1:8000/v1", NULL), E_EXISTS);
	assert_int_equal(add("vllm", "vllm", NULL, NULL), 0);
	assert_int_equal(count(), 2);
}

static void
bad_names(void **state)
{
	static const char *const bad[] = {"", "a b", "a/b", "-x", ".x", "é", "a\n",
	    "01234567-89ab-cdef-0123-456789abcdef",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	(void)state;
	for (size_t i = 0; i < NELEM(bad); i++) {
		assert_int_equal(add(bad[i], "openai", NULL, "sk-0123456789"), E_RANGE);
		assert_why("is not allowed: 1 to 64 letters");
	}
	assert_int_equal(count(), 0);
}

static void
bad_values(void **state)
{
	struct connection c;

	(void)state;
	assert_int_equal(add("x", "nosuch", NULL, "k"), E_NOT_FOUND);
	assert_why("no provider \"nosuch\"");
	assert_int_equal(add("x", "openai", NULL, NULL), E_RANGE);
	assert_why("openai needs a key");
	assert_int_equal(add("x", "openai", NULL, "sk-a\r\nX-Evil: 1"), E_RANGE);
	assert_why("one line");
	assert_int_equal(add("x", "openai-compatible", NULL, NULL), E_RANGE);
	assert_why("base_url is required");
	assert_int_equal(add("x", "echo", NULL, "k"), E_RANGE);
	assert_why("built in");
	assert_int_equal(add("x", "openai-compatible", "ftp://example.com", NULL), E_SYNTAX);
	assert_why("http://");
	assert_int_equal(
	    add("x", "openai-compatible", "https://u:hunter2@example.com/v1", NULL), E_SYNTAX);
	assert_null(strstr(why.data, "hunter2"));
	c = sample("x", "openai", NULL, "sk-0123456789");
	c.priority = 1001;
	buf_reset(&why);
	assert_int_equal(registry_add_connection(&m, &c, &why), E_RANGE);
	assert_why("1 to 1000");
	connection_clear(&c);
	assert_int_equal(count(), 0);
}

static void
dialects(void **state)
{
	struct connection c =
	    sample("x", "openai-compatible", "https://example.com/v1", "key-0123456789");
	struct connection d;

	(void)state;
	c.dialect = strdup("klingon");
	buf_reset(&why);
	assert_int_equal(registry_add_connection(&m, &c, &why), E_RANGE);
	assert_why("allowed: openai-chat openai-responses anthropic-messages gemini");
	free(c.dialect);
	c.dialect = strdup("anthropic-messages");
	buf_reset(&why);
	assert_int_equal(registry_add_connection(&m, &c, &why), 0);
	d = get("x");
	assert_string_equal(d.dialect, "anthropic-messages");
	connection_clear(&d);
	connection_clear(&c);
	assert_int_equal(add("y", "bedrock", NULL, "AKID"), E_RANGE);
	assert_why("ACCESS_KEY_ID:SECRET_ACCESS_KEY");
	assert_int_equal(add("y", "bedrock", NULL, "AKID:secret:session"), 0);
}

static void
private_addresses(void **state)
{
	(void)state;
	assert_int_equal(add("a", "openai-compatible", "http://10.1.2.3/v1", NULL), E_DENIED);
	assert_why("allow_private_provider_urls");
	assert_int_equal(add("a", "a", "http://127.0.0.1:9/v1", NULL), E_DENIED);
	assert_int_equal(add("a", "local", "http://127.0.0.1:9/v1", NULL), 0);
	assert_int_equal(add("b", "local", "http://169.254.169.254/v1", NULL), E_DENIED);
	conf.allow_private_provider_urls = 1;
	assert_int_equal(add("b", "b", "http://10.1.2.3/v1", NULL), 0);
	assert_int_equal(add("c", "c", "http://169.254.169.254/v1", NULL), E_DENIED);
}

static void
alias_and_slashes(void **state)
{
	const struct catalog_provider *p = NULL;
	struct connection c;

	(void)state;
	for (unsigned i = 0; i < catalog_count() && !p; i++)
		if (*catalog_at(i)->alias)
			p = catalog_at(i);
	assert_non_null(p);
	assert_int_equal(add("x", p->alias, "https://example.com/v1//", "key-0123456789"), 0);
	c = get("x");
	assert_string_equal(c.provider, p->id);
	assert_string_equal(c.base_url, "https://example.com/v1");
	connection_clear(&c);
}

static void
found_by_prefix_of_id(void **state)
{
	struct connection c, d;
	char prefix[9];

	(void)state;
	assert_int_equal(add("one", "openai", NULL, "sk-0123456789"), 0);
	c = get("one");
	snprintf(prefix, sizeof prefix, "%.8s", c.id);
	d = get(prefix);
	assert_string_equal(d.name, "one");
	connection_clear(&d);
	d = get(c.id);
	connection_clear(&d);
	prefix[7] = '\0';
	buf_reset(&why);
	assert_int_equal(registry_find_connection(&m, prefix, &d, &why), E_NOT_FOUND);
	connection_clear(&c);
}

static void
update_and_remove(void **state)
{
	struct connection c;
	uint64_t created;

	(void)state;
	assert_int_equal(add("one", "openai", NULL, "sk-0123456789"), 0);
	assert_int_equal(add("two", "openai", NULL, "sk-9876543210"), 0);
	c = get("one");
	created = c.created_wall_us;
	c.enabled = false;
	free(c.name);
	c.name = strdup("two");
	buf_reset(&why);
	assert_int_equal(registry_update_connection(&m, &c, &why), E_EXISTS);
	strcpy(c.name, "uno");
	buf_reset(&why);
	assert_int_equal(registry_update_connection(&m, &c, &why), 0);
	connection_clear(&c);
	c = get("uno");
	assert_false(c.enabled);
	assert_string_equal(c.secret, "sk-0123456789");
	assert_int_equal(c.created_wall_us, created);
	assert_true(c.updated_wall_us >= created);
	connection_clear(&c);
	assert_int_equal(registry_remove_connection(&m, "uno", &why), 0);
	assert_int_equal(registry_remove_connection(&m, "uno", &why), E_NOT_FOUND);
	assert_int_equal(count(), 1);
}

/* ---- slots ---- */

static void
slots_are_kept_and_reused(void **state)
{
	struct connection a, b, c;

	(void)state;
	assert_int_equal(add("a", "openai", NULL, "sk-0123456789"), 0);
	assert_int_equal(add("b", "openai", NULL, "sk-0123456789"), 0);
	a = get("a");
	b = get("b");
	assert_int_not_equal(a.slot, b.slot);
	assert_int_equal(registry_remove_connection(&m, "a", &why), 0);
	/* A slot with requests in flight is not given to somebody else while another is free. */
	live_conn_enter(m.live, a.slot, 3);
	assert_int_equal(add("c", "openai", NULL, "sk-0123456789"), 0);
	c = get("c");
	assert_int_not_equal(c.slot, a.slot);
	assert_int_not_equal(c.slot, b.slot);
	connection_clear(&c);
	live_conn_leave(m.live, a.slot, 3);
	assert_int_equal(add("d", "openai", NULL, "sk-0123456789"), 0);
	c = get("d");
	assert_int_equal(c.slot, a.slot);
	connection_clear(&a);
	connection_clear(&b);
	connection_clear(&c);
}

static void
provider_slots(void **state)
{
	unsigned a, b, again;
	char name[32];

	(void)state;
	assert_int_equal(registry_provider_slot(&m, "echo", &a), 0);
	assert_int_equal(add("work", "openai", NULL, "sk-0123456789"), 0);
	assert_int_equal(registry_provider_slot(&m, "openai", &b), 0);
	assert_int_not_equal(a, b);
	/* More names than slots: those without a connection give way, those with one stay where
	 * they are. */
	for (unsigned i = 0; i < LIVE_PROVIDERS + 5; i++) {
		snprintf(name, sizeof name, "gone%u", i);
		assert_int_equal(registry_provider_slot(&m, name, &again), 0);
		assert_true(again < LIVE_PROVIDERS && again != a && again != b);
	}
	assert_int_equal(registry_provider_slot(&m, "openai", &again), 0);
	assert_int_equal(again, b);
	assert_int_equal(registry_provider_slot(&m, "echo", &again), 0);
	assert_int_equal(again, a);
}

/* ---- rows of the file ---- */

static void
file_wins_and_is_read_only(void **state)
{
	struct conf_connection row = {.name = "work",
	    .provider = "openai",
	    .key = "sk-file-0123456789",
	    .priority = 3,
	    .enabled = true,
	    .http2 = -1};
	struct connection c, d;

	(void)state;
	assert_int_equal(add("work", "groq", NULL, "gsk-0123456789"), 0);
	conf.file = "/etc/omniroute/omniroute.conf";
	conf.connection = &row;
	conf.nconnections = 1;
	assert_int_equal(count(), 1);
	c = get("work");
	assert_true(c.from_file);
	assert_string_equal(c.provider, "openai");
	assert_string_equal(c.secret, "sk-file-0123456789");
	c.priority = 5;
	assert_int_equal(registry_update_connection(&m, &c, &why), E_DENIED);
	assert_why("/etc/omniroute/omniroute.conf");
	buf_reset(&why);
	assert_int_equal(registry_remove_connection(&m, "work", &why), E_DENIED);
	assert_why("/etc/omniroute/omniroute.conf");
	assert_int_equal(add("work", "openai", NULL, "sk-0123456789"), E_EXISTS);
	d = get("work");
	assert_string_equal(d.id, c.id);
	assert_int_equal(d.slot, c.slot);
	connection_clear(&c);
	connection_clear(&d);
	conf.nconnections = 0;
	c = get("work");
	assert_string_equal(c.provider, "groq");
	connection_clear(&c);
}

static void
bad_file_row_is_left_out(void **state)
{
	struct conf_connection rows[] = {
	    {.name = "bad", .provider = "nosuch", .priority = 1, .enabled = true, .http2 = -1},
	    {.name = "good",
		.provider = "local",
		.base_url = "http://127.0.0.1:1/v1",
		.priority = 1,
		.enabled = true,
		.http2 = -1}};
	struct connection c;

	(void)state;
	conf.connection = rows;
	conf.nconnections = 2;
	assert_int_equal(count(), 1);
	c = get("good");
	connection_clear(&c);
}

/* ---- keys ---- */

static void
key_is_shown_once(void **state)
{
	struct client_key k = {.name = strdup("laptop"), .scopes = SCOPE_CHAT, .rpm = 60}, found;
	uint8_t digest[32];
	char *secret, *doc;
	size_t n;

	(void)state;
	assert_int_equal(registry_add_key(&m, &k, &secret, &why), 0);
	assert_memory_equal(secret, "or-", 3);
	assert_true(strlen(secret) >= 40);
	key_digest(m.key_salt, secret, strlen(secret), digest);
	assert_int_equal(registry_find_key(&m, "laptop", &found, &why), 0);
	assert_memory_equal(found.digest, digest, sizeof digest);
	assert_int_equal(strlen(found.prefix), 12);
	assert_memory_equal(found.prefix, secret, 12);
	assert_int_equal(found.rpm, 60);
	assert_int_equal(store_get_doc(m.store, "key", k.id, &doc, &n), 0);
	assert_null(memmem(doc, n, secret, 16));
	free(doc);
	client_key_clear(&found);
	buf_reset(&why);
	seal_free(secret);
	assert_int_equal(registry_add_key(&m, &k, &secret, &why), E_EXISTS);
	assert_null(secret);
	assert_int_equal(registry_remove_key(&m, "laptop", &why), 0);
	buf_reset(&why);
	assert_int_equal(registry_find_key(&m, "laptop", &found, &why), E_NOT_FOUND);
	client_key_clear(&k);
}

static void
key_limits(void **state)
{
	static const struct client_key bad[] = {{.scopes = 0}, {.scopes = 4},
	    {.scopes = 1, .rpm = RATE_LIMIT_MAX + 1}, {.scopes = 1, .expires_wall_s = 1000}};
	char *secret;

	(void)state;
	for (size_t i = 0; i < NELEM(bad); i++) {
		struct client_key k = bad[i];

		k.name = strdup("x");
		buf_reset(&why);
		assert_int_equal(registry_add_key(&m, &k, &secret, &why), E_RANGE);
		assert_null(secret);
		client_key_clear(&k);
	}
}

static void
file_key(void **state)
{
	struct conf_key row = {.name = "ci", .key = "short-key", .scopes = SCOPE_CHAT};
	struct client_key k;
	uint8_t digest[32];

	(void)state;
	conf.key = &row;
	conf.nkeys = 1;
	assert_int_equal(registry_find_key(&m, "ci", &k, &why), 0);
	key_digest(m.key_salt, "short-key", 9, digest);
	assert_memory_equal(k.digest, digest, sizeof digest);
	assert_string_equal(k.prefix, "sho");
	assert_int_equal(registry_remove_key(&m, "ci", &why), E_DENIED);
	assert_why("the configuration file");
	client_key_clear(&k);
}

/* ---- models ---- */

struct seen {
	unsigned echo, own, gpt, all;
};

static int
see_model(void *ctx, const struct registry_model *r)
{
	struct seen *s = ctx;

	s->all++;
	s->echo += strcmp(r->id, "echo/echo-1") == 0;
	s->gpt += strcmp(r->id, "openai/gpt-4o-mini") == 0;
	if (strcmp(r->id, "corp/llama") == 0) {
		s->own++;
		assert_string_equal(r->owned_by, "openai-compatible");
		assert_string_equal(r->connection, "corp");
		assert_string_equal(r->root, "llama");
	}
	return 0;
}

static void
models_of_enabled_connections(void **state)
{
	struct seen s = {0};
	struct connection c =
	    sample("corp", "openai-compatible", "https://llm.example.com/v1", NULL);

	(void)state;
	assert_int_equal(registry_each_model(&m, see_model, &s), 0);
	assert_int_equal(s.echo, 1);
	assert_int_equal(s.gpt, 0);
	c.models = calloc(2, sizeof *c.models);
	c.models[0] = strdup("llama");
	c.models[1] = strdup("llama");
	c.nmodels = 2;
	assert_int_equal(registry_add_connection(&m, &c, &why), 0);
	assert_int_equal(add("a", "openai", NULL, "sk-0123456789"), 0);
	assert_int_equal(add("b", "openai", NULL, "sk-0123456789"), 0);
	memset(&s, 0, sizeof s);
	assert_int_equal(registry_each_model(&m, see_model, &s), 0);
	assert_int_equal(s.echo, 1);
	assert_int_equal(s.own, 1);
	assert_int_equal(s.gpt, 1);
	c.enabled = false;
	assert_int_equal(registry_update_connection(&m, &c, &why), 0);
	memset(&s, 0, sizeof s);
	assert_int_equal(registry_each_model(&m, see_model, &s), 0);
	assert_int_equal(s.own, 0);
	connection_clear(&c);
}

/* The call-back may write while the walk goes on. */
static int
remove_each(void *ctx, const struct connection *c)
{
	(void)ctx;
	return registry_remove_connection(&m, c->id, &why);
}

static void
change_while_walking(void **state)
{
	(void)state;
	assert_int_equal(add("a", "openai", NULL, "sk-0123456789"), 0);
	assert_int_equal(add("b", "openai", NULL, "sk-0123456789"), 0);
	assert_int_equal(registry_each_connection(&m, remove_each, NULL), 0);
	assert_int_equal(count(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {TEST(connection_survives_reopen),
	    TEST(secret_is_sealed_for_its_row), TEST(names_are_unique),
	    TEST(name_of_another_provider), TEST(name_of_a_local_preset), TEST(bad_names),
	    TEST(bad_values), TEST(dialects), TEST(private_addresses), TEST(alias_and_slashes),
	    TEST(found_by_prefix_of_id), TEST(update_and_remove), TEST(slots_are_kept_and_reused),
	    TEST(provider_slots), TEST(file_wins_and_is_read_only), TEST(bad_file_row_is_left_out),
	    TEST(key_is_shown_once), TEST(key_limits), TEST(file_key),
	    TEST(models_of_enabled_connections), TEST(change_while_walking)};
	int r;

	if (seal_init() != 0 || catalog_load() != 0)
		return 1;
	log_set_level(LOG_LV_ERROR);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	buf_clear(&why);
	catalog_free();
	return r;
}
