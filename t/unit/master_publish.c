#include "t/unit/master_fixture.h"

#include "master/compose.h"
#include "master/publish.h"
#include "proto/dialect_id.h"
#include "shared/snapshot.h"

static unsigned calls;
static struct publish_outcome last;

static void
done(void *ctx, const struct publish_outcome *o)
{
	(void)ctx;
	calls++;
	last = *o;
}

static int
up(void **state)
{
	(void)state;
	calls = 0;
	master_up("connection \"corp\" {\n"
		  "\tprovider = \"openai-compatible\"\n"
		  "\tbase_url = \"https://llm.example.com/v1/\"\n"
		  "\tkey = \"sk-corp-secret-1\"\n"
		  "\tmodels = {\"llama-3\"}\n"
		  "\tpriority = 3\n"
		  "}\n");
	return 0;
}

static int
down(void **state)
{
	(void)state;
	publish_free(&master);
	master_down();
	return 0;
}

static bool
called_thrice(void)
{
	return calls == 3;
}

static void
test_changes_of_one_turn_are_one_snapshot(void **state)
{
	(void)state;
	assert_int_equal(publish_start(&master), 0);
	assert_int_equal(publish_number(&master), 1);
	publish_now(&master, done, NULL);
	publish_now(&master, NULL, NULL);
	publish_now(&master, done, NULL);
	publish_for_peer(&master, done, NULL);
	assert_int_equal(calls, 0);
	assert_true(fixture_loop_until(called_thrice));
	assert_int_equal(publish_number(&master), 2);
	assert_int_equal(last.number, 2);
	assert_int_equal(last.error, 0);
	assert_int_equal(last.late, 0);
}

static void
test_end_answers_who_waits(void **state)
{
	(void)state;
	assert_int_equal(publish_start(&master), 0);
	publish_now(&master, done, NULL);
	publish_free(&master);
	assert_int_equal(calls, 1);
	assert_int_equal(last.error, E_CLOSED);
}

static void
test_snapshot_says_what_is_configured(void **state)
{
	struct snapshot *s;
	const struct snap_name *n;
	const struct snap_conn *c;
	const struct snap_model *model;
	const struct snap_provider *echo;
	int fd;

	(void)state;
	assert_int_equal(compose_snapshot(&master, 9, master.listen, &fd), 0);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	assert_int_equal(snapshot_head(s)->number, 9);
	assert_int_equal(snapshot_head(s)->settings.max_body_size, 52428800);
	assert_int_equal(snapshot_head(s)->settings.max_body_memory, 1073741824);
	assert_int_equal(snapshot_head(s)->settings.require_key, REQUIRE_KEY_AUTO);
	assert_int_equal(snapshot_head(s)->listeners.count, 1);
	assert_int_equal(snapshot_listener(s, 0)->kind, LISTENER_UNIX);
	assert_int_equal(snapshot_head(s)->conns.count, 1);
	assert_non_null(n = snapshot_find_name(s, (struct span){"corp", 4}));
	assert_int_equal(n->list_len, 1);
	c = snapshot_conn(s, snapshot_name_list(s, n)[0]);
	assert_string_equal(
	    snapshot_cstr(s, c->url[DIALECT_CHAT]), "https://llm.example.com/v1/chat/completions");
	assert_string_equal(
	    snapshot_cstr(s, c->auth_header), "Authorization: Bearer sk-corp-secret-1");
	assert_string_equal(snapshot_cstr(s, c->secret), "sk-corp-secret-1");
	assert_int_equal(c->priority, 3);
	assert_int_equal(c->enabled, 1);
	assert_non_null(model = snapshot_find_model(s, (struct span){"corp/llama-3", 12}));
	assert_string_equal(snapshot_cstr(s, model->root), "llama-3");
	assert_non_null(snapshot_find_model(s, (struct span){"echo/echo-1", 11}));
	assert_non_null(n = snapshot_find_name(s, (struct span){"echo", 4}));
	echo = snapshot_provider(s, n->provider);
	assert_int_equal(echo->builtin, 1);
	assert_int_equal(atomic_load(&master.live->conn[c->slot].id), c->id_hash);
	snapshot_put(s);
}

