// What every SDK is put through, at upstreams of each dialect. A client file gives an adapter: how its SDK asks and what it reads
// in the answer, in plain values. Here are the values that must come out, and what the upstream must have been sent. Prints TAP.
//   GATEWAY, UPSTREAM  base URLs      KEY  a client key      MODULES  folder of node_modules
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

export const { GATEWAY, UPSTREAM, KEY, MODULES } = process.env;
export const load = createRequire(`${MODULES}/package.json`);

// ---- TAP ----

let count = 0, failed = 0;
const sorted = (v) => (v && typeof v === "object" && !Array.isArray(v)
  ? Object.fromEntries(Object.keys(v).sort().map((k) => [k, sorted(v[k])])) : Array.isArray(v) ? v.map(sorted) : v);
function say(good, name, detail) {
  console.log(`${good ? "ok" : "not ok"} ${++count} - ${name}`);
  if (!good) { failed++; console.log(`# ${JSON.stringify(detail ?? null)}`); }
}
const is = (got, want, name) => say(JSON.stringify(sorted(got)) === JSON.stringify(sorted(want)), name, { got: got ?? null, want });

// ---- what is asked ----

export const SYSTEM = "Answer briefly.", PROMPT = "Grüße, 世界 🌍: what is the weather?";
export const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
export const WEATHER = { name: "weather", description: "Weather of a city", schema: { type: "object",
  properties: { city: { type: "string", description: "Where" }, days: { type: "integer" } }, required: ["city", "days"], additionalProperties: false } };
export const PERSON = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"], additionalProperties: false };
export const weather = (args) => ({ temp: args.city === "Bern" ? 12 : 14, city: args.city });
const CALLS = [{ name: "weather", args: { city: "Bern", days: 2 } }, { name: "weather", args: { city: "Genève", days: 1 } }];

const FAMILY = { chat: "gpt-5", responses: "gpt-5", messages: "claude-sonnet-4-5", gemini: "gemini-2.5-flash" };
let serial = 0;
const limited = Object.fromEntries(Object.keys(FAMILY).map((u) => [u, 0]));
// A connection that was told to slow down rests for a while: for that there is a new one, r1-chat, r2-chat …, each time.
const family = (upstream, scene) => (upstream === "gemini" && scene === "signed" ? "gemini-3-flash" : FAMILY[upstream]); // the one that insists
const model = (upstream, scene) => `${scene === "e429" ? `r${++limited[upstream]}` : "u"}-${upstream}/${family(upstream, scene)}-${scene}.${++serial}`;

// ---- what the upstream was sent, read in its dialect ----

const asText = (v) => (typeof v === "string" ? v : (v ?? []).map((p) => p.text ?? "").join(""));
const parsed = (text) => { try { return JSON.parse(text); } catch { return text; } };
const dataUrl = (url) => { const m = /^data:([^;]+);base64,(.*)$/.exec(url ?? ""); return m && { mime: m[1], data: m[2] }; };
const lower = (s) => JSON.parse(JSON.stringify(s ?? null), (k, v) => (k === "type" && typeof v === "string" ? v.toLowerCase() : v));

