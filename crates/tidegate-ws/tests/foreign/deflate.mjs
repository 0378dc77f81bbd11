// permessage-deflate as Node's ws has it; the lines are those of deflate.py, without `sizes`.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const ws = `${process.env.TIDEGATE_NODE_TOOLS}/node_modules/ws/lib`;
const require = createRequire(import.meta.url);
const PerMessageDeflate = require(`${ws}/permessage-deflate.js`);
const { format, parse } = require(`${ws}/extension.js`);
const name = PerMessageDeflate.extensionName;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => (await lines.next()).value;
const say = (line) => process.stdout.write(`${line}\n`);

function settings(words) {
  const [server, client, serverBits, clientBits] = words.map(Number);
  return {
    serverNoContextTakeover: Boolean(server),
    clientNoContextTakeover: Boolean(client),
    serverMaxWindowBits: serverBits || undefined,
    clientMaxWindowBits: clientBits > 1 ? clientBits : clientBits === 1 ? undefined : false,
    threshold: 0,
  };
}

async function negotiated(role, words) {
  const isServer = role === "server";
  const options = settings(words);
  // As a server, ws is not told to let takeover be where it was not asked to forbid it.
  if (isServer) {
    options.serverNoContextTakeover ||= undefined;
    options.clientNoContextTakeover ||= undefined;
    options.clientMaxWindowBits ||= undefined;
  } else {
    options.clientNoContextTakeover ||= undefined;
  }
  const extension = new PerMessageDeflate({ ...options, isServer });
  if (!isServer) say(format({ [name]: extension.offer() }));
  try {
    const answer = extension.accept(parse(await next())[name]);
    say(isServer ? format({ [name]: [answer] }) : "agreed");
  } catch {
    say("-");
  }
  return extension;
}

const turn = (extension, verb, data, fin) =>
  new Promise((resolve, reject) =>
    extension[verb](data, fin, (error, result) => (error ? reject(error) : resolve(result))),
  );

async function message(extension, pieces) {
  const parts = [];
  const all = pieces.split(",").map((piece) => Buffer.from(piece, "hex"));
  for (const [place, piece] of all.entries())
    parts.push(Buffer.from(await turn(extension, "decompress", piece, place + 1 === all.length)));
  const plain = Buffer.concat(parts);
  const half = plain.length >> 1;
  const first = Buffer.from(await turn(extension, "compress", plain.subarray(0, half), false));
  const second = Buffer.from(await turn(extension, "compress", plain.subarray(half), true));
  say(`${plain.toString("hex")} ${first.toString("hex")},${second.toString("hex")}`);
}

let extension;
for (let line = await next(); line !== undefined; line = await next()) {
  const [verb, ...words] = line.split(" ");
  if (verb === "new") extension = await negotiated(words[0], words.slice(1));
  else await message(extension, words[0]);
}
