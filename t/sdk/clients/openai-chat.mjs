// The official openai client, Chat Completions.
import { GATEWAY, KEY, load, run, SYSTEM, PROMPT, PNG, WEATHER, PERSON, weather } from "../kit.mjs";
const { OpenAI } = load("openai");
const client = new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: KEY, maxRetries: 0 });
const create = (model, more = {}) => client.chat.completions.create({ model, messages: [{ role: "system", content: SYSTEM }, { role: "user", content: PROMPT }], ...more });
const usage = (u) => [u.prompt_tokens, u.completion_tokens];
const tools = [{ type: "function", function: { name: WEATHER.name, description: WEATHER.description, parameters: WEATHER.schema } }];

async function whole(model, stream, more) {
  const r = stream
    ? await client.chat.completions.stream({ model, messages: [{ role: "user", content: PROMPT }], ...more }).finalChatCompletion()
    : await create(model, { messages: [{ role: "user", content: PROMPT }], ...more });
  return r.choices[0];
}
async function roundTrip(model, stream, more = {}) {
  const messages = [{ role: "user", content: PROMPT }], first = await whole(model, stream, { messages, tools, ...more });
  const calls = first.message.tool_calls;
  messages.push(first.message, ...calls.map((c) => ({ role: "tool", tool_call_id: c.id, content: JSON.stringify(weather(JSON.parse(c.function.arguments))) })));
  const second = await whole(model, stream, { messages, tools, ...more });
  return { calls: calls.map((c) => ({ name: c.function.name, args: JSON.parse(c.function.arguments) })), text: first.message.content, finish: first.finish_reason,
    final: second.message.content };
}

await run({
  name: "openai chat", own: "chat",
  words: { stop: "stop", tools: "tool_calls" },
  async text(model, stream) {
    if (!stream) { const r = await create(model); return { text: r.choices[0].message.content, finish: r.choices[0].finish_reason, usage: usage(r.usage) }; }
    const got = { pieces: [] };
    for await (const c of await create(model, { stream: true, stream_options: { include_usage: true } })) {
      if (c.choices[0]?.delta.content) got.pieces.push(c.choices[0].delta.content);
      got.finish = c.choices[0]?.finish_reason ?? got.finish;
      if (c.usage) got.usage = usage(c.usage);
    }
    return { ...got, text: got.pieces.join("") };
  },
  async pieces(model, got) { for await (const c of await create(model, { stream: true })) if (c.choices[0]?.delta.content) got.push(c.choices[0].delta.content); },
  tools: (model, stream) => roundTrip(model, stream),
  signed: async (model) => (await roundTrip(model, false, { reasoning_effort: "medium" })).final,
  image: async (model) => (await whole(model, false, { messages: [{ role: "user", content: [{ type: "text", text: "What is it?" },
    { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } }] }] })).message.content,
  async schema(model) {
    const { zodResponseFormat } = load("openai/helpers/zod"), { z } = load("zod");
    const r = await client.chat.completions.parse({ model, messages: [{ role: "user", content: PROMPT }], response_format: zodResponseFormat(z.object({ name: z.string(), age: z.int() }), "person") });
    return r.choices[0].message.parsed;
  },
  async reason(model, stream) {
    if (!stream) { const m = (await whole(model, false, { reasoning_effort: "medium" })).message; return { thought: m.reasoning_content, text: m.content }; }
    const got = { thought: "", text: "" };
    for await (const c of await create(model, { stream: true, reasoning_effort: "medium" })) {
      got.thought += c.choices[0]?.delta.reasoning_content ?? "";
      got.text += c.choices[0]?.delta.content ?? "";
    }
    return got;
  },
  async abort(model) {
    const got = [], stream = await create(model, { stream: true });
    for await (const c of stream) { if (c.choices[0]?.delta.content) got.push(c.choices[0].delta.content); if (got.length === 3) { stream.controller.abort(); break; } }
    return got;
  },
  status: (e) => e.status,
  retryAfter: (e) => e.headers.get("retry-after"),
  errors: { 401: [OpenAI.AuthenticationError, 401], 404: [OpenAI.NotFoundError, 404], 429: [OpenAI.RateLimitError, 429], 500: [OpenAI.InternalServerError, 500],
    503: [OpenAI.InternalServerError, 503], 529: [OpenAI.InternalServerError, 503], cut: OpenAI.APIError },
});
