#include "proto/canon_ids.h"

#include <string.h>

#include "shared/digest.h"

static const char alphanumeric[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char hex[] = "0123456789abcdef";

/* No id is longer than 2 * SHA256_BYTES characters. */
static const struct {
	const char *prefix;
	unsigned length;
	const char *alphabet;
} forms[ID_KINDS] = {
    [ID_CHATCMPL] = {"chatcmpl-", 29, alphanumeric},
    [ID_CMPL] = {"cmpl-", 29, alphanumeric},
    [ID_CALL] = {"call_", 24, alphanumeric},
    [ID_TOOLU] = {"toolu_", 24, alphanumeric},
    [ID_MSG] = {"msg_", 24, alphanumeric},
    [ID_RESP] = {"resp_", 48, hex},
    [ID_ITEM_MSG] = {"msg_", 48, hex},
    [ID_ITEM_FC] = {"fc_", 48, hex},
    [ID_ITEM_RS] = {"rs_", 48, hex},
    [ID_ITEM_WS] = {"ws_", 48, hex},
    [ID_ITEM_CTC] = {"ctc_", 48, hex},
    [ID_ITEM_IG] = {"ig_", 48, hex},
    [ID_GEMINI] = {"", 22, alphanumeric},
};

struct span
canon_id(struct arena *a, const uint8_t seed[16], enum canon_id_kind kind, uint32_t number)
{
	const char *alphabet = forms[kind].alphabet;
	size_t prefix = strlen(forms[kind].prefix), n = forms[kind].length;
	uint8_t salt[5] = {(uint8_t)kind, (uint8_t)(number >> 24), (uint8_t)(number >> 16),
	    (uint8_t)(number >> 8), (uint8_t)number};
	const struct span pieces[] = {{(const char *)seed, 16}, {(const char *)salt, sizeof salt}};
	uint8_t sum[SHA256_BYTES];
	char *id = arena_alloc(a, prefix + n + 1);

	if (id == NULL)
		return (struct span){NULL, 0};
	digest_sha256(pieces, NELEM(pieces), sum);
	memcpy(id, forms[kind].prefix, prefix);
	for (size_t i = 0; i < n; i++) {
		unsigned nibble = i % 2 == 0 ? sum[i / 2] >> 4 : sum[i / 2] & 15;

		id[prefix + i] = alphabet == hex ? hex[nibble] : alphanumeric[sum[i] % 62];
	}
	id[prefix + n] = '\0';
	return (struct span){id, prefix + n};
}
