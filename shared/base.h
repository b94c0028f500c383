/*
 * base: the few macros and types that every file may use.
 *
 * must_check  a result that can fail has to be looked at.
 * printf_like compile-time check of format strings.
 * bug()       a contradiction in our own state: logs and aborts, in production too. Input from a peer, a file or
 *             another process is never a bug().
 * struct span bytes that belong to somebody else; never NUL-terminated, p may be NULL when n is 0.
 */
#ifndef OMNIROUTE_SHARED_BASE_H
#define OMNIROUTE_SHARED_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define NELEM(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define NS_PER_SEC UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)

#define OMNIROUTE_VERSION "0.1.0"

struct span {
	const char *p;
	size_t n;
};

_Noreturn void bug(const char *fmt, ...) printf_like(1, 2);

#endif
