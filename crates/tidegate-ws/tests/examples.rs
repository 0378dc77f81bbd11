//! The examples do what they say.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use http::StatusCode;
use http::header::{HeaderValue, ORIGIN};
use tidegate_ws::client::{ClientError, WebSocketClient};
use tidegate_ws::{Message, WebSocketSession};

/// A running example, ended with the test.
struct Example {
    child: Child,
    address: String,
}

impl Example {
    fn start(name: &str) -> Self {
        let own = std::env::current_exe().unwrap();
        let built = own.ancestors().nth(2).unwrap().join("examples").join(name);
        assert!(built.is_file(), "build it first: cargo build --examples");
        let mut child = Command::new(built)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let told = child.stdout.take().unwrap();
        BufReader::new(told).read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { child, address }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn hear(session: &mut WebSocketSession) -> String {
    match session.receive().await {
        Some(Ok(Message::Text(words))) => words.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

async fn echoes(url: &str) {
    let mut session = WebSocketClient::new().connect(url).await.unwrap().session;
    for words in ["one", "two", &"long ".repeat(50_000)] {
        session.send(words.to_owned()).await.unwrap();
        assert_eq!(hear(&mut session).await, words);
    }
    session
        .send(Message::Binary(vec![0, 255].into()))
        .await
        .unwrap();
    let heard = session.receive().await.unwrap().unwrap();
    assert_eq!(heard, Message::Binary(vec![0, 255].into()));
    assert_eq!(session.close(1000, "").await.code, 1000);
}

async fn is_refused(client: WebSocketClient, url: &str) -> StatusCode {
    match client.connect(url).await {
        Err(ClientError::Refused(refused)) => refused.response.status(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_echo_on_hyper() {
    let example = Example::start("echo_hyper");
    echoes(&example.url("/")).await;
    let evil = WebSocketClient::new().header(ORIGIN, HeaderValue::from_static("https://evil.net"));
    assert_eq!(is_refused(evil, &example.url("/")).await, 403);
}

#[tokio::test]
async fn an_echo_from_axum() {
    let example = Example::start("echo_axum");
    echoes(&example.url("/echo")).await;
    assert_eq!(
        is_refused(WebSocketClient::new(), &example.url("/")).await,
        200
    );
}

#[tokio::test]
async fn a_chat() {
    let example = Example::start("chat");
    let client = WebSocketClient::new().subprotocol("chat");
    let enter = async |room: &str, name: &str| {
        let url = example.url(&format!("/rooms/{room}?name={name}"));
        let connected = client.connect(&url).await.unwrap();
        assert_eq!(
            connected.response.headers()["sec-websocket-protocol"],
            "chat"
        );
        let mut session = connected.session;
        assert_eq!(hear(&mut session).await, format!("{name} is here"));
        session
    };
    let mut ada = enter("lobby", "ada").await;
    let mut elsewhere = enter("cellar", "eve").await;
    let mut bob = enter("lobby", "bob").await;
    assert_eq!(hear(&mut ada).await, "bob is here");

    bob.send("hello").await.unwrap();
    assert_eq!(hear(&mut ada).await, "bob: hello");
    assert_eq!(hear(&mut bob).await, "bob: hello");

    bob.send(Message::Binary(vec![1].into())).await.unwrap();
    assert!(bob.receive().await.is_none());
    assert_eq!(bob.ending().unwrap().code, 1003);
    assert_eq!(hear(&mut ada).await, "bob has left");

    elsewhere.send("anybody?").await.unwrap();
    assert_eq!(hear(&mut elsewhere).await, "eve: anybody?");
    assert_eq!(
        is_refused(WebSocketClient::new(), &example.url("/rooms")).await,
        404
    );
}
