//! The library compresses with Node's `ws` and Python's `websockets`, in both roles, with every
//! combination of the parameters of RFC 7692.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tidegate_tests::child::{self, Process};
use tidegate_tests::{tools, within};
use tidegate_ws::client::{ClientError, WebSocketClient};
use tidegate_ws::service::HandshakeService;
use tidegate_ws::{Message, SessionConfig, deflate};
use tokio::net::TcpListener;

/// What a side of ours wants: each message alone or not, of server and client, and both windows.
type Wants = (bool, bool, u8, u8);

const WANTS: [Wants; 6] = [
    (true, true, 15, 15),
    (false, false, 15, 15),
    (true, false, 9, 15),
    (false, true, 15, 9),
    (false, false, 9, 9),
    (true, true, 10, 12),
];

fn config((server_alone, client_alone, server_bits, client_bits): Wants) -> SessionConfig {
    let mut wanted = deflate::Config::default();
    wanted.server_no_context_takeover = server_alone;
    wanted.client_no_context_takeover = client_alone;
    wanted.server_max_window_bits = server_bits;
    wanted.client_max_window_bits = client_bits;
    wanted.threshold = 0;
    let mut config = SessionConfig::default();
    config.deflate = Some(wanted);
    config
}

async fn answer(
    service: Arc<HandshakeService>,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (response, pending) = service.handle(&request).into_parts();
    if let Some(pending) = pending {
        let connection = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let connection = TokioIo::new(connection.await.unwrap());
            pending.run(connection, super::echo).await
        });
    }
    Ok(response.map(Full::new))
}

/// An echo server of the library.
async fn server(wants: Wants) -> SocketAddr {
    let service = Arc::new(HandshakeService::new().session(config(wants)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let service = Arc::clone(&service);
            let serve = service_fn(move |request| answer(Arc::clone(&service), request));
            let served = http1::Builder::new().serve_connection(TokioIo::new(io), serve);
            tokio::spawn(served.with_upgrades());
        }
    });
    address
}

/// All combinations of the stranger's as a client, with each server of ours.
async fn calls(command: impl Fn(&[&str]) -> Command) {
    for wants in WANTS {
        let url = format!("ws://{}/", server(wants).await);
        let mut client = Process::start(&mut command(&["client", &url]));
        let (status, output) = client.ends_late().await;
        let is_good = status.success() && output.lines().any(|line| line == "ok");
        assert!(is_good, "{wants:?}: {status}: {output}");
    }
}

/// Each client of ours, with all combinations of the stranger's as a server, of which it must have a
/// session with so many.
async fn answers(mut command: Command, most: usize) {
    let mut process = Process::start(&mut command);
    let ports = process.says("ports ").await;
    let mut agreed = 0;
    for (number, port) in ports.split(' ').enumerate() {
        for wants in WANTS {
            let url = format!("ws://127.0.0.1:{port}/{number}");
            agreed += usize::from(converse(&url, wants).await);
        }
    }
    assert_eq!(agreed, most);
    assert!(!process.output().contains("error"), "{}", process.output());
}

/// `false`: the server does not agree to the offer.
async fn converse(url: &str, wants: Wants) -> bool {
    let client = WebSocketClient::new().session(config(wants));
    let connected = match within("a session", client.connect(url)).await {
        Ok(connected) => connected,
        Err(ClientError::Refused(_)) => return false,
        Err(error) => panic!("{url} {wants:?}: {error}"),
    };
    let agreed = &connected.response.headers()["sec-websocket-extensions"];
    assert!(agreed.as_bytes().starts_with(b"permessage-deflate"));
    let mut session = connected.session;
    let text = "{\"name\":\"Straße\",\"value\":4711}".repeat(20);
    let noise: Vec<u8> = (0..5000_u64)
        .map(|at| ((at * at * 7919) >> 3) as u8)
        .collect();
    let long = [&noise[..], &noise, &b"ab".repeat(20_000), &noise].concat();
    for message in [
        Message::from(text.clone()),
        Message::from(text.clone() + "!"),
        Message::from(""),
        Message::from(noise),
        Message::from(long),
        Message::from(text),
    ] {
        session.send(message.clone()).await.unwrap();
        let heard = within("an echo", session.receive()).await;
        let heard = heard.unwrap().unwrap();
        assert!(
            heard == message,
            "{url} {wants:?} {agreed:?}: an echo differs"
        );
    }
    let ending = within("the close", session.close(1000, "")).await;
    assert_eq!(ending.code, 1000);
    true
}

fn python(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg(tools::script("deflate.py")).args(arguments);
    command
}

#[tokio::test]
async fn node_calls() {
    if let Some(folder) = tools::node_tools("library: deflate, node calls") {
        calls(|arguments| child::node(&folder, "deflate.mjs", arguments)).await;
    }
}

#[tokio::test]
async fn node_answers() {
    if let Some(folder) = tools::node_tools("library: deflate, node answers") {
        let command = child::node(&folder, "deflate.mjs", &["server"]);
        // `ws` refuses who asks for a smaller window of the server's than it was told, and answers
        // who has a smaller one as a client with its own, which a client must refuse (RFC 7692
        // section 7.1.2.2).
        let told = [None, Some(9), Some(15)];
        let meets = |bits: u8| {
            let fits = told
                .iter()
                .filter(|one| one.is_none_or(|told| told <= bits));
            fits.count()
        };
        let pairs = WANTS.map(|(_, _, server, client)| 4 * meets(server) * meets(client));
        answers(command, pairs.iter().sum()).await;
    }
}

#[tokio::test]
async fn python_calls() {
    if let Some(program) = tools::python("library: deflate, python calls") {
        calls(|arguments| python(&program, arguments)).await;
    }
}

#[tokio::test]
async fn python_answers() {
    if let Some(program) = tools::python("library: deflate, python answers") {
        answers(python(&program, &["server"]), WANTS.len() * 36).await;
    }
}
