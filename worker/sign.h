/*
 * sign: the lines of a request's head that depend on its body and on the time.
 *
 * sign_request  appends to `list` (of headers_upstream) what the connection's way of signing wants.
 * The body is one piece. 0; E_SYNTAX: its credential is none; E_NOMEM.
 */
#ifndef OMNIROUTE_WORKER_SIGN_H
#define OMNIROUTE_WORKER_SIGN_H

#include "shared/arena.h"
#include "shared/base.h"

struct curl_slist;
struct snap_conn;
struct snapshot;

int sign_request(struct arena *a, const struct snapshot *snap, const struct snap_conn *conn,
    const char *url, struct span body, struct curl_slist *list) must_check;

#endif
