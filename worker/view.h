/*
 * view: what can be read of a gateway: the models and whether it is well. Heads of endpoints (see
 * endpoint.h).
 *
 * view_models  GET /v1/models: the list of the snapshot, made once for each. HEAD as GET.
 * view_model   GET /v1/models/ID
 * view_messages_models, view_messages_model  the same for a client that says anthropic-version
 * view_gemini_models, view_gemini_model      GET /v1beta/models, /v1beta/models/ID
 * view_health  200 as long as this worker turns its loop
 * view_ready   200 while any worker takes new connections, whichever answers; 503 once all of them
 *              are leaving. An old worker that a reload retires does not call the gateway unready.
 * view_free    at exit.
 */
#ifndef OMNIROUTE_WORKER_VIEW_H
#define OMNIROUTE_WORKER_VIEW_H

#include "worker/endpoint.h"

struct snap_model;

void view_models(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void view_model(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void view_messages_models(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void view_messages_model(
    struct http_req *r, const struct caller *caller, const struct snap_model *m);
void view_gemini_models(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void view_gemini_model(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void view_health(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void view_ready(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void view_free(void);

#endif
