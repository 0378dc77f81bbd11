// A server of graphql-ws: /graphql speaks graphql-transport-ws. Prints `port N` once it accepts.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TIDEGATE_NODE_TOOLS, 'x.js'));
const { buildSchema } = require('graphql');
const { useServer } = require('graphql-ws/lib/use/ws');
const { WebSocketServer } = require('ws');

const schema = buildSchema(`
  type Query { greeting(name: String!): String! }
  type Subscription { count(to: Int!): Int! }
`);
const roots = {
  query: { greeting: ({ name }) => `hello ${name}` },
  subscription: {
    count: async function* count({ to }) {
      for (let n = 1; n <= to; n += 1) yield { count: n };
    },
  },
};

const http = createServer();
const server = new WebSocketServer({ server: http, path: '/graphql' });
useServer({ schema, roots, onConnect: ({ connectionParams }) => connectionParams?.token === 'x' }, server);
http.listen(0, '127.0.0.1', () => console.log(`port ${http.address().port}`));
