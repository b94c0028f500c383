#include "shared/failure.h"

static const struct failure_info infos[FAIL_COUNT] = {
#define X(name, label, status, message, retry) {label, status, message, retry},
#include "shared/failure.def"
#undef X
};

/* The number may come out of shared memory or a stored record: one that does not exist reads as an
 * internal error. */
const struct failure_info *
failure_info(enum failure f)
{
	return (unsigned)f < FAIL_COUNT ? &infos[f] : &infos[FAIL_INTERNAL];
}
