// Conversations of a client of graphql-ws with a server of it behind the gateway. Argument: the
// gateway's ws:// URL. Below /graphql the subprotocol passes, below /none it does not. Ends with 0 and
// the line `ok` when all was as it must be.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, 'x.js'));
const { createClient } = require('graphql-ws');
const { WebSocket } = require('ws');
const url = process.argv[2];

function client(connectionParams) {
  return createClient({
    url: `${url}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams,
    retryAttempts: 0,
    lazy: true,
  });
}

async function results(client, query, variables) {
  const all = [];
  for await (const result of client.iterate({ query, variables })) all.push(result);
  return all;
}

async function converse() {
  const one = client({ token: 'x' });
  let protocol;
  one.on('opened', (socket) => (protocol = socket.protocol));
  const greeting = 'query($name: String!) { greeting(name: $name) }';
  const [wide] = await results(one, greeting, { name: 'wörld '.repeat(20_000) });
  assert.equal(wide.data.greeting, `hello ${'wörld '.repeat(20_000)}`);
  assert.equal(protocol, 'graphql-transport-ws');

  const counted = await results(one, 'subscription { count(to: 500) }');
  assert.deepEqual(
    counted.map((result) => result.data.count),
    Array.from({ length: 500 }, (_, n) => n + 1),
  );
  // Several operations share one session.
  const many = await Promise.all(
    Array.from({ length: 20 }, (_, n) => results(one, greeting, { name: `${n}` })),
  );
  many.forEach(([result], n) => assert.equal(result.data.greeting, `hello ${n}`));
  await assert.rejects(results(one, '{ nothing }'), (errors) => /nothing/.test(errors[0].message));
  await one.dispose();
}

/** The server's own close code reaches the client. */
async function forbidden() {
  await assert.rejects(results(client({ token: 'y' }), '{ greeting(name: "x") }'), { code: 4403 });
}

/** Its offer does not pass: the session opens without it, and the server says what it makes of that. */
async function unlisted() {
  const socket = new WebSocket(`${url}/none`, 'graphql-transport-ws');
  const [error] = await once(socket, 'error');
  assert.match(error.message, /Server sent no subprotocol/);
  const plain = new WebSocket(`${url}/none`);
  const [code, reason] = await once(plain, 'close');
  assert.deepEqual([code, reason.toString()], [4406, 'Subprotocol not acceptable']);
}

await Promise.all([converse(), forbidden(), unlisted()]);
console.log('ok');
process.exit(0);
