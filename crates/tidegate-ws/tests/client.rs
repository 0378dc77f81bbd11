//! The client against scripted servers: what it sends, what it takes, and what it refuses.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: it spawns plain tasks, and panics to fail"
)]

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue};
use tidegate_ws::client::{ClientError, Connected, Refused, WebSocketClient};
use tidegate_ws::handshake::{Key, ResponseError};
use tidegate_ws::{BoxError, Message, SessionConfig, WebSocketHandler, WebSocketSession, deflate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

const URL: &str = "ws://example.com/x?y=z";

/// The head of a request, once it is all there.
async fn read_head(io: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut found = head.lines().filter_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    });
    let value = found.next();
    assert!(found.next().is_none(), "{name} stands twice in\n{head}");
    value
}

/// The 101 that answers a request, with `more` fields.
fn switch(head: &str, more: &str) -> String {
    let key = field(head, "sec-websocket-key").unwrap();
    let key = Key::of_request(std::iter::once(key.as_bytes())).unwrap();
    let accept = String::from_utf8(key.accept().to_vec()).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// A server that reads one request and says what `answer` makes of it; it keeps the connection,
/// unless `ends`.
fn server(
    answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static,
    ends: bool,
) -> (DuplexStream, JoinHandle<(String, DuplexStream)>) {
    let (ours, mut theirs) = duplex(1 << 20);
    let served = tokio::spawn(async move {
        let head = read_head(&mut theirs).await;
        theirs.write_all(&answer(&head)).await.unwrap();
        if ends {
            theirs.shutdown().await.unwrap();
        }
        (head, theirs)
    });
    (ours, served)
}

async fn ask(
    client: &WebSocketClient,
    answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static,
) -> Result<Connected, ClientError> {
    let (io, served) = server(answer, false);
    let asked = client.connect_over(io, URL).await;
    // Kept until here, so that the end of the connection is not what is judged.
    drop(served);
    asked
}

async fn refusal(client: &WebSocketClient, answer: &[u8], ends: bool) -> Box<Refused> {
    let answer = answer.to_vec();
    let (io, _served) = server(move |_head| answer, ends);
    match client.connect_over(io, URL).await {
        Err(ClientError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_opens_with_what_was_agreed() {
    let client = WebSocketClient::new()
        .subprotocol("one")
        .subprotocol("two")
        .header(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    let more = "Sec-WebSocket-Protocol: two\r\nX-Own: 7\r\n";
    let (io, served) = server(|head| switch(head, more).into_bytes(), false);
    let connected = client.connect_over(io, URL).await.unwrap();

    assert_eq!(connected.response.status(), 101);
    assert_eq!(connected.response.headers()["x-own"], "7");
    let info = connected.session.handshake().unwrap();
    assert_eq!(info.subprotocol.as_deref(), Some("two"));
    assert_eq!(info.uri, URL);
    assert_eq!(info.headers["x-own"], "7");

    let (head, _io) = served.await.unwrap();
    assert!(head.starts_with("GET /x?y=z HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "example.com"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "one, two"),
        ("authorization", "Bearer x"),
    ] {
        assert_eq!(field(&head, name), Some(value));
    }
    assert_eq!(field(&head, "sec-websocket-extensions"), None);
}

#[tokio::test]
async fn each_handshake_has_a_key_of_its_own() {
    let mut keys = Vec::new();
    for _ in 0..20 {
        let (io, served) = server(|head| switch(head, "").into_bytes(), false);
        WebSocketClient::new().connect_over(io, URL).await.unwrap();
        let (head, _io) = served.await.unwrap();
        keys.push(field(&head, "sec-websocket-key").unwrap().to_owned());
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 20);
}

#[tokio::test]
async fn words_right_behind_the_101_are_received() {
    let answer = |head: &str| [switch(head, "").as_bytes(), b"\x81\x05hello\x88\x00"].concat();
    let mut connected = ask(&WebSocketClient::new(), answer).await.unwrap();
    let received = connected.session.receive().await.unwrap().unwrap();
    assert_eq!(received, Message::from("hello"));
    assert!(connected.session.receive().await.is_none());
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let answer = move |head: &str| [hints, &switch(head, "")].concat().into_bytes();
    let connected = ask(&WebSocketClient::new(), answer).await.unwrap();
    assert_eq!(connected.response.status(), 101);
    assert!(!connected.response.headers().contains_key("link"));
}

#[tokio::test]
async fn a_wrong_101_opens_no_session() {
    use ResponseError::*;
    let client = WebSocketClient::new().subprotocol("one");
    let changed = |from: &'static str, to: &'static str| {
        move |head: &str| {
            let answer = switch(head, "");
            assert!(answer.contains(from));
            answer.replace(from, to).into_bytes()
        }
    };
    for (from, to, why) in [
        ("Upgrade: websocket", "Upgrade: h2c", Upgrade),
        ("Upgrade: websocket\r\n", "", Upgrade),
        ("Connection: Upgrade", "Connection: close", Connection),
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x", Accept),
        ("Sec-WebSocket-Accept", "X-Accept", Accept),
        ("HTTP/1.1", "HTTP/1.0", Version),
    ] {
        match ask(&client, changed(from, to)).await {
            Err(ClientError::Response(error)) => assert_eq!(error, why, "{from} -> {to}"),
            other => panic!("{from} -> {to}: {other:?}"),
        }
    }
    for (more, why) in [
        ("Sec-WebSocket-Protocol: two\r\n", Protocol),
        ("Sec-WebSocket-Protocol: one, one\r\n", Protocol),
        (
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            Extensions,
        ),
        ("Sec-WebSocket-Extensions: x\r\n", Extensions),
    ] {
        match ask(&client, move |head| switch(head, more).into_bytes()).await {
            Err(ClientError::Response(error)) => assert_eq!(error, why, "{more}"),
            other => panic!("{more}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn deflate_is_offered_where_it_is_wanted() {
    let mut session = SessionConfig::default();
    session.deflate = Some(deflate::Config::default());
    let client = WebSocketClient::new().session(session);
    let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let (io, served) = server(move |head| switch(head, agreed).into_bytes(), false);
    client.connect_over(io, URL).await.unwrap();
    let (head, _io) = served.await.unwrap();
    let offer = field(&head, "sec-websocket-extensions").unwrap();
    assert!(offer.starts_with("permessage-deflate"), "{offer}");

    for wrong in [
        "permessage-deflate; zz",
        "permessage-deflate, permessage-deflate",
    ] {
        let more = format!("Sec-WebSocket-Extensions: {wrong}\r\n");
        let asked = ask(&client, move |head| switch(head, &more).into_bytes()).await;
        assert!(
            matches!(asked, Err(ClientError::Response(ResponseError::Extensions))),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_is_kept_whole() {
    let client = WebSocketClient::new();
    for (answer, ends, status, body) in [
        (
            &b"HTTP/1.1 403 Forbidden\r\nX-Why: you\r\nContent-Length: 4\r\n\r\nnope"[..],
            false,
            403,
            "nope",
        ),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n\
              2\r\nno\r\n3;a=b\r\nt n\r\n2\r\now\r\n0\r\n\r\n",
            false,
            503,
            "not now",
        ),
        (
            b"HTTP/1.0 404 Not Found\r\n\r\nuntil the end",
            true,
            404,
            "until the end",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: ws://evil\r\nContent-Length: 0\r\n\r\n",
            false,
            302,
            "",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            false,
            200,
            "ok",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", false, 204, ""),
    ] {
        let refused = refusal(&client, answer, ends).await;
        assert_eq!(refused.response.status(), status);
        assert_eq!(refused.response.body(), body);
        assert!(refused.is_whole, "{status}");
    }
    let refused = refusal(
        &client,
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n",
        false,
    )
    .await;
    assert_eq!(refused.response.headers()["www-authenticate"], "Bearer");
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_refusal_has_bounds() {
    let client = WebSocketClient::new().max_body(3);
    for (answer, ends, body) in [
        (
            &b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nabcde"[..],
            false,
            "abc",
        ),
        (b"HTTP/1.1 500 No\r\n\r\nabcde", false, "abc"),
        (
            b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
            false,
            "abc",
        ),
        // Broken off, and never ending.
        (
            b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nab",
            true,
            "ab",
        ),
        (
            b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nab",
            false,
            "ab",
        ),
        // Framed in a way that cannot be told.
        (
            b"HTTP/1.1 500 No\r\nContent-Length: 2, 3\r\n\r\nabc",
            true,
            "",
        ),
        (
            b"HTTP/1.1 500 No\r\nTransfer-Encoding: gzip\r\n\r\nabc",
            true,
            "",
        ),
        (
            b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            true,
            "",
        ),
    ] {
        let refused = refusal(&client, answer, ends).await;
        let told = String::from_utf8_lossy(answer);
        assert_eq!(refused.response.body(), body, "{told}");
        assert!(!refused.is_whole, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_line_of_a_chunk_has_a_bound_however_it_comes() {
    let line = |length: usize| format!("2;{}\r\n", "x".repeat(length - 4));
    for (length, is_fine) in [(4096, true), (4097, false)] {
        let head = "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = format!("{head}{}ab\r\n0\r\n\r\n", line(length));
        let client = WebSocketClient::new();
        let refused = refusal(&client, answer.as_bytes(), false).await;
        assert_eq!(refused.is_whole, is_fine, "{length}");
        assert_eq!(refused.response.body(), if is_fine { "ab" } else { "" });
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_none_are_refused() {
    let client = WebSocketClient::new().max_head(1000);
    let many = "a: b\r\n".repeat(101);
    for answer in [
        "SMTP ready\r\n\r\n".to_owned(),
        "HTTP/1.1 101 ok\r\nbad field\r\n\r\n".to_owned(),
        format!("HTTP/1.1 101 ok\r\n{many}\r\n"),
        format!("HTTP/1.1 200 ok\r\nx: {}\r\n\r\n", "y".repeat(2000)),
        format!("HTTP/1.1 200 ok\r\nx: {}", "y".repeat(1000)),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(100),
    ] {
        let start = answer.chars().take(40).collect::<String>();
        let asked = ask(&client, move |_head| answer.into_bytes()).await;
        assert!(
            matches!(asked, Err(ClientError::Malformed(_))),
            "{start}: {asked:?}"
        );
    }
    let (io, _served) = server(|_head| b"HTTP/1.1 101".to_vec(), true);
    let asked = client.connect_over(io, URL).await;
    assert!(matches!(asked, Err(ClientError::Lost(_))), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let client = WebSocketClient::new().timeout(Duration::from_secs(3));
    let asked = ask(&client, |_head| Vec::new()).await;
    assert!(matches!(asked, Err(ClientError::Timeout)), "{asked:?}");
}

#[tokio::test]
async fn the_handshakes_own_fields_cannot_be_set() {
    for name in [
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-protocol",
    ] {
        let name = HeaderName::from_static(name);
        let client = WebSocketClient::new().header(name.clone(), HeaderValue::from_static("x"));
        let (io, _theirs) = duplex(16);
        let asked = client.connect_over(io, URL).await;
        assert!(
            matches!(&asked, Err(ClientError::Header(of)) if *of == name),
            "{asked:?}"
        );
    }
    let client = WebSocketClient::new().header(CONTENT_LENGTH, HeaderValue::from_static("3"));
    let (io, _theirs) = duplex(16);
    assert!(client.connect_over(io, URL).await.is_err());

    let client = WebSocketClient::new().header(HOST, HeaderValue::from_static("other"));
    let (io, served) = server(|head| switch(head, "").into_bytes(), false);
    client.connect_over(io, URL).await.unwrap();
    assert_eq!(field(&served.await.unwrap().0, "host"), Some("other"));
}

#[tokio::test]
async fn subprotocols_that_cannot_be_offered() {
    for client in [
        WebSocketClient::new().subprotocol("a b"),
        WebSocketClient::new().subprotocol("a").subprotocol("a"),
    ] {
        let (io, _theirs) = duplex(16);
        let asked = client.connect_over(io, URL).await;
        assert!(matches!(asked, Err(ClientError::Protocol(_))), "{asked:?}");
    }
}

#[tokio::test]
async fn a_handler_is_run_until_its_session_is_over() {
    struct Once;
    impl WebSocketHandler for Once {
        async fn handle(&self, mut session: WebSocketSession) -> Result<(), BoxError> {
            session.receive().await.ok_or("nothing came")??;
            Ok(())
        }

        fn subprotocols(&self) -> Vec<&str> {
            vec!["once"]
        }
    }
    let more = "Sec-WebSocket-Protocol: once\r\n";
    let answer = move |head: &str| [switch(head, more).as_bytes(), b"\x81\x00"].concat();
    let (io, served) = server(answer, false);
    let client = WebSocketClient::new().subprotocol("other");
    let run = tokio::spawn(async move { client.execute_over(io, URL, Once).await });

    let (head, mut io) = served.await.unwrap();
    assert_eq!(field(&head, "sec-websocket-protocol"), Some("other, once"));
    // Its close, masked, and our answer to it.
    let mut close = [0; 8];
    io.read_exact(&mut close).await.unwrap();
    assert_eq!(close[..2], [0x88, 0x82]);
    io.write_all(b"\x88\x02\x03\xe8").await.unwrap();
    drop(io);
    let executed = run.await.unwrap().unwrap();
    assert_eq!(executed.ending.code, 1000);
    assert_eq!(executed.response.status(), 101);
}

#[tokio::test]
async fn a_url_is_dialled() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        io.write_all(switch(&head, "").as_bytes()).await.unwrap();
        (head, io)
    });
    let url = format!("ws://{address}");
    WebSocketClient::new().connect(&url).await.unwrap();
    let (head, _io) = served.await.unwrap();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"));
    assert_eq!(field(&head, "host"), Some(address.to_string().as_str()));

    let asked = WebSocketClient::new().connect(&url).await;
    assert!(matches!(asked, Err(ClientError::Connect(_))), "{asked:?}");
    let asked = WebSocketClient::new().connect("ftp://example.com").await;
    assert!(matches!(asked, Err(ClientError::Url(_))), "{asked:?}");
}
