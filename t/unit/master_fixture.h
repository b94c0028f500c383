/*
 * A master without workers and without a loop that runs by itself: configuration from text, store,
 * live region, event base in a directory of its own. `master_down` leaves nothing behind.
 */
#ifndef OMNIROUTE_T_UNIT_MASTER_FIXTURE_H
#define OMNIROUTE_T_UNIT_MASTER_FIXTURE_H

#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/conf.h"
#include "master/listen.h"
#include "master/master.h"
#include "providers/catalog.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/seal.h"
#include "shared/store.h"

static struct master master;
static char master_dir[64];

static inline int
fixture_remove_one(const char *path, const struct stat *st, int kind, struct FTW *w)
{
	(void)st;
	(void)kind;
	(void)w;
	return remove(path);
}

static inline void
fixture_conf(const char *text, struct conf **out)
{
	struct buf err = BUF_INIT(4096), full = BUF_INIT(65536);
	int r;

	buf_addf(&full, "data_dir = \"%s\"\nlisten \"unix:%s/s\" {}\n%s\n", master_dir, master_dir,
	    text);
	assert_non_null(buf_cstr(&full));
	r = conf_parse_text(full.data, full.len, out, &err);
	if (r != 0)
		fail_msg("%s", buf_cstr(&err) != NULL ? err.data : "conf");
	buf_clear(&full);
	buf_clear(&err);
}

static inline void
master_up(const char *conf)
{
	struct buf err = BUF_INIT(4096);
	char path[96];

	master = (struct master){
	    .live_fd = -1, .lock_fd = -1, .access_fd = -1, .exe_fd = -1, .generation = 7};
	snprintf(master_dir, sizeof master_dir, "/tmp/omniroute-unit.XXXXXX");
	assert_non_null(mkdtemp(master_dir));
	assert_int_equal(seal_init(), 0);
	assert_int_equal(catalog_load(), 0);
	fixture_conf(conf, &master.conf);
	snprintf(path, sizeof path, "%s/store", master_dir);
	assert_int_equal(store_open(path, &master.store), 0);
	assert_int_equal(live_create(&master.live_fd), 0);
	assert_int_equal(live_map(master.live_fd, &master.live), 0);
	assert_non_null(master.base = event_base_new());
	assert_int_not_equal(master.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), -1);
	if (listen_open(master.conf, NULL, NULL, 0, 0, &master.listen, &err) != 0)
		fail_msg("%s", buf_cstr(&err) != NULL ? err.data : "listen");
	buf_clear(&err);
}

static inline void
master_down(void)
{
	listen_unlink(master.listen, NULL);
	listen_put(master.listen);
	event_base_free(master.base);
	close(master.event_fd);
	live_unmap(master.live);
	close(master.live_fd);
	store_close(master.store);
	conf_free(master.conf);
	catalog_free();
	nftw(master_dir, fixture_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Turns of the loop until `until` or 10 s. */
static inline bool
fixture_loop_until(bool (*until)(void))
{
	uint64_t end = clock_now_ns() + 10 * NS_PER_SEC;

	while (!until() && clock_now_ns() < end)
		event_base_loop(master.base, EVLOOP_ONCE);
	return until();
}

#endif
