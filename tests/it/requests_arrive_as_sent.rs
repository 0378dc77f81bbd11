//! The upstream sees the method, target, headers and body that the client sent.

use std::time::Duration;

use tidegate_tests::wire::Framing;
use tidegate_tests::{Head, Request, ScriptedUpstream, TestGateway};

/// What the gateway itself says of a request, beside what the client said.
const OURS: [&str; 9] = [
    "connection",
    "forwarded",
    "host",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

fn of_the_client(head: &Head) -> Vec<String> {
    head.fields
        .iter()
        .filter(|(name, _)| !OURS.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect()
}

#[tokio::test]
async fn methods_and_bodies() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let mut peer = None;
    for method in [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE", "REPORT", "TRACE",
    ] {
        for body in ["", "hello"] {
            if method == "TRACE" && !body.is_empty() {
                continue; // RFC 9110 section 9.3.8: it has none
            }
            let mut request = Request::new(method, "/a");
            if !body.is_empty() || method == "POST" {
                request = request.body(body);
            }
            client.request(&request).await;
            let wire = match &mut peer {
                Some(wire) => wire,
                None => peer.insert(upstream.accept().await),
            };
            let seen = wire.read_head().await;
            assert_eq!(seen.start, format!("{method} /a HTTP/1.1"));
            let (got, framing, _) = wire.read_body(&seen).await.unwrap();
            assert_eq!(got, body.as_bytes(), "{method}");
            match framing {
                Framing::Length => {
                    // RFC 9110 section 8.6 asks for a length where a body would mean something.
                    let may = ["POST", "PUT", "PATCH"].contains(&method);
                    assert!(!body.is_empty() || may, "{seen:?}");
                }
                Framing::None => assert!(body.is_empty() && method != "POST", "{seen:?}"),
                _ => panic!("{framing:?} in {seen:?}"),
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            assert_eq!(client.read_answer().await.text(), "ok", "{method}");
        }
    }
}

#[tokio::test]
async fn fields_apart_in_order_and_case() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let request = Request::get("/")
        .with("accept", "text/html, */*;q=0.5")
        .with("X-A", "1")
        .with("Cookie", "a=1")
        .with("X-CaSe", "Kept As It Is")
        .with("X-A", "2, 3")
        .with("cookie", "b=2")
        .with("X-Empty", "")
        .with("X-Latin", "caf\u{e9} \u{ff}")
        .with("X-Tab", "a\tb")
        .with("Authorization", "Basic eDp5")
        .with("Cache-Control", "no-cache")
        .with("x-a", "4");
    let seen = gateway.ask(&request).await.seen();
    let expected = [
        "accept: text/html, */*;q=0.5",
        "X-A: 1",
        "Cookie: a=1",
        "X-CaSe: Kept As It Is",
        "X-A: 2, 3",
        "cookie: b=2",
        "X-Empty: ",
        "X-Latin: caf\u{e9} \u{ff}",
        "X-Tab: a\tb",
        "Authorization: Basic eDp5",
        "Cache-Control: no-cache",
        "x-a: 4",
    ];
    assert_eq!(of_the_client(&seen), expected);
}

#[tokio::test]
async fn query_byte_for_byte() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let queries = [
        "?a=%2F&b=+&c=%20&d=caf%C3%A9&e=&f",
        "?",
        "??",
        "?a?b=/../c//d",
        "?a=%2e%2e/%00%zz%",
        "?&&==&a=a=a",
        "?a=%c3%A9&a=%C3%a9",
        "?x=[1]&y={z}|'\"^`",
        "?redirect=http://x.example/?a=b",
        "?~!$()*,;:@-._",
        "?caf\u{c3}\u{a9}", // raw UTF-8
    ];
    for query in queries {
        let target = format!("/a/b{query}");
        let plain = gateway.connect().await.ask(&Request::get(&target)).await;
        assert_eq!(plain.seen().target(), target);
        let mut client = gateway.connect().await;
        client.upgrade(&target).await;
        assert_eq!(upstream.heads().last().unwrap().target(), target);
    }
}

