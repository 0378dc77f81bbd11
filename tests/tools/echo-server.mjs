// A WebSocket echo server on Node's `ws`: the upstream behind the gateway in the Autobahn run.
//
// Listens on a free loopback port and prints one line, {"port": N}, once it accepts.
// Every limit of `ws` on size and fragments is off (0): the suite sends messages of 16 MiB and
// of many thousand fragments, and it is the gateway we judge here, not the upstream's limits.
// Ends when its standard input ends, so that it never outlives whoever started it.
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  perMessageDeflate: true,
  maxPayload: 0,
  maxFragments: 0,
  maxBufferedChunks: 0,
  skipUTF8Validation: false,
});

server.on('connection', (socket) => {
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
  // A protocol error is `ws`'s own to answer (1002, 1007 ...); without a listener it would end the process.
  socket.on('error', () => {});
});

server.on('listening', () => {
  console.log(JSON.stringify({ port: server.address().port }));
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
