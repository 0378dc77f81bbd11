// A client of the old bridge: one socket, no subprotocol, no ids. It knows an answer by its type, base URL
// and URI alone, and takes whatever `body` holds.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, "x.js"));
const { WebSocket } = require("ws");

const socket = new WebSocket(process.argv[2]);
const waiting = new Map();

function call(type, uri, body) {
  const request = { type, baseUrl: "http://account-service", uri };
  if (body !== undefined) request.body = body;
  return new Promise((resolve) => {
    const key = JSON.stringify([request.type, request.baseUrl, request.uri]);
    waiting.set(key, [...(waiting.get(key) ?? []), resolve]);
    socket.send(JSON.stringify(request));
  });
}

socket.on("message", (text) => {
  const answer = JSON.parse(text);
  const key = JSON.stringify([answer.type, answer.baseUrl, answer.uri]);
  const resolve = waiting.get(key)?.shift();
  if (!resolve) throw new Error(`an answer that nobody waits for: ${text}`);
  resolve(answer);
});
socket.on("error", (error) => {
  throw error;
});

function same(seen, expected) {
  if (JSON.stringify(seen) !== JSON.stringify(expected)) {
    throw new Error(`${JSON.stringify(seen)} in place of ${JSON.stringify(expected)}`);
  }
}

socket.on("open", async () => {
  const calls = [];
  for (let n = 0; n < 50; n += 1) {
    calls.push(call("GET", `accounts/${n}?sort=id:desc`).then((answer) => same(answer.body, { sent: "", target: `/accounts/${n}?sort=id:desc` })));
  }
  await Promise.all(calls);
  // Two that are the same are answered twice.
  const twice = await Promise.all([call("GET", "me"), call("GET", "me")]);
  for (const answer of twice) same(answer, { type: "GET", baseUrl: "http://account-service", uri: "me", body: { sent: "", target: "/me" } });
  const paid = await call("POST", "cash-out", { value: -100, note: "ä\"" });
  same(paid.body.sent, '{"value":-100,"note":"ä\\""}');
  socket.close(1000);
});
socket.on("close", (code) => {
  console.log(code === 1000 && [...waiting.values()].every((left) => left.length === 0) ? "ok" : `closed with ${code}`);
});
