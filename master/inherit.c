#include "master/inherit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/log.h"

void
inherit_write(struct buf *out, const char *kind, int fd, const char *name)
{
	if (fd != -1)
		buf_addf(out, "%s %d %s\n", kind, fd, name);
}

static bool
add_listener(struct inherit *in, int fd, const char *name)
{
	void *more;

	if (in->nlisteners == INHERIT_LISTENERS || name[0] == '\0')
		return false;
	more = realloc(in->listener, (in->nlisteners + 1) * sizeof *in->listener);
	if (more == NULL)
		return false;
	in->listener = more;
	if ((in->listener[in->nlisteners].name = strdup(name)) == NULL)
		return false;
	in->listener[in->nlisteners++].fd = fd;
	return true;
}

static bool
parse_line(char *line, struct inherit *in)
{
	const struct {
		const char *kind;
		int *fd;
	} table[] = {{"live", &in->live}, {"lock", &in->lock}, {"peer", &in->peer},
	    {"control", &in->control}};
	char *number = strchr(line, ' '), *name, *end;
	long fd;

	if (number == NULL)
		return false;
	*number++ = '\0';
	fd = strtol(number, &end, 10);
	if (end == number || *end != ' ' || fd < 3 || fd > 1 << 20)
		return false;
	name = end + 1;
	for (size_t i = 0; i < NELEM(table); i++)
		if (strcmp(line, table[i].kind) == 0) {
			*table[i].fd = (int)fd;
			return true;
		}
	return strcmp(line, "listen") == 0 && add_listener(in, (int)fd, name);
}

bool
inherit_parse(const char *text, struct inherit *in)
{
	char *copy = strdup(text), *line, *rest = copy;
	bool ok = copy != NULL;

	*in = (struct inherit){.live = -1, .lock = -1, .peer = -1, .control = -1};
	while (ok && (line = strsep(&rest, "\n")) != NULL)
		if (line[0] != '\0')
			ok = parse_line(line, in);
	free(copy);
	return ok && in->peer != -1 && in->lock != -1;
}

static bool
claim(int fd)
{
	return fd == -1 || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

bool
inherit_take(struct inherit *in)
{
	const char *text = getenv(INHERIT_VARIABLE);
	bool ok;

	*in = (struct inherit){.live = -1, .lock = -1, .peer = -1, .control = -1};
	if (text == NULL)
		return false;
	ok = inherit_parse(text, in);
	unsetenv(INHERIT_VARIABLE);
	ok = ok && claim(in->live) && claim(in->lock) && claim(in->peer) && claim(in->control);
	for (unsigned i = 0; i < in->nlisteners; i++)
		ok = ok && claim(in->listener[i].fd);
	if (ok)
		return true;
	log_warn("%s makes no sense and is ignored", INHERIT_VARIABLE);
	for (unsigned i = 0; i < in->nlisteners; i++) {
		in->listener[i].fd = -1;
		free(in->listener[i].name);
	}
	free(in->listener);
	*in = (struct inherit){.live = -1, .lock = -1, .peer = -1, .control = -1};
	return false;
}

void
inherit_clear(struct inherit *in)
{
	for (unsigned i = 0; i < in->nlisteners; i++) {
		close(in->listener[i].fd);
		free(in->listener[i].name);
	}
	free(in->listener);
	in->listener = NULL;
	in->nlisteners = 0;
}
