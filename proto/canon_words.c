/* The words of the model: efforts, ends, dialects. */
#include <strings.h>

#include "proto/canon.h"

static const char *const efforts[] = {
    [EFFORT_UNSET] = NULL,
    [EFFORT_NONE] = "none",
    [EFFORT_MINIMAL] = "minimal",
    [EFFORT_LOW] = "low",
    [EFFORT_MEDIUM] = "medium",
    [EFFORT_HIGH] = "high",
    [EFFORT_XHIGH] = "xhigh",
    [EFFORT_MAX] = "max",
};

const char *
canon_effort_word(enum canon_effort e)
{
	return efforts[e];
}

static bool
is_word(struct span s, const char *word)
{
	return s.n == __builtin_strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

enum canon_effort
canon_effort_of(struct span word)
{
	for (unsigned i = EFFORT_NONE; i < NELEM(efforts); i++)
		if (word.p != NULL && is_word(word, efforts[i]))
			return (enum canon_effort)i;
	return EFFORT_UNSET;
}

/* Every provider's word, in any case (spec 14). */
static const struct {
	const char *word;
	enum canon_finish_reason reason;
} ends[] = {
    {"stop", FINISH_STOP},
    {"eos", FINISH_STOP},
    {"end_turn", FINISH_STOP},
    {"complete", FINISH_STOP},
    {"completed", FINISH_STOP},
    {"stop_sequence", FINISH_STOP_SEQUENCE},
    {"length", FINISH_LENGTH},
    {"max_tokens", FINISH_LENGTH},
    {"model_length", FINISH_LENGTH},
    {"max_output_tokens", FINISH_LENGTH},
    {"model_context_window_exceeded", FINISH_CONTEXT_WINDOW},
    {"tool_calls", FINISH_TOOL_CALLS},
    {"tool_call", FINISH_TOOL_CALLS},
    {"tool_use", FINISH_TOOL_CALLS},
    {"function_call", FINISH_TOOL_CALLS},
    {"content_filter", FINISH_CONTENT_FILTER},
    {"content_filtered", FINISH_CONTENT_FILTER},
    {"sensitive", FINISH_CONTENT_FILTER},
    {"safety", FINISH_CONTENT_FILTER},
    {"guardrail_intervened", FINISH_CONTENT_FILTER},
    {"recitation", FINISH_CONTENT_FILTER},
    {"blocklist", FINISH_CONTENT_FILTER},
    {"prohibited_content", FINISH_CONTENT_FILTER},
    {"spii", FINISH_CONTENT_FILTER},
    {"image_safety", FINISH_CONTENT_FILTER},
    {"image_prohibited_content", FINISH_CONTENT_FILTER},
    {"image_recitation", FINISH_CONTENT_FILTER},
    {"model_armor", FINISH_CONTENT_FILTER},
    {"refusal", FINISH_REFUSAL},
    {"pause_turn", FINISH_PAUSE},
    {"malformed_function_call", FINISH_MALFORMED},
    {"unexpected_tool_call", FINISH_MALFORMED},
    {"too_many_tool_calls", FINISH_MALFORMED},
    {"missing_thought_signature", FINISH_MALFORMED},
    {"malformed_response", FINISH_MALFORMED},
    {"malformed_tool_use", FINISH_MALFORMED},
    {"malformed_model_output", FINISH_MALFORMED},
    {"error", FINISH_ERROR},
    {"abort", FINISH_ERROR},
    {"timeout", FINISH_ERROR},
    {"network_error", FINISH_ERROR},
    {"insufficient_system_resource", FINISH_ERROR},
};

/* What is in no table, and Gemini's LANGUAGE, OTHER, NO_IMAGE …, Ollama's load and unload: an end
 * if something was said, else an error (spec 14); the caller knows which. */
enum canon_finish_reason
canon_finish_of(struct span word)
{
	if (word.n == 0)
		return FINISH_NONE;
	for (size_t i = 0; i < NELEM(ends); i++)
		if (is_word(word, ends[i].word))
			return ends[i].reason;
	return FINISH_UNKNOWN;
}

static const char *const dialects[DIALECTS] = {
    [DIALECT_NONE] = "none",
    [DIALECT_CHAT] = "openai-chat",
    [DIALECT_RESPONSES] = "openai-responses",
    [DIALECT_MESSAGES] = "anthropic-messages",
    [DIALECT_GEMINI] = "gemini",
    [DIALECT_COHERE] = "cohere-v2",
    [DIALECT_OLLAMA] = "ollama-chat",
    [DIALECT_CONVERSE] = "bedrock-converse",
};

const char *
dialect_word(enum dialect_id id)
{
	return dialects[id];
}

enum dialect_id
dialect_of(const char *word)
{
	for (unsigned i = DIALECT_NONE + 1; i < DIALECTS; i++)
		if (__builtin_strcmp(word, dialects[i]) == 0)
			return (enum dialect_id)i;
	return DIALECT_NONE;
}
