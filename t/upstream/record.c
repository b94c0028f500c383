/*
 * record: one for each request that is not for the admin, in the order of their heads.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "t/upstream/upstream.h"

static struct record *first, **last = &first;
static unsigned long count;

double
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

struct record *
record_new(unsigned long conn)
{
	struct record *r = calloc(1, sizeof(*r));

	if (r == NULL || (r->body = evbuffer_new()) == NULL)
		abort();
	r->number = ++count;
	r->conn = conn;
	r->state = "head";
	r->open = true;
	r->head_at = now_ms();
	*last = r;
	last = &r->next;
	return r;
}

static json_t *
base64(const unsigned char *p, size_t n)
{
	unsigned char *text = malloc(n / 3 * 4 + 8);
	json_t *v;
	int len;

	if (text == NULL)
		abort();
	len = EVP_EncodeBlock(text, p, (int)n);
	v = json_stringn((const char *)text, (size_t)len);
	free(text);
	return v;
}

json_t *
record_log(void)
{
	json_t *all = json_array();

	for (struct record *r = first; r != NULL; r = r->next) {
		size_t n = evbuffer_get_length(r->body);
		json_t *o;

		if (r->hidden)
			continue;
		o = json_pack("{s:I, s:I, s:s, s:s?, s:s?, s:s?, s:s?, s:I, s:I, s:s?}", "number",
		    (json_int_t)r->number, "conn", (json_int_t)r->conn, "state", r->state, "method",
		    r->method, "target", r->target, "key", r->key, "model", r->model, "body_len",
		    (json_int_t)r->body_len, "sent", (json_int_t)r->sent, "fault", r->fault);
		json_object_set_new(o, "head64",
		    base64((unsigned char *)(r->head != NULL ? r->head : ""),
			r->head != NULL ? strlen(r->head) : 0));
		json_object_set_new(o, "body64", base64(evbuffer_pullup(r->body, -1), n));
		json_object_set_new(o, "head_at", json_real(r->head_at));
		json_object_set_new(o, "body_at", json_real(r->body_at));
		json_object_set_new(o, "first_write_at", json_real(r->first_write_at));
		json_object_set_new(o, "last_write_at", json_real(r->last_write_at));
		json_object_set_new(o, "gone_at", json_real(r->gone_at));
		json_array_append_new(all, o);
	}
	return all;
}

static void
record_free(struct record *r)
{
	free(r->method);
	free(r->target);
	free(r->head);
	free(r->model);
	free(r->key);
	free(r->authorization);
	evbuffer_free(r->body);
	free(r);
}

/* Without `all` those stay that a connection still writes to. */
void
record_clear(bool all, bool hide)
{
	struct record **at = &first;

	while (*at != NULL) {
		struct record *r = *at;
		if (r->open && !all) {
			r->hidden |= hide;
			at = &r->next;
			continue;
		}
		*at = r->next;
		record_free(r);
	}
	last = at;
}
