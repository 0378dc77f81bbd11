//! When an upstream fails, the client is told which way, by a problem (RFC 9457) that says nothing
//! of the inside, and soon.

use tidegate_tests::sockets::FullListener;
use tidegate_tests::{Answer, Request, ScriptedUpstream, TestGateway, Wire};

/// A plain request and a handshake: both are told the same.
fn both() -> [Request; 2] {
    [Request::get("/a"), Request::handshake("/a")]
}

async fn ask_all(gateway: &TestGateway, status: u16) -> Vec<Answer> {
    let mut answers = Vec::new();
    for request in both() {
        let mut client = gateway.connect().await;
        let answer = client.ask(&request).await;
        assert_eq!(answer.status(), status, "{request:?}: {}", answer.text());
        answer.expect_problem(status);
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn refused_is_502() {
    let upstream = ScriptedUpstream::bind().await;
    upstream.refuse().await;
    let gateway = TestGateway::before(&upstream);
    let port = upstream.address().port().to_string();
    for answer in ask_all(&gateway, 502).await {
        assert!(!answer.text().contains(&port), "{}", answer.text());
    }
    gateway.is_empty().await;
}

#[tokio::test]
async fn ended_without_an_answer_is_502() {
    let fates: [fn(Wire); 2] = [drop, Wire::reset];
    for fate in fates {
        let upstream = ScriptedUpstream::serve(move |mut wire| async move {
            wire.read_head().await;
            fate(wire);
        })
        .await;
        let gateway = TestGateway::before(&upstream);
        ask_all(&gateway, 502).await;
        // A POST is never repeated, whatever happened to it.
        let before = upstream.connections();
        let answer = gateway.ask(&Request::new("POST", "/").body("hello")).await;
        answer.expect_problem(502);
        assert_eq!(upstream.connections(), before + 1);
    }
}

#[tokio::test]
async fn ended_at_once_is_502() {
    let fates: [fn(Wire); 2] = [drop, Wire::reset];
    for fate in fates {
        let upstream = ScriptedUpstream::serve(move |wire| async move { fate(wire) }).await;
        let gateway = TestGateway::before(&upstream);
        ask_all(&gateway, 502).await;
    }
}

#[tokio::test]
async fn silence_is_504() {
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
        wire.expect_end().await;
    })
    .await;
    let timeouts = "handshake_timeout: 200ms, response_timeout: 200ms";
    let gateway = TestGateway::before_with(&upstream, timeouts, "");
    ask_all(&gateway, 504).await;
    gateway.is_empty().await;
    tidegate_tests::eventually("the upstream is hung up on", || upstream.running() == 0).await;
}

#[tokio::test]
async fn connection_that_does_not_come_is_504() {
    let unreachable = FullListener::bind();
    let gateway = TestGateway::start_among(
        &[("UP", unreachable.address())],
        "services: { up: { endpoints: [http://UP], connect_timeout: 200ms } }\n\
         routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n",
    );
    ask_all(&gateway, 504).await;
    gateway.is_empty().await;
}

#[tokio::test]
async fn name_that_nobody_has_is_502() {
    let gateway = TestGateway::start_among(
        &[],
        "services: { up: { endpoints: [http://no-such-host.invalid:80], connect_timeout: 15s } }\n\
         routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n",
    );
    for answer in ask_all(&gateway, 502).await {
        assert!(!answer.text().contains("no-such-host"), "{}", answer.text());
    }
}

#[tokio::test]
async fn clients_connection_lives_on() {
    let upstream = ScriptedUpstream::bind().await;
    upstream.refuse().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.ask(&Request::get("/")).await.expect_problem(502);
        client
            .ask(&Request::handshake("/"))
            .await
            .expect_problem(502);
    }
}

#[tokio::test]
async fn problem_has_a_length_and_head_has_none() {
    let upstream = ScriptedUpstream::bind().await;
    upstream.refuse().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::new("HEAD", "/")).await;
    let head = client.read_head().await;
    assert_eq!(head.status(), 502);
    client.stays_silent().await;
    // The next answer starts where the first ended.
    client.ask(&Request::get("/")).await.expect_problem(502);
}

#[tokio::test]
async fn problem_is_json() {
    let upstream = ScriptedUpstream::bind().await;
    upstream.refuse().await;
    let gateway = TestGateway::before(&upstream);
    let answer = gateway.ask(&Request::get("/a\"b<c>?x=\\")).await;
    if answer.status() == 502 {
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let code = problem["code"].as_str().unwrap();
        assert_eq!(problem["type"], format!("urn:tidegate:problem:{code}"));
        assert_eq!(problem["status"], 502);
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{problem}"
        );
    } else {
        answer.expect_problem(400);
    }
}

/// RFC 9110 section 6.6.1: who makes an answer and has a clock dates it.
#[tokio::test]
async fn problem_is_dated() {
    let upstream = ScriptedUpstream::bind().await;
    upstream.refuse().await;
    let gateway = TestGateway::before(&upstream);
    let requests = [
        Request::get("/"),
        Request::get("/.."),
        Request::handshake("/"),
        Request::new("CONNECT", "test.example:443"),
        Request::get("/").host("a b"),
    ];
    for request in requests {
        let answer = gateway.ask(&request).await;
        let date = answer
            .head
            .field("Date")
            .unwrap_or_else(|| panic!("{:?}", answer.head));
        assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    }
}

/// The upstream's own errors are its own.
#[tokio::test]
async fn upstreams_own_502_is_passed_on() {
    for status in ["500 Oops", "502 Theirs", "503 Theirs", "504 Theirs"] {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\ntheirs");
        let upstream = ScriptedUpstream::answering(text).await;
        let gateway = TestGateway::before(&upstream);
        for request in both() {
            let answer = gateway.ask(&request).await;
            assert_eq!(answer.head.start, format!("HTTP/1.1 {status}"));
            assert_eq!(answer.text(), "theirs");
        }
    }
}
