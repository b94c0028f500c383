/*
 * lean: what only the start of a process needed is unmapped. Initialising OpenSSL and libcurl walks
 * over some 7 MB of library text that serving never touches again; it stays in the page cache, and
 * what is needed after all is mapped again by the next fault.
 *
 * lean_drop_startup   only pages that cannot have been written. Nothing that fails is told: it is
 *                     memory, not function, that is at stake.
 */
#ifndef OMNIROUTE_WORKER_LEAN_H
#define OMNIROUTE_WORKER_LEAN_H

void lean_drop_startup(void);

#endif
