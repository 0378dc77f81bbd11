// Conversations of STOMP.js over Node's `ws` with a broker behind the gateway. Argument: the gateway's
// ws:// URL. Below /stomp every subprotocol passes, below /old only v11.stomp, below /none none of STOMP's.
// Ends with 0 and the line `ok` when all was as it must be.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, 'x.js'));
const { Client, Versions } = require('@stomp/stompjs');
const { WebSocket } = require('ws');
const url = process.argv[2];

/** A connected client of STOMP, and what it was told of its errors. */
async function connected(path, options = {}) {
  const client = new Client({
    webSocketFactory: () => new WebSocket(`${url}${path}`, client.stompVersions.protocolVersions()),
    connectHeaders: { login: 'guest', passcode: 'guest' },
    heartbeatIncoming: 1000,
    heartbeatOutgoing: 1000,
    reconnectDelay: 0,
    ...options,
  });
  await new Promise((resolve, reject) => {
    client.onConnect = resolve;
    client.onStompError = (frame) => reject(new Error(frame.headers.message));
    client.onWebSocketError = (event) => reject(event.error ?? event);
    client.onWebSocketClose = (event) => reject(new Error(`closed with ${event.code}`));
    client.activate();
  });
  client.onStompError = (frame) => assert.fail(frame.headers.message);
  client.onWebSocketError = (event) => assert.fail(event.message);
  client.onWebSocketClose = () => {};
  return client;
}

/** Ends the conversation as STOMP has it, and the session with it. */
async function disconnected(client) {
  const closed = once(client.webSocket, 'close');
  await client.deactivate();
  await closed;
}

/** What comes to `destination`, one message after the other. */
function inbox(client, destination, headers = {}) {
  const waiting = [];
  const come = [];
  const subscription = client.subscribe(
    destination,
    (message) => (waiting.shift() ?? come.push.bind(come))(message),
    headers,
  );
  const next = () => (come.length ? come.shift() : new Promise((resolve) => waiting.push(resolve)));
  return { next, subscription };
}

/** Publishes, and waits until the broker has it. */
function published(client, destination, rest) {
  const receipt = `r-${Math.random()}`;
  const taken = new Promise((resolve) => client.watchForReceipt(receipt, resolve));
  client.publish({ destination, ...rest, headers: { ...rest.headers, receipt } });
  return taken;
}

async function converse(path, protocol, version, options) {
  const client = await connected(path, options);
  assert.equal(client.webSocket.protocol, protocol);
  assert.equal(client.connectedVersion, version);
  const destination = `/queue/tidegate-${protocol}-${version}`;
  const { next, subscription } = inbox(client, destination, { ack: 'client-individual' });

  for (const body of ['héllo wörld', '', 'all work and no play '.repeat(50_000)]) {
    const key = version === '1.2' ? 'a:b\nc\\d' : 'a'; // escapes differ between the two before that
    await published(client, destination, { body, headers: { 'x-key': key } });
    const message = await next();
    assert.equal(message.body, body);
    assert.equal(message.headers['x-key'], key);
    message.ack();
  }
  const binaryBody = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 7919) & 255);
  await published(client, destination, { binaryBody });
  const binary = await next();
  assert.deepEqual(binary.binaryBody, binaryBody);
  // What is not acknowledged comes again.
  binary.nack();
  const again = await next();
  assert.equal(again.headers.redelivered, 'true');
  again.ack();

  const transaction = client.begin();
  client.publish({ destination, body: 'dropped', headers: { transaction: transaction.id } });
  transaction.abort();
  await published(client, destination, { body: 'kept' });
  const kept = await next();
  assert.equal(kept.body, 'kept');
  kept.ack();

  subscription.unsubscribe();
  await disconnected(client);
}

/** What one says on a topic, the others hear, each in its own version. */
async function talk() {
  const clients = await Promise.all([connected('/stomp'), connected('/old'), connected('/stomp')]);
  const topic = '/topic/tidegate';
  const inboxes = clients.map((client) => inbox(client, topic));
  // A receipt of something later says that the subscriptions stand.
  await Promise.all(clients.map((client, n) => published(client, `/queue/seen-${n}`, { body: 'x' })));
  for (let n = 0; n < 50; n += 1) {
    clients[n % clients.length].publish({ destination: topic, body: `${n}` });
    for (const { next } of inboxes) assert.equal((await next()).body, `${n}`);
  }
  await Promise.all(clients.map(disconnected));
}

/** The broker's heart-beats reach a client that waits for nothing else. */
async function beats() {
  let count = 0;
  const client = await connected('/stomp', {
    logRawCommunication: true,
    debug: (line) => (count += line === '<<< PONG' ? 1 : 0),
  });
  while (count < 2) await new Promise((resolve) => setTimeout(resolve, 50));
  await disconnected(client);
}

/** Who is not let in is told by the broker's own ERROR. */
async function refused() {
  const login = { connectHeaders: { login: 'guest', passcode: 'wrong' } };
  await assert.rejects(connected('/stomp', login), /Bad CONNECT|Access refused/);
}

/** None of its offers passes: the session opens, and `ws` ends it, for nothing was chosen. */
async function unchosen() {
  await assert.rejects(connected('/none'), /Server sent no subprotocol/);
}

await Promise.all([
  converse('/stomp', 'v12.stomp', '1.2'),
  converse('/stomp', 'v11.stomp', '1.1', { stompVersions: new Versions([Versions.V1_1]) }),
  // STOMP agrees on its version by itself.
  converse('/old', 'v11.stomp', '1.2'),
  talk(),
  beats(),
  refused(),
  unchosen(),
]);
console.log('ok');
process.exit(0);