static const struct snap_conn *
conn_of(const struct snapshot *s, const char *name)
{
	const struct snap_name *n = snapshot_find_name(s, (struct span){name, strlen(name)});

	assert_non_null(n);
	assert_int_equal(n->list_len, 1);
	return snapshot_conn(s, snapshot_name_list(s, n)[0]);
}

static int
up_dialects(void **state)
{
	(void)state;
	calls = 0;
	master_up(
	    "keepalive_interval = 7\nfetch_private = true\n"
	    "connection \"oa\" { provider = openai key = \"sk-0000000001\" }\n"
	    "connection \"an\" { provider = anthropic key = \"sk-0000000002\" }\n"
	    "connection \"ge\" { provider = gemini key = \"sk-0000000003\" }\n"
	    "connection \"aw\" { provider = bedrock key = \"AKID:sk-0000000004\" }\n"
	    "connection \"ol\" { provider = ollama }\n"
	    "connection \"no\" { provider = openai-compatible base_url = \"https://x.test/v1\"\n"
	    "	dialect = anthropic-messages key = \"sk-0000000005\" }\n"
	    "connection \"mo\" { provider = mistral base_url = "
	    "\"https://x.test/v1/chat/completions\"\n"
	    "	key = \"sk-0000000006\" }\n");
	return 0;
}

static void
test_connections_speak_dialects(void **state)
{
	static const struct {
		const char *name, *auth;
		enum dialect_id dialect, other;
		const char *url, *other_url;
		uint32_t sign;
	} table[] = {
	    {"oa", "Authorization: Bearer sk-0000000001", DIALECT_CHAT, DIALECT_RESPONSES,
		"https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1/responses",
		SIGN_NONE},
	    {"an", "x-api-key: sk-0000000002", DIALECT_MESSAGES, DIALECT_CHAT,
		"https://api.anthropic.com/v1/messages", "", SIGN_NONE},
	    {"ge", "x-goog-api-key: sk-0000000003", DIALECT_GEMINI, DIALECT_CHAT,
		"https://generativelanguage.googleapis.com/v1beta/models/{model}", "", SIGN_NONE},
	    {"aw", "", DIALECT_CONVERSE, DIALECT_CHAT,
		"https://bedrock-runtime.us-east-1.amazonaws.com/model/{model}", "", SIGN_SIGV4},
	    {"ol", "", DIALECT_OLLAMA, DIALECT_CHAT, "http://127.0.0.1:11434/api/chat", "",
		SIGN_NONE},
	    {"no", "x-api-key: sk-0000000005", DIALECT_MESSAGES, DIALECT_CHAT,
		"https://x.test/v1/messages", "", SIGN_NONE},
	    {"mo", "Authorization: Bearer sk-0000000006", DIALECT_CHAT, DIALECT_RESPONSES,
		"https://x.test/v1/chat/completions", "", SIGN_NONE},
	};
	struct snapshot *s;
	int fd;

	(void)state;
	assert_int_equal(compose_snapshot(&master, 9, master.listen, &fd), 0);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	assert_int_equal(snapshot_head(s)->settings.keepalive_interval_ms, 7);
	assert_int_equal(snapshot_head(s)->settings.fetch_private, 1);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const struct snap_conn *c = conn_of(s, table[i].name);

		assert_int_equal(c->dialect, table[i].dialect);
		assert_string_equal(snapshot_cstr(s, c->url[table[i].dialect]), table[i].url);
		assert_string_equal(snapshot_cstr(s, c->url[table[i].other]), table[i].other_url);
		assert_string_equal(snapshot_cstr(s, c->auth_header), table[i].auth);
		assert_int_equal(c->sign, table[i].sign);
	}
	assert_non_null(
	    strstr(snapshot_cstr(s, snapshot_provider(s, conn_of(s, "mo")->provider)->profile),
		"\"ids\":\"mistral\""));
	snapshot_put(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_changes_of_one_turn_are_one_snapshot, up, down),
	    cmocka_unit_test_setup_teardown(test_end_answers_who_waits, up, down),
	    cmocka_unit_test_setup_teardown(test_snapshot_says_what_is_configured, up, down),
	    cmocka_unit_test_setup_teardown(test_connections_speak_dialects, up_dialects, down),
	};

	log_set_level(LOG_LV_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
