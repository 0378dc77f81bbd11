//! A token is looked for where the configuration says, in that order, and reaches the upstream in
//! `Authorization` alone.

use tidegate_tests::{LogFile, Mint, Request, ScriptedUpstream, TestGateway, Token, Wire};

use super::{bearing, by_secret, gateway};

const TEST: &str = "tokens_stand_where_they_may";
const ALL: &str = "token_from: [{ cookie: session }, subprotocol, { query: access_token }, header]";

fn offering(offer: &str) -> Request {
    Request::handshake("/").with("Sec-WebSocket-Protocol", offer)
}

/// Asks for a session with an upstream that takes the first subprotocol; its head and ours.
async fn opened(gateway: &TestGateway, request: &Request) -> (Wire, tidegate_tests::Head) {
    let mut client = gateway.connect().await;
    client.request(request).await;
    let head = client.read_head().await;
    assert_eq!(head.status(), 101, "{head:?}");
    (client, head)
}

async fn choosy() -> ScriptedUpstream {
    ScriptedUpstream::serve(|mut wire| async move {
        let head = wire.read_head().await;
        let first = head.field("Sec-WebSocket-Protocol").unwrap_or_default();
        let first = first.split(',').next().unwrap_or_default().to_owned();
        let line = format!("Sec-WebSocket-Protocol: {first}");
        let lines = if first.is_empty() {
            vec![]
        } else {
            vec![line.as_str()]
        };
        wire.send(tidegate_tests::wire::switching(&head, &lines))
            .await;
        wire.read_to_end().await;
    })
    .await
}

#[tokio::test]
async fn a_subprotocol_carries_it_and_only_the_other_is_chosen() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret());
    for (auth, offer, left) in [
        ("", format!("chat, tidegate.bearer.{token}"), "chat"),
        ("", format!("tidegate.bearer.{token}, v2, chat"), "v2, chat"),
        ("", format!("bearer, {token}, chat"), "chat"),
        ("", format!("chat, bearer, {token}"), "chat"),
        (
            "token_from: subprotocol",
            format!("chat, tidegate.bearer.{token}"),
            "chat",
        ),
    ] {
        let upstream = choosy().await;
        let gateway = gateway(&upstream, &by_secret(auth), "require");
        let (_client, answer) = opened(&gateway, &offering(&offer)).await;
        let first = left.split(',').next().unwrap();
        assert_eq!(answer.fields("Sec-WebSocket-Protocol"), [first]);
        let head = upstream.only_head().await;
        assert_eq!(head.fields("Sec-WebSocket-Protocol"), [left], "{offer}");
        assert_eq!(head.fields("Authorization"), [format!("Bearer {token}")]);
        assert_eq!(
            String::from_utf8_lossy(&head.raw).matches(&token).count(),
            1
        );
    }
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &by_secret(""), "require");
    for offer in [
        format!("tidegate.bearer.{token}"),
        format!("bearer, {token}"),
    ] {
        let answer = gateway.ask(&offering(&offer)).await;
        answer.expect_problem(400);
        assert_eq!(answer.code(), "bad_handshake");
    }
    let answer = gateway.ask(&offering("chat, tidegate.bearer.x")).await;
    assert_eq!(answer.status(), 401);
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn a_query_carries_it_where_that_is_switched_on() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret());
    let log = LogFile::new();
    let upstream = ScriptedUpstream::mirror().await;
    let off = gateway(&upstream, &by_secret(""), "require");
    let target = format!("/a?x=1&auth={token}&y=2");
    assert_eq!(off.ask(&Request::get(&target)).await.status(), 401);
    for format in ["json", "text", "combined"] {
        let log = LogFile::new();
        let from = by_secret("token_from: { query: auth }");
        let yaml = format!(
            "{}{}",
            log.yaml(&format!("format: {format}")),
            super::yaml(&from, "require")
        );
        let gateway = TestGateway::start(&upstream, &yaml);
        let referer = format!("https://app.example/p?auth={token}&z=3");
        let request = Request::get(&target).with("Referer", &referer);
        let seen = gateway.ask(&request).await.seen();
        assert_eq!(seen.target(), "/a?x=1&y=2");
        assert_eq!(seen.fields("Authorization"), [format!("Bearer {token}")]);
        assert_eq!(seen.fields("Referer"), ["https://app.example/p?z=3"]);
        let (_client, _) = opened(&gateway, &Request::handshake(&format!("/?auth={token}"))).await;
        let head = upstream.heads().pop().unwrap();
        assert_eq!(head.target(), "/");
        tidegate_tests::eventually("both are logged", || log.text().lines().count() == 2).await;
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert!(!log.text().contains(signature), "{}", log.text());
        assert!(log.text().contains("auth=***"), "{}", log.text());
    }
    drop(log);
}

#[tokio::test]
async fn a_cookie_carries_it() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret());
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(
        &upstream,
        &by_secret("token_from: [header, { cookie: session }]"),
        "require",
    );
    let cookie = format!("a=b; session={token}; c=d");
    let seen = gateway
        .ask(&Request::get("/").with("Cookie", &cookie))
        .await
        .seen();
    assert_eq!(seen.fields("Authorization"), [format!("Bearer {token}")]);
    assert_eq!(seen.fields("Cookie"), [cookie.as_str()]);
    let other = Request::get("/").with("Cookie", &format!("Session={token}"));
    assert_eq!(gateway.ask(&other).await.status(), 401);
}

