// permessage-deflate with Node's `ws`, with every combination of its parameters.
// As a client, `client URL`: talks with an echo server. As a server, `server`: echoes at /0, /1, ...,
// each with another combination; prints `ports` and the port of each.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, 'x.js'));
const { WebSocket, WebSocketServer } = require('ws');
const [role, url] = process.argv.slice(2);

/** Every combination; zlib cannot compress with a window of 8 bits, and `false` would be a refusal. */
function* combinations(serverBits, clientBits) {
  for (const serverNoContextTakeover of [undefined, true])
    for (const clientNoContextTakeover of [undefined, true])
      for (const serverMaxWindowBits of serverBits)
        for (const clientMaxWindowBits of clientBits)
          yield {
            serverNoContextTakeover,
            clientNoContextTakeover,
            serverMaxWindowBits,
            clientMaxWindowBits,
            threshold: 0,
          };
}

const noise = Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * index * 7919) >> 3));
// Equal ones, whose second leans on the first where the context is kept; across a window's end; empty.
const messages = [
  '{"name":"Straße","value":4711}'.repeat(20),
  '{"name":"Straße","value":4712}'.repeat(20),
  '',
  noise,
  Buffer.concat([noise, noise, Buffer.alloc(40_000, 'ab'), noise]),
  '{"name":"Straße","value":4711}'.repeat(20),
];

async function converse(perMessageDeflate) {
  const socket = new WebSocket(url, { perMessageDeflate });
  await once(socket, 'open');
  assert.equal(socket.extensions, 'permessage-deflate');
  for (const message of messages) {
    socket.send(message);
    const [heard] = await once(socket, 'message');
    assert.ok(Buffer.from(message).equals(heard), JSON.stringify(perMessageDeflate));
  }
  socket.close(1000);
  const [code] = await once(socket, 'close');
  assert.equal(code, 1000);
}

if (role === 'client') {
  for (const options of combinations([undefined, 8, 9, 15], [true, 9, 15])) {
    await converse(options);
  }
  console.log('ok');
  process.exit(0);
}

const servers = [...combinations([undefined, 9, 15], [undefined, 9, 15])].map(
  (perMessageDeflate) => new WebSocketServer({ noServer: true, perMessageDeflate }),
);
const http = createServer();
http.on('upgrade', (request, socket, head) => {
  const server = servers[Number(request.url.slice(1))];
  server.handleUpgrade(request, socket, head, (connection) => {
    connection.on('message', (data, isBinary) => connection.send(data, { binary: isBinary }));
    connection.on('error', (error) => console.log(`error ${error.message}`));
  });
});
http.listen(0, '127.0.0.1', () => {
  console.log(`ports ${Array(servers.length).fill(http.address().port).join(' ')}`);
});
