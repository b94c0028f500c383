#include "worker/auth.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/http1.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/seal.h"
#include "worker/ask.h"
#include "worker/worker.h"

#define QUERY_KEY_MAX 512
#define WINDOW_MS 60000u
#define LAST_USED_STEP_MS 1000u /* a busy key's cache line is not written for every request */

static const struct {
	const char *header;
	bool bearer;
} credentials[AUTH_CREDENTIALS] = {
    {"authorization", true}, {"x-api-key", false}, {"x-goog-api-key", false},
    {NULL, false}, /* the query */
};

/* ---- keys ---- */

/* False: the header is there and cannot be a key. An empty *key: nothing was presented. */
static bool
read_credential(struct span value, bool bearer, struct span *key)
{
	static const char scheme[] = "bearer";
	size_t n = sizeof scheme - 1;

	*key = http1_trim(value);
	if (key->n == 0 || !bearer)
		return true;
	if (key->n < n || strncasecmp(key->p, scheme, n) != 0)
		return false;
	if (key->n > n && key->p[n] != ' ' && key->p[n] != '\t')
		return false;
	*key = http1_trim((struct span){key->p + n, key->n - n});
	return true;
}

/*
 * The index is walked by the keyed digest, whose salt nobody outside knows: how long that takes
 * says nothing of a key that is nearly right.
 */
static const struct snap_key *
find_key(struct snapshot *snap, struct span key)
{
	uint8_t digest[SNAP_DIGEST];
	const struct snap_key *found;

	key_digest(snapshot_head(snap)->settings.key_salt, key.p, key.n, digest);
	found = snapshot_find_key(snap, digest);
	explicit_bzero(digest, sizeof digest);
	return found;
}

/* ---- rules ---- */

static int
refuse(struct auth_refusal *why, int status, const char *code, const char *message)
{
	*why = (struct auth_refusal){code, message};
	return status;
}

static int
check_keys(const struct auth_presented *p, struct snapshot *snap, uint64_t now_wall_s,
    const struct snap_key **first, struct auth_refusal *why)
{
	*first = NULL;
	if (p->several)
		return refuse(
		    why, 401, "invalid_api_key", "Several API keys in one kind of header");
	for (unsigned i = 0; i < AUTH_CREDENTIALS; i++) {
		const struct snap_key *k = NULL;
		struct span key;

		if (p->value[i].p == NULL)
			continue;
		if (read_credential(p->value[i], credentials[i].bearer, &key)) {
			if (key.n == 0)
				continue;
			k = find_key(snap, key);
		}
		if (k == NULL)
			return refuse(why, 401, "invalid_api_key", "Invalid API key provided");
		if (k->expires_wall_s != 0 && now_wall_s >= k->expires_wall_s)
			return refuse(why, 401, "invalid_api_key", "This API key has expired");
		if (*first == NULL)
			*first = k;
	}
	return 0;
}

static bool
needs_key(const struct auth_presented *p, enum access access, uint32_t require)
{
	if (access == ACCESS_MANAGE)
		return !p->local && !p->loopback;
	return require == REQUIRE_KEY_ALWAYS || (require != REQUIRE_KEY_NEVER && !p->local);
}

static int
check_scope(const struct auth_presented *p, enum access access, const struct snap_key *key,
    struct auth_refusal *why)
{
	if (access == ACCESS_CLIENT && (key->scopes & SCOPE_CHAT) == 0)
		return refuse(why, 403, "insufficient_scope",
		    "This API key does not have the scope \"chat\"");
	if (access == ACCESS_MANAGE && (key->scopes & SCOPE_MANAGE) == 0 &&
	    needs_key(p, access, REQUIRE_KEY_AUTO))
		return refuse(why, 403, "insufficient_scope",
		    "This API key does not have the scope \"manage\"");
	return 0;
}

