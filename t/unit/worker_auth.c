#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/seal.h"
#include "worker/auth.h"

#define NOW 1000000u
#define NONE \
	{ \
		NULL, 0 \
	}
#define TEXT(s) \
	{ \
		s, sizeof(s) - 1 \
	}

static const uint8_t salt[32] = {1, 2, 3};

static void
add_key(struct snapshot_builder *b, const char *key, uint32_t scopes, uint64_t expires)
{
	struct snap_key k = {.id_hash = snapshot_hash(key, strlen(key)),
	    .scopes = scopes,
	    .expires_wall_s = expires};

	k.id = k.name = snapshot_string(b, key, strlen(key));
	key_digest(salt, key, strlen(key), k.digest);
	assert_true(snapshot_add_key(b, &k) >= 0);
}

static struct snapshot *
snapshot_with(enum require_key require)
{
	struct snapshot_builder *b = snapshot_builder_new(1);
	struct snapshot *s;
	int fd;

	assert_non_null(b);
	snapshot_settings(b)->require_key = require;
	memcpy(snapshot_settings(b)->key_salt, salt, sizeof salt);
	add_key(b, "or-chat", SCOPE_CHAT, 0);
	add_key(b, "or-other", SCOPE_CHAT, 0);
	add_key(b, "or-manage", SCOPE_MANAGE, 0);
	add_key(b, "or-lasting", SCOPE_CHAT | SCOPE_MANAGE, NOW + 1);
	add_key(b, "or-expired", SCOPE_CHAT | SCOPE_MANAGE, NOW);
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	return s;
}

enum where { FAR, NEAR, NEAR_ON_WILDCARD };

struct rule {
	struct span bearer, api_key, goog;
	enum where where;
	enum access access;
	enum require_key require;
	int status;
	const char *outcome; /* the key's name, or the message; NULL: no key and served */
};

#define INVALID "Invalid API key provided"
#define MISSING "Authentication required"

static const struct rule rules[] = {
    /* without a key: locality and the setting decide */
    {NONE, NONE, NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0, NULL},
    {NONE, NONE, NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 401, MISSING},
    {NONE, NONE, NONE, NEAR_ON_WILDCARD, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 401, MISSING},
    {NONE, NONE, NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_ALWAYS, 401, MISSING},
    {NONE, NONE, NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_NEVER, 0, NULL},
    {TEXT("Bearer "), TEXT(" "), NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0, NULL},
    {TEXT("Bearer"), NONE, NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 401, MISSING},
    /* the three headers */
    {TEXT("Bearer or-chat"), NONE, NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0, "or-chat"},
    {TEXT("bEaReR   or-chat "), NONE, NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0, "or-chat"},
    {NONE, TEXT("or-chat"), NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0, "or-chat"},
    {NONE, NONE, TEXT("or-chat"), FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0, "or-chat"},
    /* a wrong key is refused everywhere, whatever is configured */
    {TEXT("Bearer or-chaT"), NONE, NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 401, INVALID},
    {TEXT("Bearer or-chatx"), NONE, NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_NEVER, 401, INVALID},
    {NONE, TEXT("or-cha"), NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_NEVER, 401, INVALID},
    {NONE, NONE, TEXT("wrong"), NEAR, ACCESS_MANAGE, REQUIRE_KEY_AUTO, 401, INVALID},
    {TEXT("or-chat"), NONE, NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 401, INVALID},
    {TEXT("Basic b3ItY2hhdDo="), NONE, NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_NEVER, 401, INVALID},
    {TEXT("Beareror-chat"), NONE, NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 401, INVALID},
    /* several keys: all must be valid, the first one counts */
    {TEXT("Bearer or-chat"), TEXT("or-other"), NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0,
	"or-chat"},
    {TEXT("Bearer or-chat"), TEXT("wrong"), NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 401,
	INVALID},
    {TEXT("Bearer wrong"), TEXT("or-chat"), NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 401,
	INVALID},
    {TEXT("Bearer "), TEXT("or-other"), NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0, "or-other"},
    /* expiry */
    {NONE, TEXT("or-lasting"), NONE, FAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 0, "or-lasting"},
    {NONE, TEXT("or-expired"), NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_NEVER, 401,
	"This API key has expired"},
    /* scopes */
    {NONE, TEXT("or-manage"), NONE, NEAR, ACCESS_CLIENT, REQUIRE_KEY_AUTO, 403,
	"This API key does not have the scope \"chat\""},
    {NONE, TEXT("or-manage"), NONE, FAR, ACCESS_MANAGE, REQUIRE_KEY_AUTO, 0, "or-manage"},
    {NONE, TEXT("or-chat"), NONE, FAR, ACCESS_MANAGE, REQUIRE_KEY_AUTO, 403,
	"This API key does not have the scope \"manage\""},
    {NONE, TEXT("or-chat"), NONE, NEAR, ACCESS_MANAGE, REQUIRE_KEY_AUTO, 0, "or-chat"},
    {NONE, NONE, NONE, FAR, ACCESS_MANAGE, REQUIRE_KEY_NEVER, 401, MISSING},
    {NONE, NONE, NONE, NEAR_ON_WILDCARD, ACCESS_MANAGE, REQUIRE_KEY_AUTO, 0, NULL},
    {NONE, NONE, NONE, NEAR, ACCESS_MANAGE, REQUIRE_KEY_ALWAYS, 0, NULL},
    /* open: not even a wrong key is looked at */
    {NONE, NONE, NONE, FAR, ACCESS_NOWHERE, REQUIRE_KEY_ALWAYS, 0, NULL},
    {NONE, TEXT("or-manage"), NONE, FAR, ACCESS_NOWHERE, REQUIRE_KEY_ALWAYS, 0, "or-manage"},
    {TEXT("Bearer wrong"), NONE, NONE, NEAR, ACCESS_NOWHERE, REQUIRE_KEY_NEVER, 401, INVALID},
    {TEXT("Bearer wrong"), NONE, NONE, FAR, ACCESS_OPEN, REQUIRE_KEY_ALWAYS, 0, NULL},
};

