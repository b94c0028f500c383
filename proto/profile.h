/*
 * profile: what one target wants beyond its dialect, as data: the row of the provider (spec translation 20, from the member
 * "profile" of providers/<id>.json) and the facts about the model (spec 8.2, 10, from model_facts.def). Pure, read-only.
 *
 * profile_init      the defaults of a dialect.
 * profile_parse     those, then the members of a JSON object over them; E_SYNTAX for an unknown member or a wrong value (*why is
 *                   a constant or lives in `a`). Names and values are the rows of profile.def; omniroute-providers(7) lists them.
 * model_facts_of    by the model's id, also with a vendor's prefix ("openai/gpt-5.2", "us.anthropic.claude-…-v1:0") or a date
 *                   behind it; never NULL: the last row fits everything and knows nothing.
 */
#ifndef OMNIROUTE_PROTO_PROFILE_H
#define OMNIROUTE_PROTO_PROFILE_H

#include "proto/canon.h"

enum profile_ids { IDS_ANY, IDS_64, IDS_WORD, IDS_WORD64, IDS_MISTRAL, IDS_NONE }; /* patterns of call ids, spec 6.4 */
enum profile_names { NAMES_64, NAMES_128, NAMES_GEMINI, NAMES_COHERE };
enum profile_schema { SCHEMA_AS_IS, SCHEMA_OPENAI, SCHEMA_ANTHROPIC, SCHEMA_GEMINI_JSON, SCHEMA_GEMINI_SUBSET, SCHEMA_COMMON, SCHEMA_NOVA,
	/* not for a whole target: what `strict` demands */
	SCHEMA_OPENAI_STRICT, SCHEMA_ANTHROPIC_STRICT, SCHEMAS };
enum profile_tags { TAGS_NONE, TAGS_AUTO, TAGS_IMPLIED }; /* <think> in the text, spec 8.6 */
enum profile_effort { REASON_NONE, REASON_EFFORT, REASON_OPENROUTER, REASON_THINKING, REASON_ENABLE, REASON_FORMAT }; /* how a chat upstream is told, spec 8.1 */
enum profile_replay { REPLAY_DROP, REPLAY_LOOP, REPLAY_ALL }; /* reasoning_content of earlier turns, spec 8.4.10 */
enum profile_json { JSON_NONE, JSON_OBJECT, JSON_SCHEMA }; /* structured output that it knows by itself */

struct profile {
	enum dialect_id dialect;
	enum canon_origin origin; /* whose signatures it takes */
	bool openai, anthropic, ai_studio, vertex; /* the vendor's own service */
	/* chat */
	bool max_completion_tokens; /* its name of the limit; else max_tokens */
	bool developer_role, stream_options, extra_pass, eof_is_end;
	bool required_is_any;  /* tool_choice "any" */
	bool empty_content;    /* "" instead of null beside calls */
	bool single_system, needs_user_turn, alternation, prefix_flag, tool_name; /* tool_name: result messages carry `name` */
	bool no_parallel_tools, no_named_choice, no_required_choice, no_penalties, no_logprobs, no_seed, no_stop, no_n, no_user, random_seed;
	enum profile_effort reasoning;
	enum profile_replay replay;
	enum profile_tags tags;
	/* all */
	enum profile_ids ids;
	enum profile_names names;
	enum profile_schema schema;
	enum profile_json json;
	bool prompt_cache; /* takes cache marks */
	bool image_url, pdf, audio, image_in_result;
	uint32_t max_stops; /* 0: none are taken */
	bool web_search;
	bool invoke; /* messages: on Bedrock, by InvokeModel: no model and no stream in the body, anthropic_version and betas there */
	/* chat */
	bool top_k;    /* knows top_k, min_p and repetition_penalty */
	bool no_image; /* none of its models sees */
	uint32_t max_temperature; /* hundredths; 0: what its dialect says */
};

enum model_thinking { THINKS_NOT, THINKS_EFFORT, THINKS_BUDGET, THINKS_ADAPTIVE, THINKS_LEVEL };

struct model_facts {
	const char *pattern; /* glob over the id without vendor */
	enum model_thinking thinking;
	uint32_t efforts;    /* bit 1 << enum canon_effort */
	bool can_be_off;
	enum canon_effort usual; /* UNSET: off, or nobody knows */
	int64_t budget_min, budget_max; /* THINKS_BUDGET */
	uint32_t cap;        /* output tokens; 0: unknown */
	bool no_sampling, no_temperature_and_top_p, no_stop, no_prefill, no_forced_choice, no_system_role, max_field_new, developer_role, mid_system;
	bool no_schema; /* no structured output of its own, whatever its service has */
	bool unknown;   /* nothing is known: the last row */
};

void profile_init(struct profile *p, enum dialect_id dialect);
int profile_parse(struct arena *a, enum dialect_id dialect, struct span json, struct profile *out, const char **why) must_check;
const struct model_facts *model_facts_of(struct span model);

#endif
