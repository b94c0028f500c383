#include "shared/stored.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shared/err.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

void
stored_owner(struct span key_id, uint8_t owner[STORED_OWNER])
{
	crypto_generichash(owner, STORED_OWNER, (const unsigned char *)key_id.p, key_id.n, NULL, 0);
}

static bool
write_all(int fd, const void *data, size_t n)
{
	const char *p = data;
	ssize_t got;

	while (n > 0) {
		got = write(fd, p, n);
		if (got <= 0 && errno != EINTR)
			return false;
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		}
	}
	return true;
}

static bool
write_record(int fd, const struct stored_head *h, const struct span *item, struct span answer,
    struct span input)
{
	bool good = write_all(fd, h, sizeof *h);

	for (uint32_t i = 0; i < h->items && good; i++) {
		char id[STORED_ID_SIZE] = "";

		memcpy(id, item[i].p, item[i].n);
		good = write_all(fd, id, sizeof id);
	}
	return good && write_all(fd, answer.p, answer.n) && write_all(fd, input.p, input.n) &&
	       fcntl(fd, F_ADD_SEALS, SEALS) == 0;
}

int
stored_pack(
    struct stored_head *h, const struct span *item, struct span answer, struct span input, int *fd)
{
	*fd = -1;
	h->version = STORED_VERSION;
	h->answer_len = answer.n;
	h->input_len = input.n;
	if (h->items > STORED_ITEMS || h->id[0] == '\0')
		return E_RANGE;
	for (uint32_t i = 0; i < h->items; i++)
		if (item[i].n == 0 || item[i].n >= STORED_ID_SIZE ||
		    memchr(item[i].p, '\0', item[i].n) != NULL)
			return E_RANGE;
	if (answer.n > STORED_MAX || input.n > STORED_MAX - answer.n)
		return E_TOO_LONG;
	if ((*fd = memfd_create("stored response", MFD_CLOEXEC | MFD_ALLOW_SEALING)) == -1)
		return E_SYSTEM;
	if (write_record(*fd, h, item, answer, input))
		return 0;
	close(*fd);
	*fd = -1;
	return E_NOMEM;
}

int
stored_check(const void *p, size_t n)
{
	const struct stored_head *h = p;
	uint64_t want;

	if (n < sizeof *h)
		return E_SYNTAX;
	if (h->version != STORED_VERSION)
		return E_VERSION;
	if ((h->op != STORED_KEEP && h->op != STORED_FORGET) || h->items > STORED_ITEMS ||
	    h->answer_len > STORED_MAX || h->input_len > STORED_MAX || h->id[0] == '\0' ||
	    memchr(h->id, '\0', sizeof h->id) == NULL ||
	    memchr(h->issuer, '\0', sizeof h->issuer) == NULL)
		return E_SYNTAX;
	want = sizeof *h + (uint64_t)h->items * STORED_ID_SIZE + h->answer_len + h->input_len;
	if (n != want)
		return E_SYNTAX;
	for (uint32_t i = 0; i < h->items; i++) {
		const char *id = stored_items(h) + (size_t)i * STORED_ID_SIZE;

		if (id[0] == '\0' || memchr(id, '\0', STORED_ID_SIZE) == NULL)
			return E_SYNTAX;
	}
	return 0;
}

const char *
stored_items(const struct stored_head *h)
{
	return (const char *)(h + 1);
}

struct span
stored_answer(const struct stored_head *h)
{
	return (struct span){stored_items(h) + (size_t)h->items * STORED_ID_SIZE, h->answer_len};
}

struct span
stored_input(const struct stored_head *h)
{
	struct span answer = stored_answer(h);

	return (struct span){answer.p + answer.n, h->input_len};
}
