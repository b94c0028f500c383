/*
 * curlio: libcurl's multi interface on a libevent loop. One per process that talks to upstreams.
 *
 * curlio_new     NULL when out of memory. max_idle: connections kept open for reuse.
 * curlio_start   adds a configured easy handle; `done` is called exactly once from the event loop (never from inside
 *                curlio_start) unless curlio_cancel came first. The handle stays the caller's.
 * curlio_cancel  removes it at once (the upstream sees its connection or stream closed); no call-back after this. May be
 *                called from `done` of another handle, never from a libcurl call-back of the same handle.
 * curlio_unpause curl_easy_pause(CURLPAUSE_CONT) done safely: from the loop, never from inside a call-back of the same
 *                handle; data may be delivered before it returns.
 * curlio_free    all handles must have been cancelled. Free the event base after it.
 *
 * curlio sets CURLOPT_PRIVATE, _CLOSESOCKETFUNCTION, _CLOSESOCKETDATA, _NOSIGNAL, _QUICK_EXIT and _FORBID_REUSE of
 * every handle that it is given; all else is the caller's. With max_idle 0 it forbids reuse.
 *
 * HTTP/2 is not multiplexed: a connection carries one transfer at a time and is used again after it. libcurl only
 * queues the RST_STREAM of a transfer that is removed, until something else is sent on that connection, so a cancelled
 * one would be generated on; its connection is closed instead, and nobody else's stream hangs on it. A call-back that
 * breaks off its own transfer must set CURLOPT_FORBID_REUSE for the same effect.
 *
 * Known edges: libcurl calls its socket and timer call-backs from inside nearly any function; they only arm events here.
 * curlio_start and curlio_unpause may be called from a libcurl call-back of another handle and take effect when that one
 * is through; curlio_cancel may not (libcurl refuses it).
 */
#ifndef OMNIROUTE_SHARED_CURLIO_H
#define OMNIROUTE_SHARED_CURLIO_H

#include <curl/curl.h>

#include "shared/base.h"

struct curlio;
struct curlio_job;
struct event_base;

typedef void curlio_done(void *ctx, CURL *easy, CURLcode code);

struct curlio *curlio_new(struct event_base *base, unsigned max_idle) must_check;
void curlio_free(struct curlio *c);
struct curlio_job *curlio_start(struct curlio *c, CURL *easy, curlio_done *done, void *ctx) must_check;
void curlio_cancel(struct curlio_job *job);
void curlio_unpause(struct curlio_job *job);

#endif
