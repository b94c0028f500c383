#include "proto/gemini/gemini.h"

const struct dialect dialect_gemini = {
    .id = DIALECT_GEMINI,
    .name = "gemini",
    .framing = FRAMING_SSE,
    .sequential = false, /* the encoder holds calls back itself; choices may run side by side */
    .decode_request = gemini_decode_request,
    .encode_request = gemini_encode_request,
    .decode_response = gemini_decode_response,
    .encode_response = gemini_encode_response,
    .decoder_new = gemini_decoder_new,
    .decode = gemini_decode,
    .decode_end = gemini_decode_end,
    .encoder_new = gemini_encoder_new,
    .encode = gemini_encode,
    .encoder_free = gemini_encoder_free,
    .encode_error = gemini_encode_error,
    .error_status = gemini_error_status,
};
