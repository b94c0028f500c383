#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "master/ctl/ctl.h"
#include "shared/control.h"
#include "shared/err.h"

static const struct {
	enum ctl_exit code;
	const char *name;
} names[] = {
#define X(name, code, meaning) {CTL_##name, #name},
#include "master/ctl/exit.def"
#undef X
};

static void
print_error_json(enum ctl_exit code, const char *message, json_t *data)
{
	char name[32] = "failed";
	json_t *o;

	for (size_t i = 0; i < NELEM(names); i++)
		if (names[i].code == code)
			snprintf(name, sizeof name, "%s", names[i].name);
	for (char *p = name; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	o = json_pack(
	    "{s:{s:s, s:s, s:O*}}", "error", "code", name, "message", message, "data", data);
	if (!o)
		o = json_pack("{s:{s:s, s:s}}", "error", "code", name, "message",
		    "the message is not valid UTF-8");
	ctl_print_json(o);
	json_decref(o);
}

static int
say_failure(const struct ctl *c, enum ctl_exit code, const char *message, json_t *data)
{
	char *clean = strdup(message);

	fprintf(stderr, "omniroute-ctl: %s\n", clean ? ctl_clean(clean) : "out of memory");
	free(clean);
	if (c->json)
		print_error_json(code, message, data);
	return code;
}

int
ctl_fail(const struct ctl *c, enum ctl_exit code, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	return say_failure(c, code, message, NULL);
}

static enum ctl_exit
exit_of(json_int_t control_code)
{
	switch (control_code) {
	case CONTROL_NOT_FOUND:
		return CTL_NOT_FOUND;
	case CONTROL_EXISTS:
		return CTL_EXISTS;
	case CONTROL_DENIED:
		return CTL_DENIED;
	case CONTROL_PARAMS:
		return CTL_USAGE;
	default:
		return CTL_FAILED;
	}
}

static int
call_failed(const struct ctl *c, int r, int err)
{
	switch (r) {
	case E_DENIED:
		return ctl_fail(c, CTL_DENIED,
		    "%s: permission denied: only the user that OmniRoute runs as, and root, may "
		    "use it",
		    c->path);
	case E_AGAIN:
		return ctl_fail(c, CTL_FAILED, "the master does not answer in time");
	case E_CLOSED:
		return ctl_fail(
		    c, CTL_FAILED, "the master closed the connection before it answered");
	case E_TOO_LONG:
		return ctl_fail(
		    c, CTL_FAILED, "the path of the socket, or the message, is too long");
	case E_SYSTEM:
		return ctl_fail(c, CTL_NOT_RUNNING,
		    "OmniRoute is not running on this data directory (%s: %s); start it with: "
		    "omniroute -d",
		    c->path, strerror(err));
	default:
		return ctl_fail(
		    c, CTL_FAILED, "the master's answer cannot be understood: %s", err_text(r));
	}
}

static int
call(const struct ctl *c, const char *method, json_t *params, int timeout_ms, json_t **result,
    bool quiet)
{
	json_t *error = NULL;
	int r, err, code;

	if (!params)
		params = json_object();
	errno = 0;
	r = control_call(c->path, method, params, timeout_ms, result, &error);
	err = errno;
	json_decref(params);
	if (r == 0)
		return CTL_OK;
	if (quiet && r == E_SYSTEM)
		return CTL_NOT_RUNNING;
	if (!error)
		return call_failed(c, r, err);
	code = say_failure(c, exit_of(ctl_int(error, "code")), ctl_str(error, "message"),
	    json_object_get(error, "data"));
	json_decref(error);
	return code;
}

int
ctl_call(const struct ctl *c, const char *method, json_t *params, int timeout_ms, json_t **result)
{
	return call(c, method, params, timeout_ms, result, false);
}

int
ctl_try(const struct ctl *c, const char *method, json_t *params, int timeout_ms, json_t **result)
{
	return call(c, method, params, timeout_ms, result, true);
}

void
ctl_print_json(const json_t *o)
{
	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	putchar('\n');
}

const char *
ctl_str(const json_t *o, const char *member)
{
	const char *s = json_string_value(json_object_get(o, member));

	return s ? s : "";
}

json_int_t
ctl_int(const json_t *o, const char *member)
{
	return json_integer_value(json_object_get(o, member));
}

bool
ctl_bool(const json_t *o, const char *member)
{
	return json_is_true(json_object_get(o, member));
}
