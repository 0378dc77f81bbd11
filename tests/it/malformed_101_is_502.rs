//! A 101 that is not what RFC 6455 section 4.1 demands is never passed on and never
//! repaired; the client is told 502, and the upstream is hung up on.

use tidegate_tests::wire::switching;
use tidegate_tests::{Head, Request, ScriptedUpstream, TestGateway, accept_for};

/// Answers one handshake as `answer` says; the client must hear a 502 of ours.
async fn is_502(what: &str, request: Request, answer: impl Fn(&Head) -> Vec<u8>) {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "handshake_timeout: 15s", "");
    let mut client = gateway.connect().await;
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    peer.send(answer(&asked)).await;
    let heard = client.read_answer().await;
    assert_eq!(heard.status(), 502, "{what}: {:?}", heard.head);
    heard.expect_problem(502);
    peer.expect_end().await;
    assert_eq!(gateway.sessions(), 0, "{what}");
    assert_eq!(gateway.upstream_idle(), 0, "{what}: the connection is kept");
}

/// The lines of a 101, of which a case then spoils some.
fn lines(asked: &Head, spoil: impl Fn(&str, &str) -> Option<String>) -> Vec<u8> {
    let good = Head::parse(switching(asked, &[]));
    let mut answer = good.start + "\r\n";
    for (name, value) in good.fields {
        if let Some(line) = spoil(&name.to_ascii_lowercase(), &value) {
            answer.push_str(&format!("{line}\r\n"));
        }
    }
    (answer + "\r\n").into_bytes()
}

/// Spoils the line `name`: with another, or with none.
fn spoilt(name: &'static str, line: Option<&'static str>) -> impl Fn(&Head) -> Vec<u8> {
    move |asked| {
        lines(asked, |known, value| {
            if known == name {
                line.map(str::to_owned)
            } else {
                Some(format!("{known}: {value}"))
            }
        })
    }
}

fn with(line: &'static str) -> impl Fn(&Head) -> Vec<u8> {
    move |asked| switching(asked, &[line])
}

#[tokio::test]
async fn wrong_or_missing_accept() {
    let plain = Request::handshake("/");
    let accept = "sec-websocket-accept";
    is_502("missing", plain.clone(), spoilt(accept, None)).await;
    is_502(
        "empty",
        plain.clone(),
        spoilt(accept, Some("Sec-WebSocket-Accept:")),
    )
    .await;
    let wrong = "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    is_502("wrong", plain.clone(), spoilt(accept, Some(wrong))).await;
    let swapped = |asked: &Head| {
        lines(asked, |name, value| {
            let mut value = value.to_owned();
            if name == "sec-websocket-accept" {
                let other = |c: char| {
                    if c.is_lowercase() {
                        c.to_ascii_uppercase()
                    } else {
                        c
                    }
                };
                value = value.chars().map(other).collect();
            }
            Some(format!("{name}: {value}"))
        })
    };
    is_502("another case", plain.clone(), swapped).await;
    let echoed = |asked: &Head| {
        let key = asked.field("Sec-WebSocket-Key").unwrap().to_owned();
        lines(asked, |name, value| {
            let value = if name == "sec-websocket-accept" {
                &key
            } else {
                value
            };
            Some(format!("{name}: {value}"))
        })
    };
    is_502("the key itself", plain.clone(), echoed).await;
    is_502("two accepts", plain, with("Sec-WebSocket-Accept: AAAA")).await;
}

#[tokio::test]
async fn missing_or_wrong_upgrade_and_connection() {
    let plain = Request::handshake("/");
    is_502("no Upgrade", plain.clone(), spoilt("upgrade", None)).await;
    is_502(
        "h2c",
        plain.clone(),
        spoilt("upgrade", Some("Upgrade: h2c")),
    )
    .await;
    is_502("no Connection", plain.clone(), spoilt("connection", None)).await;
    let other = Some("Connection: keep-alive");
    is_502("keep-alive", plain, spoilt("connection", other)).await;
}

