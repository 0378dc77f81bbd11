// Signs tokens with Node's own cryptography. Reads one JSON request per line, writes one answer per line:
// {"make": "rsa"} makes a key and tells its public half; {"sign": {...}} tells a token.
import crypto from "node:crypto";
import readline from "node:readline";

const KINDS = {
  rsa: () => crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }),
  rsa1024: () => crypto.generateKeyPairSync("rsa", { modulusLength: 1024 }),
  p256: () => crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }),
  p384: () => crypto.generateKeyPairSync("ec", { namedCurve: "P-384" }),
  p521: () => crypto.generateKeyPairSync("ec", { namedCurve: "P-521" }),
  ed25519: () => crypto.generateKeyPairSync("ed25519"),
};

const keys = new Map();
const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

function make({ name, kind }) {
  const pair = KINDS[kind]();
  keys.set(name, pair.privateKey);
  return {
    pem: pair.publicKey.export({ type: "spki", format: "pem" }),
    private: pair.privateKey.export({ type: "pkcs8", format: "pem" }),
    pkcs1: kind.startsWith("rsa") ? pair.publicKey.export({ type: "pkcs1", format: "pem" }) : null,
    jwk: pair.publicKey.export({ format: "jwk" }),
  };
}

function signature(how, key, secret, message) {
  const hash = `sha${how.slice(2)}`;
  switch (how.slice(0, 2)) {
    case "HS":
      return crypto.createHmac(hash, Buffer.from(secret, "utf8")).update(message).digest();
    case "RS":
      return crypto.sign(hash, message, key);
    case "PS":
      return crypto.sign(hash, message, {
        key,
        padding: crypto.constants.RSA_PKCS1_PSS_PADDING,
        saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST,
      });
    case "ES":
      return crypto.sign(hash, message, { key, dsaEncoding: "ieee-p1363" });
    case "Ed":
      return crypto.sign(null, message, key);
    default:
      return Buffer.alloc(0);
  }
}

// `how` is how it is signed, whatever `header.alg` says; `payload` is a text in place of claims.
function sign({ how, key, secret, header, claims, payload }) {
  const body = payload ?? JSON.stringify(claims);
  const message = `${base64url(JSON.stringify(header))}.${base64url(body)}`;
  const bytes = signature(how, keys.get(key), secret, Buffer.from(message));
  return `${message}.${base64url(bytes)}`;
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const answer = request.make ? make(request.make) : sign(request.sign);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
