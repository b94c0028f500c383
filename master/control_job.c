/*
 * A job: one request on its way, from its line to its answer. It outlives the client that asked,
 * and what it waits for may outlive the listener; see control.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "master/control.h"
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"

struct control_job {
	TAILQ_ENTRY(control_job) link;
	struct master *m;
	struct control_client *client; /* NULL: gone */
	struct control_request req;
	const struct control_method *method;
	json_t *result; /* waits for the publish */
	void *waiting;
	void (*cancel)(void *waiting);
	uid_t uid;
	pid_t pid;
};

/* Outlives struct control, so that a late call-back finds out that its job is no more. */
static TAILQ_HEAD(, control_job) jobs = TAILQ_HEAD_INITIALIZER(jobs);

/* ---- a job and its request ---- */

static void
job_free(struct control_job *job)
{
	TAILQ_REMOVE(&jobs, job, link);
	json_decref(job->result);
	control_request_clear(&job->req);
	free(job);
}

bool
control_job_alive(const struct control_job *job)
{
	const struct control_job *j;

	TAILQ_FOREACH (j, &jobs, link)
		if (j == job)
			return true;
	return false;
}

void
control_job_wait(struct control_job *job, void *what, void (*cancel)(void *what))
{
	job->waiting = what;
	job->cancel = cancel;
}

json_t *
control_job_params(const struct control_job *job)
{
	return job->req.params;
}

const char *
control_job_string(const struct control_job *job, const char *name)
{
	return json_string_value(json_object_get(job->req.params, name));
}

bool
control_job_has(const struct control_job *job, const char *name)
{
	return json_object_get(job->req.params, name) != NULL;
}

int64_t
control_job_integer(const struct control_job *job, const char *name, int64_t otherwise)
{
	const json_t *v = json_object_get(job->req.params, name);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool
control_job_boolean(const struct control_job *job, const char *name, bool otherwise)
{
	const json_t *v = json_object_get(job->req.params, name);

	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

struct master *
control_job_master(const struct control_job *job)
{
	return job->m;
}

const char *
control_job_method_name(const struct control_job *job)
{
	return job->req.method;
}

void
control_job_set_method(struct control_job *job, const struct control_method *method)
{
	job->method = method;
}

/* Control characters are escaped by the log; only the subject is named, never another parameter. */
static void
audit(const struct control_job *job, const char *outcome)
{
	const char *subject;

	if (!job->method || !job->method->audit)
		return;
	subject = job->method->subject ? control_job_string(job, job->method->subject) : NULL;
	log_notice("control: %s%s%.80s by uid=%ld pid=%ld: %.300s", job->method->name,
	    subject ? " " : "", subject ? subject : "", (long)job->uid, (long)job->pid, outcome);
}

/* Ends the job; its client's next request is taken when the answer has left. Steals `line`. */
static void
job_end(struct control_job *job, char *line)
{
	struct control_client *c = job->client;

	job_free(job);
	if (c)
		control_client_answer(c, line);
	else
		free(line);
}

void
control_job_reply(struct control_job *job, json_t *result)
{
	audit(job, result ? "done" : "out of memory");
	job_end(job, result ? control_reply(job->req.id, result)
			    : control_error(job->req.id, CONTROL_INTERNAL, "out of memory", NULL));
}

static void
job_fail(struct control_job *job, int code, const char *why, json_t *data)
{
	audit(job, why);
	job_end(job, control_error(job->req.id, code, why, data));
}

void
control_job_fail(struct control_job *job, int code, const char *fmt, ...)
{
	char why[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	job_fail(job, code, why, NULL);
}

static int
code_of(int error)
{
	switch (error) {
	case E_NOT_FOUND:
		return CONTROL_NOT_FOUND;
	case E_EXISTS:
		return CONTROL_EXISTS;
	case E_DENIED:
		return CONTROL_DENIED;
	case E_RANGE:
	case E_SYNTAX:
	case E_TOO_LONG:
	case E_BAD_UTF8:
		return CONTROL_PARAMS;
	case E_NOMEM:
		return CONTROL_INTERNAL;
	default:
		return CONTROL_FAILED;
	}
}

void
control_job_fail_err(struct control_job *job, int error, const struct buf *why)
{
	if (why && why->len)
		control_job_fail(job, code_of(error), "%.*s", (int)MIN(why->len, 1000), why->data);
	else
		control_job_fail(job, code_of(error), "%s", err_text(error));
}

/* ---- publishing a change ---- */

static void
on_published(void *ctx, const struct publish_outcome *o)
{
	struct control_job *job = ctx;
	json_t *result;
	char why[256];

	if (!control_job_alive(job))
		return;
	result = job->result;
	job->result = NULL;
	if (o->error) {
		snprintf(why, sizeof why,
		    "stored, but not in force: the snapshot could not be made, or was refused "
		    "(%s); "
		    "a reload tries again",
		    err_text(o->error));
		json_object_set_new(result, "stored", json_true());
		job_fail(job, CONTROL_FAILED, why, result);
		return;
	}
	json_object_set_new(result, "in_force",
	    json_pack("{s:I, s:i, s:i}", "snapshot", (json_int_t)o->number, "workers",
		(int)o->workers, "late", (int)o->late));
	control_job_reply(job, result);
}

void
control_job_publish(struct control_job *job, json_t *result)
{
	job->result = result ? result : json_object();
	publish_now(job->m, on_published, job);
}

json_t *
control_iso(uint64_t wall_us)
{
	char iso[CLOCK_ISO_LEN];

	if (!wall_us)
		return json_null();
	clock_format_iso(wall_us, iso);
	return json_string(iso);
}

/* ---- for the socket ---- */

struct control_job *
control_job_new(struct master *m, struct control_client *c, uid_t uid, pid_t pid)
{
	struct control_job *job = calloc(1, sizeof *job);

	if (!job)
		return NULL;
	job->m = m;
	job->client = c;
	job->uid = uid;
	job->pid = pid;
	TAILQ_INSERT_TAIL(&jobs, job, link);
	return job;
}

void
control_job_run(struct control_job *job, const char *line, size_t n)
{
	char *error = NULL;

	if (control_parse_request(line, n, &job->req, &error) < 0)
		job_end(job, error);
	else
		control_dispatch(job->m, job);
}

void
control_job_orphan(struct control_job *job)
{
	job->client = NULL;
}

void
control_jobs_free(void)
{
	struct control_job *job, *next;

	for (job = TAILQ_FIRST(&jobs); job; job = next) {
		next = TAILQ_NEXT(job, link);
		if (job->cancel)
			job->cancel(job->waiting);
		job_free(job);
	}
}
