// Conversations of MQTT.js over WebSockets with a broker behind the gateway. Argument: the gateway's
// ws:// URL. Ends with 0 and the line `ok` when all was as it must be.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, 'x.js'));
const mqtt = require('mqtt');
const { WebSocket } = require('ws');
const url = process.argv[2];

/** A connected client, and its WebSocket. */
async function connected(options) {
  let socket;
  const createWebsocket = (url, protocols) => (socket = new WebSocket(url, protocols));
  const client = await mqtt.connectAsync(`${url}/mqtt`, {
    createWebsocket,
    reconnectPeriod: 0,
    ...options,
  });
  return { client, socket };
}

async function converse(protocolVersion) {
  const { client, socket } = await connected({ protocolVersion });
  assert.equal(socket.protocol, 'mqtt');
  const topic = `tidegate/${protocolVersion}`;
  const [granted] = await client.subscribeAsync(topic, { qos: 2 });
  assert.equal(granted.qos, 2);
  const binary = Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 7919) & 255));
  for (const qos of [0, 1, 2]) {
    for (const payload of [Buffer.from('héllo'), Buffer.alloc(0), binary]) {
      const [[, heard, packet]] = await Promise.all([
        once(client, 'message'),
        client.publishAsync(topic, payload, { qos }),
      ]);
      assert.ok(payload.equals(heard), `${payload.length} bytes at QoS ${qos} differ`);
      assert.equal(packet.qos, qos);
    }
  }
  await client.publishAsync(`${topic}/kept`, 'retained', { qos: 1, retain: true });
  const [[, heard, packet]] = await Promise.all([
    once(client, 'message'),
    client.subscribeAsync(`${topic}/+`),
  ]);
  assert.equal(heard.toString(), 'retained');
  assert.equal(packet.retain, true);
  await client.endAsync();
}

/** A client that goes without a word leaves its will. */
async function will() {
  const { client: hears } = await connected();
  await hears.subscribeAsync('tidegate/will');
  const { socket } = await connected({
    will: { topic: 'tidegate/will', payload: 'gone', qos: 0, retain: false },
  });
  const [[, heard]] = await Promise.all([once(hears, 'message'), socket.terminate()]);
  assert.equal(heard.toString(), 'gone');
  await hears.endAsync();
}

await Promise.all([converse(4), converse(5), will()]);
console.log('ok');
process.exit(0);
