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
    let listed = "cors: { origins: ['https://app.example'], credentials: true }\n";
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
}

/// Browsers tell of another site where they leave `Origin` out.
#[tokio::test]
async fn a_cookie_does_not_count_for_what_other_sites_include() {
    let Some(mint) = Mint::open(TEST) else { return };
    let cookie = format!("session={}", mint.sign(&Token::secret()));
    let upstream = ScriptedUpstream::mirror().await;
    let auth = by_secret("token_from: [header, { cookie: session }]");
    let gateway = gateway(&upstream, &auth, "require");
    for (method, mode, expected) in [
        ("POST", "navigate", 403),
        ("POST", "no-cors", 403),
        ("GET", "no-cors", 403),
        ("GET", "", 403),
        ("HEAD", "cors", 403),
        ("OPTIONS", "navigate", 403),
        // A link that a user follows.
        ("GET", "navigate", 200),
    ] {
        let request = Request::new(method, "/")
            .with("Cookie", &cookie)
            .with("Sec-Fetch-Site", "cross-site")
            .with("Sec-Fetch-Mode", mode);
        let mut client = gateway.connect().await;
        client.request(&request.body("")).await;
        let head = client.read_head().await;
        assert_eq!(head.status(), expected, "{method} {mode}");
    }
    for site in ["same-origin", "same-site", "none"] {
        let request = Request::get("/").with("Cookie", &cookie);
        let request = request.with("Sec-Fetch-Site", site);
        assert_eq!(gateway.ask(&request).await.status(), 200, "{site}");
    }
}

/// What a policy says of handshakes holds for them alone, and so does what it says of requests.
#[tokio::test]
async fn a_cookie_counts_as_the_policy_says() {
    let Some(mint) = Mint::open(TEST) else { return };
    let cookie = format!("session={}", mint.sign(&Token::secret()));
    let app = Some("https://app.example");
    let refuse = "missing_origin: refuse";
    // Handshakes, and requests.
    for (cors, origin, expected) in [
        (refuse, None, (403, 200)),
        ("missing_origin: allow", None, (101, 200)),
        ("origins: 'https://app.example'", app, (101, 403)),
        (
            "origins: 'https://app.example', credentials: false",
            app,
            (101, 403),
        ),
        (
            "origins: 'https://app.example', credentials: true",
            app,
            (101, 200),
        ),
        ("origins: 'https://app.example'", None, (101, 200)),
    ] {
        let upstream = ScriptedUpstream::mirror().await;
        let auth = by_secret("token_from: { cookie: session }");
        let yaml = super::yaml(&auth, "require");
        let gateway = TestGateway::start(&upstream, &format!("cors: {{ {cors} }}\n{yaml}"));
        for (request, expected) in [
            (Request::handshake("/"), expected.0),
            (Request::get("/"), expected.1),
            (Request::new("POST", "/").body(""), expected.1),
        ] {
            let mut request = request.with("Cookie", &cookie);
            if let Some(origin) = origin {
                request = request.with("Origin", origin);
            }
            let mut client = gateway.connect().await;
            client.request(&request).await;
            let status = client.read_head().await.status();
            assert_eq!(status, expected, "{cors} {origin:?} {}", request.start());
        }
    }
}

/// Nobody knows which of two an upstream would take.
#[tokio::test]
async fn there_is_one_in_each_place() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret());
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &by_secret(ALL), "require");
    let get = || Request::get("/");
    for request in [
        get().with("Cookie", &format!("session={token}; session=x")),
        get().with("Cookie", &format!("session={token}; a=b; session={token}")),
        get()
            .with("Cookie", &format!("session={token}"))
            .with("Cookie", "session =x"),
        bearing(get(), &token).with("Cookie", "session=; session=x"),
        Request::get(&format!("/?access_token={token}&access_token=x")),
        Request::get(&format!("/?access_token={token}&%61ccess_token={token}")),
        offering(&format!("chat, tidegate.bearer.{token}, bearer, x")),
        offering(&format!("chat, bearer, {token}, tidegate.bearer.{token}")),
    ] {
        let answer = gateway.ask(&request).await;
        let said = (answer.status(), &*answer.code());
        assert_eq!(said, (401, "conflicting_tokens"), "{request:?}");
    }
    let request = bearing(bearing(get(), &token), &token);
    let answer = gateway.ask(&request).await;
    assert_eq!((answer.status(), &*answer.code()), (401, "invalid_token"));
    upstream.was_left_alone().await;
}

/// Nothing that was not verified looks as if it had been.
#[tokio::test]
async fn a_cookie_that_did_not_count_goes_no_further() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret());
    let secret = "another secret that is at least as long";
    let forged = mint.sign(&Token::secret().with_secret(secret).claim("roles", "admin"));
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &by_secret(ALL), "require");
    for (cookie, left) in [
        (
            format!("a=1; session={forged}; b=2"),
            Some("a=1; b=2".to_owned()),
        ),
        (format!("session={forged}"), None),
        (
            format!("a=1; session={token}"),
            Some(format!("a=1; session={token}")),
        ),
    ] {
        let request = bearing(Request::get("/"), &token).with("Cookie", &cookie);
        let seen = gateway.ask(&request).await.seen();
        assert_eq!(seen.fields("Authorization"), [format!("Bearer {token}")]);
        assert_eq!(seen.field("Cookie"), left.as_deref());
    }
}

/// The first of them has taken what the second one would look for.
#[tokio::test]
async fn two_filters_may_ask() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret().claim("roles", "user"));
    let upstream = ScriptedUpstream::mirror().await;
    for (second, expected) in [("user", 200), ("admin", 403)] {
        let filters = format!("require, {{ require: {{ roles: {second} }} }}");
        let auth = by_secret("token_from: { query: access_token }");
        let gateway = gateway(&upstream, &auth, &filters);
        let request = Request::get(&format!("/?access_token={token}"));
        assert_eq!(gateway.ask(&request).await.status(), expected);
    }
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
        (bearing(cookie("x"), &a), Ok(&a)),
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

/// What is no token has no subject to be of another user.
#[tokio::test]
async fn a_cookie_that_is_no_token_is_no_conflict() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret());
    let other = mint.sign(&Token::secret().claim("sub", "other"));
    let upstream = ScriptedUpstream::mirror().await;
    let from = by_secret("token_from: [header, { cookie: session }]");
    let gateway = gateway(&upstream, &from, "require");
    for (cookie, status) in [
        ("7f3a9c", 200),
        ("a.b.c", 200),
        (&token, 200),
        (&other, 401),
    ] {
        let request = bearing(Request::get("/"), &token);
        let answer = gateway
            .ask(&request.with("Cookie", &format!("session={cookie}")))
            .await;
        assert_eq!(answer.status(), status, "{cookie}");
        if status == 401 {
            assert_eq!(answer.code(), "conflicting_tokens");
        } else {
            let seen = answer.seen();
            assert_eq!(seen.fields("Authorization"), [format!("Bearer {token}")]);
        }
    }
}
