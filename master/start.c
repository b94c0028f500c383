#include "master/start.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/daemon.h"
#include "master/first.h"
#include "master/inherit.h"
#include "master/listen.h"
#include "master/lock.h"
#include "master/logs.h"
#include "master/notify.h"
#include "master/peer.h"
#include "master/publish.h"
#include "master/reload.h"
#include "master/signals.h"
#include "master/spawn.h"
#include "master/stored.h"
#include "master/supervise.h"
#include "master/upgrade.h"
#include "master/usage.h"
#include "providers/catalog.h"
#include "shared/clock.h"
#include "shared/curlio.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/spool.h"
#include "shared/store.h"

#define GENERATIONS 64       /* numbers taken from the store at a time */
#define BIND_WAIT_MS 5000    /* workers of a killed master leave their sockets within this time */
#define LAST_WORDS_SECONDS 5 /* for usage records that a full disk refuses */
#define UPSTREAMS_KEPT 8

/* What only the start needs. */
struct start {
	struct inherit inherit;
	bool inherited, quiet;
	int line; /* to the waiting parent of a daemon; -1: none */
};

static struct start start = {.inherit = {-1, -1, -1, -1, NULL, 0}, .line = -1};

/* ---- words ---- */

static void
say_failed(struct master *m, const char *why)
{
	struct buf text = BUF_INIT(16384);

	buf_addf(&text, "omniroute: %s\n", why);
	if ((m->daemon && m->access_fd != -1) || m->supervisor != NULL)
		log_error("%s", why); /* the log is elsewhere, or somebody reads it */
	if (m->predecessor != NULL)
		peer_failed(peer_fd(m->predecessor), why);
	else if (start.inherit.peer != -1)
		peer_failed(start.inherit.peer, why);
	if (start.line != -1)
		daemon_report(&start.line, false, (struct span){text.data, text.len});
	else if (buf_cstr(&text) != NULL)
		fputs(text.data, stderr);
	buf_clear(&text);
}

static int
failed(struct master *m, int r, const struct buf *err, const char *what)
{
	struct buf text = BUF_INIT(16384);
	char log[PATH_MAX];

	if (err != NULL && err->len > 0) {
		buf_add(&text, err->data, err->len);
	} else {
		buf_addf(&text, "%s: %s", what,
		    r == E_SYSTEM && errno != 0 ? strerror(errno) : err_text(r));
		if (m->access_fd != -1 && logs_path(m, m->conf, log) == 0 && log[0] != '\0')
			buf_addf(&text, "; %s says more", log);
	}
	say_failed(m, buf_cstr(&text) != NULL ? text.data : what);
	buf_clear(&text);
	return r != 0 ? r : E_SYSTEM;
}

static void
say_serving(struct master *m)
{
	char *password = NULL;
	struct buf text = BUF_INIT(16384);
	int r = first_password(m, &password);

	if (r != 0)
		log_error("the first password cannot be stored; the next start tries again: %s",
		    err_text(r));
	first_banner(m, password, start.quiet || start.inherited, &text);
	if (start.line != -1) {
		daemon_report(&start.line, true, (struct span){text.data, text.len});
		logs_detach();
	} else if (text.len > 0) {
		fwrite(text.data, 1, text.len, stdout);
		fflush(stdout);
	}
	buf_wipe(&text);
	seal_free(password);
}

/* ---- process ---- */

static void
harden(void)
{
	const struct rlimit no_core = {0};
	struct rlimit files;
	int fd;

	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	while ((fd = open("/dev/null", O_RDWR)) != -1 && fd <= STDERR_FILENO)
		continue;
	if (fd != -1)
		close(fd);
}

/* INITIAL_PASSWORD was read; nobody needs to find it in our environment. */
static void
forget_password(void)
{
	char *value = getenv("INITIAL_PASSWORD");

	if (value == NULL)
		return;
	explicit_bzero(value, strlen(value));
	unsetenv("INITIAL_PASSWORD");
}

static int
load(struct master *m, const struct options *o)
{
	struct buf err = BUF_INIT(16384);
	int r;

	m->override = o->over;
	if ((r = conf_load(&m->override, &m->conf, &err)) != 0 ||
	    (r = reload_complete(m->conf)) != 0)
		failed(m, r, &err, "configuration");
	buf_clear(&err);
	return r;
}

