/*
 * control: framing of the control protocol. JSON-RPC 2.0 over a Unix stream socket, one message per line (LF), at most
 * CONTROL_LINE_MAX bytes. The method table stands in master/control.c.
 *
 * control_parse_request   checks jsonrpc, id, method, params; on error fills *error with a ready error reply.
 * control_reply/_error    a line (with LF) to send; malloc'ed. `result` and `data` are stolen.
 * control_call            blocking client for omniroute-ctl: connects to `path`, sends, waits for the answer. 0 and *result,
 *                         or E_SYSTEM (not running), E_DENIED, E_AGAIN (no answer in time), E_CLOSED, E_SYNTAX, E_TOO_LONG,
 *                         or E_NOT_FOUND with *error (the error object). `params` is borrowed; NULL: none.
 * control_address         where `path` is bound or connected to. One that is too long for a Unix socket's address goes by
 *                         the descriptor of its folder: then *dir is to be closed afterwards, else it is -1.
 * A request without an id (a notification) is refused: whoever asks wants to know the outcome.
 */
#ifndef OMNIROUTE_SHARED_CONTROL_H
#define OMNIROUTE_SHARED_CONTROL_H

#include <jansson.h>
#include <sys/un.h>

#include "shared/base.h"

#define CONTROL_LINE_MAX (1u << 20)

enum control_code {
	CONTROL_PARSE = -32700,
	CONTROL_INVALID = -32600,
	CONTROL_NO_METHOD = -32601,
	CONTROL_PARAMS = -32602,
	CONTROL_INTERNAL = -32603,
	CONTROL_FAILED = -32000,    /* understood, and it did not work */
	CONTROL_NOT_FOUND = -32001,
	CONTROL_EXISTS = -32002,
	CONTROL_DENIED = -32003,
};

struct control_request {
	json_t *id, *params; /* owned; params is an object, never NULL */
	char method[64];
};

int control_parse_request(const char *line, size_t n, struct control_request *req, char **error) must_check;
void control_request_clear(struct control_request *req); /* wipes secrets is not possible in jansson: keep it short-lived */
char *control_reply(json_t *id, json_t *result) must_check;
char *control_error(json_t *id, int code, const char *message, json_t *data) must_check;
int control_address(const char *path, struct sockaddr_un *sun, int *dir) must_check;
int control_call(const char *path, const char *method, json_t *params, int timeout_ms, json_t **result,
    json_t **error) must_check;

#endif
