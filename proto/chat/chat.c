#include "proto/chat/chat.h"

const struct dialect dialect_chat = {
    .id = DIALECT_CHAT,
    .name = "openai-chat",
    .framing = FRAMING_SSE,
    .decode_request = chat_decode_request,
    .encode_request = chat_encode_request,
    .decode_response = chat_decode_response,
    .encode_response = chat_encode_response,
    .decoder_new = chat_decoder_new,
    .decode = chat_decode,
    .decode_end = chat_decode_end,
    .encoder_new = chat_encoder_new,
    .encode = chat_encode,
    .encode_error = chat_encode_error,
    .error_status = chat_error_status,
};
