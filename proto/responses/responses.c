#include "proto/responses/responses.h"

const struct dialect dialect_responses = {
    .id = DIALECT_RESPONSES,
    .name = "openai-responses",
    .framing = FRAMING_SSE,
    .sequential = true,
    .decode_request = responses_decode_request,
    .encode_request = responses_encode_request,
    .decode_response = responses_decode_response,
    .encode_response = responses_encode_response,
    .decoder_new = responses_decoder_new,
    .decode = responses_decode,
    .decode_end = responses_decode_end,
    .encoder_new = responses_encoder_new,
    .encode = responses_encode,
    .encoder_free = responses_encoder_free,
    .encode_error = responses_encode_error,
    .error_status = responses_error_status,
};
