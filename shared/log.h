/*
 * log: one line per event: time, level, process role and pid, message, then key=value context. Text or JSON lines.
 *
 * A line is one write(2) of at most LOG_LINE_MAX bytes to the current descriptor (a file opened with O_APPEND, or
 * stderr). A descriptor that would block loses the line; the loss is counted and reported before the next line that
 * gets through. Control characters are escaped. Secrets are redacted at this sink: whatever looks like a key
 * (`sk-…`, `or-…`, `AIza…`, `eyJ…`, `Bearer …`, `Basic …`, `x-api-key: …`, api_key=…; redact.c has the tables) and every
 * string registered with log_secret leaves as ***.
 *
 * log_open     `path` NULL or "stderr": standard error. Returns 0 or E_SYSTEM (errno set); the old sink stays then.
 * log_use_fd   adopt a descriptor (workers get theirs from the master). The old one is closed unless it is 2. A pipe or
 *              terminal is opened again without blocking, so log_fd may be another number than the one given.
 * log_context  a "key=value key=value" string put on every following line; NULL clears. The pointer is kept.
 * log_write    the macro family below; `fatal` logs and exits 1 only through the caller: it does not exit by itself.
 */
#ifndef OMNIROUTE_SHARED_LOG_H
#define OMNIROUTE_SHARED_LOG_H

#include "shared/base.h"

#define LOG_LINE_MAX 4000
#define LOG_SECRET_MAX 512 /* bytes kept of a secret; what follows them goes too, up to the next space */

enum log_level { LOG_LV_ERROR, LOG_LV_WARN, LOG_LV_NOTICE, LOG_LV_INFO, LOG_LV_DEBUG };

int log_open(const char *path);
void log_use_fd(int fd);
int log_fd(void);
void log_set_level(enum log_level level);
void log_set_json(bool json);
void log_set_role(const char *role); /* "master", "worker"; the pointer is kept */
void log_context(const char *context);
void log_secret(const char *secret); /* copied; shorter than 8 bytes is ignored; up to 64 kept, oldest replaced */
bool log_level_parse(const char *name, enum log_level *level);
bool log_enabled(enum log_level level);
uint64_t log_lost(void);
void log_write(enum log_level level, const char *fmt, ...) printf_like(2, 3);
/* redact.c: replaces what looks like a credential, in place; returns the new length (never longer). Used for errors too. */
size_t log_redact(char *line, size_t n);

#define log_error(...) log_write(LOG_LV_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LV_WARN, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LV_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_LV_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_enabled(LOG_LV_DEBUG))                                                     \
			log_write(LOG_LV_DEBUG, __VA_ARGS__);                                      \
	} while (0)

#endif
