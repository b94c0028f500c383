/*
 * dialect_id: the dialects by number and by name, for those who only name them (canon.h has the rest).
 *
 * dialect_word  "openai-chat", … NULL for DIALECT_NONE.  dialect_of: DIALECT_NONE for an unknown word.
 */
#ifndef OMNIROUTE_PROTO_DIALECT_ID_H
#define OMNIROUTE_PROTO_DIALECT_ID_H

enum dialect_id {
	DIALECT_NONE,
	DIALECT_CHAT,      /* OpenAI Chat Completions and all that are like it */
	DIALECT_RESPONSES, /* OpenAI Responses */
	DIALECT_MESSAGES,  /* Anthropic Messages */
	DIALECT_GEMINI,    /* Google generateContent */
	DIALECT_COHERE,    /* Cohere v2 chat */
	DIALECT_OLLAMA,    /* Ollama /api/chat */
	DIALECT_CONVERSE,  /* AWS Bedrock Converse */
	DIALECTS
};

const char *dialect_word(enum dialect_id id);
enum dialect_id dialect_of(const char *word);

#endif
