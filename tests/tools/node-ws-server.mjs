// A WebSocket server on Node's `ws` for the black-box cases: chooses the subprotocol `second` where
// it is offered, sets two cookies, compresses, echoes, and refuses /refuse with a 401 and a body.
// Prints `port N` once it accepts.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, 'x.js'));
const { WebSocketServer } = require('ws');

const http = createServer((request, response) => response.end(`plain ${request.url}`));
const server = new WebSocketServer({
  noServer: true,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => (offered.has('second') ? 'second' : false),
});
server.on('headers', (headers) => headers.push('Set-Cookie: a=1', 'Set-Cookie: b=2', 'X-From: node'));
http.on('upgrade', (request, socket, head) => {
  if (request.url.startsWith('/refuse')) {
    const body = 'not today';
    socket.end(
      'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="node"\r\nConnection: close\r\n' +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    return;
  }
  server.handleUpgrade(request, socket, head, (connection) => {
    connection.on('message', (data, isBinary) => connection.send(data, { binary: isBinary }));
    connection.on('error', (error) => console.log(`error ${error.message}`));
  });
});
http.listen(0, '127.0.0.1', () => console.log(`port ${http.address().port}`));
