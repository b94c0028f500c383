// A provider for the tests of the SDKs: one story in four wire forms. The dialect follows from the path, what happens from the
// model's name: FAMILY-SCENE.N, as in gpt-5-tools.7. N makes the name unique, so that a test finds its own requests.
//
//   node upstream.mjs           prints its port
//   GET /_log?model=NAME        [{body, headers, url, gone}] of the requests for that model, in order
//   GET /_go?model=NAME         the stream for it (scene "cut") has arrived so far: it may break now
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const log = new Map(), waiting = new Map();
const USAGE = { input: 11, output: 7, thought: 3 };

// ---- the scenes: what a model says, whatever it speaks ----

export const WEATHER = [{ id: 'call_a1', name: 'weather', args: { city: 'Bern', days: 2 } }, { id: 'call_b2', name: 'weather', args: { city: 'Genève', days: 1 } }];
const call = (c) => ({ call: c });

const scenes = {
	text: () => [{ text: ['Hel', 'lo, ', '世界', ' 🌍!'] }],
	image: () => [{ text: ['A red ', 'dot'] }],
	schema: () => [{ text: ['{"name":"A', 'da","age":36}'] }],
	reason: () => [{ thought: ['First I ', 'think.'], sign: 'c2lnbmF0dXJlLW9uZQ==' }, { text: ['Then I ', 'speak.'] }],
	tools: (seen) => seen ? [{ text: [`Results: ${seen}`] }] : [{ text: ['Let me look.'] }, ...WEATHER.map(call)],
	signed: (seen) => seen ? [{ text: [`Results: ${seen}`] }] : [{ thought: ['Hm.'], sign: 'c2lnbmF0dXJlLXR3bw==' }, call(WEATHER[0])],
	long: () => [{ text: Array.from({ length: 3000 }, (_, i) => `word${i} `), slow: 10 }],
	cut: () => [{ text: ['Half of ', 'it'] }],
};

const failures = { 401: 'bad credentials', 404: 'no such model', 429: 'slow down', 500: 'boom', 503: 'too busy', 529: 'overloaded' };

// ---- Chat Completions ----

const chat = {
	path: /\/chat\/completions$/,
	seen: (b) => b.messages.filter((m) => m.role === 'tool').length,
	error: (status, message) => ({ error: { message, type: 'their_type', param: null, code: 'their_code' } }),
	usage: (thinks) => ({ prompt_tokens: USAGE.input, completion_tokens: USAGE.output, total_tokens: USAGE.input + USAGE.output,
		...(thinks ? { completion_tokens_details: { reasoning_tokens: USAGE.thought } } : {}) }),
	finish: (items) => (items.some((i) => i.call) ? 'tool_calls' : 'stop'),
	whole(items, model) {
		const message = { role: 'assistant', content: null }, calls = [];
		for (const i of items) {
			if (i.text) message.content = i.text.join('');
			if (i.thought) message.reasoning_content = i.thought.join('');
			if (i.call) calls.push({ id: i.call.id, type: 'function', function: { name: i.call.name, arguments: JSON.stringify(i.call.args) } });
		}
		if (calls.length) message.tool_calls = calls;
		return { id: 'chatcmpl-1', object: 'chat.completion', created: 1700000000, model, choices: [{ index: 0, message, finish_reason: chat.finish(items) }],
			usage: chat.usage(items.some((i) => i.thought)) };
	},
	*events(items, model, body) {
		const frame = (more) => `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1700000000, model, ...more })}\n\n`;
		const delta = (d, finish_reason = null) => frame({ choices: [{ index: 0, delta: d, finish_reason }] });
		yield delta({ role: 'assistant', content: '' });
		let index = 0;
		for (const i of items) {
			for (const t of i.thought ?? []) yield delta({ reasoning_content: t });
			for (const t of i.text ?? []) yield delta({ content: t });
			if (!i.call) continue;
			yield delta({ tool_calls: [{ index, id: i.call.id, type: 'function', function: { name: i.call.name, arguments: '' } }] });
			for (const t of JSON.stringify(i.call.args).match(/.{1,6}/gsu)) yield delta({ tool_calls: [{ index, function: { arguments: t } }] });
			index++;
		}
		yield { end: true };
		yield delta({}, chat.finish(items));
		if (body.stream_options?.include_usage) yield frame({ choices: [], usage: chat.usage(items.some((i) => i.thought)) });
		yield 'data: [DONE]\n\n';
	},
	broken: (message) => `data: ${JSON.stringify({ error: { message, type: 'server_error', code: 500 } })}\n\n`,
};

