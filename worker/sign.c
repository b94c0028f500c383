#include "worker/sign.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "providers/sigv4.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/snapshot.h"

#define REGION_DEFAULT "us-east-1" /* of a host that says none: an endpoint of one's own */
#define SERVICE "bedrock"

static struct span
text(const char *s)
{
	return (struct span){s, strlen(s)};
}

/* Host as libcurl sends it, path and query of a URL. */
static void
split_url(const char *url, struct sigv4_request *q)
{
	static const struct {
		const char *scheme, *port;
	} usual[] = {{"https://", ":443"}, {"http://", ":80"}};
	const char *host = strstr(url, "://"), *path, *mark;

	host = host != NULL ? host + 3 : url;
	path = host + strcspn(host, "/?");
	q->host = (struct span){host, (size_t)(path - host)};
	for (size_t i = 0; i < NELEM(usual); i++) {
		size_t n = strlen(usual[i].port);

		if (strncasecmp(url, usual[i].scheme, strlen(usual[i].scheme)) == 0 &&
		    q->host.n > n && memcmp(path - n, usual[i].port, n) == 0)
			q->host.n -= n;
	}
	mark = strchr(path, '?');
	q->path = (struct span){path, mark != NULL ? (size_t)(mark - path) : strlen(path)};
	q->query = mark != NULL ? text(mark + 1) : (struct span){NULL, 0};
}

static int
add_line(struct arena *a, struct curl_slist *list, char *line)
{
	struct curl_slist *node = arena_alloc(a, sizeof *node);

	if (node == NULL)
		return E_NOMEM;
	*node = (struct curl_slist){.data = line};
	while (list->next != NULL)
		list = list->next;
	list->next = node;
	return 0;
}

int
sign_request(struct arena *a, const struct snapshot *snap, const struct snap_conn *conn,
    const char *url, struct span body, struct curl_slist *list)
{
	struct sigv4_request q = {.content_type = text("application/json"),
	    .body = body,
	    .now_s = clock_wall_us() / 1000000};
	struct sigv4_lines lines = {.n = 0};
	struct sigv4_key key;
	int r;

	if (conn->sign == SIGN_NONE)
		return 0;
	if ((r = sigv4_key_parse(snapshot_span(snap, conn->secret), &key)) != 0)
		return r;
	split_url(url, &q);
	key.service = text(SERVICE);
	key.region = sigv4_region(q.host);
	if (key.region.p == NULL)
		key.region = text(REGION_DEFAULT);
	r = sigv4_sign(a, &key, &q, &lines);
	for (unsigned i = 0; r == 0 && i < lines.n; i++)
		r = add_line(a, list, lines.line[i]);
	return r;
}
