/*
 * shape: what its files share. One struct shaping lives through one shape_request; every step takes it and returns 0, E_NOMEM or
 * E_DENIED (then *err says why). The steps run in the order in which they stand here (spec translation 5).
 */
#ifndef OMNIROUTE_PROTO_SHAPE_OWN_H
#define OMNIROUTE_PROTO_SHAPE_OWN_H

#include "proto/shape.h"

/* How much of a text may be missing. */
enum shape_empty { EMPTY_GOES, BLANK_GOES };

/* What a dialect demands of a conversation (spec 5), before the profile has its say. */
struct shape_demand {
	bool top_system;   /* system text has its own place in front of the turns */
	bool wrap_system;  /* later system text is a reminder in a user turn */
	bool merge;        /* neighbours of one role are one turn */
	bool user_first;
	bool user_last;
	bool needs_turn;   /* at least one turn that is no system text */
	enum shape_empty empty;
	bool custom_tools; /* free-form tools, namespaces in `namespaces` */
	bool namespaces;
};

/* What can be dropped, in the order in which x-omniroute-dropped names it. */
enum shape_drop {
	DROP_TEMPERATURE,
	DROP_TOP_P,
	DROP_TOP_K,
	DROP_MIN_P,
	DROP_FREQUENCY_PENALTY,
	DROP_PRESENCE_PENALTY,
	DROP_REPETITION_PENALTY,
	DROP_SEED,
	DROP_LOGIT_BIAS,
	DROP_LOGPROBS,
	DROP_TOP_LOGPROBS,
	DROP_STOP,
	DROP_TOOLS,
	DROP_TOOL_CHOICE,
	DROP_PARALLEL,
	DROP_EFFORT,
	DROP_VERBOSITY,
	DROP_SEARCH,
	DROP_IMAGES,
	DROP_MODALITIES,
	DROP_SAFETY,
	DROP_CACHE_KEY,
	DROP_USER,
	DROP_METADATA,
	DROP_TIER,
	DROP_TRUNCATION,
	DROP_BACKGROUND,
	DROPS
};

struct shape_names;

struct shaping {
	struct arena *a;
	struct canon_request *q; /* the copy */
	const struct canon_request *asked;
	const struct profile *p;
	const struct model_facts *m;
	struct span model;
	struct shaped *out;
	struct canon_error *err;
	struct shape_demand want;
	bool same;      /* the client's own dialect: only what the row demands */
	bool lost;      /* a signature or a thought of another maker went */
	bool mute_loop; /* the running tool loop has no thought at its start (spec 8.4.8) */
	uint64_t dropped; /* bit 1 << enum shape_drop */
	struct canon_text_list *dropped_extras, **dropped_end;
	struct shaped_media **fetch_end;
	struct shape_names *names;
};

/* A part that was copied knows where it stood in the client's body. */
struct shape_part {
	struct canon_part part;
	uint32_t turn, item; /* of the message, of the part in it */
	bool in_result;
};

static inline void
shape_note(struct shaping *s, enum shape_drop d)
{
	s->dropped |= UINT64_C(1) << d;
}
static inline bool
shape_is_claude(const struct shaping *s)
{
	return s->p->dialect == DIALECT_MESSAGES ||
	       (s->p->dialect == DIALECT_CONVERSE &&
	           (s->m->thinking == THINKS_ADAPTIVE || s->m->thinking == THINKS_BUDGET || s->m->no_schema));
}
/* Gemini 3 and later. */
static inline bool
shape_is_new_gemini(const struct shaping *s)
{
	return s->p->dialect == DIALECT_GEMINI && s->m->thinking == THINKS_LEVEL;
}
static inline bool
shape_is_system(const struct canon_turn *t)
{
	return t->role == ROLE_SYSTEM || t->role == ROLE_DEVELOPER;
}
/* A thinking model of OpenAI's, on its own service. */
static inline bool
shape_is_o(const struct shaping *s)
{
	return s->p->openai && s->m->thinking == THINKS_EFFORT && !s->m->unknown;
}

/* shape_copy.c */
int shape_copy(struct shaping *s) must_check;
/* Path of a part in the client's body, for errors; "" when it was made here. */
const char *shape_path(const struct shaping *s, const struct canon_part *p);

/* shape_system.c */
int shape_system(struct shaping *s) must_check;
int shape_system_late(struct shaping *s) must_check; /* once the turns are what they will be */
/* Adds to the system text of the request. */
int shape_system_add(struct shaping *s, struct span text) must_check;

/* shape_turns.c */
struct canon_part *shape_text_part(struct shaping *s, struct span text);
struct canon_turn *shape_text_turn(struct shaping *s, enum canon_role role, struct span text);
int shape_foreign(struct shaping *s) must_check; /* what travels only within its dialect */
int shape_empties(struct shaping *s) must_check;
/* U+0000, where texts may not have it. */
int shape_remove_nul(struct shaping *s, struct span *text) must_check;
void shape_bare_turns(struct shaping *s); /* turns without parts go */
/* The last turn in which the user says something; NULL. What is behind it is the running loop. */
struct canon_turn *shape_last_user(const struct shaping *s);
int shape_ends(struct shaping *s) must_check; /* neighbours, first and last turn */

/* shape_pair.c */
int shape_pair(struct shaping *s) must_check;

/* shape_reason.c */
int shape_reason(struct shaping *s) must_check;

/* shape_media.c, shape_blob.c */
int shape_media(struct shaping *s) must_check;
/* data: URLs and base64 of any spelling → standard base64; type by the first bytes. E_SYNTAX: it is neither. */
int shape_blob_settle(struct arena *a, struct canon_media *m) must_check;
bool shape_blob_is_text(struct span type);
/* base64 → the text itself; p NULL: no memory. */
struct span shape_blob_text(struct arena *a, struct span base64);

/* shape_tools.c, shape_names.c, shape_choice.c */
int shape_tools(struct shaping *s) must_check;
/* A free-form tool becomes a function {"input"}. */
int shape_tool_wrap(struct shaping *s, struct canon_tool *t) must_check;
bool shape_has_functions(const struct shaping *s);
/* A schema for the target, in place; `where`: for errors. */
int shape_schema_fit(struct shaping *s, struct span *schema, enum profile_schema rule, const char *where) must_check;
/* Nothing in it that OpenAI's strict mode would refuse. */
bool shape_schema_is_strict(struct shaping *s, struct span schema);
int shape_names(struct shaping *s) must_check; /* names and ids on the wire, everywhere */
int shape_choice(struct shaping *s) must_check;

/* shape_ids.c: `cut`: with the hash, though it would fit without. */
struct span shape_tool_name_cut(struct arena *a, struct span name, enum profile_names rule, bool cut);

/* shape_cache.c */
void shape_cache(struct shaping *s);

/* shape_effort.c */
int shape_effort(struct shaping *s) must_check;
bool shape_thinks(const struct shaping *s); /* behind shape_effort: the target will think */

/* shape_params.c, shape_identity.c */
int shape_params(struct shaping *s) must_check;
int shape_identity(struct shaping *s) must_check;

/* shape_format.c */
int shape_format(struct shaping *s) must_check;

#endif
