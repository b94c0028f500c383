// The official Anthropic client.
import { GATEWAY, KEY, load, run, SYSTEM, PROMPT, PNG, WEATHER, weather } from "../kit.mjs";
const sdk = load("@anthropic-ai/sdk"), Anthropic = sdk.Anthropic;
const client = new Anthropic({ baseURL: GATEWAY, apiKey: KEY, maxRetries: 0 });
const body = (model, more = {}) => ({ model, max_tokens: 16000, system: SYSTEM, messages: [{ role: "user", content: PROMPT }], ...more });
const whole = (model, stream, more) => (stream ? client.messages.stream(body(model, more)).finalMessage() : client.messages.create(body(model, more)));
const usage = (u) => [u.input_tokens, u.output_tokens];
const text = (m) => m.content.filter((b) => b.type === "text").map((b) => b.text).join("");
const tools = [{ name: WEATHER.name, description: WEATHER.description, input_schema: WEATHER.schema }];
const thinking = { thinking: { type: "enabled", budget_tokens: 10240 } };

async function roundTrip(model, stream, more = {}) {
  const messages = [{ role: "user", content: PROMPT }], first = await whole(model, stream, { messages, tools, ...more });
  const calls = first.content.filter((b) => b.type === "tool_use");
  messages.push({ role: "assistant", content: first.content },
    { role: "user", content: calls.map((c) => ({ type: "tool_result", tool_use_id: c.id, content: JSON.stringify(weather(c.input)) })) });
  const second = await whole(model, stream, { messages, tools, ...more });
  return { calls: calls.map((c) => ({ name: c.name, args: c.input })), text: text(first), finish: first.stop_reason, final: text(second) };
}

await run({
  name: "anthropic", own: "messages",
  words: { stop: "end_turn", tools: "tool_use" },
  async text(model, stream) {
    if (!stream) { const m = await whole(model, false); return { text: text(m), finish: m.stop_reason, usage: usage(m.usage) }; }
    const pieces = [], s = client.messages.stream(body(model)).on("text", (t) => pieces.push(t));
    const m = await s.finalMessage();
    return { text: text(m), finish: m.stop_reason, usage: usage(m.usage), pieces };
  },
  async pieces(model, got) {
    for await (const e of await client.messages.create(body(model, { stream: true }))) if (e.type === "content_block_delta") got.push(e.delta.text);
  },
  tools: (model, stream) => roundTrip(model, stream),
  signed: async (model) => (await roundTrip(model, true, thinking)).final,
  image: async (model) => text(await whole(model, false, { messages: [{ role: "user", content: [{ type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
    { type: "text", text: "What is it?" }] }] })),
  async schema(model) {
    const { zodOutputFormat } = load("@anthropic-ai/sdk/helpers/zod"), { z } = load("zod");
    return (await client.messages.parse(body(model, { output_config: { format: zodOutputFormat(z.object({ name: z.string(), age: z.int() })) } }))).parsed_output;
  },
  async reason(model, stream) {
    const m = await whole(model, stream, thinking);
    return { thought: m.content.find((b) => b.type === "thinking")?.thinking, text: text(m) };
  },
  async abort(model) {
    const got = [], stream = await client.messages.create(body(model, { stream: true }));
    for await (const e of stream) { if (e.type === "content_block_delta") got.push(e.delta.text); if (got.length === 3) { stream.controller.abort(); break; } }
    return got;
  },
  status: (e) => e.status,
  retryAfter: (e) => e.headers.get("retry-after"),
  errors: { 401: [sdk.AuthenticationError, 401], 404: [sdk.NotFoundError, 404], 429: [sdk.RateLimitError, 429], 500: [sdk.InternalServerError, 500],
    503: [sdk.OverloadedError, 529, sdk.ServiceUnavailableError], 529: [sdk.OverloadedError, 529], cut: sdk.APIError },
});
