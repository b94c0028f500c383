// The official openai client, Responses.
import { GATEWAY, KEY, load, run, SYSTEM, PROMPT, PNG, WEATHER, weather } from "../kit.mjs";
const { OpenAI } = load("openai");
const client = new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: KEY, maxRetries: 0 });
const body = (model, more = {}) => ({ model, instructions: SYSTEM, input: [{ role: "user", content: PROMPT }], store: false, ...more });
const create = (model, more) => client.responses.create(body(model, more));
const whole = (model, stream, more) => (stream ? client.responses.stream(body(model, more)).finalResponse() : create(model, more));
const usage = (u) => [u.input_tokens, u.output_tokens];
// finalResponse() of a stream has no output_text
const text = (r) => r.output.filter((i) => i.type === "message").flatMap((i) => i.content).map((c) => c.text).join("");
const tools = [{ type: "function", name: WEATHER.name, description: WEATHER.description, parameters: WEATHER.schema, strict: true }];
const thinking = { reasoning: { effort: "medium", summary: "auto" }, include: ["reasoning.encrypted_content"] };

async function roundTrip(model, stream, more = {}) {
  const input = [{ role: "user", content: PROMPT }], first = await whole(model, stream, { input, tools, ...more });
  const calls = first.output.filter((i) => i.type === "function_call");
  input.push(...first.output, ...calls.map((c) => ({ type: "function_call_output", call_id: c.call_id, output: JSON.stringify(weather(JSON.parse(c.arguments))) })));
  const second = await whole(model, stream, { input, tools, ...more });
  return { calls: calls.map((c) => ({ name: c.name, args: JSON.parse(c.arguments) })), text: text(first), finish: first.status, final: text(second) };
}

await run({
  name: "openai responses", own: "responses",
  words: { stop: "completed", tools: "completed" },
  async text(model, stream) {
    if (!stream) { const r = await create(model); return { text: r.output_text, finish: r.status, usage: usage(r.usage) }; }
    const got = { pieces: [] }, s = client.responses.stream(body(model));
    s.on("response.output_text.delta", (e) => got.pieces.push(e.delta));
    const r = await s.finalResponse();
    return { ...got, text: text(r), finish: r.status, usage: usage(r.usage) };
  },
  async pieces(model, got) {
    for await (const e of await create(model, { stream: true })) {
      if (e.type === "response.output_text.delta") got.push(e.delta);
      if (e.type === "response.failed") throw new OpenAI.APIError(undefined, e.response.error, e.response.error.message, undefined);
    }
  },
  tools: (model, stream) => roundTrip(model, stream),
  signed: async (model) => (await roundTrip(model, true, thinking)).final,
  image: async (model) => (await create(model, { input: [{ role: "user", content: [{ type: "input_text", text: "What is it?" },
    { type: "input_image", image_url: `data:image/png;base64,${PNG}`, detail: "auto" }] }] })).output_text,
  async schema(model) {
    const { zodTextFormat } = load("openai/helpers/zod"), { z } = load("zod");
    return (await client.responses.parse(body(model, { text: { format: zodTextFormat(z.object({ name: z.string(), age: z.int() }), "person") } }))).output_parsed;
  },
  async reason(model, stream) {
    const r = await whole(model, stream, thinking), item = r.output.find((i) => i.type === "reasoning");
    return { thought: item?.summary.map((s) => s.text).join("") || item?.content?.map((s) => s.text).join(""), text: text(r) };
  },
  async abort(model) {
    const got = [], stream = await create(model, { stream: true });
    for await (const e of stream) { if (e.type === "response.output_text.delta") got.push(e.delta); if (got.length === 3) { stream.controller.abort(); break; } }
    return got;
  },
  status: (e) => e.status,
  retryAfter: (e) => e.headers.get("retry-after"),
  errors: { 401: [OpenAI.AuthenticationError, 401], 404: [OpenAI.NotFoundError, 404], 429: [OpenAI.RateLimitError, 429], 500: [OpenAI.InternalServerError, 500],
    503: [OpenAI.InternalServerError, 503], 529: [OpenAI.InternalServerError, 503], cut: OpenAI.APIError },
});
