/*
 * shape: the one pass that turns what a client asked into what a target can take (spec translation 5 to 12): system text,
 * pairing of calls and results, merged neighbours, names and ids of tools, schemas, reasoning, signatures, media, parameters.
 * Driven by the target's profile and the model's facts. The request that was decoded is not changed: the next target shapes
 * it anew.
 *
 * shape_request  0; E_DENIED: the target cannot do what was asked without changing its meaning, *err for the client;
 *                E_NOMEM. With the target in the client's own dialect it does what the row demands and no more.
 *
 * What the answer needs to be turned back is in struct shaped; filter.h reads it.
 */
#ifndef OMNIROUTE_PROTO_SHAPE_H
#define OMNIROUTE_PROTO_SHAPE_H

#include "proto/canon.h"
#include "proto/profile.h"

/* A tool whose name on the wire is not its own. */
struct shaped_tool {
	struct shaped_tool *next;
	struct span wire, name, namespace;
	bool custom; /* declared as a function {"input"} */
};

struct shaped_media {
	struct shaped_media *next;
	struct canon_part *part; /* of shaped.q; MEDIA_URL until it is fetched, then MEDIA_BASE64 */
	struct span param;       /* path of the part in the client's request, for errors: "messages[3].content[1]" */
};

struct shaped {
	struct canon_request *q;
	struct shaped_tool *tools;
	struct shaped_media *fetch; /* URLs that the target does not take; to be fetched before q is encoded */
	struct span dropped;        /* "logit_bias,seed": x-omniroute-dropped; p NULL: nothing */
	/* what the filters have to do on the way back */
	bool emulate_stop; /* asked->stop is looked for in the text */
	struct span json_tool; /* name of the tool whose arguments are the answer; p NULL: none */
	bool json_value;   /* … wrapped in {"value": …} */
	bool strip_fence;  /* structured output by instruction */
	bool no_reasoning; /* the client does not want to see any */
	enum profile_tags tags;
};

int shape_request(struct arena *a, const struct canon_request *asked, const struct profile *p, struct span model,
    struct shaped *out, struct canon_error *err) must_check;

/* What a URL of out->fetch led to, as base64, with the type that its server named (p NULL: none): goes into the part. 0; E_NOMEM;
 * E_DENIED: it is nothing for this target, *err. */
int shape_media_fetched(struct arena *a, const struct profile *p, struct shaped_media *m, struct span base64, struct span type,
    struct canon_error *err) must_check;

/* Parts of it that others use, too. */
/* Spec 6.3: the name on the wire; the same span when it fits already. */
struct span shape_tool_name(struct arena *a, struct span name, enum profile_names rule);
/* Spec 6.4: pure function of the id. */
struct span shape_call_id(struct arena *a, struct span id, enum profile_ids rule);
bool shape_call_id_fits(struct span id, enum profile_ids rule);
/* Spec 6.5: a string of arguments as a JSON object: the same bytes, or wrapped. */
struct span shape_arguments_object(struct arena *a, struct span args, bool custom);
/* Spec 7: schema as JSON for the target; p NULL: out of memory. E_TOO_LONG, E_DEPTH in *r when it is beyond the limits. */
struct span shape_schema(struct arena *a, struct span schema, enum profile_schema rule, int *r);

#endif