#[tokio::test]
async fn unoffered_protocol() {
    let plain = Request::handshake("/");
    let offer = plain
        .clone()
        .with("Sec-WebSocket-Protocol", "chat, superchat");
    is_502("none offered", plain, with("Sec-WebSocket-Protocol: chat")).await;
    is_502(
        "another",
        offer.clone(),
        with("Sec-WebSocket-Protocol: cha"),
    )
    .await;
    is_502(
        "both",
        offer.clone(),
        with("Sec-WebSocket-Protocol: chat, superchat"),
    )
    .await;
    let twice = |asked: &Head| {
        switching(
            asked,
            &[
                "Sec-WebSocket-Protocol: chat",
                "Sec-WebSocket-Protocol: superchat",
            ],
        )
    };
    is_502("two lines", offer, twice).await;
}

#[tokio::test]
async fn unoffered_extension() {
    let plain = Request::handshake("/");
    let offer = plain
        .clone()
        .with("Sec-WebSocket-Extensions", "permessage-deflate");
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate";
    is_502("none offered", plain.clone(), with(deflate)).await;
    is_502(
        "another",
        offer,
        with("Sec-WebSocket-Extensions: x-private"),
    )
    .await;
    // It was offered by the client, but not by the gateway.
    let private = plain.with("Sec-WebSocket-Extensions", "x-private");
    is_502(
        "not passed on",
        private,
        with("Sec-WebSocket-Extensions: x-private"),
    )
    .await;
}

#[tokio::test]
async fn another_version_of_http() {
    let old = |asked: &Head| {
        let good = String::from_utf8(switching(asked, &[])).unwrap();
        good.replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()
    };
    is_502("HTTP/1.0", Request::handshake("/"), old).await;
}

#[tokio::test]
async fn garbage_and_injected_lines() {
    let plain = Request::handshake("/");
    let answers: [(&str, &[u8]); 4] = [
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("bytes", b"\x00\x01\x02\x03\r\n\r\n"),
        ("no status", b"HTTP/1.1 Switching Protocols\r\n\r\n"),
        ("a status of two digits", b"HTTP/1.1 10 Switching\r\n\r\n"),
    ];
    for (what, answer) in answers {
        is_502(what, plain.clone(), |_| answer.to_vec()).await;
    }
    let injected = [
        "X-A: 1\r\n folded",
        "X-A : 1",
        ": 1",
        "X-A: a\0b",
        "X-A: a\rb",
        "X A: 1",
        "no colon",
    ];
    for line in injected {
        is_502(line, plain.clone(), with(line)).await;
    }
}

#[tokio::test]
async fn end_before_the_answer() {
    for answer in [
        "",
        "HTTP/1.1 1",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
    ] {
        for by_reset in [false, true] {
            let mut upstream = ScriptedUpstream::bind().await;
            let gateway = TestGateway::before(&upstream);
            let mut client = gateway.connect().await;
            client.request(&Request::handshake("/")).await;
            let mut peer = upstream.accept().await;
            peer.read_head().await;
            peer.send(answer).await;
            // The next connection, if one is tried, meets the same fate or a closed door.
            upstream.refuse().await;
            if by_reset {
                peer.reset();
            } else {
                drop(peer);
            }
            client.read_answer().await.expect_problem(502);
        }
    }
}

/// The shape of CVE-2024-23326's sibling: a 101 that nobody asked for.
#[tokio::test]
async fn unasked_101() {
    let accept = accept_for("");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    let upstream = ScriptedUpstream::answering(answer).await;
    let gateway = TestGateway::before(&upstream);
    let plain = [
        Request::get("/"),
        Request::new("POST", "/").body("hi"),
        Request::handshake("/").set("Upgrade", "h2c"),
        Request::handshake("/").without("Connection"),
    ];
    for request in plain {
        gateway.ask(&request).await.expect_problem(502);
        assert_eq!(gateway.sessions(), 0);
    }
}
