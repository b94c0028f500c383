#include "shared/err.h"

#include "shared/base.h"

static const char *const texts[ERR_COUNT] = {
#define X(name, text) text,
    ERR_TABLE(X)
#undef X
};

const char *
err_text(int r)
{
	if (r == E_OK)
		return "success";
	if (r > 0 || r < -ERR_COUNT)
		return "unknown error";
	return texts[-1 - r];
}
