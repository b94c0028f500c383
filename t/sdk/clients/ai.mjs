// Vercel's ai, with its providers for OpenAI (Chat and Responses) and Anthropic.
import { GATEWAY, KEY, load, run, SYSTEM, PROMPT, PNG, WEATHER, weather } from "../kit.mjs";
const { generateText, streamText, tool, isStepCount, Output, APICallError, StreamProviderError } = load("ai");
const { createOpenAI } = load("@ai-sdk/openai"), { createAnthropic } = load("@ai-sdk/anthropic"), { z } = load("zod");
const openai = createOpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: KEY }), anthropic = createAnthropic({ baseURL: `${GATEWAY}/v1`, apiKey: KEY });

const tools = { [WEATHER.name]: tool({ description: WEATHER.description, execute: weather,
  inputSchema: z.strictObject({ city: z.string().describe("Where"), days: z.int() }) }) };

function adapter(name, own, model_of, options, more) {
  const body = (model, extra = {}) => ({ model: model_of(model), system: SYSTEM, prompt: PROMPT, maxRetries: 0, providerOptions: options.plain ?? {}, ...extra });

  // What a stream throws arrives as a part.
  async function* streamed(model, extra) {
    for await (const p of streamText(body(model, { onError() {}, ...extra })).fullStream) {
      if (p.type === "error") throw p.error;
      yield p;
    }
  }
  async function whole(model, stream, extra) {
    if (!stream) return generateText(body(model, extra));
    const r = streamText(body(model, extra));
    await r.consumeStream();
    return { text: await r.text, reasoningText: await r.reasoningText, finishReason: await r.finishReason, usage: await r.usage, steps: await r.steps };
  }
  const thinking = { providerOptions: options.thinking, ...(own === "messages" ? { maxOutputTokens: 16000 } : {}) };
  const roundTrip = (model, stream, extra = {}) => whole(model, stream, { tools, stopWhen: isStepCount(3), ...extra });
  return {
    name, own,
    words: { stop: "stop", tools: "tool-calls" },
    async text(model, stream) {
      if (!stream) { const r = await whole(model, false); return { text: r.text, finish: r.finishReason, usage: [r.usage.inputTokens, r.usage.outputTokens] }; }
      const got = { pieces: [] };
      for await (const p of streamed(model)) {
        if (p.type === "text-delta") got.pieces.push(p.text);
        if (p.type === "finish") Object.assign(got, { finish: p.finishReason, usage: [p.totalUsage.inputTokens, p.totalUsage.outputTokens] });
      }
      return { ...got, text: got.pieces.join("") };
    },
    async pieces(model, got) { for await (const p of streamed(model)) if (p.type === "text-delta") got.push(p.text); },
    async tools(model, stream) {
      const { steps: [first, second] } = await roundTrip(model, stream);
      return { calls: first.toolCalls.map((c) => ({ name: c.toolName, args: c.input })), text: first.text, finish: first.finishReason, final: second.text };
    },
    signed: async (model) => (await roundTrip(model, true, thinking)).steps.at(-1).text,
    image: async (model) => (await whole(model, false, { prompt: undefined, messages: [{ role: "user", content: [{ type: "text", text: "What is it?" },
      { type: "image", image: PNG, mediaType: "image/png" }] }] })).text,
    schema: async (model) => (await generateText(body(model, { output: Output.object({ schema: z.strictObject({ name: z.string(), age: z.int() }) }) }))).output,
    async reason(model, stream) { const r = await whole(model, stream, thinking); return { thought: r.reasoningText, text: r.text }; },
    async abort(model) {
      const got = [], stop = new AbortController();
      for await (const p of streamed(model, { abortSignal: stop.signal })) { if (p.type === "text-delta") got.push(p.text); if (got.length === 3) stop.abort(); }
      return got.slice(0, 3);
    },
    status: (e) => e.statusCode,
    retryAfter: (e) => e.responseHeaders["retry-after"],
    errors: { 401: [APICallError, 401], 404: [APICallError, 404], 429: [APICallError, 429], 500: [APICallError, 500],
      503: [APICallError, own === "messages" ? 529 : 503], 529: [APICallError, own === "messages" ? 529 : 503], cut: StreamProviderError },
    ...more,
  };
}

const effort = { openai: { reasoningEffort: "medium", forceReasoning: true } };
await run(
  adapter("ai with openai.chat", "chat", (m) => openai.chat(m), { thinking: effort }, { shows: false, signed: undefined }),
  adapter("ai with openai.responses", "responses", (m) => openai.responses(m), { plain: { openai: { store: false } },
    thinking: { openai: { ...effort.openai, store: false, reasoningSummary: "auto", include: ["reasoning.encrypted_content"] } } }),
  adapter("ai with anthropic", "messages", (m) => anthropic(m), { plain: { anthropic: { structuredOutputMode: "outputFormat" } },
    thinking: { anthropic: { thinking: { type: "enabled", budgetTokens: 10240 } } } }),
);
