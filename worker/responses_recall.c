/* What a request of the Responses API refers to, put in its place. */
#include <string.h>

#include "proto/scan.h"
#include "shared/err.h"
#include "shared/snapshot.h"
#include "worker/exchange_own.h"
#include "worker/responses.h"
#include "worker/worker.h"

#define INPUT_MAX (512u << 20)

/* ---- items ---- */

static void
put_comma(struct buf *b)
{
	if (b->len > 0)
		buf_add(b, ",", 1);
}

static void
put_inside(struct buf *out, struct span list)
{
	struct scan s;
	struct span name, item;

	scan_open(&s, list.p, list.n);
	if (!scan_enter(&s, 'a'))
		return;
	while (scan_next(&s, &name))
		if (scan_skip(&s, &item)) {
			put_comma(out);
			buf_add(out, item.p, item.n);
		}
}

void
responses_put_items(struct buf *out, struct span input)
{
	if (scan_type(input) == 'a') {
		put_inside(out, input);
	} else if (scan_type(input) == 's') {
		put_comma(out);
		buf_str(out, "{\"type\":\"message\",\"role\":\"user\",\"content\":"
			     "[{\"type\":\"input_text\",\"text\":");
		buf_add(out, input.p, input.n);
		buf_str(out, "}]}");
	}
}

/* Text of a string that is not empty, in the arena; p NULL: there is none. */
static struct span
text_of(struct arena *a, struct span value)
{
	char text[STORED_ID_SIZE];
	ptrdiff_t n = scan_type(value) == 's' ? scan_string(value, text, sizeof text) : 0;
	char *copy = n > 0 && strlen(text) == (size_t)n ? arena_strndup(a, text, (size_t)n) : NULL;

	return copy != NULL ? (struct span){copy, (size_t)n} : (struct span){NULL, 0};
}

/* The id that an item of the input refers to; p NULL: it is no reference. */
static struct span
reference_of(struct arena *a, struct span item)
{
	struct scan_want want[] = {{.name = "type"}, {.name = "id"}};
	char type[32];
	size_t at;

	if (scan_type(item) != 'o' || scan_members(item.p, item.n, want, NELEM(want), &at) != 0 ||
	    scan_type(want[0].value) != 's' || scan_string(want[0].value, type, sizeof type) < 0 ||
	    strcmp(type, "item_reference") != 0)
		return (struct span){NULL, 0};
	return text_of(a, want[1].value);
}

static bool
has_references(struct arena *a, struct span input)
{
	struct scan s;
	struct span name, item;

	scan_open(&s, input.p, input.n);
	if (input.p == NULL || !scan_enter(&s, 'a'))
		return false;
	while (scan_next(&s, &name))
		if (scan_skip(&s, &item) && reference_of(a, item).p != NULL)
			return true;
	return false;
}

/* ---- what is not there ---- */

static struct span
sentence(struct arena *a, const char *before, struct span id, const char *after)
{
	char *text = arena_printf(a, "%s'%.*s'%s", before, (int)id.n, id.p, after);

	return text != NULL ? span_of(text) : span_of("Not found.");
}

static void
is_missing(struct recalled *rc, struct span message, const char *param, const char *code)
{
	rc->missing = true;
	rc->partial = true;
	rc->why = (struct canon_error){
	    .class = ERROR_BAD_REQUEST, .status = 400, .message = message, .param = span_of(param)};
	if (code != NULL)
		rc->why.code = span_of(code);
}

/* ---- putting together ---- */

struct joining {
	struct exchange *x;
	struct recalled *rc;
	struct buf items;
	uint8_t owner[STORED_OWNER];
	bool late, first;
	int error;
};

static const struct stored_head *
find(struct joining *j, struct span id, bool item)
{
	const struct stored_head *h = NULL;
	bool late;
	int r = shelf_find(j->x->arena, j->owner, id, item, &h, &late);

	j->late |= r == E_NOT_FOUND && late;
	if (r == E_NOMEM)
		j->error = r;
	return r == 0 ? h : NULL;
}

/* All that is referred to must have been made by one upstream for it to know it. */
static void
note_issuer(struct joining *j, const struct stored_head *h)
{
	if (j->first && h->issuer[0] != '\0')
		j->rc->issuer = h->issuer;
	else if (j->rc->issuer != NULL && strcmp(j->rc->issuer, h->issuer) != 0)
		j->rc->issuer = NULL;
	j->first = false;
}

