/* Frames of upstreams' streams, with ' for ", one a line; part of proto_traps.h. */
#ifndef OMNIROUTE_T_UNIT_PROTO_TRAPS_WIRE_H
#define OMNIROUTE_T_UNIT_PROTO_TRAPS_WIRE_H

/* Chat */
#define C_HEAD "{'id':'c1','object':'chat.completion.chunk','created':1,'model':'m','choices':["
#define C(delta) C_HEAD "{'index':0,'delta':{" delta "},'finish_reason':null}]}\n"
#define C_FINISH(word) C_HEAD "{'index':0,'delta':{},'finish_reason':'" word "'}]}\n"
#define C_USAGE \
	C_HEAD \
	"],'usage':{'prompt_tokens':7,'completion_tokens':3,'total_tokens':10}}\n"
#define C_END(word) C_FINISH(word) C_USAGE "[DONE]\n"
#define C_CALL(index, id, name, args) \
	C("'tool_calls':[{'index':" #index ",'id':'" id \
	  "','type':'function','function':{'name':'" name "','arguments':'" args "'}}]")
#define C_ARGS(index, args) \
	C("'tool_calls':[{'index':" #index ",'function':{'arguments':'" args "'}}]")

/* Messages */
#define M_START \
	"{'type':'message_start','message':{'id':'msg_1','type':'message','role':'assistant','" \
	"model':" \
	"'m','content':[],'stop_reason':null,'stop_sequence':null,'usage':{'input_tokens':7," \
	"'output_tokens':1}}}\n"
#define M_OPEN(i, block) \
	"{'type':'content_block_start','index':" #i ",'content_block':{" block "}}\n"
#define M_TEXT(i) M_OPEN(i, "'type':'text','text':''")
#define M_CALL(i, id, name) \
	M_OPEN(i, "'type':'tool_use','id':'" id "','name':'" name "','input':{}")
#define M_DELTA(i, delta) "{'type':'content_block_delta','index':" #i ",'delta':{" delta "}}\n"
#define M_WORDS(i, text) M_DELTA(i, "'type':'text_delta','text':'" text "'")
#define M_ARGS(i, json) M_DELTA(i, "'type':'input_json_delta','partial_json':'" json "'")
#define M_CLOSE(i) "{'type':'content_block_stop','index':" #i "}\n"
#define M_FINISH(word) \
	"{'type':'message_delta','delta':{'stop_reason':'" word \
	"','stop_sequence':null},'usage':{'output_tokens':3}}\n"
#define M_END(word) M_FINISH(word) "{'type':'message_stop'}\n"

/* Gemini */
#define G_HEAD "{'candidates':[{'content':{'role':'model','parts':["
#define G_TAIL "'index':0}],'modelVersion':'m','responseId':'r1'"
#define G_USAGE \
	",'usageMetadata':{'promptTokenCount':7,'candidatesTokenCount':3,'totalTokenCount':10}}\n"
#define G(parts) G_HEAD parts "]}," G_TAIL "}\n"
#define G_LAST(parts, word) G_HEAD parts "]},'finishReason':'" word "'," G_TAIL G_USAGE

/* Responses; what stands in `response` of the terminal event is repeated there */
#define R_START \
	"{'type':'response.created','sequence_number':0,'response':{'id':'resp_1','object':'" \
	"response'," \
	"'created_at':1,'status':'in_progress','model':'m','output':[]}}\n"
#define R_ITEM(word, i, item) \
	"{'type':'response.output_item." word "','output_index':" #i ",'item':" item "}\n"
#define R_MESSAGE(status, content) \
	"{'id':'msg_1','type':'message','status':'" status \
	"','role':'assistant','content':[" content "]}"
#define R_TEXT(text) "{'type':'output_text','text':'" text "','annotations':[]}"
#define R_WORDS(i, text) \
	"{'type':'response.output_text.delta','item_id':'msg_1','output_index':" #i \
	",'content_index':0,'delta':'" text "'}\n"
#define R_END(status, more, output) \
	"{'type':'response." status \
	"','response':{'id':'resp_1','object':'response','created_at':1," \
	"'status':'" status "','model':'m'," more "'output':[" output \
	"],'usage':{'input_tokens':7,'input_tokens_details':{'cached_tokens':0},'output_tokens':" \
	"3," \
	"'output_tokens_details':{'reasoning_tokens':0},'total_tokens':10}}}\n"

/* Converse: TYPE JSON */
#define B_START "messageStart {'role':'assistant'}\n"
#define B_CALL(i, id, name) \
	"contentBlockStart {'contentBlockIndex':" #i ",'start':{'toolUse':{'toolUseId':'" id \
	"','name':'" name "'}}}\n"
#define B_ARGS(i, json) \
	"contentBlockDelta {'contentBlockIndex':" #i ",'delta':{'toolUse':{'input':'" json "'}}}" \
	"\n"
#define B_TEXT(i, text) \
	"contentBlockDelta {'contentBlockIndex':" #i ",'delta':{'text':'" text "'}}\n"
#define B_CLOSE(i) "contentBlockStop {'contentBlockIndex':" #i "}\n"
#define B_END(word) \
	"messageStop {'stopReason':'" word "'}\n" \
	"metadata " \
	"{'usage':{'inputTokens':7,'outputTokens':3,'totalTokens':10},'metrics':{'latencyMs':1}}" \
	"\n"

#endif
