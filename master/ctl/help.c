#include <string.h>

#include "master/ctl/ctl.h"

#define MARGIN 34
#define WIDTH 80

/* Words up to the edge; further lines begin at `margin`. The cursor stands at `column`. */
static void
print_folded(const char *text, size_t column, size_t margin, FILE *out)
{
	while (*text) {
		size_t n = strcspn(text, " ");

		if (column > margin && column + 1 + n > WIDTH) {
			fprintf(out, "\n%*s", (int)margin, "");
			column = margin;
		} else if (column > margin) {
			putc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", (int)n, text);
		column += n;
		text += n + strspn(text + n, " ");
	}
	putc('\n', out);
}

static void
print_row(const char *left, const char *help, FILE *out)
{
	int n = fprintf(out, "  %-*s ", MARGIN - 3, left);

	print_folded(help, n > MARGIN ? (size_t)n : MARGIN, MARGIN, out);
}

static void
print_options(const struct ctl_option *o, FILE *out)
{
	for (; o && o->name; o++) {
		char left[64];

		if (o->refuse)
			continue;
		snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "",
		    o->arg ? o->arg : "");
		print_row(left, o->help, out);
	}
}

static void
print_exit_codes(FILE *out)
{
	fprintf(out, "\nExit codes:\n");
#define X(name, code, meaning) \
	fprintf(out, "  %d  ", code); \
	print_folded(meaning, 5, 5, out);
#include "master/ctl/exit.def"
#undef X
}

static void
print_command(const struct ctl_command *k, FILE *out)
{
	fprintf(out, "Usage: omniroute-ctl [OPTIONS] %s%s%s%s%s\n\n%s.\n", k->group,
	    k->verb ? " " : "", k->verb ? k->verb : "", *k->args ? " " : "", k->args, k->help);
	if (k->more)
		print_folded(k->more, 0, 0, out);
	if (k->options->name) {
		fprintf(out, "\nOptions of this command:\n");
		print_options(k->options, out);
	}
	fprintf(out, "\nOptions of every command:\n");
	print_options(ctl_globals, out);
}

static void
print_list(const struct ctl_command *commands, const char *group, FILE *out)
{
	for (const struct ctl_command *k = commands; k->group; k++) {
		char left[64];

		if (group && strcmp(k->group, group) != 0)
			continue;
		snprintf(left, sizeof left, "%s%s%s%s%s", k->group, k->verb ? " " : "",
		    k->verb ? k->verb : "", *k->args ? " " : "", k->args);
		print_row(left, k->help, out);
	}
}

void
ctl_help(const struct ctl *c, const struct ctl_command *commands, FILE *out)
{
	if (c->command) {
		print_command(c->command, out);
		return;
	}
	fprintf(out, "Usage: omniroute-ctl [OPTIONS] %s%sCOMMAND\n\nCommands:\n",
	    c->group ? c->group : "", c->group ? " " : "");
	print_list(commands, c->group, out);
	fprintf(out, "\nOptions of every command:\n");
	print_options(ctl_globals, out);
	if (!c->group)
		print_exit_codes(out);
	fprintf(out, "\nomniroute-ctl %s%sCOMMAND --help says more about one of them.\n",
	    c->group ? c->group : "", c->group ? " " : "");
}
