/*
 * control: what the files of the control protocol share. Only for master/control*.c.
 *
 *   control.c         the table of methods, check of parameters, dispatch, the audit line
 *   control_socket.c  listener, peers, lines in and out
 *   control_job.c     jobs
 *   control_<noun>.c  handlers
 *
 * A job is one request on its way. Its handler ends it exactly once, at once or later from the
 * loop, with one of control_job_reply, _fail, _fail_err or control_job_publish; its client may be
 * gone by then, which the handler need not know. What a handler waits for with the job as context
 * asks control_job_alive first: the master may have stopped listening in between. control_job_wait
 * names what has to be cancelled then.
 */
#ifndef OMNIROUTE_MASTER_CONTROL_H
#define OMNIROUTE_MASTER_CONTROL_H

#include <jansson.h>
#include <sys/types.h>

#include "master/master.h"
#include "shared/control.h"

struct control_job;
struct control_client;
struct connection;

/* What a method needs of the caller; the faces that are not the socket ask for it. */
enum control_scope { CONTROL_READ, CONTROL_CHANGE, CONTROL_PROCESS };

enum control_type { P_STRING, P_INTEGER, P_BOOLEAN, P_LIST /* of strings */ };

/* A row ends with name NULL. min and max: of an integer, of the length of a string, of the length
 * of a list. */
struct control_param {
	const char *name;
	enum control_type type;
	bool required, nullable, secret;
	int64_t min, max;
	const char *help;
};

struct control_method {
	const char *name;
	void (*run)(struct master *m, struct control_job *job);
	enum control_scope scope;
	bool audit;          /* one line in the log: who, what, outcome */
	const char *subject; /* parameter that the audit line names, NULL: none */
	const struct control_param *params;
	const char *help;
};

/* Jobs (control_job.c). */
json_t *control_job_params(const struct control_job *job); /* checked; borrowed */
const char *control_job_string(
    const struct control_job *job, const char *name); /* NULL: not given, or null */
bool control_job_has(const struct control_job *job, const char *name);
int64_t control_job_integer(const struct control_job *job, const char *name, int64_t otherwise);
bool control_job_boolean(const struct control_job *job, const char *name, bool otherwise);
struct master *control_job_master(const struct control_job *job);
void control_job_reply(struct control_job *job, json_t *result); /* steals; NULL: out of memory */
void control_job_fail(struct control_job *job, int code, const char *fmt, ...) printf_like(3, 4);
/* E_* and its sentence, as the registry gives them. */
void control_job_fail_err(struct control_job *job, int error, const struct buf *why);
/* A change is stored: publishes it and replies with `result` and "in_force" when all workers have
 * it. Steals. */
void control_job_publish(struct control_job *job, json_t *result);
bool control_job_alive(const struct control_job *job);
void control_job_wait(struct control_job *job, void *what, void (*cancel)(void *what));

/* control.c, for control_socket.c */
void control_dispatch(struct master *m, struct control_job *job);
const struct control_method *control_find_method(const char *name);
/* control_job.c, for control.c */
const char *control_job_method_name(const struct control_job *job);
void control_job_set_method(struct control_job *job, const struct control_method *method);
/* control_job.c, for control_socket.c: parses and dispatches; the client's end is told with _orphan. */
struct control_job *control_job_new(
    struct master *m, struct control_client *c, uid_t uid, pid_t pid) must_check;
void control_job_run(struct control_job *job, const char *line, size_t n);
void control_job_orphan(struct control_job *job);
void control_jobs_free(void); /* cancels what they wait for */
/* control_socket.c, for control_job.c: the client's job has ended. Steals `line`. */
void control_client_answer(struct control_client *c, char *line);

/* How a connection, and a publish, look in every answer (control_connection.c, control_job.c).
 */
json_t *connection_to_json(const struct master *m, const struct connection *c, uint64_t now_ns);
json_t *control_iso(uint64_t wall_us); /* null for 0 */

/* Handlers. */
void control_connection_create(struct master *m, struct control_job *job);
void control_connection_list(struct master *m, struct control_job *job);
void control_connection_get(struct master *m, struct control_job *job);
void control_connection_update(struct master *m, struct control_job *job);
void control_connection_delete(struct master *m, struct control_job *job);
void control_connection_test(struct master *m, struct control_job *job);
void control_key_create(struct master *m, struct control_job *job);
void control_key_list(struct master *m, struct control_job *job);
void control_key_delete(struct master *m, struct control_job *job);
void control_provider_list(struct master *m, struct control_job *job);
void control_model_list(struct master *m, struct control_job *job);
void control_usage_recent(struct master *m, struct control_job *job);
void control_usage_total(struct master *m, struct control_job *job);
void control_status(struct master *m, struct control_job *job);
void control_version(struct master *m, struct control_job *job);
void control_methods(struct master *m, struct control_job *job);
void control_reload(struct master *m, struct control_job *job);
void control_reopen(struct master *m, struct control_job *job);
void control_stop(struct master *m, struct control_job *job);
void control_quit(struct master *m, struct control_job *job);
void control_upgrade(struct master *m, struct control_job *job);

#endif
