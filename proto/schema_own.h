/*
 * The schema pass's insides: shape_schema.c walks, schema_rules.c knows the targets.
 *
 * schema_rule   NULL: schemas of this target go through as they are.
 * schema_root   what the target wants of the outermost schema. False: out of memory.
 */
#ifndef OMNIROUTE_PROTO_SCHEMA_OWN_H
#define OMNIROUTE_PROTO_SCHEMA_OWN_H

#include "proto/profile.h"
#include "proto/schema_tree.h"

struct schema_walk;

struct schema_rule {
	bool inline_refs;
	bool no_bool;     /* a schema is an object: no true, false or type word */
	const char *const *drop; /* keywords that just go; ends with NULL */
	/* One schema object, behind everything below it; false: out of memory. */
	bool (*finish)(struct schema_walk *w, struct sn *n);
	bool root_object; /* root: type object, and unions merged */
	bool root_plain;  /* root: only type, properties, required */
};

struct schema_walk {
	struct arena *arena;
	const struct json *root;
	const struct schema_rule *rule;
	const struct json *open[64]; /* schemas that the walk stands in */
	unsigned opened, nodes;
	int error;
};

const struct schema_rule *schema_rule(enum profile_schema rule);
bool schema_root(struct schema_walk *w, struct sn *top);

#endif
