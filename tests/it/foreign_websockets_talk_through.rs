//! WebSocket clients and servers that we did not write hold a conversation through the gateway:
//! Node's `ws`, Python's `websockets`, and tokio-tungstenite.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use futures_util::{SinkExt as _, StreamExt as _};
use tidegate_tests::child::{self, Process};
use tidegate_tests::{TestGateway, tools, within};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

fn before(upstream: SocketAddr) -> TestGateway {
    TestGateway::start_among(
        &[("UP", upstream)],
        "services: { up: { endpoints: [http://UP] } }\n\
         routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n",
    )
}

/// Starts a server that says its port.
async fn server(mut command: Command) -> (Process, TestGateway) {
    let mut process = Process::start(&mut command);
    let port: u16 = process.says("port ").await.parse().unwrap();
    let gateway = before(([127, 0, 0, 1], port).into());
    (process, gateway)
}

/// Runs a client to its end, which must be a good one.
async fn client(mut command: Command, gateway: &TestGateway) {
    command.arg(format!("ws://{}", gateway.address()));
    let (status, output) = Process::start(&mut command).ends().await;
    assert!(
        status.success() && output.contains("ok"),
        "{status}: {output}"
    );
    gateway.is_empty().await;
}

fn node(folder: &Path, script: &str) -> Command {
    child::node(folder, script, &[])
}

fn python(program: &Path, script: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(tools::script(script));
    command
}

#[tokio::test]
async fn node_with_node() {
    let Some(folder) = tools::node_tools("node_with_node") else {
        return;
    };
    let (_server, gateway) = server(node(&folder, "node-ws-server.mjs")).await;
    client(node(&folder, "node-ws-client.mjs"), &gateway).await;
}

#[tokio::test]
async fn python_with_python() {
    let Some(program) = tools::python("python_with_python") else {
        return;
    };
    let (_server, gateway) = server(python(&program, "python-ws-server.py")).await;
    client(python(&program, "python-ws-client.py"), &gateway).await;
}

#[tokio::test]
async fn node_with_python() {
    let Some(folder) = tools::node_tools("node_with_python") else {
        return;
    };
    let Some(program) = tools::python("node_with_python") else {
        return;
    };
    let (_server, gateway) = server(python(&program, "python-ws-server.py")).await;
    client(node(&folder, "node-ws-client.mjs"), &gateway).await;
}

#[tokio::test]
async fn python_with_node() {
    let Some(folder) = tools::node_tools("python_with_node") else {
        return;
    };
    let Some(program) = tools::python("python_with_node") else {
        return;
    };
    let (_server, gateway) = server(node(&folder, "node-ws-server.mjs")).await;
    client(python(&program, "python-ws-client.py"), &gateway).await;
}

/// A server on tungstenite: chooses `second`, refuses `/refuse`, echoes.
async fn tungstenite_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let config = WebSocketConfig::default()
                    .max_message_size(None)
                    .max_frame_size(None);
                let accepted =
                    tokio_tungstenite::accept_hdr_async_with_config(stream, decide, Some(config));
                let Ok(mut socket) = accepted.await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_text() || message.is_binary())
                        && socket.send(message).await.is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[expect(clippy::result_large_err, reason = "tungstenite's own signature")]
fn decide(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() == "/refuse" {
        let mut refusal = ErrorResponse::new(Some("not today".to_owned()));
        *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
        let basic = HeaderValue::from_static("Basic");
        refusal.headers_mut().insert("WWW-Authenticate", basic);
        // tungstenite frames a refusal by the end of the connection, and reads none in chunks.
        let length = HeaderValue::from_static("9");
        refusal.headers_mut().insert("Content-Length", length);
        return Err(refusal);
    }
    if request.headers().contains_key("Sec-WebSocket-Protocol") {
        let chosen = HeaderValue::from_static("second");
        response
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", chosen);
    }
    Ok(response)
}

#[tokio::test]
async fn tungstenite_with_tungstenite() {
    let gateway = before(tungstenite_server().await);
    let url = format!("ws://{}/open?x=1", gateway.address());
    let mut request = url.into_client_request().unwrap();
    let offered = HeaderValue::from_static("first, second");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", offered);
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
    let (mut socket, response) = within("a session", connecting).await.unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "second");

    for message in [
        Message::text("héllo"),
        Message::text(""),
        Message::binary(vec![7; 70_000]),
        Message::binary(vec![8; 16 << 20]),
    ] {
        let (mut writes, mut reads) = socket.split();
        let echo = async { tokio::join!(writes.send(message.clone()), reads.next()) };
        let (sent, answer) = within("an echo", echo).await;
        sent.unwrap();
        assert!(answer.unwrap().unwrap() == message, "an echo differs");
        socket = writes.reunite(reads).unwrap();
    }
    socket.send(Message::Ping("there?".into())).await.unwrap();
    let pong = within("a pong", socket.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("there?".into()));

    let frame = CloseFrame {
        code: CloseCode::Library(4001),
        reason: "bye".into(),
    };
    socket.close(Some(frame.clone())).await.unwrap();
    let answer = within("the close", socket.next()).await.unwrap().unwrap();
    assert_eq!(answer, Message::Close(Some(frame)));
    drop(socket);
    gateway.is_empty().await;
}

#[tokio::test]
async fn tungstenite_is_refused() {
    let gateway = before(tungstenite_server().await);
    let url = format!("ws://{}/refuse", gateway.address());
    let refused = within("a refusal", tokio_tungstenite::connect_async(url)).await;
    let Err(Error::Http(response)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["WWW-Authenticate"], "Basic");
    assert_eq!(response.body().as_deref(), Some(&b"not today"[..]));
}

#[tokio::test]
async fn many_tungstenites_at_once() {
    let gateway = before(tungstenite_server().await);
    let url = format!("ws://{}/", gateway.address());
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..100 {
        let url = url.clone();
        clients.spawn(async move {
            let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
            for round in 0..20 {
                let message = Message::text(format!("{number} {round}"));
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
            socket.close(None).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        });
    }
    within("all conversations", clients.join_all()).await;
    gateway.is_empty().await;
}
