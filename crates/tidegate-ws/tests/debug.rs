//! What is printed for people tells no secrets: fields and cookies by their names, no query.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fmt::Debug;

use http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use http::{HeaderMap, HeaderValue, Request};
use tidegate_ws::codec::Role;
use tidegate_ws::service::{HandshakeService, Outcome};
use tidegate_ws::session::Driver;
use tidegate_ws::{HandshakeInfo, Opening, SessionConfig, WebSocketSession};
use tokio::io::duplex;

/// What must not be seen is named so everywhere.
const SECRET: &str = "s3cr3t";

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(AUTHORIZATION, "Bearer s3cr3t"), (COOKIE, "sid=s3cr3t")] {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

fn info() -> HandshakeInfo {
    let uri = "ws://me:s3cr3t@example.com/lobby?token=s3cr3t";
    let mut info = HandshakeInfo::new(uri.parse().unwrap(), headers());
    info.cookies.push(("sid".into(), "s3cr3t".into()));
    info
}

/// It names what there is, and tells nothing of it.
fn names(value: &impl Debug, names: &[&str]) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!text.contains(SECRET), "{text}");
        for name in names {
            assert!(text.contains(name), "no {name} in {text}");
        }
    }
}

#[test]
fn a_session_tells_no_secrets() {
    let known = ["/lobby", "authorization", "cookie", "sid"];
    names(&info(), &known);
    names(&Opening::from(info()), &known);
    let (near, _far) = duplex(64);
    let session = WebSocketSession::new(near, info(), SessionConfig::default().into());
    names(&session, &known);
    let (receiver, sender) = session.split();
    names(&receiver, &known);
    names(&sender, &[]);
    let (near, _far) = duplex(64);
    let (_session, driver) = Driver::start(near, info(), SessionConfig::default().into());
    names(&driver, &[]);
    names(&driver.control(), &[]);
    names(&Opening::new(Role::Client), &[]);
}

#[test]
fn a_pending_session_tells_no_secrets() {
    let mut request = Request::get("/lobby?token=s3cr3t")
        .header("host", "example.com")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .body(())
        .unwrap();
    request.headers_mut().extend(headers());
    let outcome = HandshakeService::new().handle(&request);
    assert!(matches!(outcome, Outcome::Switch { .. }));
    names(&outcome, &["/lobby", "authorization", "sid"]);
    request
        .headers_mut()
        .append(ORIGIN, HeaderValue::from_static("https://s3cr3t.example"));
    let outcome = HandshakeService::new().handle(&request);
    assert!(matches!(outcome, Outcome::Refuse(_)));
    names(&outcome, &[]);
}

#[cfg(feature = "client")]
mod client {
    use std::time::Duration;

    use tidegate_ws::BoxError;
    use tidegate_ws::client::{ClientError, WebSocketClient};
    use tidegate_ws::handshake::Key;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_client_tells_no_secrets() {
        let value = HeaderValue::from_static("Bearer s3cr3t");
        let client = WebSocketClient::new()
            .header(AUTHORIZATION, value)
            .subprotocol("chat")
            .timeout(Duration::from_secs(7));
        names(&client, &["authorization", "chat", "7s"]);
    }

    #[tokio::test]
    async fn what_came_of_a_connection_tells_no_secrets() {
        for is_run in [false, true] {
            let (near, mut far) = duplex(4096);
            let serves = async move {
                let mut asked = String::new();
                while !asked.ends_with("\r\n\r\n") {
                    asked.push(char::from(far.read_u8().await.unwrap()));
                }
                let line = "sec-websocket-key: ";
                let key = asked.split(line).nth(1).unwrap().lines().next().unwrap();
                let key = Key::of_request(std::iter::once(key.as_bytes())).unwrap();
                let accept = String::from_utf8(key.accept().to_vec()).unwrap();
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     set-cookie: sid=s3cr3t\r\nsec-websocket-accept: {accept}\r\n\r\n",
                );
                far.write_all(head.as_bytes()).await.unwrap();
                far
            };
            let client = WebSocketClient::new();
            let url = "ws://example.com/lobby?token=s3cr3t";
            let known = ["101", "set-cookie"];
            if is_run {
                let handler = async |_session: WebSocketSession| Ok::<(), BoxError>(());
                let runs = client.execute_over(near, url, handler);
                let (executed, _) = tokio::join!(runs, async { drop(serves.await) });
                names(&executed.unwrap(), &known);
            } else {
                let (connected, _far) = tokio::join!(client.connect_over(near, url), serves);
                names(&connected.unwrap(), &known);
            }
        }
    }

    async fn asks(answer: &'static [u8]) -> ClientError {
        let (near, mut far) = duplex(4096);
        let serves = async move {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(far.read_u8().await.unwrap());
            }
            far.write_all(answer).await.unwrap();
        };
        let client = WebSocketClient::new();
        let (asked, ()) = tokio::join!(client.connect_over(near, "ws://example.com/"), serves);
        asked.unwrap_err()
    }

    #[tokio::test]
    async fn what_a_server_answers_tells_no_secrets() {
        let refused = asks(
            b"HTTP/1.1 403 Forbidden\r\nset-cookie: sid=s3cr3t\r\ncontent-length: 6\r\n\r\ns3cr3t",
        );
        let refused = refused.await;
        assert!(matches!(refused, ClientError::Refused(_)));
        names(&refused, &["403", "set-cookie", "6"]);
    }
}
