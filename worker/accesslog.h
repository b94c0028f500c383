/*
 * accesslog: one line for each reply, in the operator's format (shared/logformat.h), to a
 * descriptor that the master opened. A line is one write of at most PIPE_BUF bytes, so that lines
 * of several workers never mix. A sink that would block loses the line; the loss is counted.
 * Credentials in a target leave as ***.
 *
 * accesslog_use_fd  takes the descriptor over and closes the one before; /dev/null or -1: none.
 * accesslog_format  compiles; one that is refused (the master has checked it) keeps the old one and
 *                   is logged.
 * accesslog_write   for http_handler.on_done.
 * accesslog_lost    lines lost so far.
 * accesslog_close   at exit.
 */
#ifndef OMNIROUTE_WORKER_ACCESSLOG_H
#define OMNIROUTE_WORKER_ACCESSLOG_H

#include "worker/http.h"

void accesslog_use_fd(int fd);
void accesslog_format(const char *format);
void accesslog_write(struct http_req *r);
uint64_t accesslog_lost(void);
void accesslog_close(void);

#endif
