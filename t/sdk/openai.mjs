// The official openai client against a gateway, as an application would use it. Prints TAP.
//   GATEWAY   base URL of the gateway (or of nginx in front of it), without /v1
//   UPSTREAM  base URL of the scriptable upstream      KEY  a client key
//   STREAMS   how many streams at once                 MODULES  folder of node_modules
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const { GATEWAY, UPSTREAM, KEY, MODULES } = process.env;
const STREAMS = Number(process.env.STREAMS ?? 200);
const { OpenAI } = createRequire(`${MODULES}/package.json`)("openai");
const client = new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: KEY, maxRetries: 0 });

let count = 0, failed = 0;
const say = (good, name, detail) => {
  console.log(`${good ? "ok" : "not ok"} ${++count} - ${name}`);
  if (!good) { failed++; console.log(`# ${JSON.stringify(detail ?? null)}`); }
};
const is = (got, want, name) => say(JSON.stringify(got) === JSON.stringify(want), name, { got, want });
async function throws(cls, status, name, fn) {
  try { const r = await fn(); say(false, name, { returned: r }); return null; }
  catch (e) {
    say(e instanceof cls && e.status === status, name, { class: e?.constructor?.name, status: e?.status, message: e?.message });
    return e;
  }
}

const script = (behaviours) => fetch(`${UPSTREAM}/_script`, { method: "PUT", body: JSON.stringify(behaviours) });
const seen = async () => (await fetch(`${UPSTREAM}/_log`)).json();
async function reset() { await fetch(`${UPSTREAM}/_script`, { method: "DELETE" }); }

const json = [["Content-Type", "application/json"]];
const sse = [["Content-Type", "text/event-stream; charset=utf-8"]];
const messages = [{ role: "user", content: "Grüße, 世界 🌍" }];
const chunk = (delta, finish_reason = null, more = {}) =>
  `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1700000000, model: "m",
    choices: [{ index: 0, delta, finish_reason }], ...more })}\n\n`;
const words = (text) => chunk({ role: "assistant", content: "" }) +
  text.split(/(?<= )/).map((w) => chunk({ content: w })).join("") + chunk({}, "stop") + "data: [DONE]\n\n";
const errorBody = (message, type, code) => JSON.stringify({ error: { message, type, param: null, code } });

async function plain() {
  await script({ status: 200, headers: json, body: JSON.stringify({ id: "chatcmpl-9", object: "chat.completion", created: 1, model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: "Hallo" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 } }) });
  const { data, response } = await client.chat.completions.create({ model: "plain/gpt-x", messages }).withResponse();
  is(data.choices[0].message.content, "Hallo", "plain chat: the answer");
  is(data.usage, { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 }, "plain chat: usage");
  say(/^[\w.-]+$/.test(response.headers.get("x-request-id") ?? ""), "plain chat: a request id");
  const log = await seen();
  const body = JSON.parse(Buffer.from(log.at(-1).body64, "base64"));
  is(body.model, "gpt-x", "the upstream is asked for its own model");
  is(body.messages, messages, "the upstream gets the messages");
}

async function streamed() {
  await script({ status: 200, headers: sse, framing: "chunked", piece: 37, delay: 1, body: words("Eins zwei drei vier") });
  const got = [];
  let finish;
  for await (const c of await client.chat.completions.create({ model: "plain/m", messages, stream: true })) {
    if (c.choices[0].delta.content) got.push(c.choices[0].delta.content);
    finish = c.choices[0].finish_reason ?? finish;
  }
  is(got, ["Eins ", "zwei ", "drei ", "vier"], "streamed chat: the words in order");
  is(finish, "stop", "streamed chat: the end");
}

async function tools() {
  const tool = { type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } } };
  const call = (args, first) => chunk({ ...(first ? { role: "assistant", content: null } : {}), tool_calls: [{ index: 0, ...(first ? { id: "call_1", type: "function" } : {}),
    function: { ...(first ? { name: "weather" } : {}), arguments: args } }] });
  await script({ status: 200, headers: sse, framing: "chunked", piece: 11,
    body: call("", true) + call('{"ci') + call('ty":"Bern"}') + chunk({}, "tool_calls") + "data: [DONE]\n\n" });
  const stream = client.chat.completions.stream({ model: "plain/m", messages, tools: [tool] });
  const final = await stream.finalChatCompletion();
  is(final.choices[0].message.tool_calls?.[0]?.function, { name: "weather", arguments: '{"city":"Bern"}' }, "streamed tool call");
  is(final.choices[0].finish_reason, "tool_calls", "streamed tool call: the end");
  const echo = await client.chat.completions.create({ model: "echo/echo-1", messages, tools: [tool], tool_choice: "required" });
  is(echo.choices[0].message.tool_calls?.[0]?.function?.name, "weather", "echo calls a tool when one is required");
}

