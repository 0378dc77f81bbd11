// A conversation of Node's `ws` over TLS with an echo server behind the gateway. Arguments: the
// gateway's wss:// URL, and the files of its authority, of the client's certificate and of its key.
// Ends with 0 and the line `ok` when all was as it must be.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, 'x.js'));
const { WebSocket } = require('ws');
const [url, ca, cert, key] = process.argv.slice(2);
const files = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };

async function converse(versions) {
  const socket = new WebSocket(url, { ...files, ...versions, perMessageDeflate: false });
  await once(socket, 'open');
  for (const size of [0, 1, 125, 126, 16384, 65536, 1_000_000]) {
    const data = Buffer.alloc(size, 7);
    socket.send(data);
    const [answer] = await once(socket, 'message');
    assert.ok(data.equals(answer), `${size}`);
  }
  socket.close(1000, 'bye');
  const [code, reason] = await once(socket, 'close');
  assert.equal(code, 1000);
  assert.equal(reason.toString(), 'bye');
}

async function isRefused() {
  const socket = new WebSocket(url, { ca: files.ca });
  const outcome = await Promise.race([
    once(socket, 'open').then(() => 'open'),
    new Promise((resolve) => socket.once('error', () => resolve('error'))),
  ]).catch(() => 'error');
  assert.equal(outcome, 'error');
}

await converse({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
await converse({ minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' });
await isRefused();
console.log('ok');
