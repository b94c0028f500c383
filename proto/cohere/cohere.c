#include "proto/cohere/cohere.h"

const struct dialect dialect_cohere = {
    .id = DIALECT_COHERE,
    .name = "cohere-v2",
    .framing = FRAMING_SSE,
    .decode_request = cohere_decode_request,
    .encode_request = cohere_encode_request,
    .decode_response = cohere_decode_response,
    .encode_response = cohere_encode_response,
    .decoder_new = cohere_decoder_new,
    .decode = cohere_decode,
    .decode_end = cohere_decode_end,
    .encoder_new = cohere_encoder_new,
    .encode = cohere_encode,
};
