//! graphql-transport-ws: a client and a server of the package graphql-ws.

use tidegate_tests::child::{self, Process};
use tidegate_tests::tools;

use super::{before, converse};

#[tokio::test]
async fn graphql_ws_with_graphql_ws() {
    let Some(folder) = tools::node_package("graphql_ws_with_graphql_ws", "graphql-ws") else {
        return;
    };
    let mut server = Process::start(&mut child::node(&folder, "graphql-server.mjs", &[]));
    let port: u16 = server.says("port ").await.parse().unwrap();
    let gateway = before(
        ([127, 0, 0, 1], port).into(),
        "  - name: graphql\n    match: { path: /graphql, upgrade: websocket }\n    \
             proxy: { service: up, websocket: { subprotocols: graphql-transport-ws } }\n  \
           - name: none\n    match: { path: /none, upgrade: websocket }\n    \
             filters: [{ rewrite_path: { regex: .*, to: /graphql } }]\n    \
             proxy: { service: up, websocket: { subprotocols: [] } }\n",
    );
    converse(&folder, "graphql-client.mjs", &gateway).await;
}
