// A provider that does a task with an agent's own tools, one step at a time: what it says next depends on how many results it
// has seen, as a model's would. Speaks Chat Completions and Messages, streamed.
//
//   node upstream.mjs STEPS.json      prints its port; then one JSON line for each request that it was sent
//
// STEPS.json: {"calls": [{"tools": ["Bash", …], "args": {…}}, …], "text": "the last words"}. Of `tools` the first that the
// request declares is called; `args` by the tool's name.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';

const steps = JSON.parse(readFileSync(process.argv[2], 'utf8'));
let n = 0;

const texts = (content) => typeof content === 'string' ? content : (content ?? []).map((p) => p.text ?? '').join('');

// What has come back, in order, in either dialect.
function results(body) {
	const found = [];
	for (const m of body.messages ?? []) {
		if (m.role === 'tool') found.push(texts(m.content));
		if (Array.isArray(m.content))
			for (const b of m.content) if (b.type === 'tool_result') found.push(texts(b.content));
	}
	return found;
}
const declared = (body) => (body.tools ?? []).map((t) => t.function?.name ?? t.name);

function next(body) {
	const tools = declared(body), step = steps.calls[results(body).length];
	if (!tools.length || !step) return { text: tools.length ? steps.text : 'A title' };
	const name = step.tools.find((t) => tools.includes(t));
	return name ? { name, args: JSON.stringify(step.args[name]), id: `call_step_${++n}` } : { text: `none of ${step.tools} in ${tools}` };
}

function chat(say, res, body) {
	const id = `chatcmpl-${++n}`, chunk = (delta, finish_reason = null) =>
		res.write(`data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1700000000, model: body.model, choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
	chunk({ role: 'assistant', content: '' });
	if (say.text) {
		for (const piece of say.text.match(/.{1,7}/gs)) chunk({ content: piece });
		chunk({}, 'stop');
	} else {
		chunk({ content: 'Next step. ' });
		chunk({ tool_calls: [{ index: 0, id: say.id, type: 'function', function: { name: say.name, arguments: '' } }] });
		for (const piece of say.args.match(/.{1,5}/gs)) chunk({ tool_calls: [{ index: 0, function: { arguments: piece } }] });
		chunk({}, 'tool_calls');
	}
	if (body.stream_options?.include_usage)
		res.write(`data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1700000000, model: body.model, choices: [], usage: { prompt_tokens: 1000, completion_tokens: 20, total_tokens: 1020 } })}\n\n`);
	res.end('data: [DONE]\n\n');
}

function messages(say, res, body) {
	const event = (type, data) => res.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
	event('message_start', { message: { id: `msg_${++n}`, type: 'message', role: 'assistant', model: body.model, content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 1000, output_tokens: 1 } } });
	event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
	for (const piece of (say.text ?? 'Next step. ').match(/.{1,7}/gs)) event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: piece } });
	event('content_block_stop', { index: 0 });
	if (!say.text) {
		event('content_block_start', { index: 1, content_block: { type: 'tool_use', id: say.id.replace('call_', 'toolu_'), name: say.name, input: {} } });
		for (const piece of say.args.match(/.{1,5}/gs)) event('content_block_delta', { index: 1, delta: { type: 'input_json_delta', partial_json: piece } });
		event('content_block_stop', { index: 1 });
	}
	event('message_delta', { delta: { stop_reason: say.text ? 'end_turn' : 'tool_use', stop_sequence: null }, usage: { output_tokens: 20 } });
	event('message_stop', {});
	res.end();
}

const server = createServer((req, res) => {
	let text = '';
	req.setEncoding('utf8');
	req.on('data', (d) => { text += d; });
	req.on('end', () => {
		const body = JSON.parse(text || '{}'), say = next(body);
		const dialect = req.url.endsWith('/messages') ? 'messages' : req.url.endsWith('/chat/completions') ? 'chat' : 'other';
		console.log(JSON.stringify({ dialect, url: req.url, model: body.model, stream: !!body.stream, tools: declared(body).length, results: results(body), says: say.name ?? say.text }));
		if (dialect === 'other') { res.writeHead(404, { 'content-type': 'application/json' }); res.end('{"error":{"message":"no such path"}}'); return; }
		if (!body.stream) {
			res.writeHead(200, { 'content-type': 'application/json' });
			res.end(JSON.stringify(dialect === 'chat'
				? { id: 'chatcmpl-x', object: 'chat.completion', created: 1700000000, model: body.model, choices: [{ index: 0, message: { role: 'assistant', content: say.text ?? 'A title' }, finish_reason: 'stop' }], usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 } }
				: { id: 'msg_x', type: 'message', role: 'assistant', model: body.model, content: [{ type: 'text', text: say.text ?? 'A title' }], stop_reason: 'end_turn', stop_sequence: null, usage: { input_tokens: 10, output_tokens: 2 } }));
			return;
		}
		res.writeHead(200, { 'content-type': 'text/event-stream' });
		(dialect === 'chat' ? chat : messages)(say, res, body);
	});
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
