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

/// It stands for a token, which is all that an upstream is told: not for a password, and for nothing else
/// that the request says.
#[tokio::test]
async fn it_is_for_tokens_alone() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let hash =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let auth = format!(
        "{}, basic: {{ users: {{ alice: {{ password: '{hash}' }} }} }}",
        by_secret("token_from: [ticket, { cookie: session }]")
    );
    let gateway = super::gateway(&upstream, &auth, "require");
    // Of `alice:password`.
    let basic = |request: Request| request.with("Authorization", "Basic YWxpY2U6cGFzc3dvcmQ=");
    assert_eq!(gateway.ask(&basic(Request::get("/"))).await.status(), 200);
    let post = Request::new("POST", "/_tidegate/ticket");
    let answer = gateway.ask(&basic(post).body("")).await;
    assert_eq!((answer.status(), &*answer.code()), (401, "unauthenticated"));
    let challenges = answer.head.fields("WWW-Authenticate");
    assert_eq!(challenges, ["Bearer realm=\"tidegate\""]);
    let token = mint.sign(&Token::secret());
    let other = mint.sign(&Token::secret().with_secret("another secret that is as long as it"));
    let held = ticket(&gateway, &token).await;
    let request = bearing(Request::get(&format!("/?ticket={held}")), "unproven")
        .with("Cookie", &format!("session={other}; a=b"));
    let seen = gateway.ask(&request).await.seen();
    assert_eq!(seen.fields("Authorization"), [format!("Bearer {token}")]);
    assert_eq!(seen.fields("Cookie"), ["a=b"]);
}

#[tokio::test]
async fn nobody_has_all_of_them() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = super::gateway(&upstream, &by_secret(FROM), "require");
    let of = |user: &str| mint.sign(&Token::secret().claim("sub", user));
    let (greedy, other) = (of("greedy"), of("other"));
    let held = ticket(&gateway, &other).await;
    let post = bearing(Request::new("POST", "/_tidegate/ticket"), &greedy).body("");
    // The first ones may be over before the last ones are asked for.
    for number in 0.. {
        let answer = gateway.ask(&post).await;
        if answer.status() != 200 {
            answer.expect_problem(429);
            assert_eq!(answer.code(), "too_many_tickets");
            assert_eq!(answer.head.field("Retry-After"), Some("30"));
            assert!(number >= 64, "{number}");
            break;
        }
        assert!(number < 10_000, "there is no end to them");
    }
    ticket(&gateway, &other).await;
    let answer = gateway
        .ask(&Request::get(&format!("/?ticket={held}")))
        .await;
    // On a machine that is very busy its time may be over.
    assert!([200, 401].contains(&answer.status()));
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
