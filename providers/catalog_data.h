/*
 * catalog_data: the texts of providers/<id>.json as providers/embed.pl compiled them in, sorted by id.
 */
#ifndef OMNIROUTE_PROVIDERS_CATALOG_DATA_H
#define OMNIROUTE_PROVIDERS_CATALOG_DATA_H

#include "shared/base.h"

struct catalog_text {
	const char *id, *json;
	size_t len;
};

extern const struct catalog_text catalog_texts[];
extern const unsigned catalog_ntexts;

#endif
