/*
 * filter: what stands between a decoder and an encoder and changes the events of an answer, so that the client gets what it
 * asked for and not what the target had to be given (shape.h). Each filter is a canon_sink before a canon_sink; a filter that
 * has nothing to do is not put there.
 *
 *   think_tags     <think>…</think> at the start of a text becomes reasoning (spec 8.6)
 *   tool_names     names on the wire become the client's; custom calls are unwrapped from {"input": …} (6.1, 6.3, 6.5)
 *   json_tool      the arguments of the tool that stands for structured output become the text (11)
 *   fence          one Markdown fence around JSON goes (11)
 *   stops          stop sequences that the target does not know (10.3): cut, FINISH with stop_sequence, the rest is swallowed
 *   finish_repair  calls present → tool_calls, and the other rules of spec 14
 *   no_reasoning   reasoning is left out
 *   call_ids       ids that the client's dialect would not take, or that are missing, are made (6.4)
 *   signatures     envelope of spec 8.4.3 when the client's dialect is not that of the signature's maker
 *
 * filters_new    the chain that this answer needs, in front of `next`. NULL: out of memory.
 * filters_whole  to be said before the first event of an answer that is played: text may wait for the end of its part.
 * filters_take   a canon_sink's take. filters_cut: a stop sequence was found: the upstream is not needed any more.
 */
#ifndef OMNIROUTE_PROTO_FILTER_H
#define OMNIROUTE_PROTO_FILTER_H

#include "proto/canon.h"
#include "proto/dialect.h"
#include "proto/shape.h"

struct filters;
struct filters *filters_new(struct arena *a, const struct shaped *shaped, const struct canon_request *asked,
    enum dialect_id client, enum dialect_id upstream, const uint8_t seed[16], const struct canon_sink *next) must_check;
void filters_whole(struct filters *f);
int filters_take(void *filters, const struct canon_event *ev);
bool filters_cut(const struct filters *f);
void filters_free(struct filters *f);

#endif
