#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "master/ctl/ctl.h"

static const char *
home(void)
{
	const char *h = getenv("HOME");
	const struct passwd *pw;

	if (h && *h)
		return h;
	pw = getpwuid(getuid());
	return pw ? pw->pw_dir : "";
}

/* --socket, else control.sock in --data-dir, $DATA_DIR or ~/.omniroute. */
static int
locate(struct ctl *c)
{
	const char *dir = c->data_dir, *env = getenv("DATA_DIR");
	int n;

	if (!dir && env && *env)
		dir = env;
	if (c->socket)
		n = snprintf(c->path, sizeof c->path, "%s", c->socket);
	else if (!dir)
		n = snprintf(c->path, sizeof c->path, "%s/.omniroute/control.sock", home());
	else if (dir[0] == '~' && (dir[1] == '/' || !dir[1]))
		n = snprintf(c->path, sizeof c->path, "%s%s/control.sock", home(), dir + 1);
	else
		n = snprintf(c->path, sizeof c->path, "%s/control.sock", dir);
	if (n < 0 || (size_t)n >= sizeof c->path)
		return ctl_fail(c, CTL_USAGE, "the path of the socket is too long");
	return CTL_OK;
}

int
main(int argc, char **argv)
{
	struct ctl c = {0};
	int r;

	prctl(PR_SET_DUMPABLE, 0); /* a provider's key may be in our memory */
	r = ctl_parse(&c, ctl_commands, argc, argv);
	if (r != CTL_OK)
		return r;
	if (c.want_version) {
		puts(OMNIROUTE_VERSION);
		return CTL_OK;
	}
	if (c.want_help) {
		ctl_help(&c, ctl_commands, stdout);
		return CTL_OK;
	}
	r = locate(&c);
	if (r == CTL_OK)
		r = c.command->run(&c);
	if (fflush(stdout) != 0 && r == CTL_OK)
		r = ctl_fail(&c, CTL_FAILED, "standard output cannot be written");
	return r;
}
