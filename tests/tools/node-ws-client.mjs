// A conversation of Node's `ws` with an echo server behind the gateway. Arguments: the gateway's
// ws:// URL, and the reason that its close answers with where that is not ours. Ends with 0 and
// the line `ok` when all was as it must be.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, 'x.js'));
const { WebSocket } = require('ws');
const [url, farewell = 'bye'] = process.argv.slice(2);

async function converse() {
  const socket = new WebSocket(`${url}/open`, ['first', 'second'], {
    perMessageDeflate: { threshold: 0 },
    maxPayload: 0,
  });
  let cookies = 0;
  socket.on('upgrade', (response) => {
    cookies = response.headers['set-cookie']?.length ?? 0;
  });
  await once(socket, 'open');
  assert.equal(socket.protocol, 'second');
  assert.equal(cookies, 2);
  assert.match(socket.extensions, /permessage-deflate/);

  const echoed = async (data, options = {}) => {
    socket.send(data, options);
    const [answer, isBinary] = await once(socket, 'message');
    return isBinary ? answer : answer.toString();
  };
  assert.equal(await echoed('héllo wörld'), 'héllo wörld');
  assert.equal(await echoed(''), '');
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7919) & 255));
  assert.ok(bytes.equals(await echoed(bytes)));
  assert.ok(bytes.equals(await echoed(bytes, { compress: false, binary: true })));
  const long = 'all work and no play '.repeat(100_000);
  assert.equal(await echoed(long), long);

  socket.send('one ', { fin: false });
  socket.send('two ', { fin: false });
  socket.send('three', { fin: true });
  const [whole] = await once(socket, 'message');
  assert.equal(whole.toString(), 'one two three');

  socket.ping('are you there');
  const [pong] = await once(socket, 'pong');
  assert.equal(pong.toString(), 'are you there');

  socket.close(4001, 'bye');
  const [code, reason] = await once(socket, 'close');
  assert.deepEqual([code, reason.toString()], [4001, farewell]);
}

async function refused() {
  const socket = new WebSocket(`${url}/refuse`);
  socket.on('error', () => {});
  const [, response] = await once(socket, 'unexpected-response');
  let body = '';
  for await (const part of response) body += part;
  assert.equal(response.statusCode, 401);
  assert.match(response.headers['www-authenticate'], /^Basic realm=/);
  assert.equal(body, 'not today');
}

await converse();
await refused();
console.log('ok');
process.exit(0);
