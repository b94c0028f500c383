#include "proto/image_size.h"

#include <string.h>

static const struct {
	const char *magic;
	unsigned n, at;
	const char *type;
} magics[] = {
    {"\x89PNG", 4, 0, "image/png"},
    {"\xff\xd8\xff", 3, 0, "image/jpeg"},
    {"GIF8", 4, 0, "image/gif"},
    {"WEBP", 4, 8, "image/webp"},
    {"%PDF-", 5, 0, "application/pdf"},
    {"ftypheic", 8, 4, "image/heic"},
    {"ftypheix", 8, 4, "image/heic"},
    {"ftypmif1", 8, 4, "image/heif"},
};

const char *
image_type(struct span p)
{
	for (size_t i = 0; i < NELEM(magics); i++)
		if (p.n >= magics[i].at + magics[i].n &&
		    memcmp(p.p + magics[i].at, magics[i].magic, magics[i].n) == 0)
			return magics[i].type;
	return NULL;
}

static uint32_t
big16(const unsigned char *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t
little16(const unsigned char *p)
{
	return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t
little24(const unsigned char *p)
{
	return (uint32_t)p[2] << 16 | little16(p);
}

static bool
png(const unsigned char *p, size_t n, uint32_t *w, uint32_t *h)
{
	if (n < 24)
		return false;
	*w = big16(p + 16) << 16 | big16(p + 18);
	*h = big16(p + 20) << 16 | big16(p + 22);
	return true;
}

static bool
gif(const unsigned char *p, size_t n, uint32_t *w, uint32_t *h)
{
	if (n < 10)
		return false;
	*w = little16(p + 6);
	*h = little16(p + 8);
	return true;
}

/* Marker segments up to the frame header: SOF0 to SOF15 but DHT, JPG and DAC. */
static bool
jpeg(const unsigned char *p, size_t n, uint32_t *w, uint32_t *h)
{
	size_t at = 2;

	while (at + 9 <= n && p[at] == 0xff) {
		unsigned m = p[at + 1];

		if (m >= 0xc0 && m <= 0xcf && m != 0xc4 && m != 0xc8 && m != 0xcc) {
			*h = big16(p + at + 5);
			*w = big16(p + at + 7);
			return true;
		}
		at += 2 + (size_t)big16(p + at + 2);
	}
	return false;
}

static bool
webp(const unsigned char *p, size_t n, uint32_t *w, uint32_t *h)
{
	if (n < 30)
		return false;
	if (memcmp(p + 12, "VP8X", 4) == 0) {
		*w = little24(p + 24) + 1;
		*h = little24(p + 27) + 1;
	} else if (memcmp(p + 12, "VP8L", 4) == 0) {
		uint32_t bits = little16(p + 23) << 16 | little16(p + 21);

		*w = (bits & 0x3fff) + 1;
		*h = (bits >> 14 & 0x3fff) + 1;
	} else if (memcmp(p + 12, "VP8 ", 4) == 0) {
		*w = little16(p + 26) & 0x3fff;
		*h = little16(p + 28) & 0x3fff;
	} else {
		return false;
	}
	return true;
}

bool
image_size(struct span s, uint32_t *width, uint32_t *height)
{
	const unsigned char *p = (const unsigned char *)s.p;
	const char *type = image_type(s);

	if (type == NULL)
		return false;
	if (strcmp(type, "image/png") == 0)
		return png(p, s.n, width, height);
	if (strcmp(type, "image/jpeg") == 0)
		return jpeg(p, s.n, width, height);
	if (strcmp(type, "image/gif") == 0)
		return gif(p, s.n, width, height);
	if (strcmp(type, "image/webp") == 0)
		return webp(p, s.n, width, height);
	return false;
}
