// The official Google GenAI client.
import { GATEWAY, KEY, load, run, SYSTEM, PROMPT, PNG, WEATHER, PERSON, weather } from "../kit.mjs";
const { GoogleGenAI, ApiError } = load("@google/genai");
const client = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: GATEWAY } });
const body = (model, config = {}, contents = PROMPT) => ({ model, contents, config: { systemInstruction: SYSTEM, ...config } });
const usage = (u) => [u.promptTokenCount, u.candidatesTokenCount + (u.thoughtsTokenCount ?? 0)];
const parts = (r) => r.candidates?.[0]?.content?.parts ?? [];
const text = (list) => list.filter((p) => p.text && !p.thought).map((p) => p.text).join("");
const tools = [{ functionDeclarations: [{ name: WEATHER.name, description: WEATHER.description, parametersJsonSchema: WEATHER.schema }] }];
const thinking = { thinkingConfig: { thinkingBudget: 8192, includeThoughts: true } };

// The parts of the answer, and how it ended.
async function whole(model, stream, config, contents) {
  if (!stream) { const r = await client.models.generateContent(body(model, config, contents)); return { parts: parts(r), finish: r.candidates[0].finishReason, usage: usage(r.usageMetadata) }; }
  const got = { parts: [] };
  for await (const c of await client.models.generateContentStream(body(model, config, contents))) {
    got.parts.push(...parts(c));
    got.finish = c.candidates?.[0]?.finishReason ?? got.finish;
    if (c.usageMetadata) got.usage = usage(c.usageMetadata);
  }
  return got;
}
async function roundTrip(model, stream, config = {}) {
  const contents = [{ role: "user", parts: [{ text: PROMPT }] }], first = await whole(model, stream, { tools, ...config }, contents);
  const calls = first.parts.filter((p) => p.functionCall).map((p) => p.functionCall);
  contents.push({ role: "model", parts: first.parts },
    { role: "user", parts: calls.map((c) => ({ functionResponse: { ...(c.id ? { id: c.id } : {}), name: c.name, response: weather(c.args) } })) });
  const second = await whole(model, stream, { tools, ...config }, contents);
  return { calls: calls.map((c) => ({ name: c.name, args: c.args })), text: text(first.parts), finish: first.finish, final: text(second.parts) };
}

await run({
  name: "genai", own: "gemini",
  words: { stop: "STOP", tools: "STOP" },
  async text(model, stream) {
    const r = await whole(model, stream);
    return { text: text(r.parts), finish: r.finish, usage: r.usage, pieces: r.parts.filter((p) => p.text).map((p) => p.text) };
  },
  async pieces(model, got) { for await (const c of await client.models.generateContentStream(body(model))) got.push(...parts(c).map((p) => p.text)); },
  tools: (model, stream) => roundTrip(model, stream),
  signed: async (model) => (await roundTrip(model, true, thinking)).final,
  image: async (model) => text((await whole(model, false, {}, [{ role: "user", parts: [{ text: "What is it?" }, { inlineData: { mimeType: "image/png", data: PNG } }] }])).parts),
  schema: async (model) => JSON.parse((await client.models.generateContent(body(model, { responseMimeType: "application/json", responseJsonSchema: PERSON }))).text),
  async reason(model, stream) {
    const r = await whole(model, stream, thinking);
    return { thought: r.parts.filter((p) => p.thought).map((p) => p.text).join(""), text: text(r.parts) };
  },
  async abort(model) {
    const got = [], stop = new AbortController();
    try {
      for await (const c of await client.models.generateContentStream(body(model, { abortSignal: stop.signal }))) { got.push(...parts(c).map((p) => p.text)); if (got.length === 3) stop.abort(); }
    } catch (e) { if (e.name !== "AbortError") throw e; }
    return got.slice(0, 3);
  },
  status: (e) => e.status,
  errors: { 401: [ApiError, 401], 404: [ApiError, 404], 429: [ApiError, 429], 500: [ApiError, 500], 503: [ApiError, 503], 529: [ApiError, 503], cut: ApiError },
});
