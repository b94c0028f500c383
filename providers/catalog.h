/*
 * catalog: the providers that OmniRoute knows, from providers/<id>.json, checked and compiled in by
 * providers/embed.pl. Read-only after catalog_load.
 *
 * catalog_load   parses the embedded texts; 0 or E_SYNTAX (a broken build). catalog_free at exit.
 * catalog_find   by id or alias; NULL.
 * catalog_base_url_check  http or https, no credentials, query or fragment; a private address, in any spelling, or a name of this
 *                machine is refused unless `allow_private`; link-local, metadata, multicast and unspecified ones always. What
 *                a name resolves to is not known here. 0, E_SYNTAX, E_DENIED, E_NOMEM.
 * address_private / address_forbidden  the same rules for a resolved address (checked again when connecting). An address
 *                family that no upstream has is both.
 *
 * catalog_path   what stands behind the base URL for a dialect, where a provider does not say otherwise; NULL for DIALECT_NONE.
 * catalog_auth   name and scheme of the header of a credential: the provider's, unless it does not speak this dialect (or `p` is
 *                NULL): then what services of the dialect usually want. *header NULL: none.
 *
 * Strings that may be NULL say so; the others are "" when there is nothing.
 */
#ifndef OMNIROUTE_PROVIDERS_CATALOG_H
#define OMNIROUTE_PROVIDERS_CATALOG_H

#include <sys/socket.h>

#include "proto/dialect_id.h"
#include "shared/base.h"

struct catalog_model {
	const char *id, *name;
	uint32_t context_length, max_output_tokens;
};

struct catalog_provider {
	const char *id, *alias, *name, *category, *website, *notes;
	const char *base_url;    /* NULL: the operator must give one */
	enum dialect_id dialect;     /* its first */
	const char *path[DIALECTS];  /* behind the base URL, "{model}" in it for the model; NULL: it does not speak this dialect */
	const char *chat_path, *models_path; /* of Chat; "" none. models_path NULL: it lists no models in this form */
	const char *profile; /* JSON object for profile_parse; "" none: the defaults of the dialect */
	bool sigv4;    /* requests are signed with AWS keys, "ACCESS:SECRET[:SESSION]" */
	const char *auth_header, *auth_scheme; /* "Authorization", "Bearer"; header NULL: no credential */
	const char *headers; /* further header lines, each ended by LF; "" none */
	bool local;   /* loopback and private addresses are allowed */
	bool builtin; /* echo */
	bool key_required;
	const struct catalog_model *models;
	unsigned nmodels;
};

int catalog_load(void) must_check;
void catalog_free(void);
unsigned catalog_count(void);
const struct catalog_provider *catalog_at(unsigned i);
const struct catalog_provider *catalog_find(const char *id_or_alias);

const char *catalog_path(enum dialect_id dialect);
void catalog_auth(const struct catalog_provider *p, enum dialect_id dialect, const char **header, const char **scheme);

int catalog_base_url_check(const char *url, bool allow_private) must_check;
bool address_private(const struct sockaddr *sa);
bool address_forbidden(const struct sockaddr *sa); /* link-local, metadata, multicast, unspecified */

#endif
