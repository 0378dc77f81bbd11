//! A ticket stands for a token where none can be sent: once, for a short time, and it goes no further.

use serde_json::Value;
use tidegate_tests::{Answer, LogFile, Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::{bearing, by_secret};

const TEST: &str = "tickets_are_good_once";
const FROM: &str = "token_from: [header, ticket]";

async fn ticket(gateway: &TestGateway, token: &str) -> String {
    let request = bearing(Request::new("POST", "/_tidegate/ticket"), token).body("");
    let answer = gateway.ask(&request).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.head.field("Cache-Control"), Some("no-store"));
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["expires_in"], 30);
    said["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_opens_one_session() {
    let Some(mint) = Mint::open(TEST) else { return };
    let log = LogFile::new();
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = format!(
        "{}{}",
        log.yaml(""),
        super::yaml(&by_secret(FROM), "require")
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let token = mint.sign(&Token::secret());
    let first = ticket(&gateway, &token).await;
    assert_ne!(first, ticket(&gateway, &token).await);
    assert!(upstream.heads().is_empty(), "tickets are ours to give");
    let target = format!("/chat?a=1&ticket={first}&b=2");
    let mut client = gateway.connect().await;
    client.request(&Request::handshake(&target)).await;
    assert_eq!(client.read_head().await.status(), 101);
    let head = upstream.only_head().await;
    assert_eq!(head.target(), "/chat?a=1&b=2");
    assert_eq!(head.fields("Authorization"), [format!("Bearer {token}")]);
    for again in [Request::handshake(&target), Request::get(&target)] {
        let answer = gateway.ask(&again).await;
        assert_eq!((answer.status(), &*answer.code()), (401, "invalid_token"));
    }
    // A plain request may have one too.
    let second = ticket(&gateway, &token).await;
    let answer = gateway
        .ask(&Request::get(&format!("/?ticket={second}")))
        .await;
    assert_eq!(answer.seen().target(), "/");
    log.lines_until("all of it is logged", |lines| lines.len() == 7)
        .await;
    for secret in [&first, &second, &token] {
        assert!(!log.text().contains(secret.as_str()), "{}", log.text());
    }
}

#[tokio::test]
async fn none_is_given_for_nothing() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = super::gateway(&upstream, &by_secret(FROM), "require");
    let path = "/_tidegate/ticket";
    let good = mint.sign(&Token::secret());
    let held = ticket(&gateway, &good).await;
    let wrong = mint.sign(&Token::secret().claim("exp", 1));
    let said = |answer: &Answer| (answer.status(), answer.code());
    let ask = |request: Request| {
        let gateway = &gateway;
        async move { said(&gateway.ask(&request.body("")).await) }
    };
    let post = || Request::new("POST", path);
    assert_eq!(ask(post()).await, (401, "unauthenticated".into()));
    assert_eq!(
        ask(bearing(post(), &wrong)).await,
        (401, "token_expired".into())
    );
    let by_ticket = Request::new("POST", &format!("{path}?ticket={held}"));
    assert_eq!(ask(by_ticket).await, (401, "unauthenticated".into()));
    let get = gateway.ask(&bearing(Request::get(path), &good)).await;
    assert_eq!((get.status(), get.head.field("Allow")), (405, Some("POST")));
    for ticket in ["", "x", "tt_AAAA", &held[..held.len() - 1]] {
        let answer = gateway
            .ask(&Request::get(&format!("/?ticket={ticket}")))
            .await;
        assert_eq!(answer.status(), 401, "{ticket}");
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn where_there_are_none_the_path_is_a_route_s() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = super::gateway(&upstream, &by_secret("token_from: header"), "require");
    let token = mint.sign(&Token::secret());
    let request = bearing(
        Request::new("POST", "/_tidegate/ticket?ticket=mine"),
        &token,
    )
    .body("");
    let answer = gateway.ask(&request).await;
    assert_eq!(answer.seen().target(), "/_tidegate/ticket?ticket=mine");
}
