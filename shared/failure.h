/*
 * failure: the vocabulary of failed upstream attempts, from failure.def. failure_info never returns NULL.
 */
#ifndef OMNIROUTE_SHARED_FAILURE_H
#define OMNIROUTE_SHARED_FAILURE_H

#include "shared/base.h"

enum failure {
#define X(name, label, status, message, retry) FAIL_##name,
#include "shared/failure.def"
#undef X
	FAIL_COUNT
};

struct failure_info {
	const char *label;
	int status; /* 0: the upstream's own */
	const char *message;
	bool retry;
};

const struct failure_info *failure_info(enum failure f);

#endif
