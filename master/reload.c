#include "master/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/listen.h"
#include "master/logs.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/publish.h"
#include "master/spawn.h"
#include "master/supervise.h"
#include "shared/err.h"
#include "shared/log.h"

int
reload_complete(struct conf *c)
{
	char *path;

	if (c->pid_file != NULL && c->pid_file[0] != '\0')
		return 0;
	if (asprintf(&path, "%s/omniroute.pid", c->data_dir) == -1)
		return E_NOMEM;
	free(c->pid_file);
	c->pid_file = path;
	return 0;
}

#define APPLY_HOT false
#define APPLY_ROLL false
#define APPLY_START true

/* What only a restart changes stays as it was. */
static void
keep_start_options(struct conf *old, struct conf *new)
{
#define KEEP(type, name, apply) \
	if (APPLY_##apply) { \
		type kept = old->name; \
		old->name = new->name; \
		new->name = kept; \
	}
#define O_INT(name, def, min, max, unit, apply, env, help) KEEP(int64_t, name, apply)
#define O_STR(name, def, apply, env, help) KEEP(char *, name, apply)
#define O_ENUM(name, def, values, apply, env, help) KEEP(int, name, apply)
#include "shared/options.def"
#undef O_INT
#undef O_STR
#undef O_ENUM
#undef KEEP
}

struct next {
	struct conf *conf;
	struct listen_set *listen;
	int change;
};

/* Everything that can fail, and nothing that is seen outside but a newly bound socket. */
static int
prepare(struct master *m, struct next *n, struct buf *err)
{
	struct spawn_identity identity;
	struct buf warning = BUF_INIT(8192);
	int r;

	if ((r = conf_load(&m->override, &n->conf, err)) != 0 ||
	    (r = reload_complete(n->conf)) != 0 ||
	    (r = spawn_identity(n->conf->user, &identity, err)) != 0)
		return r;
	n->change = conf_diff(m->conf, n->conf, &warning);
	if ((n->change & CONF_START) != 0)
		log_warn("a reload does not change these, a restart or an upgrade does: %s",
		    buf_cstr(&warning) != NULL ? warning.data : "");
	buf_clear(&warning);
	keep_start_options(m->conf, n->conf);
	if ((r = listen_open(n->conf, m->listen, NULL, 0, 0, &n->listen, err)) == 0 &&
	    (r = logs_open(m, n->conf, err)) == 0)
		return 0;
	keep_start_options(m->conf, n->conf);
	return r;
}

static void
send_logs(struct master *m)
{
	struct proc *p;

	TAILQ_FOREACH (p, supervise_procs(m), link)
		if (p->state != PROC_KILLED && logs_send(m, p->channel) == E_AGAIN)
			proc_kill(p, "it reads none of its messages");
}

static void
apply(struct master *m, struct next *n)
{
	struct conf *old = m->conf;
	bool roll = (n->change & CONF_ROLL) != 0 || !listen_same(m->listen, n->listen);

	m->conf = n->conf;
	conf_free(old);
	if (roll) {
		listen_unlink(m->listen, n->listen);
		listen_put(m->listen);
		m->listen = n->listen;
	} else {
		listen_renew(m->listen, n->listen);
		listen_put(n->listen);
	}
	send_logs(m);
	publish_now(m, NULL, NULL);
	publish_flush(m);
	if (roll)
		supervise_roll(m);
}

int
master_reload(struct master *m, struct buf *err)
{
	struct next n = {0};
	int r;

	if (m->stopping) {
		buf_str(err, "the gateway is leaving");
		return E_CLOSED;
	}
	notify_reloading();
	if ((r = prepare(m, &n, err)) == 0) {
		apply(m, &n);
		log_notice("configuration reloaded");
	} else {
		if (err->len == 0)
			buf_str(err, err_text(r));
		log_error("reload refused, the old configuration stays: %s",
		    buf_cstr(err) ? err->data : "");
		listen_put(n.listen);
		conf_free(n.conf);
	}
	notify_ready();
	supervise_resume(m);
	return r;
}

void
master_reopen(struct master *m)
{
	struct buf err = BUF_INIT(8192);

	if (logs_open(m, m->conf, &err) != 0)
		log_error("%s", buf_cstr(&err) ? err.data : "logs");
	buf_clear(&err);
	send_logs(m);
}
