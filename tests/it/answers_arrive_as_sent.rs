//! The client sees the status, reason, headers and body that the upstream sent.

use tidegate_tests::wire::Framing;
use tidegate_tests::{Answer, Request, ScriptedUpstream, TestGateway};

async fn relayed(answer: &str) -> Answer {
    let upstream = ScriptedUpstream::answering(answer).await;
    let gateway = TestGateway::before(&upstream);
    gateway.ask(&Request::get("/")).await
}

#[tokio::test]
async fn every_status_and_reason() {
    let lines = [
        "200 OK",
        "201 Created",
        "206 Partial Content",
        "299 Fine",
        "300 Multiple Choices",
        "301 Moved",
        "307 Temporary Redirect",
        "400 Bad",
        "401 Unauthorized",
        "404 Not Found",
        "418 I'm a teapot",
        "432 Custom Reason, with: signs",
        "451 Unavailable For Legal Reasons",
        "499 x",
        "500 Internal Server Error",
        "502 Theirs",
        "504 Theirs",
        "599 Network Connect Timeout Error",
        "200 ",
    ];
    for line in lines {
        let bytes = format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nhi");
        let bytes: Vec<u8> = bytes.chars().map(|letter| letter as u8).collect();
        let upstream = ScriptedUpstream::answering(bytes).await;
        let gateway = TestGateway::before(&upstream);
        let answer = gateway.ask(&Request::get("/")).await;
        assert_eq!(answer.head.start, format!("HTTP/1.1 {line}"));
        assert_eq!(answer.text(), "hi");
    }
}

/// RFC 9112 section 4 lets it hold bytes above 127.
#[tokio::test]
async fn reason_beyond_ascii() {
    let upstream =
        ScriptedUpstream::answering(b"HTTP/1.1 200 caf\xe9\r\nContent-Length: 2\r\n\r\nhi").await;
    let gateway = TestGateway::before(&upstream);
    let answer = gateway.ask(&Request::get("/")).await;
    assert_eq!(answer.head.reason(), "caf\u{e9}");
}

#[tokio::test]
async fn fields_apart_in_order_and_case() {
    let lines = [
        "Date: now",
        "SERVER: theirs",
        "Set-Cookie: a=1; Path=/",
        "X-A: 1",
        "set-cookie: b=2, still b",
        "x-a: 2",
        "X-Empty: ",
        "X-Latin: caf\u{e9}",
        "WWW-Authenticate: Basic realm=\"a, b\"",
        "Vary: Accept",
        "vary: Origin",
    ];
    let text = format!(
        "HTTP/1.1 200 OK\r\n{}\r\nContent-Length: 2\r\n\r\nhi",
        lines.join("\r\n")
    );
    let bytes: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
    let upstream = ScriptedUpstream::answering(bytes).await;
    let gateway = TestGateway::before(&upstream);
    let answer = gateway.ask(&Request::get("/")).await;
    let fields: Vec<String> = answer
        .head
        .fields
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
        .filter(|(name, _)| !name.eq_ignore_ascii_case("connection"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_eq!(fields, lines);
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    for (line, field) in [
        ("204 No Content", "X-A: 1"),
        ("304 Not Modified", "ETag: \"a\""),
        ("304 Not Modified", "Content-Length: 1000"),
    ] {
        let text = format!("HTTP/1.1 {line}\r\n{field}\r\n\r\n");
        let upstream = ScriptedUpstream::answering(text).await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        for _ in 0..2 {
            let answer = client.ask(&Request::get("/")).await;
            assert_eq!(answer.framing, Framing::None);
            let (name, value) = field.split_once(": ").unwrap();
            assert_eq!(answer.head.field(name), Some(value), "{:?}", answer.head);
            // RFC 9110 section 8.6, RFC 9112 section 6.1.
            assert!(line.starts_with("304") || !answer.head.has("Content-Length"));
        }
        client.stays_silent().await;
        assert_eq!(
            upstream.connections(),
            1,
            "an answer without a body ended its connection"
        );
    }
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let answers = [
        (
            "Content-Length: 1073741824",
            "Content-Length",
            Some("1073741824"),
        ),
        ("Content-Length: 0", "Content-Length", Some("0")),
        ("X-A: 1", "Content-Length", None),
        (
            "Content-Type: text/plain",
            "Content-Type",
            Some("text/plain"),
        ),
    ];
    for (line, name, value) in answers {
        let upstream =
            ScriptedUpstream::answering(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n")).await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        for _ in 0..2 {
            client.request(&Request::new("HEAD", "/")).await;
            let head = client.read_head().await;
            assert_eq!(head.status(), 200);
            assert_eq!(head.field(name), value, "{head:?}");
        }
        client.stays_silent().await;
        assert_eq!(upstream.connections(), 1);
    }
}

#[tokio::test]
async fn head_of_a_chunked_answer_has_no_body() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let upstream = ScriptedUpstream::answering(text).await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client.request(&Request::new("HEAD", "/")).await;
        assert_eq!(client.read_head().await.status(), 200);
    }
    client.stays_silent().await;
}

#[tokio::test]
async fn interim_answers_come_before_the_final_one() {
    for interim in ["100 Continue", "102 Processing", "103 Early Hints"] {
        let text = format!(
            "HTTP/1.1 {interim}\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        );
        let upstream = ScriptedUpstream::answering(text).await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let mut answer = client.ask(&Request::get("/").version(version)).await;
            if interim.starts_with(&answer.status().to_string()) {
                // RFC 9110 section 15.2: never to HTTP/1.0.
                assert_eq!(version, "HTTP/1.1");
                answer = client.read_answer().await;
            }
            assert_eq!((answer.status(), answer.text().as_str()), (200, "hi"));
        }
    }
}

#[tokio::test]
async fn answer_of_http_1_0_arrives() {
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
        wire.send("HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nhello").await;
    })
    .await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        let answer = client.ask(&Request::get("/")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
        assert_eq!(answer.head.field("X-A"), Some("1"));
        if answer.framing == Framing::UntilClose {
            client = gateway.connect().await;
        }
    }
}

/// What is no HTTP never reaches a client, and never with a part of it.
#[tokio::test]
async fn malformed_answers_are_502() {
    let answers = [
        "garbage\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ];
    for text in answers {
        let answer = relayed(text).await;
        assert_eq!(answer.status(), 502, "{text:?}: {:?}", answer.head);
        answer.expect_problem(502);
    }
    let long = format!(
        "HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n",
        "a".repeat(70_000)
    );
    relayed(&long).await.expect_problem(502);
}

#[tokio::test]
async fn bytes_behind_an_answer_are_nobodys_answer() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
        HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let upstream = ScriptedUpstream::serve(move |mut wire| async move {
        while wire.read_head_or_end().await.is_ok() {
            wire.send(text).await;
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for _ in 0..5 {
        let answer = client.ask(&Request::get("/")).await;
        assert_eq!(answer.text(), "hi", "{:?}", answer.head);
    }
    assert_eq!(
        upstream.connections(),
        5,
        "a connection with bytes left over was used again"
    );
}