static void
add_previous(struct joining *j)
{
	const struct stored_head *h = find(j, j->rc->previous, false);
	struct span input, output;

	if (h == NULL) {
		is_missing(j->rc,
		    sentence(
			j->x->arena, "Previous response with id ", j->rc->previous, " not found."),
		    "previous_response_id", "previous_response_not_found");
		return;
	}
	note_issuer(j, h);
	if ((h->flags & STORED_PARTIAL) != 0)
		is_missing(j->rc,
		    sentence(
			j->x->arena, "Previous response with id ", j->rc->previous, " not found."),
		    "previous_response_id", "previous_response_not_found");
	input = stored_input(h);
	output = ask_member(stored_answer(h), "output");
	buf_add(&j->items, input.p, input.n);
	if (output.p != NULL)
		put_inside(&j->items, output);
}

static bool
is_item(struct span item, struct span id)
{
	struct span value = ask_member(item, "id");
	char text[STORED_ID_SIZE];
	ptrdiff_t n = scan_type(value) == 's' ? scan_string(value, text, sizeof text) : -1;

	return n >= 0 && (size_t)n == id.n && memcmp(text, id.p, id.n) == 0;
}

static void
add_reference(struct joining *j, struct span raw, struct span id)
{
	const struct stored_head *h = find(j, id, true);
	struct span output = {NULL, 0}, name, item;
	struct scan s;

	if (h != NULL)
		output = ask_member(stored_answer(h), "output");
	scan_open(&s, output.p, output.n);
	if (output.p != NULL && scan_enter(&s, 'a'))
		while (scan_next(&s, &name))
			if (scan_skip(&s, &item) && is_item(item, id)) {
				note_issuer(j, h);
				put_comma(&j->items);
				buf_add(&j->items, item.p, item.n);
				return;
			}
	is_missing(j->rc, sentence(j->x->arena, "Item with id ", id, " not found."), "input", NULL);
	put_comma(&j->items);
	buf_add(&j->items, raw.p, raw.n);
}

static void
add_given(struct joining *j)
{
	struct scan s;
	struct span name, item, id;

	if (!j->rc->refers) {
		if (j->rc->given.p != NULL)
			responses_put_items(&j->items, j->rc->given);
		return;
	}
	scan_open(&s, j->rc->given.p, j->rc->given.n);
	if (!scan_enter(&s, 'a'))
		return;
	while (scan_next(&s, &name) && scan_skip(&s, &item)) {
		id = reference_of(j->x->arena, item);
		if (id.p != NULL) {
			add_reference(j, item, id);
		} else {
			put_comma(&j->items);
			buf_add(&j->items, item.p, item.n);
		}
	}
}

/* The body with all items in the place of its input. */
static int
write_body(struct joining *j)
{
	struct span body = j->x->req->body, given = j->rc->given;
	const char *at = given.p, *after;
	struct buf b = BUF_INIT(INPUT_MAX);
	char *copy = NULL;

	if (at == NULL) {
		at = memchr(body.p, '{', body.n);
		at = at != NULL ? at + 1 : body.p + body.n;
		after = at;
	} else {
		after = at + given.n;
	}
	buf_add(&b, body.p, (size_t)(at - body.p));
	buf_str(&b, given.p == NULL ? "\"input\":[" : "[");
	buf_add(&b, j->items.data, j->items.len);
	buf_str(&b, given.p == NULL ? "]," : "]");
	buf_add(&b, after, (size_t)(body.p + body.n - after));
	if (buf_ok(&b) && (copy = arena_strndup(j->x->arena, b.data, b.len)) != NULL)
		j->rc->body = (struct span){copy, b.len};
	buf_clear(&b);
	return copy != NULL ? 0 : E_NOMEM;
}

/* 0; E_AGAIN: something may come yet, and `last` does not say that it is too late; E_NOMEM. */
static int
join(struct exchange *x, bool last)
{
	struct joining j = {.x = x, .rc = x->recalled, .items = BUF_INIT(INPUT_MAX), .first = true};
	char *copy = NULL;
	int r = 0;

	j.rc->missing = j.rc->partial = false;
	j.rc->issuer = NULL;
	responses_owner(x, j.owner);
	if (j.rc->previous.p != NULL)
		add_previous(&j);
	add_given(&j);
	if (j.error != 0 || !buf_ok(&j.items))
		r = E_NOMEM;
	else if (j.late && !last)
		r = E_AGAIN;
	else if ((copy = arena_strndup(
		      x->arena, j.items.data != NULL ? j.items.data : "", j.items.len)) == NULL)
		r = E_NOMEM;
	if (copy != NULL) {
		j.rc->input = (struct span){copy, j.items.len};
		r = j.rc->missing ? 0 : write_body(&j);
	}
	buf_clear(&j.items);
	return r;
}

