#include "proto/ollama/ollama.h"

const struct dialect dialect_ollama = {
    .id = DIALECT_OLLAMA,
    .name = "ollama-chat",
    .framing = FRAMING_NDJSON,
    .decode_request = ollama_decode_request,
    .encode_request = ollama_encode_request,
    .decode_response = ollama_decode_response,
    .encode_response = ollama_encode_response,
    .decoder_new = ollama_decoder_new,
    .decode = ollama_decode,
    .decode_end = ollama_decode_end,
    .encoder_new = ollama_encoder_new,
    .encode = ollama_encode,
    .encoder_free = ollama_encoder_free,
};