static void
check_rule(size_t i, const struct rule *rule)
{
	struct snapshot *s = snapshot_with(rule->require);
	struct auth_presented p = {.value = {rule->bearer, rule->api_key, rule->goog},
	    .local = rule->where == NEAR,
	    .loopback = rule->where != FAR};
	const struct snap_key *key = (const struct snap_key *)(uintptr_t)1;
	struct auth_refusal why = {0};
	int status = auth_decide(&p, rule->access, s, NOW, &key, &why);
	const char *outcome = why.message;

	if (status == 0)
		outcome = key != NULL ? snapshot_cstr(s, key->name) : NULL;
	if (status != rule->status || (outcome == NULL) != (rule->outcome == NULL) ||
	    (outcome != NULL && strcmp(outcome, rule->outcome) != 0))
		fail_msg("rule %zu: %d %s", i, status, outcome != NULL ? outcome : "nobody");
	snapshot_put(s);
}

static void
rules_hold(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(rules); i++)
		check_rule(i, &rules[i]);
}

/* SDKs tell an authentication error by status and code. */
static void
refusals_have_codes(void **state)
{
	struct snapshot *s = snapshot_with(REQUIRE_KEY_AUTO);
	struct auth_presented p = {0};
	const struct snap_key *key;
	struct auth_refusal why;

	(void)state;
	assert_int_equal(auth_decide(&p, ACCESS_CLIENT, s, NOW, &key, &why), 401);
	assert_string_equal(why.code, "invalid_api_key");
	p.value[1] = (struct span)TEXT("or-manage");
	assert_int_equal(auth_decide(&p, ACCESS_CLIENT, s, NOW, &key, &why), 403);
	assert_string_equal(why.code, "insufficient_scope");
	p.value[1] = (struct span)TEXT("or-chat");
	p.several = true; /* and the other one was not looked at */
	assert_int_equal(auth_decide(&p, ACCESS_CLIENT, s, NOW, &key, &why), 401);
	assert_string_equal(why.code, "invalid_api_key");
	snapshot_put(s);
}

static int
setup(void **state)
{
	(void)state;
	return seal_init();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rules_hold),
	    cmocka_unit_test(refusals_have_codes),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
