/*
 * schema_tree: a JSON value that can be changed, for the schema pass alone (shape_schema.c). Nodes live in an arena; leaves
 * are spans of the source. Out of memory: NULL, or false; the pass gives up then.
 *
 * sn_copy     of a parsed value, all of it.       sn_object     an empty object.       sn_raw     a leaf from JSON text.
 * sn_get      member, NULL.                       sn_take       member, removed from the object; NULL.
 * sn_set      appends or replaces.                sn_add        appends an element to an array.
 * sn_is_text  a string node with this text (without escapes).
 * sn_print    compact.
 */
#ifndef OMNIROUTE_PROTO_SCHEMA_TREE_H
#define OMNIROUTE_PROTO_SCHEMA_TREE_H

#include "proto/json.h"

struct sn {
	struct sn *next, *child;
	struct span name; /* as written between its quotes */
	struct span raw;  /* of a leaf */
	char type;
};

#define sn_each(it, parent) for (struct sn *it = (parent)->child; it != NULL; it = it->next)

struct sn *sn_copy(struct arena *a, const struct json *j);
struct sn *sn_object(struct arena *a);
struct sn *sn_array(struct arena *a);
struct sn *sn_raw(struct arena *a, const char *json);
struct sn *sn_string(struct arena *a, struct span text);
struct sn *sn_get(const struct sn *o, const char *name);
struct sn *sn_find(const struct sn *o, struct span name);
struct sn *sn_take(struct sn *o, const char *name);
bool sn_set(struct sn *o, const char *name, struct sn *value);
void sn_put(struct sn *o, struct span name, struct sn *value);
void sn_add(struct sn *array, struct sn *value);
unsigned sn_count(const struct sn *n);
bool sn_is_text(const struct sn *n, const char *text);
void sn_print(struct buf *b, const struct sn *n);

#endif