int
auth_decide(const struct auth_presented *p, enum access access, struct snapshot *snap,
    uint64_t now_wall_s, const struct snap_key **key, struct auth_refusal *why)
{
	int status;

	*key = NULL;
	if (access == ACCESS_OPEN)
		return 0;
	if ((status = check_keys(p, snap, now_wall_s, key, why)) != 0)
		return status;
	if (access == ACCESS_NOWHERE)
		return 0;
	if (*key != NULL)
		return check_scope(p, access, *key, why);
	if (needs_key(p, access, snapshot_head(snap)->settings.require_key))
		return refuse(why, 401, "invalid_api_key", "Authentication required");
	return 0;
}

/* ---- requests ---- */

/* The key's cell of the live region; NULL when the slot has meanwhile been given to another key. */
static struct live_key *
live_key_of(const struct snap_key *key)
{
	struct live_key *k;

	if (key->slot >= LIVE_KEYS)
		return NULL;
	k = &worker.live->key[key->slot];
	return atomic_load_explicit(&k->id, memory_order_relaxed) == key->id_hash ? k : NULL;
}

static void
note_key(struct http_req *r, const struct caller *caller, uint64_t now_wall_ms)
{
	struct live_key *k = live_key_of(caller->key);

	snprintf(
	    r->note.key, sizeof r->note.key, "%s", snapshot_cstr(caller->snap, caller->key->name));
	if (k != NULL &&
	    now_wall_ms - atomic_load_explicit(&k->last_used_wall_ms, memory_order_relaxed) >=
		LAST_USED_STEP_MS)
		atomic_store_explicit(&k->last_used_wall_ms, now_wall_ms, memory_order_relaxed);
}

bool
auth_check(struct http_req *r, enum access access, struct snapshot *snap, struct caller *caller)
{
	struct auth_presented p = {.local = r->local, .loopback = r->loopback};
	uint64_t now_ms = clock_wall_us() / 1000;
	struct auth_refusal why = {0};
	char in_query[QUERY_KEY_MAX];
	int status;

	for (unsigned i = 0; i < AUTH_CREDENTIALS - 1; i++) {
		p.value[i] = http_header_get(r, credentials[i].header);
		p.several |=
		    p.value[i].p != NULL && http_header_count(r, credentials[i].header) > 1;
	}
	if (r->dialect == DIALECT_GEMINI && ask_query(r->query, "key", in_query, sizeof in_query))
		p.value[AUTH_CREDENTIALS - 1] = (struct span){in_query, strlen(in_query)};
	*caller = (struct caller){.snap = snap};
	status = auth_decide(&p, access, snap, now_ms / 1000, &caller->key, &why);
	explicit_bzero(in_query, sizeof in_query);
	if (status == 0) {
		if (caller->key != NULL)
			note_key(r, caller, now_ms);
		return true;
	}
	live_bump(&worker.me->counter[CTR_denied], 1);
	log_info("request %s refused: %d %s", r->request_id, status, why.message);
	if (status == 401)
		http_header(r, "WWW-Authenticate", "Bearer realm=\"omniroute\"");
	http_error(r, status, why.code, "%s", why.message);
	return false;
}

bool
auth_admit(struct http_req *r, const struct caller *caller)
{
	struct live_key *k;
	uint64_t retry_ms = 0;
	char seconds[24];

	if (caller->key == NULL || caller->key->rpm == 0 || (k = live_key_of(caller->key)) == NULL)
		return true;
	if (rate_take(&k->rpm, caller->key->rpm, WINDOW_MS, clock_now_ns() / NS_PER_MS, &retry_ms))
		return true;
	live_bump(&worker.me->counter[CTR_limited], 1);
	snprintf(seconds, sizeof seconds, "%" PRIu64, MAX((retry_ms + 999) / 1000, 1));
	http_header(r, "Retry-After", seconds);
	http_error(r, 429, "rate_limit_exceeded",
	    "Per-minute request limit exceeded (%" PRIu32 " RPM). Try again in a few seconds.",
	    caller->key->rpm);
	return false;
}
