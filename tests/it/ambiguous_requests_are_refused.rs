//! What two parsers could read in two ways is 400 and the end of the connection; the upstream hears
//! nothing of it (`SECURITY.md`, promise 4).

use tidegate_tests::{End, Request, ScriptedUpstream, TestGateway};

async fn refused(what: &str, bytes: &[u8], status: u16) {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.send(bytes).await;
    let answer = client.read_answer().await;
    assert_eq!(
        answer.status(),
        status,
        "{what}: {:?} {}",
        answer.head,
        answer.text()
    );
    answer.expect_problem(status);
    let connection = answer.head.tokens("Connection");
    assert!(
        connection.contains(&"close".to_owned()),
        "{what}: {:?}",
        answer.head
    );
    client.finish().await;
    assert_eq!(client.expect_end().await, End::Fin, "{what}");
    upstream.was_left_alone().await;
}

/// A request with these lines beside `Host`.
fn lines(method: &str, lines: &str, body: &str) -> Vec<u8> {
    let text = format!("{method} / HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n\r\n{body}");
    text.chars().map(|letter| letter as u8).collect()
}

#[tokio::test]
async fn lengths() {
    let cases = [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5.0",
        "Content-Length:",
        "Content-Length: five",
        "Content-Length: 18446744073709551616",
        "Content-Length: \u{b2}",
    ];
    for case in cases {
        refused(case, &lines("POST", case, "hello"), 400).await;
    }
}

#[tokio::test]
async fn length_beside_chunks() {
    let cases = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "transfer-encoding: chunked\r\nCONTENT-LENGTH: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ];
    for case in cases {
        refused(case, &lines("POST", case, "0\r\n\r\n"), 400).await;
    }
}

#[tokio::test]
async fn transfer_codings() {
    let cases = [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding:\r\n chunked",
    ];
    for case in cases {
        let bytes = lines("POST", case, "0\r\n\r\n");
        // A coding that is only unknown may also be 501 (RFC 9112 section 6.1).
        refused(case, &bytes, 400).await;
    }
    let old = Request::new("POST", "/")
        .version("HTTP/1.0")
        .chunks(&["hello"]);
    refused("chunks on HTTP/1.0", &old.bytes(), 400).await;
}

#[tokio::test]
async fn field_lines() {
    let cases = [
        "X-A : 1",
        " X-A: 1",
        "X-A: 1\r\n folded",
        "X-A: 1\r\n\tfolded",
        ": 1",
        "X A: 1",
        "X-A",
        "X-A: a\0b",
        "X-A: a\rb",
        "X-A: a\u{7f}b",
        "X-A: a\u{1}b",
        "X-\u{e9}: 1",
        "X(A): 1",
        "X-A: 1\nX-B: 2",
    ];
    for case in cases {
        refused(case, &lines("GET", case, ""), 400).await;
    }
}

#[tokio::test]
async fn line_ends() {
    let cases: [&[u8]; 5] = [
        b"GET / HTTP/1.1\nHost: test.example\n\n",
        b"GET / HTTP/1.1\r\nHost: test.example\n\r\n",
        b"GET / HTTP/1.1\nHost: test.example\r\n\r\n",
        b"GET / HTTP/1.1\rHost: test.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test.example\r\n\n",
    ];
    for case in cases {
        refused(&case.escape_ascii().to_string(), case, 400).await;
    }
}

#[tokio::test]
async fn request_lines() {
    let cases = [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /",
        "GET",
        "GET / HTTP/1.2x",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET a HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a\0 HTTP/1.1",
        "GET /a\u{1} HTTP/1.1",
        "GET /a\u{7f} HTTP/1.1",
        "G\0T / HTTP/1.1",
        "GE(T / HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://user@x/ HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}",
    ];
    for case in cases {
        let text = format!("{case}\r\nHost: test.example\r\n\r\n");
        let bytes: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
        // RFC 9110 section 15.6.6 has 505 for a version that is not served.
        let status = if case.contains("HTTP/2.0") || case.contains("HTTP/0.9") {
            505
        } else {
            400
        };
        refused_either(case, &bytes, status).await;
    }
}

/// 400, or `other`: both end the connection.
async fn refused_either(what: &str, bytes: &[u8], other: u16) {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.send(bytes).await;
    let answer = client.read_answer().await;
    let status = answer.status();
    assert!(
        status == 400 || status == other,
        "{what}: {:?}",
        answer.head
    );
    client.finish().await;
    client.expect_end().await;
    upstream.was_left_alone().await;
}

