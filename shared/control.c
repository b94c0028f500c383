#include "shared/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/err.h"

#define DEPTH_MAX 32

/* ---- making lines ---------------------------------------------------------------------------- */

/* Steals `message`. The line with its LF, within the ceiling; NULL otherwise. */
static char *
line_of(json_t *message)
{
	char *text = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL, *line = NULL;
	size_t n;

	json_decref(message);
	if (text == NULL)
		return NULL;
	n = strlen(text);
	if (n < CONTROL_LINE_MAX && (line = realloc(text, n + 2)) != NULL) {
		line[n] = '\n';
		line[n + 1] = '\0';
		return line;
	}
	free(text);
	return NULL;
}

static json_t *
id_or_null(json_t *id)
{
	return id != NULL ? json_incref(id) : json_null();
}

char *
control_reply(json_t *id, json_t *result)
{
	char *line;

	if (result == NULL)
		return NULL;
	line = line_of(
	    json_pack("{s:s, s:o, s:O}", "jsonrpc", "2.0", "id", id_or_null(id), "result", result));
	json_decref(result);
	if (line == NULL)
		line = control_error(
		    id, CONTROL_INTERNAL, "the answer does not fit into a message", NULL);
	return line;
}

/* Steals `data`. */
static json_t *
error_object(int code, const char *message, json_t *data)
{
	json_t *error = json_object();
	/* What an operator typed may come back in the message; jansson takes nothing but UTF-8. */
	json_t *text = json_string(message);

	if (text == NULL)
		text = json_string("the message is not valid UTF-8");
	if (error == NULL || json_object_set_new(error, "code", json_integer(code)) != 0 ||
	    json_object_set(error, "message", text) != 0 ||
	    (data != NULL && json_object_set(error, "data", data) != 0)) {
		json_decref(error);
		error = NULL;
	}
	json_decref(text);
	json_decref(data);
	return error;
}

char *
control_error(json_t *id, int code, const char *message, json_t *data)
{
	json_t *error = error_object(code, message, data);

	if (error == NULL)
		return NULL;
	return line_of(
	    json_pack("{s:s, s:o, s:o}", "jsonrpc", "2.0", "id", id_or_null(id), "error", error));
}

/* ---- a request ------------------------------------------------------------------------------- */

static bool
id_valid(const json_t *id)
{
	return json_is_string(id) || json_is_integer(id) || json_is_null(id);
}

/* The first thing that is wrong with a message, or NULL. */
static const char *
request_fault(const json_t *message)
{
	const json_t *method, *params;
	const char *version;

	if (!json_is_object(message))
		return "a request is one JSON object; batches are not supported";
	version = json_string_value(json_object_get(message, "jsonrpc"));
	if (version == NULL || strcmp(version, "2.0") != 0)
		return "\"jsonrpc\" must be \"2.0\"";
	if (!id_valid(json_object_get(message, "id")))
		return "\"id\" must be a string or an integer";
	method = json_object_get(message, "method");
	if (!json_is_string(method) || json_string_length(method) == 0 ||
	    json_string_length(method) >= sizeof((struct control_request *)NULL)->method)
		return "\"method\" must be a string of 1 to 63 bytes";
	params = json_object_get(message, "params");
	if (params != NULL && !json_is_object(params))
		return "\"params\" must be an object";
	return NULL;
}

/* jansson has a depth limit of its own (2048); a request has no use for a tenth of it. */
static bool
too_deep(const char *p, size_t n)
{
	unsigned depth = 0;
	bool string = false;

	for (size_t i = 0; i < n; i++) {
		if (string && p[i] == '\\')
			i++;
		else if (p[i] == '"')
			string = !string;
		else if (!string && (p[i] == '{' || p[i] == '[') && ++depth > DEPTH_MAX)
			return true;
		else if (!string && (p[i] == '}' || p[i] == ']') && depth > 0)
			depth--;
	}
	return false;
}

static int
fill_request(struct control_request *req, json_t *message)
{
	json_t *params = json_object_get(message, "params");
	const json_t *method;

	req->params = params != NULL ? json_incref(params) : json_object();
	if (req->params == NULL)
		return E_NOMEM;
	req->id = json_incref(json_object_get(message, "id"));
	method = json_object_get(message, "method");
	memcpy(req->method, json_string_value(method), json_string_length(method) + 1);
	return 0;
}

int
control_parse_request(const char *line, size_t n, struct control_request *req, char **error)
{
	json_error_t where;
	json_t *message = NULL;
	const json_t *id;
	const char *fault;
	int r = E_SYNTAX;

	*req = (struct control_request){0};
	*error = NULL;
	if (n > CONTROL_LINE_MAX) {
		*error = control_error(NULL, CONTROL_INVALID, "the message is too long", NULL);
		return E_TOO_LONG;
	}
	if (too_deep(line, n)) {
		*error = control_error(NULL, CONTROL_PARSE, "nested too deeply", NULL);
		return E_DEPTH;
	}
	message = json_loadb(line, n, JSON_REJECT_DUPLICATES, &where);
	if (message == NULL) {
		/* where.text may quote the input, and the input may hold a key. */
		*error = control_error(NULL, CONTROL_PARSE, "not a JSON text",
		    json_pack("{s:i}", "position", where.position));
		return E_SYNTAX;
	}
	fault = request_fault(message);
	if (fault != NULL) {
		id = json_object_get(message, "id");
		*error = control_error(id_valid(id) ? json_object_get(message, "id") : NULL,
		    CONTROL_INVALID, fault, NULL);
		goto out;
	}
	r = fill_request(req, message);
out:
	json_decref(message);
	return r;
}