#[tokio::test]
async fn root_and_encoded_paths() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let targets = [
        "/",
        "/a",
        "/a/",
        "/a%2Fb/c%2fd",
        "/caf%C3%A9",
        "/a%20b",
        "/a;x=1/b,c=2",
        "/a:b@c!$&'()*+,=",
        "/%25",
        "/-._~",
    ];
    for target in targets {
        let seen = gateway.ask(&Request::get(target)).await.seen();
        assert_eq!(seen.target(), target);
    }
}

/// RFC 9112 section 3.2.2: the target of an absolute form wins over `Host`, and is made one.
#[tokio::test]
async fn absolute_targets() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let request = Request::get("http://real.example:81/a?b").host("other.example");
    let seen = gateway.ask(&request).await.seen();
    assert_eq!(seen.target(), "/a?b");
    assert_eq!(seen.field("Host"), Some("real.example:81"));
    let seen = gateway
        .ask(&Request::get("http://real.example").host("real.example"))
        .await
        .seen();
    assert_eq!(seen.target(), "/");
    let seen = gateway
        .ask(&Request::get("http://real.example?q").host("x"))
        .await
        .seen();
    assert_eq!(seen.target(), "/?q");
}

#[tokio::test]
async fn http_1_0_requests() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let request = Request::get("/old").version("HTTP/1.0");
    let answer = client.ask(&request).await;
    assert_eq!(answer.seen().start, "GET /old HTTP/1.1");
    client.expect_end().await; // it is not kept alive unless asked for
    let posted = Request::new("POST", "/old")
        .version("HTTP/1.0")
        .body("hello");
    assert_eq!(gateway.ask(&posted).await.seen().method(), "POST");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let requests = [
        Request::get("/1").bytes(),
        Request::new("POST", "/2").body("hello").bytes(),
        Request::new("POST", "/3").chunks(&["a", "bc"]).bytes(),
        Request::get("/4").bytes(),
        Request::new("HEAD", "/5").bytes(),
    ];
    client.send(requests.concat()).await;
    for number in 1..=4 {
        let seen = client.read_answer().await.seen();
        assert_eq!(seen.target(), format!("/{number}"));
    }
    assert_eq!(client.read_head().await.status(), 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn request_may_come_byte_by_byte() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let requests = [
        Request::new("POST", "/1").body("hello"),
        Request::new("POST", "/2").chunks(&["hel", "lo"]),
    ];
    let mut peer = None;
    for request in requests {
        for byte in request.bytes() {
            client.send([byte]).await;
        }
        let wire = match &mut peer {
            Some(wire) => wire,
            None => peer.insert(upstream.accept().await),
        };
        let seen = wire.read_head().await;
        let (body, _, _) = wire.read_body(&seen).await.unwrap();
        assert_eq!(body, b"hello");
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
            wire.send([*byte]).await;
        }
        assert_eq!(client.read_answer().await.text(), "ok");
    }
}

/// RFC 9112 section 2.2 asks for it: an empty line before a request, left by old clients.
#[tokio::test]
async fn empty_line_before_a_request_is_no_request() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.send("\r\n").await;
    let answer = client.ask(&Request::get("/a")).await;
    assert!(matches!(answer.status(), 200 | 400), "{:?}", answer.head);
}

/// More than a few are no request, also where each comes by itself; behind a request they may come
/// anew.
#[tokio::test]
async fn empty_lines_are_few_however_they_come() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for lines in [4, 4, 5] {
        for _ in 0..lines {
            client.send("\r\n").await;
            // Time to be read by itself.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let answer = client.ask(&Request::get("/a")).await;
        if lines > 4 {
            answer.expect_problem(400);
        } else {
            answer.seen();
        }
    }
}