async function abort() {
  await reset();
  await script({ status: 200, headers: sse, framing: "chunked", piece: 200, delay: 20, body: words("lang ".repeat(2000)) });
  const stream = await client.chat.completions.create({ model: "plain/m", messages, stream: true });
  let n = 0, left = 0;
  for await (const c of stream) {
    if (++n === 5) { left = Date.now(); stream.controller.abort(); break; }
  }
  let rec;
  for (let i = 0; i < 200; i++) {
    rec = (await seen()).find((r) => r.state === "gone");
    if (rec) break;
    await sleep(10);
  }
  say(rec && rec.gone_at - left < 1000, "abort mid-stream: the upstream sees it leave", rec);
}

async function errors() {
  await script([
    { match: { model: "e404" }, status: 404, headers: json, body: errorBody("no such model", "invalid_request_error", "model_not_found") },
    { match: { model: "e429" }, status: 429, headers: [...json, ["Retry-After", "7"]], body: errorBody("slow down", "rate_limit_error", "rate_limit_exceeded") },
    { match: { model: "e500" }, status: 500, headers: json, body: errorBody("boom", "server_error", null) },
    { match: { model: "ecut" }, status: 200, headers: sse, framing: "chunked", end: "fin", unended: true,
      body: chunk({ content: "half" }) },
  ]);
  const wrong = new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: "or-not-a-key-at-all-0123456789", maxRetries: 0 });
  await throws(OpenAI.AuthenticationError, 401, "a wrong key is an AuthenticationError",
    () => wrong.chat.completions.create({ model: "plain/m", messages }));
  await throws(OpenAI.NotFoundError, 404, "a model that is not listed is a NotFoundError", () => client.models.retrieve("plain/nothing"));
  await throws(OpenAI.BadRequestError, 400, "no model is a BadRequestError", () => client.chat.completions.create({ messages }));
  let e = await throws(OpenAI.NotFoundError, 404, "the upstream's 404 is a NotFoundError",
    () => client.chat.completions.create({ model: "c404/e404", messages }));
  say(e?.message.includes("no such model"), "with the upstream's words", e?.message);
  e = await throws(OpenAI.RateLimitError, 429, "the upstream's 429 is a RateLimitError",
    () => client.chat.completions.create({ model: "c429/e429", messages }));
  say(Number(e?.headers?.get("retry-after")) >= 1, "with Retry-After", e?.headers?.get("retry-after"));
  await throws(OpenAI.InternalServerError, 500, "the upstream's 500 is an InternalServerError",
    () => client.chat.completions.create({ model: "c500/e500", messages, stream: true }));
  const got = [];
  try {
    for await (const c of await client.chat.completions.create({ model: "ccut/ecut", messages, stream: true }))
      got.push(c.choices[0].delta.content);
    say(false, "a stream that breaks off raises", got);
  } catch (err) {
    say(err instanceof OpenAI.APIError, "a stream that breaks off raises an APIError", String(err));
  }
  is(got, ["half"], "after the words that came");
}

async function many() {
  const text = (i) => `Strom ${i} hat seine eigenen Wörter und endet mit ${i * 7}`;
  await script(Array.from({ length: STREAMS }, (_, i) => ({ match: { model: `s${i}` }, status: 200, headers: sse,
    framing: "chunked", piece: 53 + (i % 40), delay: 5, body: words(text(i)) })));
  const results = await Promise.all(Array.from({ length: STREAMS }, async (_, i) => {
    let all = "";
    for await (const c of await client.chat.completions.create({ model: `plain/s${i}`, messages, stream: true }))
      all += c.choices[0].delta.content ?? "";
    return all === text(i);
  }));
  is(results.filter(Boolean).length, STREAMS, `${STREAMS} streams at once, each with its own words`);
}

async function models() {
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  say(ids.includes("echo/echo-1"), "models are listed", ids);
  is((await client.models.retrieve("echo/echo-1")).object, "model", "one model");
}

for (const test of [plain, streamed, tools, abort, errors, many, models]) {
  try { await test(); } catch (e) { say(false, `${test.name} did not throw`, String(e?.stack ?? e)); }
}
await reset();
console.log(`1..${count}`);
process.exit(failed ? 1 : 0);