/// What is behind a refused request is not read as another one.
#[tokio::test]
async fn nothing_behind_a_refusal_is_served() {
    let smuggled = "GET /evil HTTP/1.1\r\nHost: test.example\r\n\r\n";
    let case = "Content-Length: 6\r\nTransfer-Encoding: chunked";
    let bytes = lines("POST", case, &format!("0\r\n\r\n{smuggled}"));
    refused("smuggled", &bytes, 400).await;
}

#[tokio::test]
async fn broken_chunks_of_an_upload_look_cut() {
    let bodies = [
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\r\nzz\r\n\r\n",
        "5\r\nhello\r\n-1\r\n\r\n",
        "5\r\nhello\r\n0x0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello\r\n10000000000000000\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n",
    ];
    for body in bodies {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let mut client = gateway.connect().await;
        let request = Request::new("POST", "/")
            .with("Transfer-Encoding", "chunked")
            .then(body);
        client.request(&request).await;
        // No answer has begun, so the client can be told.
        match client.read_head_or_end().await {
            Ok(head) => assert_eq!(head.status(), 400, "{body:?}"),
            Err(end) => panic!("{end:?} instead of a 400 for {body:?}"),
        }
        // If the upstream was asked, it sees that this is not all.
        for _ in 0..upstream.connections() {
            let mut peer = upstream.accept().await;
            if let Ok(head) = peer.read_head_or_end().await {
                assert!(peer.read_body(&head).await.is_err(), "{body:?} looks whole");
            }
        }
        drop(client);
        gateway.is_empty().await;
        assert_eq!(
            gateway.upstream_idle(),
            0,
            "{body:?}: its connection is kept"
        );
    }
}

/// By default: head 64 KiB, 100 fields, target 8 KiB.
#[tokio::test]
async fn heads_are_bounded() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000));
    refused("a long target", long.as_bytes(), 414).await;
    let big = format!("X-A: {}", "a".repeat(70_000));
    refused("a big head", &lines("GET", &big, ""), 431).await;
    let many = vec!["X-A: 1"; 110].join("\r\n");
    refused("many fields", &lines("GET", &many, ""), 431).await;

    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let just = format!(
        "X-A: {}\r\n{}",
        "a".repeat(60_000),
        vec!["X-B: 1"; 90].join("\r\n")
    );
    let mut client = gateway.connect().await;
    client.send(lines("GET", &just, "")).await;
    let seen = client.read_answer().await.seen();
    assert_eq!(seen.field("X-A").map(str::len), Some(60_000));
    assert_eq!(seen.fields("X-B").len(), 90);
    let target = format!("/{}", "a".repeat(8000));
    assert_eq!(
        client.ask(&Request::get(&target)).await.seen().target(),
        target
    );
}

#[tokio::test]
async fn hosts() {
    let cases = [
        "",
        "Host: a\r\nHost: a",
        "Host: a\r\nHost: b",
        "Host: a b",
        "Host: u@a",
        "Host: a,b",
    ];
    for case in cases {
        let bytes =
            format!("GET / HTTP/1.1\r\n{case}\r\n\r\n").replace("1.1\r\n\r\n\r\n", "1.1\r\n\r\n");
        refused(case, bytes.as_bytes(), 400).await;
    }
}

/// A gateway is no forward proxy: it opens no tunnels, and asks nobody whom a client names.
#[tokio::test]
async fn tunnels() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    for target in ["test.example:443", &upstream.address().to_string(), "/"] {
        let mut client = gateway.connect().await;
        client.request(&Request::new("CONNECT", target)).await;
        let status = client.read_head().await.status();
        assert!(
            matches!(status, 400 | 404 | 405 | 501),
            "{target}: {status}"
        );
    }
    upstream.was_left_alone().await;

    let elsewhere = ScriptedUpstream::mirror().await;
    let target = format!("http://{}/", elsewhere.address());
    gateway.ask(&Request::get(&target)).await.seen(); // by the route, not by the name
    elsewhere.was_left_alone().await;
}

#[tokio::test]
async fn asterisk() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::new("OPTIONS", "*")).await;
    let status = client.read_head().await.status();
    assert!(matches!(status, 200 | 204 | 400 | 404), "{status}");
    // The asterisk is for OPTIONS alone (RFC 9112 section 3.2.4).
    refused("GET *", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400).await;
}