/// A browser sends cookies whoever asked for the request.
#[tokio::test]
async fn a_cookie_counts_from_pages_of_our_own_alone() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret());
    let cookie = format!("session={token}");
    let listed = "cors: { origins: ['https://app.example'] }\n";
    let any = "cors: { origins: '*' }\n";
    for (cors, origin, expected) in [
        ("", None, true),
        ("", Some("http://test.example"), true),
        ("", Some("https://test.example"), false),
        ("", Some("http://evil.example"), false),
        ("", Some("http://test.example.evil.example"), false),
        ("", Some("null"), false),
        ("", Some(""), false),
        (listed, Some("https://app.example"), true),
        (listed, Some("https://app.example:444"), false),
        (listed, Some("null"), false),
        (any, Some("https://evil.example"), false),
        (any, Some("http://test.example"), true),
    ] {
        let upstream = ScriptedUpstream::mirror().await;
        let auth = by_secret("token_from: [header, { cookie: session }]");
        let gateway = TestGateway::start(
            &upstream,
            &format!("{cors}{}", super::yaml(&auth, "require")),
        );
        for request in [Request::handshake("/"), Request::new("POST", "/").body("")] {
            let is_handshake = request.start().starts_with("GET");
            let mut request = request.with("Cookie", &cookie);
            if let Some(origin) = origin {
                // What is https is not the same over plain TCP, but the kit may speak TLS.
                request = request.with("Origin", &of_kit(origin));
            }
            let mut client = gateway.connect().await;
            client.request(&request).await;
            if expected {
                let wanted = if is_handshake { 101 } else { 200 };
                assert_eq!(
                    client.read_head().await.status(),
                    wanted,
                    "{cors} {origin:?}"
                );
            } else {
                let answer = client.read_answer().await;
                answer.expect_problem(403);
                assert_eq!(answer.code(), "origin_not_allowed", "{cors} {origin:?}");
            }
        }
        // What no browser sends unasked is not asked where it comes from.
        if cors.is_empty() {
            let request = bearing(Request::get("/"), &token).with("Origin", "http://evil.example");
            assert_eq!(gateway.ask(&request).await.status(), 200);
        }
        if !expected && cors.is_empty() {
            assert_eq!(upstream.heads().len(), 1, "{origin:?}");
        }
    }
    let upstream = ScriptedUpstream::mirror().await;
    let auth = by_secret("token_from: [header, { cookie: session }]");
    let gateway = gateway(&upstream, &auth, "require");
    let foreign = Request::new("POST", "/")
        .with("Cookie", &cookie)
        .with("Sec-Fetch-Site", "cross-site");
    assert_eq!(gateway.ask(&foreign.body("")).await.status(), 403);
}

/// The same origin's scheme is that of the connection.
fn of_kit(origin: &str) -> String {
    if !tidegate_tests::tls::is_over_tls() {
        return origin.to_owned();
    }
    match origin {
        "http://test.example" => "https://test.example".to_owned(),
        "https://test.example" => "http://test.example".to_owned(),
        other => other.to_owned(),
    }
}

#[tokio::test]
async fn the_header_wins_and_users_must_agree() {
    let Some(mint) = Mint::open(TEST) else { return };
    let named =
        |user: &str, id: &str| mint.sign(&Token::secret().claim("sub", user).claim("jti", id));
    let (a, same, b) = (named("a", "1"), named("a", "2"), named("b", "3"));
    let expired = mint.sign(&Token::secret().claim("sub", "a").claim("exp", 1));
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &by_secret(ALL), "require");
    let cookie = |token: &str| Request::get("/").with("Cookie", &format!("session={token}"));
    let query = |token: &str| Request::get(&format!("/?access_token={token}"));
    for (request, expected) in [
        (bearing(cookie(&same), &a), Ok(&a)),
        (bearing(query(&same), &a), Ok(&a)),
        (query(&same).with("Cookie", &format!("session={a}")), Ok(&a)),
        (bearing(cookie(&expired), &a), Ok(&a)),
        (bearing(cookie(&b), &a), Err("conflicting_tokens")),
        (
            query(&b).with("Cookie", &format!("session={a}")),
            Err("conflicting_tokens"),
        ),
        (bearing(cookie("x"), &a), Err("conflicting_tokens")),
        // One that is wrong is not made good by another one.
        (bearing(cookie(&a), &expired), Err("token_expired")),
        (bearing(cookie(&a), "x"), Err("invalid_token")),
        (
            cookie(&a).with("Authorization", "Basic YTpi"),
            Err("unauthenticated"),
        ),
    ] {
        let answer = gateway.ask(&request).await;
        match expected {
            Ok(token) => {
                let seen = answer.seen();
                assert_eq!(seen.fields("Authorization"), [format!("Bearer {token}")]);
                assert_eq!(seen.target(), "/");
            }
            Err(expected) => {
                assert_eq!(
                    (answer.status(), &*answer.code()),
                    (401, expected),
                    "{request:?}"
                );
            }
        }
    }
}

/// C-024: what the gateway does not ask for is not its business.
#[tokio::test]
async fn without_require_credentials_pass_untouched() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &by_secret(ALL), "");
    for value in ["Basic YTpi", "Bearer x", "Digest a=b", ""] {
        let request = Request::get("/?access_token=x").with("Authorization", value);
        let seen = gateway.ask(&request).await.seen();
        assert_eq!(seen.fields("Authorization"), [value]);
        assert_eq!(seen.target(), "/?access_token=x");
    }
    let (_client, _) = opened(&gateway, &offering("chat, bearer")).await;
    let head = upstream.heads().pop().unwrap();
    assert_eq!(head.fields("Sec-WebSocket-Protocol"), ["chat, bearer"]);
}