const sent = {
  chat: {
    system: (b) => asText(b.messages.find((m) => m.role === "system" || m.role === "developer")?.content),
    user: (b) => asText(b.messages.find((m) => m.role === "user").content),
    tools: (b) => b.tools.map((t) => ({ name: t.function.name, description: t.function.description, schema: t.function.parameters })),
    calls: (b) => b.messages.flatMap((m) => m.tool_calls ?? []).map((c) => ({ id: c.id, name: c.function.name, args: JSON.parse(c.function.arguments) })),
    results: (b) => b.messages.filter((m) => m.role === "tool").map((m) => ({ id: m.tool_call_id, value: parsed(asText(m.content)) })),
    image: (b) => dataUrl(b.messages.flatMap((m) => (Array.isArray(m.content) ? m.content : [])).find((p) => p.image_url)?.image_url.url),
    schema: (b) => b.response_format?.json_schema?.schema,
    effort: (b) => b.reasoning_effort, wanted: ["medium"],
  },
  responses: {
    system: (b) => b.instructions ?? asText(b.input.find((m) => m.role === "system" || m.role === "developer")?.content),
    user: (b) => (typeof b.input === "string" ? b.input : asText(b.input.find((m) => m.role === "user").content)),
    tools: (b) => b.tools.map((t) => ({ name: t.name, description: t.description, schema: t.parameters })),
    calls: (b) => b.input.filter((i) => i.type === "function_call").map((i) => ({ id: i.call_id, name: i.name, args: JSON.parse(i.arguments) })),
    results: (b) => b.input.filter((i) => i.type === "function_call_output").map((i) => ({ id: i.call_id, value: parsed(asText(i.output)) })),
    image: (b) => dataUrl(b.input.flatMap((m) => (Array.isArray(m.content) ? m.content : [])).find((p) => p.type === "input_image")?.image_url),
    schema: (b) => b.text?.format?.schema,
    effort: (b) => b.reasoning?.effort, wanted: ["medium"],
    signature: (b) => b.input.find((i) => i.type === "reasoning")?.encrypted_content,
  },
  messages: {
    system: (b) => asText(b.system),
    user: (b) => asText(b.messages.find((m) => m.role === "user").content),
    tools: (b) => b.tools.map((t) => ({ name: t.name, description: t.description, schema: t.input_schema })),
    calls: (b) => b.messages.flatMap((m) => (Array.isArray(m.content) ? m.content : [])).filter((p) => p.type === "tool_use").map((p) => ({ id: p.id, name: p.name, args: p.input })),
    results: (b) => b.messages.flatMap((m) => (Array.isArray(m.content) ? m.content : [])).filter((p) => p.type === "tool_result")
      .map((p) => ({ id: p.tool_use_id, value: parsed(asText(p.content)) })),
    image: (b) => { const s = b.messages.flatMap((m) => (Array.isArray(m.content) ? m.content : [])).find((p) => p.type === "image")?.source; return s && { mime: s.media_type, data: s.data }; },
    schema: (b) => b.output_config?.format?.schema,
    effort: (b) => b.thinking?.budget_tokens, wanted: [10240, 8192],
    signature: (b) => b.messages.flatMap((m) => (Array.isArray(m.content) ? m.content : [])).find((p) => p.type === "thinking")?.signature,
  },
  gemini: {
    system: (b) => asText(b.systemInstruction?.parts),
    user: (b) => asText(b.contents.find((c) => c.role === "user").parts),
    tools: (b) => b.tools.flatMap((t) => t.functionDeclarations).map((t) => ({ name: t.name, description: t.description, schema: lower(t.parametersJsonSchema ?? t.parameters) })),
    calls: (b) => b.contents.flatMap((c) => c.parts).filter((p) => p.functionCall).map((p) => ({ name: p.functionCall.name, args: p.functionCall.args })),
    results: (b) => b.contents.flatMap((c) => c.parts).filter((p) => p.functionResponse).map((p) => ({ value: p.functionResponse.response })),
    image: (b) => { const d = b.contents.flatMap((c) => c.parts).find((p) => p.inlineData)?.inlineData; return d && { mime: d.mimeType, data: d.data }; },
    schema: (b) => lower(b.generationConfig?.responseJsonSchema ?? b.generationConfig?.responseSchema),
    effort: (b) => b.generationConfig?.thinkingConfig?.thinkingBudget, wanted: [8192, 10240],
    signature: (b) => b.contents.flatMap((c) => c.parts).find((p) => p.thoughtSignature)?.thoughtSignature,
  },
};

const ask = async (what, name) => (await fetch(`${UPSTREAM}/${what}?model=${encodeURIComponent(name.replace(/^[^/]+\//, ""))}`)).json();
const requests = (name) => ask("_log", name);
async function last(name) { const all = await requests(name); return all.at(-1)?.body; }

// A schema as far as every dialect can say it.
const core = (s) => s && { properties: Object.fromEntries(Object.entries(s.properties ?? {}).map(([k, v]) => [k, v.type])), required: [...(s.required ?? [])].sort() };

// ---- the scenes ----