// ---- Messages ----

const messages = {
	path: /\/messages$/,
	seen: (b) => b.messages.flatMap((m) => (Array.isArray(m.content) ? m.content : [])).filter((p) => p.type === 'tool_result').length,
	error: (status, message) => ({ type: 'error', error: { type: { 401: 'authentication_error', 404: 'not_found_error', 429: 'rate_limit_error',
		529: 'overloaded_error', 503: 'overloaded_error' }[status] ?? 'api_error', message }, request_id: 'req_1' }),
	block: (i) => (i.call ? { type: 'tool_use', id: i.call.id.replace('call_', 'toolu_'), name: i.call.name, input: i.call.args }
		: i.thought ? { type: 'thinking', thinking: i.thought.join(''), signature: i.sign } : { type: 'text', text: i.text.join('') }),
	finish: (items) => (items.some((i) => i.call) ? 'tool_use' : 'end_turn'),
	whole: (items, model) => ({ id: 'msg_1', type: 'message', role: 'assistant', model, content: items.map(messages.block), stop_reason: messages.finish(items),
		stop_sequence: null, usage: { input_tokens: USAGE.input, output_tokens: USAGE.output } }),
	*events(items, model) {
		const event = (type, data = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
		yield event('message_start', { message: { ...messages.whole([], model), stop_reason: null, usage: { input_tokens: USAGE.input, output_tokens: 1 } } });
		for (const [index, i] of items.entries()) {
			const delta = (d) => event('content_block_delta', { index, delta: d });
			const empty = i.call ? { input: {} } : i.thought ? { thinking: '', signature: '' } : { text: '' };
			yield event('content_block_start', { index, content_block: { ...messages.block(i), ...empty } });
			for (const t of i.thought ?? []) yield delta({ type: 'thinking_delta', thinking: t });
			if (i.sign) yield delta({ type: 'signature_delta', signature: i.sign });
			for (const t of i.text ?? []) yield delta({ type: 'text_delta', text: t });
			if (i.call) for (const t of JSON.stringify(i.call.args).match(/.{1,6}/gsu)) yield delta({ type: 'input_json_delta', partial_json: t });
			if (index === items.length - 1) yield { end: true };
			yield event('content_block_stop', { index });
		}
		yield event('message_delta', { delta: { stop_reason: messages.finish(items), stop_sequence: null }, usage: { output_tokens: USAGE.output } });
		yield event('message_stop');
	},
	broken: (message) => `event: error\ndata: ${JSON.stringify({ type: 'error', error: { type: 'api_error', message } })}\n\n`,
};

// ---- Responses ----

const responses = {
	path: /\/responses$/,
	seen: (b) => (Array.isArray(b.input) ? b.input : []).filter((i) => i.type === 'function_call_output').length,
	error: (status, message) => ({ error: { message, type: 'their_type', param: null, code: 'their_code' } }),
	item: (i, n) => (i.call ? { type: 'function_call', id: `fc_${n}`, status: 'completed', call_id: i.call.id, name: i.call.name, arguments: JSON.stringify(i.call.args) }
		: i.thought ? { type: 'reasoning', id: `rs_${n}`, summary: [{ type: 'summary_text', text: i.thought.join('') }], encrypted_content: i.sign }
			: { type: 'message', id: `msg_${n}`, status: 'completed', role: 'assistant', content: [{ type: 'output_text', text: i.text.join(''), annotations: [], logprobs: [] }] }),
	whole: (items, model) => ({ id: 'resp_1', object: 'response', created_at: 1700000000, status: 'completed', error: null, incomplete_details: null,
		instructions: null, metadata: {}, model, output: items.map(responses.item), parallel_tool_calls: true, tool_choice: 'auto', tools: [], store: false,
		temperature: 1, top_p: 1, usage: { input_tokens: USAGE.input, input_tokens_details: { cached_tokens: 0 }, output_tokens: USAGE.output,
			output_tokens_details: { reasoning_tokens: items.some((i) => i.thought) ? USAGE.thought : 0 }, total_tokens: USAGE.input + USAGE.output } }),
	*events(items, model) {
		let n = 0;
		const event = (type, data) => `event: ${type}\ndata: ${JSON.stringify({ type, ...data, sequence_number: n++ })}\n\n`;
		const whole = responses.whole(items, model), begun = { ...whole, status: 'in_progress', output: [], usage: null };
		yield event('response.created', { response: begun });
		yield event('response.in_progress', { response: begun });
		for (const [output_index, i] of items.entries()) {
			const item = whole.output[output_index], at = { item_id: item.id, output_index };
			const start = i.call ? { status: 'in_progress', arguments: '' } : i.thought ? { summary: [], encrypted_content: undefined } : { status: 'in_progress', content: [] };
			yield event('response.output_item.added', { output_index, item: { ...item, ...start } });
			if (i.call) {
				for (const delta of item.arguments.match(/.{1,6}/gsu)) yield event('response.function_call_arguments.delta', { ...at, delta });
				yield event('response.function_call_arguments.done', { ...at, arguments: item.arguments, name: item.name });
			} else {
				const [kind, index, part] = i.thought ? ['reasoning_summary', { summary_index: 0 }, item.summary[0]] : ['content', { content_index: 0 }, item.content[0]];
				const word = i.thought ? 'reasoning_summary_text' : 'output_text';
				yield event(`response.${kind}_part.added`, { ...at, ...index, part: { ...part, text: '' } });
				for (const delta of i.thought ?? i.text) yield event(`response.${word}.delta`, { ...at, ...index, delta, ...(i.text ? { logprobs: [] } : {}) });
				if (output_index === items.length - 1) yield { end: true };
				yield event(`response.${word}.done`, { ...at, ...index, text: part.text, ...(i.text ? { logprobs: [] } : {}) });
				yield event(`response.${kind}_part.done`, { ...at, ...index, part });
			}
			yield event('response.output_item.done', { output_index, item });
		}
		yield event('response.completed', { response: whole });
	},
	broken: (message, model) => `event: response.failed\ndata: ${JSON.stringify({ type: 'response.failed', sequence_number: 99,
		response: { ...responses.whole([], model), status: 'failed', error: { code: 'server_error', message }, usage: null } })}\n\n`,
};

// ---- Gemini ----

const gemini = {
	path: /:(generate|streamGenerate)Content$/,
	seen: (b) => b.contents.flatMap((c) => c.parts).filter((p) => p.functionResponse).length,
	error: (status, message) => ({ error: { code: status, message, status: { 401: 'UNAUTHENTICATED', 404: 'NOT_FOUND', 429: 'RESOURCE_EXHAUSTED', 500: 'INTERNAL' }[status] ?? 'UNAVAILABLE' } }),
	usage: (thinks) => ({ promptTokenCount: USAGE.input, candidatesTokenCount: USAGE.output - (thinks ? USAGE.thought : 0),
		...(thinks ? { thoughtsTokenCount: USAGE.thought } : {}), totalTokenCount: USAGE.input + USAGE.output }),
	// a thought has no signature of its own here: the next part bears it
	*parts(items, pieces) {
		const cut = (list) => (!list ? [] : pieces ? list : [list.join('')]);
		let sign;
		for (const i of items) {
			for (const t of cut(i.thought)) yield { text: t, thought: true };
			if (i.sign) sign = i.sign;
			const mark = sign && !i.thought ? { thoughtSignature: sign } : {};
			for (const t of cut(i.text)) yield { text: t };
			if (i.call) { yield { functionCall: { name: i.call.name, args: i.call.args }, ...mark }; sign = undefined; }
		}
	},
	whole: (items, model) => ({ candidates: [{ content: { role: 'model', parts: [...gemini.parts(items)] }, finishReason: 'STOP', index: 0 }],
		usageMetadata: gemini.usage(items.some((i) => i.thought)), modelVersion: model, responseId: 'r1' }),
	*events(items, model) {
		const frame = (parts, more = {}) => `data: ${JSON.stringify({ candidates: [{ content: { role: 'model', parts }, index: 0, ...more }],
			...(more.finishReason ? { usageMetadata: gemini.usage(items.some((i) => i.thought)) } : {}), modelVersion: model, responseId: 'r1' })}\n\n`;
		for (const p of gemini.parts(items, true)) yield frame([p]);
		yield { end: true };
		yield frame([{ text: '' }], { finishReason: 'STOP' });
	},
	broken: (message) => `data: ${JSON.stringify({ error: { code: 500, message, status: 'INTERNAL' } })}\n\n`,
};

const dialects = { chat, messages, responses, gemini };

// ---- the server ----

const json = (res, status, value, headers = {}) => { res.writeHead(status, { 'content-type': 'application/json', ...headers }); res.end(JSON.stringify(value)); };

async function stream(res, d, items, model, body, scene, record) {
	res.writeHead(200, { 'content-type': 'text/event-stream' });
	res.on('close', () => { record.gone = !res.writableFinished; });
	for (const e of d.events(items, model, body)) {
		if (res.destroyed) return;
		if (e.end) { if (scene === 'cut') { await new Promise((go) => { waiting.set(model, go); }); res.end(d.broken('it broke in the middle', model)); return; } continue; }
		res.write(e);
		if (scene === 'long') await sleep(10);
	}
	res.end();
}

function answer(req, res, text) {
	const url = new URL(req.url, 'http://x'), body = JSON.parse(text);
	const d = Object.values(dialects).find((x) => x.path.test(url.pathname));
	if (!d) return json(res, 404, { error: { message: `no path ${url.pathname}` } });
	const model = decodeURIComponent(body.model ?? url.pathname.match(/models\/([^:]+):/)[1]), scene = model.match(/-(\w+)\.\d+$/)?.[1];
	const record = { body, headers: req.headers, url: req.url, gone: false };
	log.set(model, [...(log.get(model) ?? []), record]);
	const status = scene?.match(/^e(\d+)$/)?.[1];
	if (status) return json(res, Number(status), d.error(Number(status), failures[status]), status === '429' ? { 'retry-after': '7' } : {});
	if (!scenes[scene]) return json(res, 501, d.error(501, `no scene ${model}`));
	const items = scenes[scene](d.seen(body));
	if (body.stream || /:stream/.test(url.pathname)) return stream(res, d, items, model, body, scene, record);
	return json(res, 200, d.whole(items, model));
}

const server = createServer((req, res) => {
	if (req.url.startsWith('/_log')) return json(res, 200, log.get(new URL(req.url, 'http://x').searchParams.get('model')) ?? []);
	if (req.url.startsWith('/_go')) { waiting.get(new URL(req.url, 'http://x').searchParams.get('model'))?.(); return json(res, 200, {}); }
	let text = '';
	req.setEncoding('utf8');
	req.on('data', (d) => { text += d; });
	req.on('end', () => answer(req, res, text));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