static int
test(struct master *m, const struct options *o)
{
	struct spawn_identity identity;
	struct buf text = BUF_INIT(1u << 20), err = BUF_INIT(4096);
	/* conf_load made one. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	int r = spawn_identity(m->conf->user, &identity, &err);

	if (r != 0) {
		failed(m, r, &err, "user");
		buf_clear(&err);
		return MASTER_EXIT_FAILED;
	}
	if (o->dump) {
		conf_dump(m->conf, &text);
		fwrite(text.data, 1, text.len, stdout);
		fflush(stdout);
	}
	buf_wipe(&text);
	if (!o->quiet && m->conf->file != NULL)
		fprintf(
		    stderr, "omniroute: configuration file %s test is successful\n", m->conf->file);
	else if (!o->quiet)
		fputs("omniroute: configuration test is successful (there is no file)\n", stderr);
	return MASTER_EXIT_OK;
}

/* ---- parts, in the order in which they are made ---- */

uint64_t
master_generation(struct master *m)
{
	if (m->next_generation == m->last_generation) {
		if (store_reserve(m->store, "generation", GENERATIONS, &m->next_generation) != 0) {
			m->last_generation = m->next_generation;
			return 0; /* the store has said why */
		}
		m->last_generation = m->next_generation + GENERATIONS;
	}
	return m->next_generation++;
}

/* A store without its key file is a mishap: a new key would read nothing of what is in it. */
static int
open_key(struct master *m, struct buf *err)
{
	struct buf key = BUF_INIT(16384), store = BUF_INIT(16384);
	int r = E_NOMEM;

	buf_addf(&key, "%s/omniroute.key", m->conf->data_dir);
	buf_addf(&store, "%s/store/data.mdb", m->conf->data_dir);
	if (buf_cstr(&key) != NULL && buf_cstr(&store) != NULL)
		r = seal_key_load(key.data, access(store.data, F_OK) != 0, &m->seal);
	if (r == E_NOT_FOUND)
		buf_addf(err,
		    "%s is missing, and what is sealed in %s/store cannot be read without it: put "
		    "the "
		    "file back, or move the store away to begin anew",
		    key.data, m->conf->data_dir);
	buf_clear(&key);
	buf_clear(&store);
	return r;
}

static int
open_data(struct master *m)
{
	struct buf err = BUF_INIT(16384), path = BUF_INIT(16384);
	/* conf_load made one. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	const char *dir = m->conf->data_dir;
	const char *what = "data directory";
	int r;

	if ((r = lock_dir(dir, &err)) != 0 ||
	    (r = lock_take(dir, start.inherit.lock, &m->lock_fd, &err)) != 0 ||
	    (r = logs_open(m, m->conf, &err)) != 0)
		goto out;
	if (!start.inherited)
		lock_sign(m->lock_fd);
	what = "key file";
	if ((r = open_key(m, &err)) != 0)
		goto out;
	what = "store";
	buf_reset(&path);
	buf_addf(&path, "%s/store", dir);
	if (buf_cstr(&path) == NULL || (r = store_open(path.data, &m->store)) != 0 ||
	    (r = first_salt(m, &err)) != 0)
		goto out;
	what = "generation";
	if ((m->generation = master_generation(m)) == 0)
		r = E_FULL;
out:
	if (r != 0)
		failed(m, r, &err, what);
	buf_clear(&path);
	buf_clear(&err);
	return r;
}

/* A region of another layout is left to the workers that use it: counters begin anew. */
static int
open_live(struct master *m)
{
	int r = E_NOT_FOUND;

	m->live_fd = start.inherit.live;
	if (m->live_fd != -1 && (r = live_map(m->live_fd, &m->live)) != 0) {
		log_warn(
		    "the live region of the old master cannot be used, counters begin anew: %s",
		    err_text(r));
		close(m->live_fd);
	}
	if (r == 0)
		return 0;
	if ((r = live_create(&m->live_fd)) == 0)
		r = live_map(m->live_fd, &m->live);
	if (r != 0)
		failed(m, r, NULL, "live region");
	return r;
}

static int
open_loop(struct master *m)
{
	m->base = event_base_new();
	m->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (m->base == NULL || m->event_fd == -1 ||
	    (m->curl = curlio_new(m->base, UPSTREAMS_KEPT)) == NULL)
		return failed(m, E_NOMEM, NULL, "event loop");
	return 0;
}

static int
open_listeners(struct master *m)
{
	struct buf err = BUF_INIT(16384), spool = BUF_INIT(16384);
	unsigned wait_ms = 0;
	int r;

	buf_addf(&spool, "%s/spool", m->conf->data_dir);
	if (buf_cstr(&spool) != NULL && spool_in_use(spool.data))
		wait_ms = BIND_WAIT_MS;
	buf_clear(&spool);
	r = listen_open(m->conf, NULL, start.inherit.listener, start.inherit.nlisteners, wait_ms,
	    &m->listen, &err);

	if (r != 0)
		failed(m, r, &err, "listeners");
	buf_clear(&err);
	inherit_clear(&start.inherit);
	return r;
}

static int
begin(struct master *m)
{
	int r;

	if ((r = seal_init()) != 0)
		return failed(m, r, NULL, "libsodium");
	if ((r = catalog_load()) != 0)
		return failed(m, r, NULL, "provider catalogue");
	if ((r = open_data(m)) != 0 || (r = open_live(m)) != 0 || (r = open_loop(m)) != 0 ||
	    (r = open_listeners(m)) != 0)
		return r;
	if (start.inherited && peer_new(m, PEER_PREDECESSOR, start.inherit.peer) == NULL)
		return failed(m, E_NOMEM, NULL, "line to the old master");
	start.inherit.peer = -1;
	if ((r = usage_start(m)) != 0)
		return failed(m, r, NULL, "usage");
	if ((r = stored_start(m)) != 0)
		return failed(m, r, NULL, "stored responses");
	if ((r = publish_start(m)) != 0)
		return failed(m, r, NULL, "first snapshot");
	if ((r = signals_start(m)) != 0)
		return failed(m, r, NULL, "signals");
	if ((r = control_start(m, start.inherit.control)) != 0)
		return failed(m, r, NULL, "control socket");
	if (start.inherited)
		control_pause(m, true);
	if ((r = supervise_start(m)) != 0)
		return failed(m, r, NULL, "workers");
	return 0;
}

/* ---- serving ---- */

void
master_serving(struct master *m)
{
	if (m->serving)
		return;
	m->serving = true;
	alarm(0); /* of the old master, for one that hangs */
	lock_sign(m->lock_fd);
	if (pidfile_write(m->conf->pid_file) != 0)
		log_error("pid file %s: %s", m->conf->pid_file, strerror(errno));
	if (start.inherited)
		control_pause(m, false);
	if (m->predecessor != NULL)
		peer_serving(m->predecessor);
	log_notice("OmniRoute " OMNIROUTE_VERSION " serves, generation %llu",
	    (unsigned long long)m->generation);
	say_serving(m);
	notify_ready();
}

void
master_give_up(struct master *m, const char *why)
{
	if (m->stopping)
		return;
	say_failed(m, why);
	m->exit_code = MASTER_EXIT_FAILED;
	master_stop(m, false);
}

void
master_retire(struct master *m)
{
	supervise_retire(m);
}

void
master_stop(struct master *m, bool graceful)
{
	struct proc *p;

	if (!m->stopping) {
		m->stopping = true;
		log_notice("leaving%s", graceful ? " gracefully" : "");
		if (!upgrade_alive(m)) {
			notify_stopping();
			listen_unlink(m->listen, NULL);
		}
		supervise_stop(m, graceful);
		listen_close(m->listen);
		TAILQ_FOREACH (p, supervise_procs(m), link)
			listen_close(p->listen);
	} else if (!graceful) {
		supervise_stop(m, false);
	}
	master_idle(m);
}

void
master_idle(struct master *m)
{
	const struct timeval wait = {.tv_sec = LAST_WORDS_SECONDS};

	if (!m->stopping || supervise_count(m) > 0)
		return;
	if (usage_idle(m))
		event_base_loopbreak(m->base);
	else
		event_base_loopexit(m->base, &wait);
}

/* ---- the end ---- */

static void
end(struct master *m)
{
	bool alone = !upgrade_alive(m);

	if (m->control != NULL)
		control_free(m, alone);
	if (m->listen != NULL && alone && m->stopping)
		listen_unlink(m->listen, NULL);
	if (m->serving)
		pidfile_remove(m->conf->pid_file);
	signals_free(m);
	publish_free(m);
	upgrade_free(m);
	peer_free(m->predecessor);
	peer_free(m->successor);
	usage_free(m);
	supervise_free(m);
	stored_free(m);
	listen_put(m->listen);
	if (m->curl != NULL)
		curlio_free(m->curl);
	if (m->base != NULL)
		event_base_free(m->base);
	live_unmap(m->live);
	if (m->store != NULL)
		store_close(m->store);
	catalog_free();
	seal_key_wipe(&m->seal);
	explicit_bzero(m->key_salt, sizeof m->key_salt);
	free(m->exe_path);
	if (m->conf != NULL)
		conf_free(m->conf);
	libevent_global_shutdown();
	inherit_clear(&start.inherit);
}

int
master_main(const struct options *o, char **argv)
{
	static struct master m = {.live_fd = -1, .event_fd = -1, .lock_fd = -1, .access_fd = -1, .cache_fd = -1};

	harden();
	log_set_role("master");
	start.quiet = o->quiet;
	m.argv = argv;
	m.started_ns = clock_now_ns();
	m.started_wall_us = clock_wall_us();
	m.exe_path = upgrade_program(argv[0]);
	start.inherited = !o->test && inherit_take(&start.inherit);
	if (o->daemon && !start.inherited)
		close_range(
		    STDERR_FILENO + 1, ~0u, 0); /* whoever waits for their end waits in vain */
	m.exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	m.exit_code = MASTER_EXIT_FAILED;
	if (load(&m, o) != 0)
		goto out;
	forget_password();
	if (o->test) {
		m.exit_code = test(&m, o);
		goto out;
	}
	m.daemon = o->daemon;
	if (m.daemon && !start.inherited && !daemon_fork(&start.line, &m.exit_code))
		goto out;
	if (begin(&m) == 0) {
		m.exit_code = MASTER_EXIT_OK;
		event_base_dispatch(m.base);
	}
out:
	end(&m);
	return m.exit_code;
}
