//! Of the subprotocols that a client offers, those that the route lists reach the upstream.

use std::process::Command;

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{Head, Request, ScriptedUpstream, TestGateway, Wire, tools};

const NAME: &str = "Sec-WebSocket-Protocol";
const OFFERS: &str = "v12.stomp, V11.stomp, graphql-ws, mqtt";

async fn gateway(websocket: &str) -> (ScriptedUpstream, TestGateway) {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "", &format!("websocket: {websocket}"));
    (upstream, gateway)
}

/// Offers [`OFFERS`] in two lines, of which the upstream chooses `chosen`: what it was asked, and the
/// client's answer.
async fn offer(
    upstream: &mut ScriptedUpstream,
    gateway: &TestGateway,
    chosen: Option<&str>,
) -> (Head, Head) {
    shake(upstream, gateway.connect().await, chosen).await
}

async fn shake(
    upstream: &mut ScriptedUpstream,
    mut client: Wire,
    chosen: Option<&str>,
) -> (Head, Head) {
    let (first, second) = OFFERS.split_once(", graphql").unwrap();
    let request = Request::handshake("/")
        .with(NAME, first)
        .with(NAME, &format!("graphql{second}"));
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let line = chosen.map(|chosen| format!("{NAME}: {chosen}"));
    let lines: Vec<&str> = line.as_deref().into_iter().collect();
    let asked = peer.accept_handshake_with(&lines).await;
    (asked, client.read_head().await)
}

#[tokio::test]
async fn without_a_list_all_offers_pass_as_they_came() {
    let (mut upstream, gateway) = gateway("{}").await;
    let (asked, answer) = offer(&mut upstream, &gateway, Some("mqtt")).await;
    assert_eq!(
        asked.fields(NAME),
        ["v12.stomp, V11.stomp", "graphql-ws, mqtt"]
    );
    assert_eq!(answer.field(NAME), Some("mqtt"));
}

#[tokio::test]
async fn those_that_are_listed_pass_in_the_clients_order() {
    for (listed, left, chosen) in [
        ("mqtt", "mqtt", "mqtt"),
        ("[mqtt, v12.stomp, x]", "v12.stomp, mqtt", "v12.stomp"),
        (
            "'v12.stomp,v11.stomp , V11.stomp'",
            "v12.stomp, V11.stomp",
            "V11.stomp",
        ),
        ("['a,mqtt', v12.stomp]", "v12.stomp, mqtt", "mqtt"),
    ] {
        let (mut upstream, gateway) = gateway(&format!("{{ subprotocols: {listed} }}")).await;
        let (asked, answer) = offer(&mut upstream, &gateway, Some(chosen)).await;
        assert_eq!(asked.fields(NAME), [left], "{listed}");
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.field(NAME), Some(chosen));
    }
}

#[tokio::test]
async fn where_none_is_listed_the_session_opens_without() {
    for listed in ["[]", "v11.stomp", "[MQTT, graphql-transport-ws]"] {
        let (mut upstream, gateway) = gateway(&format!("{{ subprotocols: {listed} }}")).await;
        let (asked, answer) = offer(&mut upstream, &gateway, None).await;
        assert!(!asked.has(NAME), "{listed}: {asked:?}");
        assert_eq!(answer.status(), 101);
        assert!(!answer.has(NAME), "{answer:?}");
    }
}

#[tokio::test]
async fn an_upstream_cannot_choose_what_did_not_reach_it() {
    for listed in ["mqtt", "[]"] {
        let (mut upstream, gateway) = gateway(&format!("{{ subprotocols: {listed} }}")).await;
        let (_, answer) = offer(&mut upstream, &gateway, Some("v12.stomp")).await;
        assert_eq!(answer.status(), 502, "{listed}");
    }
}

#[tokio::test]
async fn a_client_without_offers_is_let_in() {
    let (mut upstream, gateway) = gateway("{ subprotocols: mqtt }").await;
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    client.send(b"\x82\x81\0\0\0\0x").await;
    peer.expect(b"\x82\x81\0\0\0\0x").await;
}

/// The variable of those who come from Zowe's gateway, with its own default.
#[tokio::test]
async fn the_environment_may_list_them() {
    let Some(binary) = tools::tidegate("the_environment_may_list_them") else {
        return;
    };
    let mut upstream = ScriptedUpstream::bind().await;
    let scratch = Scratch::new();
    let text = format!(
        "version: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         services: {{ up: {{ endpoints: 'http://{}' }} }}\n\
         routes:\n  - name: all\n    match: {{ path: /** }}\n    proxy:\n      service: up\n      \
         websocket:\n        \
         subprotocols: ${{SERVER_WEBSOCKET_SUPPORTEDPROTOCOLS:-v12.stomp,v11.stomp}}\n",
        upstream.address()
    );
    let file = scratch.write("tidegate.yaml", &text);
    for (value, left) in [("", "v12.stomp"), ("mqtt,V11.stomp", "V11.stomp, mqtt")] {
        let mut command = Command::new(&binary);
        command.args(["run", "--config"]).arg(&file);
        command.env("SERVER_WEBSOCKET_SUPPORTEDPROTOCOLS", value);
        let mut gateway = Process::start(&mut command);
        let client = Wire::connect(gateway.listens().await).await;
        let (asked, _) = shake(&mut upstream, client, None).await;
        assert_eq!(asked.fields(NAME), [left]);
    }
}
