#include "proto/messages/messages.h"

const struct dialect dialect_messages = {
    .id = DIALECT_MESSAGES,
    .name = "anthropic-messages",
    .framing = FRAMING_SSE,
    .sequential = true,
    .decode_request = messages_decode_request,
    .encode_request = messages_encode_request,
    .decode_response = messages_decode_response,
    .encode_response = messages_encode_response,
    .decoder_new = messages_decoder_new,
    .decode = messages_decode,
    .decode_end = messages_decode_end,
    .encoder_new = messages_encoder_new,
    .encode = messages_encode,
    .encode_error = messages_encode_error,
    .error_status = messages_error_status,
};