const scenes = {
  async text(a, u, say) {
    for (const stream of [false, true]) {
      const m = model(u, "text"), got = await a.text(m, stream), how = stream ? "streamed text" : "text";
      is(got.text, "Hello, 世界 🌍!", say(how));
      is(got.finish, a.words.stop, say(`${how}: the end`));
      is(got.usage, [11, 7], say(`${how}: usage`));
      if (stream) is(got.pieces, ["Hel", "lo, ", "世界", " 🌍!"], say(`${how}: piece by piece`));
      const b = await last(m);
      is([sent[u].system(b), sent[u].user(b)], [SYSTEM, PROMPT], say(`${how}: instructions and question arrive`));
    }
  },

  async tools(a, u, say) {
    for (const stream of [false, true]) {
      const m = model(u, "tools"), got = await a.tools(m, stream), how = stream ? "streamed tools" : "tools";
      is(got.calls, CALLS, say(`${how}: two calls`));
      is([got.text, got.final], ["Let me look.", "Results: 2"], say(`${how}: the words before and after`));
      if (a.words.tools) is(got.finish, a.words.tools, say(`${how}: the end`));
      const [first, second] = await requests(m), s = sent[u];
      const tool = s.tools(first.body)[0];
      is([tool.name, tool.description, core(tool.schema)], [WEATHER.name, WEATHER.description, core(WEATHER.schema)], say(`${how}: the declaration arrives`));
      const calls = s.calls(second.body), results = s.results(second.body);
      is(calls.map(({ name, args }) => ({ name, args })), CALLS, say(`${how}: the calls come back`));
      is(results.map((r) => r.value), CALLS.map((c) => weather(c.args)), say(`${how}: with their results`));
      if (u !== "gemini") is(results.map((r) => r.id), ["a1", "b2"].map((n) => (u === "messages" ? "toolu_" : "call_") + n), say(`${how}: under the upstream's ids`));
    }
  },

  async image(a, u, say) {
    const m = model(u, "image");
    is(await a.image(m), "A red dot", say("image: the answer"));
    is(sent[u].image(await last(m)), { mime: "image/png", data: PNG }, say("image: its bytes arrive"));
  },

  async schema(a, u, say) {
    const m = model(u, "schema");
    is(await a.schema(m), { name: "Ada", age: 36 }, say("structured output: the value"));
    is(core(sent[u].schema(await last(m))), core(PERSON), say("structured output: the schema arrives"));
  },

  async reason(a, u, say) {
    for (const stream of [false, true]) {
      const m = model(u, "reason"), got = await a.reason(m, stream), how = stream ? "streamed reasoning" : "reasoning";
      is(got, { thought: a.shows === false ? undefined : "First I think.", text: "Then I speak." }, say(`${how}: thoughts and words`));
      const effort = sent[u].effort(await last(m));
      is(sent[u].wanted.includes(effort) ? sent[u].wanted[0] : effort, sent[u].wanted[0], say(`${how}: the effort arrives`));
    }
  },

  async signed(a, u, say) {
    if (!a.signed || !sent[u].signature) return;
    const m = model(u, "signed");
    is(await a.signed(m), "Results: 1", say("signed thoughts: the round trip"));
    // Messages and Responses have no place for a call's signature: Gemini gets the word that it takes instead
    const want = u === "gemini" && ["messages", "responses"].includes(a.own) ? "skip_thought_signature_validator" : "c2lnbmF0dXJlLXR3bw==";
    is(sent[u].signature(await last(m)), want, say("signed thoughts: the signature comes back as it was"));
  },

  async abort(a, u, say) {
    const m = model(u, "long");
    is(await a.abort(m), ["word0 ", "word1 ", "word2 "], say("abort: what came before"));
    const left = Date.now();
    while (!(await requests(m))[0]?.gone && Date.now() - left < 3000) await sleep(10);
    is((await requests(m))[0].gone, true, say("abort: the upstream sees it leave"));
  },

  async errors(a, u, say) {
    for (const status of [401, 404, 429, 500, 503, 529]) {
      for (const stream of [false, true]) {
        const name = say(`${status}${stream ? ", streamed" : ""}`), m = model(u, `e${status}`), e = await caught(() => a.text(m, stream));
        // what passes keeps its status, and with it its class
        const [usual, translated, own] = a.errors[status], [cls, seen] = a.own === u ? [own ?? usual, status] : [usual, translated];
        is(e && [e.constructor.name, e instanceof cls, a.status(e)], [cls.name, true, seen], `${name}: its class`);
        is(String(e?.message).includes(MESSAGES[status]), true, `${name}: the upstream's words` + (String(e?.message).includes(MESSAGES[status]) ? "" : ` (${e?.message})`));
        if (status === 429 && a.retryAfter) is(a.retryAfter(e), "7", `${name}: when to come again`);
      }
    }
  },

  async cut(a, u, say) {
    const m = model(u, "cut"), got = [];
    got.push = (...more) => { const n = Array.prototype.push.apply(got, more); if (n === 2) ask("_go", m); return n; };
    const e = await caught(() => a.pieces(m, got));
    is(got, ["Half of ", "it"], say("error in the stream: what came before"));
    is(e && [e.constructor.name, e instanceof a.errors.cut], [a.errors.cut.name, true], say("error in the stream: its class"));
    is(/broke in the middle/.test(a.words.cut ? a.words.cut(e) : e?.message), true, say("error in the stream: the upstream's words"));
  },
};

const MESSAGES = { 401: "bad credentials", 404: "no such model", 429: "slow down", 500: "boom", 503: "too busy", 529: "overloaded" };
async function caught(fn) { try { await fn(); return null; } catch (e) { return e; } }

export async function run(...adapters) {
  const only = process.env.ONLY?.split(",");
  for (const a of adapters) {
    for (const u of Object.keys(sent)) {
      for (const [name, scene] of Object.entries(scenes)) {
        if (only && !only.includes(name) && !only.includes(u)) continue;
        try { await scene(a, u, (what) => `${a.name} at ${u}: ${what}`); }
        catch (e) { say(false, `${a.name} at ${u}: ${name} did not throw`, String(e?.stack ?? e)); }
      }
    }
  }
  console.log(`1..${count}`);
  process.exit(failed ? 1 : 0);
}
