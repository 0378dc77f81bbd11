//! The library's client talks with servers that we did not write.

use std::net::SocketAddr;
use std::process::Command;

use tidegate_tests::child::{self, Process};
use tidegate_tests::{tools, within};
use tidegate_ws::client::{ClientError, WebSocketClient};
use tidegate_ws::{BoxError, Message, WebSocketHandler, WebSocketSession};

fn client() -> WebSocketClient {
    WebSocketClient::new()
        .subprotocol("first")
        .subprotocol("second")
        .session(super::config())
}

async fn echoed(session: &mut WebSocketSession, message: Message) {
    session.send(message.clone()).await.unwrap();
    let heard = within("an echo", session.receive()).await;
    assert!(heard.unwrap().unwrap() == message, "an echo differs");
}

/// What every server of ours and of strangers must answer.
pub(super) async fn converse(client: &WebSocketClient, url: &str) {
    let connecting = client.connect(url);
    let connected = within("a session", connecting).await.unwrap();
    let headers = connected.response.headers();
    assert_eq!(connected.response.status(), 101);
    assert_eq!(headers["sec-websocket-protocol"], "second");
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let agreed = headers["sec-websocket-extensions"].to_str().unwrap();
    assert!(agreed.starts_with("permessage-deflate"), "{agreed}");

    let mut session = connected.session;
    let info = session.take_handshake().unwrap();
    assert_eq!(info.subprotocol.as_deref(), Some("second"));
    let bytes: Vec<u8> = (0..70_000_u32).map(|place| (place * 7919) as u8).collect();
    for message in [
        Message::from("héllo wörld"),
        Message::from(""),
        Message::Binary(bytes.into()),
        Message::from("all work and no play ".repeat(100_000)),
    ] {
        echoed(&mut session, message).await;
    }
    let ending = within("the close", session.close(4001, "bye")).await;
    assert_eq!((ending.code, &*ending.reason), (4001, "bye"));
}

async fn is_refused(client: &WebSocketClient, url: &str) {
    let refused = match client.connect(&format!("{url}/refuse")).await {
        Err(ClientError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.response.status(), 401);
    let basic = refused.response.headers()["www-authenticate"].to_str();
    assert!(basic.unwrap().starts_with("Basic realm="));
    assert_eq!(refused.response.body().trim_ascii(), b"not today");
    assert!(refused.is_whole);
}

/// Says one word, hears it, and is done.
struct OneWord;

impl WebSocketHandler for OneWord {
    async fn handle(&self, mut session: WebSocketSession) -> Result<(), BoxError> {
        session.send("word").await?;
        let heard = session.receive().await.ok_or("no answer")??;
        (heard == Message::from("word"))
            .then_some(())
            .ok_or_else(|| "another word".into())
    }

    fn subprotocols(&self) -> Vec<&str> {
        vec!["second"]
    }
}

async fn is_met(address: SocketAddr) {
    let url = format!("ws://{address}");
    converse(&client(), &format!("{url}/open")).await;
    is_refused(&client(), &url).await;
    let client = WebSocketClient::new();
    let executing = client.execute(&url, OneWord);
    let executed = within("a session", executing).await.unwrap();
    assert_eq!(executed.ending.code, 1000);
    let headers = executed.response.headers();
    assert_eq!(headers["sec-websocket-protocol"], "second");
}

async fn is_met_at(mut command: Command) {
    let mut process = Process::start(&mut command);
    let port: u16 = process.says("port ").await.parse().unwrap();
    is_met(([127, 0, 0, 1], port).into()).await;
}

#[tokio::test]
async fn node() {
    if let Some(folder) = tools::node_tools("library: node answers") {
        is_met_at(child::node(&folder, "node-ws-server.mjs", &[])).await;
    }
}

#[tokio::test]
async fn python() {
    if let Some(program) = tools::python("library: python answers") {
        let mut command = Command::new(program);
        command.arg(tools::script("python-ws-server.py"));
        is_met_at(command).await;
    }
}

#[tokio::test]
async fn our_own() {
    is_met(super::server().await).await;
}
