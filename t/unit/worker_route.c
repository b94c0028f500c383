#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "providers/catalog.h"
#include "t/unit/worker_fixture.h"
#include "worker/route.h"

static struct snapshot *snap;

static struct snap_str
add_str(struct snapshot_builder *b, const char *s)
{
	return snapshot_string(b, s, strlen(s));
}

static int
add_provider(struct snapshot_builder *b, const char *id, const char *alias, uint32_t builtin)
{
	struct snap_provider p = {.builtin = builtin};
	int r;

	p.id = p.name = add_str(b, id);
	p.alias = add_str(b, alias);
	r = snapshot_add_provider(b, &p);
	assert_true(r >= 0);
	return r;
}

static void
add_conn(struct snapshot_builder *b, int provider, const char *name, unsigned slot, int priority)
{
	struct snap_conn c = {.provider = (uint32_t)provider,
	    .slot = slot,
	    .priority = priority,
	    .enabled = priority > 0};
	char id[64];

	snprintf(id, sizeof id, "id-of-%s", name);
	c.id = add_str(b, id);
	c.name = add_str(b, name);
	c.id_hash = slot + 1;
	assert_true(snapshot_add_conn(b, &c) >= 0);
}

static void
add_model(struct snapshot_builder *b, const char *id, const char *owner, const char *root)
{
	struct snap_model m = {0};

	m.id = add_str(b, id);
	m.owned_by = add_str(b, owner);
	m.root = add_str(b, root);
	assert_true(snapshot_add_model(b, &m) >= 0);
}

static int
setup(void **state)
{
	struct snapshot_builder *b = snapshot_builder_new(1);
	int acme, zeta, fd;

	(void)state;
	assert_int_equal(live_create(&fd), 0);
	assert_int_equal(live_map(fd, &worker.live), 0);
	close(fd);
	acme = add_provider(b, "acme", "ac", 0);
	zeta = add_provider(b, "zeta", "z", 0);
	add_provider(b, "echo", "", 1);
	add_conn(b, acme, "later", 0, 9);
	add_conn(b, acme, "sooner", 1, 1);
	add_conn(b, acme, "off", 2, 0);
	add_conn(b, zeta, "only", 3, 1);
	add_model(b, "acme/Big/One", "acme", "Big/One");
	add_model(b, "acme/shared", "acme", "shared");
	add_model(b, "zeta/shared", "zeta", "shared");
	add_model(b, "sooner/own", "acme", "own");
	add_model(b, "echo/echo-1", "echo", "echo-1");
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &snap), 0);
	close(fd);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	snapshot_put(snap);
	live_unmap(worker.live);
	catalog_free();
	return 0;
}

static struct span
span(const char *s)
{
	return (struct span){s, s != NULL ? strlen(s) : 0};
}

/* Names of what is handed out, in order, at `now`. */
static const char *
order(struct route *rt, uint64_t now)
{
	static char out[256];
	const struct snap_conn *c;

	out[0] = '\0';
	while ((c = route_next(rt, worker.live, now)) != NULL) {
		struct span name = route_conn_name(rt, c);

		snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s ", (int)name.n, name.p);
	}
	return out;
}

static void
test_ids(void **state)
{
	static const struct {
		const char *id, *forced;
		enum route_result r;
		const char *model, *says; /* what goes upstream and who, or what is said */
	} table[] = {
	    {"acme/m", NULL, ROUTE_OK, "m", "sooner later "},
	    {"ac/a/b/c", NULL, ROUTE_OK, "a/b/c", "sooner later "},
	    {"later/m", NULL, ROUTE_OK, "m", "later "},
	    {"id-of-only/m", NULL, ROUTE_OK, "m", "only "},
	    {"echo/x", NULL, ROUTE_OK, "x", "echo "},
	    {"echo-1", NULL, ROUTE_OK, "echo-1", "echo "},
	    {"Big/One", NULL, ROUTE_OK, "Big/One", "sooner later "},
	    {"own", NULL, ROUTE_OK, "own", "sooner later "},
	    {"acme/m", "id-of-later", ROUTE_OK, "m", "later "},
	    {"acme/m", "only", ROUTE_NOT_ELIGIBLE, NULL, "No eligible connections"},
	    {"acme/m", "acme", ROUTE_NOT_ELIGIBLE, NULL, "No eligible connections"},
	    {"acme/m", "nobody", ROUTE_NOT_ELIGIBLE, NULL, "No eligible connections"},
	    {"/m", NULL, ROUTE_FORMAT, NULL, "Invalid model format"},
	    {"acme/", NULL, ROUTE_FORMAT, NULL, "Invalid model format"},
	    {"shared", NULL, ROUTE_AMBIGUOUS, NULL,
		"Ambiguous model 'shared'. Use provider/model prefix (ex: acme/shared or "
		"zeta/shared)."},
	    {"off/m", NULL, ROUTE_NO_CREDENTIALS, NULL, "No credentials for provider: off"},
	    {"openai/m", NULL, ROUTE_NO_CREDENTIALS, NULL, "No credentials for provider: openai"},
	    {"nobody/m", NULL, ROUTE_UNKNOWN, NULL, "The model `nobody/m` does not exist"},
	    {"nothing", NULL, ROUTE_UNKNOWN, NULL, "The model `nothing` does not exist"},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct route rt;

		assert_int_equal(
		    route_resolve(&rt, snap, table[i].id, span(table[i].forced)), table[i].r);
		if (table[i].r != ROUTE_OK) {
			assert_memory_equal(rt.note, table[i].says, strlen(table[i].says));
			continue;
		}
		assert_string_equal(rt.model, table[i].model);
		assert_string_equal(order(&rt, 1), table[i].says);
	}
	assert_int_equal(route_error(ROUTE_UNKNOWN)->status, 404);
	assert_string_equal(route_error(ROUTE_UNKNOWN)->code, "model_not_found");
	assert_int_equal(route_error(ROUTE_NO_CREDENTIALS)->status, 400);
}

static void
test_cooling(void **state)
{
	uint64_t now = 1000 * NS_PER_SEC, until;
	struct route rt;

	(void)state;
	assert_int_equal(route_resolve(&rt, snap, "acme/m", span(NULL)), ROUTE_OK);
	assert_null(route_first_free(&rt, worker.live, now, &until));
	live_conn_failed(worker.live, 1, now, 0, 0, 30000);
	assert_string_equal(order(&rt, now), "later ");
	live_conn_failed(worker.live, 0, now, 0, 0, 7000);
	assert_int_equal(route_resolve(&rt, snap, "acme/m", span(NULL)), ROUTE_OK);
	assert_string_equal(order(&rt, now), "");
	assert_int_equal(route_first_free(&rt, worker.live, now, &until)->slot, 0);
	assert_int_equal(until, now + 7 * NS_PER_SEC);
	assert_int_equal(route_wait_s(until, now), 7);
	assert_int_equal(route_wait_s(now, now), 1);
	assert_int_equal(route_resolve(&rt, snap, "acme/m", span(NULL)), ROUTE_OK);
	assert_string_equal(order(&rt, until), "later ");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cooling, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