static bool
on_look(void *ctx, bool last)
{
	struct exchange *x = ctx;
	int r = join(x, last);

	if (r == E_AGAIN)
		return false;
	shelf_seek_stop(&x->recalled->seek);
	exchange_recalled(x, r);
	return true;
}

/* ---- the exchange's calls ---- */

void
responses_owner(const struct exchange *x, uint8_t owner[STORED_OWNER])
{
	stored_owner(
	    x->key != NULL ? snapshot_span(x->snap, x->key->id) : (struct span){NULL, 0}, owner);
}

/* A conversation is kept by the upstream that it was begun with, and by nobody else. */
static void
note_conversation(struct exchange *x, struct recalled *rc, struct span value)
{
	struct span id =
	    text_of(x->arena, scan_type(value) == 'o' ? ask_member(value, "id") : value);

	if (scan_type(value) == 0 || scan_type(value) == '0')
		return;
	is_missing(rc,
	    sentence(x->arena, "Conversation with id ", id.p != NULL ? id : (struct span){"", 0},
		" not found."),
	    "conversation", NULL);
}

/* A reference that cannot be the id of anything must not be taken for none. */
static void
note_nonsense(struct exchange *x, struct recalled *rc, struct span value)
{
	int type = scan_type(value);

	if (type == 0 || type == '0' || rc->previous.p != NULL || span_is(value, "\"\""))
		return;
	if (type == 's')
		value = (struct span){value.p + 1, value.n - 2};
	value.n = MIN(value.n, STORED_ID_SIZE);
	is_missing(rc, sentence(x->arena, "Previous response with id ", value, " not found."),
	    "previous_response_id", "previous_response_not_found");
}

static bool
speaks_of(struct span body, const char *word)
{
	return memmem(body.p, body.n, word, strlen(word)) != NULL;
}

int
responses_recall(struct exchange *x)
{
	struct scan_want want[] = {
	    {.name = "input"}, {.name = "previous_response_id"}, {.name = "conversation"}};
	struct span body = x->req->body;
	struct recalled *rc;
	size_t at;
	int r;

	if (x->ask.dialect != DIALECT_RESPONSES || x->ask.kind != ASK_ANSWER ||
	    !(speaks_of(body, "\"previous_response_id\"") ||
		speaks_of(body, "\"item_reference\"") || speaks_of(body, "\"conversation\"")) ||
	    scan_members(body.p, body.n, want, NELEM(want), &at) != 0)
		return 0;
	if ((rc = arena_zalloc(x->arena, 1, sizeof *rc)) == NULL)
		return E_NOMEM;
	rc->given = want[0].value;
	rc->previous = text_of(x->arena, want[1].value);
	rc->refers = has_references(x->arena, rc->given);
	note_conversation(x, rc, want[2].value);
	note_nonsense(x, rc, want[1].value);
	if (rc->missing || (rc->previous.p == NULL && !rc->refers)) {
		if (rc->missing)
			x->recalled = rc;
		return 0;
	}
	x->recalled = rc;
	r = join(x, false);
	if (r == E_AGAIN && shelf_seek(&rc->seek, on_look, x) != 0)
		r = E_NOMEM;
	return r;
}

struct span
responses_body(const struct exchange *x)
{
	const struct recalled *rc = x->recalled;

	return rc != NULL && !rc->missing ? rc->body : x->req->body;
}

static bool
is_issuer(const struct exchange *x, const struct recalled *rc)
{
	return rc->issuer != NULL && x->conn != &route_builtin &&
	       span_is(snapshot_span(x->snap, x->conn->id), rc->issuer);
}

int
responses_fit(struct exchange *x)
{
	const struct recalled *rc = x->recalled;
	bool same = x->target.dialect == DIALECT_RESPONSES;

	if (rc == NULL || (same && (rc->missing || (!x->target.translate && is_issuer(x, rc)))))
		return 0;
	if (rc->missing) {
		x->denied = rc->why;
		x->is_denied = true;
		return E_DENIED;
	}
	x->target.translate = true;
	return 0;
}

void
responses_cancel(struct exchange *x)
{
	if (x->recalled != NULL)
		shelf_seek_stop(&x->recalled->seek);
}
