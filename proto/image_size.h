/*
 * image_size: width and height of a PNG, JPEG, GIF or WebP from its first bytes, and what it is. Formats: their public
 * specifications (PNG 11.2.2 IHDR, ITU T.81 B.2.2 SOFn, GIF89a 18, WebP container).
 *
 * image_type   media type by the first bytes ("image/png", "application/pdf", …); NULL: none of those known.
 * image_size   false: not one of these, or its header is not within `p`.
 */
#ifndef OMNIROUTE_PROTO_IMAGE_SIZE_H
#define OMNIROUTE_PROTO_IMAGE_SIZE_H

#include "shared/base.h"

const char *image_type(struct span p);
bool image_size(struct span p, uint32_t *width, uint32_t *height);

#endif
