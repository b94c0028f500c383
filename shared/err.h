/*
 * err: one space of negative numbers for the whole program. 0 is success.
 *
 * err_text  a short lower-case English phrase for any of them; never NULL.
 */
#ifndef OMNIROUTE_SHARED_ERR_H
#define OMNIROUTE_SHARED_ERR_H

/*     name        text */
#define ERR_TABLE(X)                                                                               \
	X(E_NOMEM, "out of memory")                                                                \
	X(E_TOO_LONG, "longer than its limit")                                                     \
	X(E_SYNTAX, "malformed")                                                                   \
	X(E_BAD_UTF8, "not valid UTF-8")                                                           \
	X(E_DEPTH, "nested too deeply")                                                            \
	X(E_TRAILING, "bytes left over")                                                           \
	X(E_TRUNCATED, "ends too early")                                                           \
	X(E_RANGE, "out of range")                                                                 \
	X(E_VERSION, "made by another version")                                                    \
	X(E_CHECKSUM, "checksum does not match")                                                   \
	X(E_NOT_FOUND, "not found")                                                                \
	X(E_EXISTS, "exists already")                                                              \
	X(E_FULL, "no room left")                                                                  \
	X(E_AGAIN, "not now")                                                                      \
	X(E_CLOSED, "closed by the other side")                                                    \
	X(E_SYSTEM, "system call failed")                                                          \
	X(E_CRYPTO, "cannot be decrypted")                                                         \
	X(E_BUSY, "in use by another process")                                                     \
	X(E_DENIED, "not permitted")

enum err_index {
#define X(name, text) name##_INDEX,
	ERR_TABLE(X)
#undef X
	    ERR_COUNT
};

enum err {
	E_OK = 0,
#define X(name, text) name = -1 - name##_INDEX,
	ERR_TABLE(X)
#undef X
};

const char *err_text(int r);

#endif