void
control_request_clear(struct control_request *req)
{
	json_decref(req->id);
	json_decref(req->params);
	*req = (struct control_request){0};
}

/* ---- the client ------------------------------------------------------------------------------ */

static int
errno_error(void)
{
	switch (errno) {
	case EACCES:
	case EPERM:
		return E_DENIED;
	case ENOMEM:
		return E_NOMEM;
	case EPIPE:
	case ECONNRESET:
		return E_CLOSED;
	default:
		return E_SYSTEM;
	}
}

/* Waits until `fd` is ready for `events`. E_AGAIN: the time is over. */
static int
wait_ready(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = clock_now_ns(), left;
		int r;

		if (now >= deadline_ns)
			return E_AGAIN;
		left = (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
		r = poll(&p, 1, (int)MIN(left, 60000));
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return E_SYSTEM;
	}
}

int
control_address(const char *path, struct sockaddr_un *sun, int *dir)
{
	const char *name = strrchr(path, '/');
	char folder[PATH_MAX];
	size_t n = strlen(path);
	int len;

	*dir = -1;
	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (n < sizeof sun->sun_path) {
		memcpy(sun->sun_path, path, n);
		return 0;
	}
	if (name == NULL || (size_t)(name - path) >= sizeof folder)
		return E_TOO_LONG;
	memcpy(folder, path, (size_t)(name - path));
	folder[name - path] = '\0';
	if ((*dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC)) == -1)
		return errno_error();
	len = snprintf(sun->sun_path, sizeof sun->sun_path, "/proc/self/fd/%d%s", *dir, name);
	if (len > 0 && (size_t)len < sizeof sun->sun_path)
		return 0;
	close(*dir);
	*dir = -1;
	return E_TOO_LONG;
}

/* A full backlog gives EAGAIN at once on a Unix socket: try again until the time is over. */
static int
connect_to(const char *path, uint64_t deadline_ns, int *out)
{
	struct sockaddr_un sun;
	int dir, fd, saved, r = control_address(path, &sun, &dir);

	if (r != 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	while (r == 0 && (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0)) {
		if (fd >= 0 && errno == EAGAIN && clock_now_ns() < deadline_ns)
			poll(NULL, 0, 10);
		else if (fd < 0 || errno != EINTR)
			r = errno_error();
	}
	saved = errno;
	if (dir >= 0)
		close(dir);
	if (r == 0)
		*out = fd;
	else if (fd >= 0)
		close(fd);
	errno = saved; /* the caller names it */
	return r;
}

static int
send_all(int fd, const char *p, size_t n, uint64_t deadline_ns)
{
	while (n > 0) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
		int r;

		if (w >= 0) {
			p += w;
			n -= (size_t)w;
			continue;
		}
		if (errno == EINTR)
			continue;
		r = errno == EAGAIN ? wait_ready(fd, POLLOUT, deadline_ns) : errno_error();
		if (r < 0)
			return r;
	}
	return 0;
}

/* Reads up to and with the first LF. */
static int
receive_line(int fd, struct buf *b, uint64_t deadline_ns)
{
	for (;;) {
		char chunk[16384];
		ssize_t n = recv(fd, chunk, sizeof chunk, 0);
		const char *lf;
		int r;

		if (n == 0)
			return E_CLOSED;
		if (n > 0) {
			lf = memchr(chunk, '\n', (size_t)n);
			r = buf_add(b, chunk, lf != NULL ? (size_t)(lf - chunk) : (size_t)n);
			explicit_bzero(
			    chunk, (size_t)n); /* a new client key is shown in an answer */
			if (r < 0 || lf != NULL)
				return r;
			continue;
		}
		if (errno == EINTR)
			continue;
		r = errno == EAGAIN ? wait_ready(fd, POLLIN, deadline_ns) : errno_error();
		if (r < 0)
			return r;
	}
}

static int
read_answer(const struct buf *b, json_t **result, json_t **error)
{
	json_t *message, *part;
	int r = E_SYNTAX;

	if (too_deep(b->data, b->len))
		return E_DEPTH;
	message = json_loadb(b->data, b->len, JSON_REJECT_DUPLICATES, NULL);
	if ((part = json_object_get(message, "result")) != NULL) {
		*result = json_incref(part);
		r = 0;
	} else if (json_is_object(part = json_object_get(message, "error"))) {
		*error = json_incref(part);
		r = E_NOT_FOUND;
	}
	json_decref(message);
	return r;
}

int
control_call(const char *path, const char *method, json_t *params, int timeout_ms, json_t **result,
    json_t **error)
{
	uint64_t deadline = clock_now_ns() + (uint64_t)MAX(timeout_ms, 0) * NS_PER_MS;
	struct buf answer = BUF_INIT(CONTROL_LINE_MAX);
	char *line = NULL;
	int fd = -1, r;

	*result = *error = NULL;
	line = line_of(json_pack("{s:s, s:i, s:s, s:O*}", "jsonrpc", "2.0", "id", 1, "method",
	    method, "params", params));
	if (line == NULL)
		return E_TOO_LONG;
	r = connect_to(path, deadline, &fd);
	if (r == 0)
		r = send_all(fd, line, strlen(line), deadline);
	if (r == 0 || (r == E_CLOSED && fd >= 0)) /* who refuses does so without listening first */
		r = receive_line(fd, &answer, deadline);
	if (r == 0)
		r = read_answer(&answer, result, error);
	if (fd >= 0)
		close(fd);
	buf_wipe(&answer);
	explicit_bzero(line, strlen(line));
	free(line);
	return r;
}
