#include "proto/converse/converse.h"

const struct dialect dialect_converse = {
    .id = DIALECT_CONVERSE,
    .name = "bedrock-converse",
    .framing = FRAMING_EVENTSTREAM,
    .decode_request = converse_decode_request,
    .encode_request = converse_encode_request,
    .decode_response = converse_decode_response,
    .encode_response = converse_encode_response,
    .decoder_new = converse_decoder_new,
    .decode = converse_decode,
    .decode_end = converse_decode_end,
    .encoder_new = converse_encoder_new,
    .encode = converse_encode,
    .encoder_free = converse_encoder_free,
};
