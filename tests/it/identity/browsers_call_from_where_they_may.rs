//! One policy for browsers: preflights, requests and handshakes are judged alike, by the route's policy or
//! by that of the gateway, and nothing is said twice.

use tidegate_tests::{Answer, Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::{bearing, by_secret};

const TEST: &str = "browsers_call_from_where_they_may";
const APP: &str = "https://app.example";

/// Answers with headers of its own about it.
async fn talkative() -> ScriptedUpstream {
    ScriptedUpstream::answering(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\n\
         access-control-allow-credentials: true\r\nVary: Accept\r\nX-Id: 7\r\nContent-Length: 0\r\n\r\n",
    )
    .await
}

fn started(upstream: &ScriptedUpstream, general: &str, route: &str, filters: &str) -> TestGateway {
    let auth = by_secret("token_from: [header, ticket]");
    let yaml = format!(
        "{general}auth: {{ {auth} }}\nservices: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes:\n  - name: all\n    match: {{ path: /a/**, methods: [GET, PUT] }}\n    \
         filters: [{filters}]\n    {route}\n    proxy: {{ service: up }}\n"
    );
    TestGateway::start(upstream, &yaml)
}

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    Request::new("OPTIONS", path)
        .with("Origin", origin)
        .with("Access-Control-Request-Method", method)
}

fn field<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.head.fields(&format!("Access-Control-{name}"))
}

#[tokio::test]
async fn a_preflight_needs_no_credential_and_reaches_nobody() {
    let upstream = talkative().await;
    let route = "cors: { origins: ['https://app.example', 'https://*.example.org'], methods: [GET, PUT], \
        headers: [content-type, x-a], credentials: true, max_age: 10m }";
    let gateway = started(&upstream, "", route, "require");
    let request =
        preflight("/a/b", APP, "PUT").with("Access-Control-Request-Headers", "X-A, content-type");
    let answer = gateway.ask(&request).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(field(&answer, "Allow-Origin"), [APP]);
    assert_eq!(field(&answer, "Allow-Credentials"), ["true"]);
    assert_eq!(field(&answer, "Allow-Methods"), ["GET, PUT"]);
    assert_eq!(field(&answer, "Allow-Headers"), ["x-a, content-type"]);
    assert_eq!(field(&answer, "Max-Age"), ["600"]);
    assert!(answer.head.tokens("Vary").contains(&"origin".to_owned()));
    let answer = gateway
        .ask(&preflight("/a/b", "https://x.y.example.org", "GET"))
        .await;
    assert_eq!(answer.status(), 204);
    for (request, said) in [
        (
            preflight("/a/b", "https://evil.example", "GET"),
            "origin_not_allowed",
        ),
        (
            preflight("/a/b", "https://app.example.evil.example", "GET"),
            "origin_not_allowed",
        ),
        (
            preflight("/a/b", "https://example.org", "GET"),
            "origin_not_allowed",
        ),
        (
            preflight("/a/b", "http://app.example", "GET"),
            "origin_not_allowed",
        ),
        (preflight("/a/b", "null", "GET"), "origin_not_allowed"),
        (
            preflight("/a/b", APP, "PUT").with("Access-Control-Request-Headers", "x-b"),
            "cors_not_allowed",
        ),
    ] {
        let answer = gateway.ask(&request).await;
        answer.expect_problem(403);
        assert_eq!(answer.code(), said, "{request:?}");
        assert!(field(&answer, "Allow-Origin").is_empty());
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn answers_say_it_once_and_refusals_too() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = mint.sign(&Token::secret());
    let upstream = talkative().await;
    let route = "cors: { origins: 'https://app.example', expose: x-id }";
    let gateway = started(&upstream, "", route, "require");
    let from = |origin: &str| bearing(Request::get("/a"), &token).with("Origin", origin);
    let answer = gateway.ask(&from(APP)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(field(&answer, "Allow-Origin"), [APP]);
    assert!(field(&answer, "Allow-Credentials").is_empty());
    assert_eq!(field(&answer, "Expose-Headers"), ["x-id"]);
    assert_eq!(answer.head.tokens("Vary"), ["accept", "origin"]);
    // Without an origin there is nothing to say, but that it could be said.
    let plain = gateway.ask(&bearing(Request::get("/a"), &token)).await;
    assert!(field(&plain, "Allow-Origin").is_empty());
    assert_eq!(plain.head.tokens("Vary"), ["accept", "origin"]);
    // A page can read why it was refused.
    let refused = gateway.ask(&Request::get("/a").with("Origin", APP)).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(field(&refused, "Allow-Origin"), [APP]);
    let before = upstream.heads().len();
    for request in [
        from("https://evil.example"),
        from("null"),
        from(APP).with("Origin", APP),
        Request::new("PUT", "/a")
            .with("Origin", APP)
            .body("")
            .with("Authorization", "x"),
    ] {
        let answer = gateway.ask(&request).await;
        answer.expect_problem(403);
        assert!(field(&answer, "Allow-Origin").is_empty());
    }
    assert_eq!(upstream.heads().len(), before);
}

#[tokio::test]
async fn handshakes_are_judged_by_the_same_policy() {
    let upstream = ScriptedUpstream::mirror().await;
    for (cors, origin, expected) in [
        ("origins: 'https://app.example'", Some(APP), 101),
        (
            "origins: 'https://app.example'",
            Some("https://app.example:443"),
            101,
        ),
        (
            "origins: 'https://app.example'",
            Some("https://app.example.evil.example"),
            403,
        ),
        (
            "origins: 'https://app.example'",
            Some("https://evilapp.example"),
            403,
        ),
        ("origins: 'https://app.example'", Some("null"), 403),
        ("origins: 'https://app.example'", Some(""), 403),
        ("origins: 'https://app.example'", None, 101),
        (
            "origins: 'https://app.example', missing_origin: refuse",
            None,
            403,
        ),
        (
            "origins: 'https://*.example'",
            Some("https://a.b.example"),
            101,
        ),
        (
            "origins: 'http://localhost:*'",
            Some("http://localhost:3000"),
            101,
        ),
        ("origins: '*'", Some("https://any.example"), 101),
        ("origins: '*'", Some("null"), 403),
        ("max_age: 1s", Some("https://any.example"), 403),
    ] {
        let gateway = started(&upstream, "", &format!("cors: {{ {cors} }}"), "");
        let mut request = Request::handshake("/a");
        if let Some(origin) = origin {
            request = request.with("Origin", origin).with("Connection", "Origin");
            request = request
                .without("Connection")
                .with("Connection", "Upgrade, Origin");
        }
        let mut client = gateway.connect().await;
        client.request(&request).await;
        assert_eq!(
            client.read_head().await.status(),
            expected,
            "{cors} {origin:?}"
        );
    }
}

#[tokio::test]
async fn the_gateway_has_a_policy_too() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = talkative().await;
    let general = "cors: { origins: 'https://app.example', headers: authorization }\n";
    let gateway = started(
        &upstream,
        general,
        "cors: { origins: 'https://other.example' }",
        "",
    );
    // Lists are united.
    for origin in [APP, "https://other.example"] {
        let answer = gateway
            .ask(&Request::get("/a").with("Origin", origin))
            .await;
        assert_eq!(field(&answer, "Allow-Origin"), [origin]);
    }
    // Where no route is, the general one answers.
    let asked =
        preflight("/nowhere", APP, "GET").with("Access-Control-Request-Headers", "authorization");
    let answer = gateway.ask(&asked).await;
    assert_eq!(
        (answer.status(), field(&answer, "Allow-Origin")),
        (204, vec![APP])
    );
    assert_eq!(
        gateway
            .ask(&preflight("/nowhere", "https://other.example", "GET"))
            .await
            .status(),
        403
    );
    let answer = gateway
        .ask(&Request::get("/nowhere").with("Origin", APP))
        .await;
    assert_eq!(
        (answer.status(), field(&answer, "Allow-Origin")),
        (404, vec![APP])
    );
    // So it does for paths of ours.
    let path = "/_tidegate/ticket";
    let asked =
        preflight(path, APP, "POST").with("Access-Control-Request-Headers", "authorization");
    assert_eq!(gateway.ask(&asked).await.status(), 204);
    let token = mint.sign(&Token::secret());
    let request = bearing(Request::new("POST", path), &token)
        .with("Origin", APP)
        .body("");
    let answer = gateway.ask(&request).await;
    assert_eq!(
        (answer.status(), field(&answer, "Allow-Origin")),
        (200, vec![APP])
    );
    // And a route may have none.
    let gateway = started(&upstream, general, "cors: none", "");
    let answer = gateway
        .ask(&Request::get("/a").with("Origin", "https://any.example"))
        .await;
    assert_eq!(field(&answer, "Allow-Origin"), ["*"]);
}

#[tokio::test]
async fn without_a_policy_it_is_the_upstream_s_business() {
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = "services: { up: { endpoints: [http://UP] } }\n\
        routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
    let gateway = TestGateway::start(&upstream, yaml);
    let seen = gateway.ask(&preflight("/", APP, "GET")).await.seen();
    assert_eq!(
        (seen.method(), seen.field("Origin")),
        ("OPTIONS", Some(APP))
    );
}

#[tokio::test]
async fn credentials_are_not_for_everybody() {
    let upstream = ScriptedUpstream::mirror().await;
    for cors in [
        "origins: '*', credentials: true",
        "origins: 'https://a.example/', max_age: 1s",
        "methods: 'A B'",
    ] {
        let yaml = format!(
            "cors: {{ {cors} }}\nservices: {{ up: {{ endpoints: [http://UP] }} }}\n\
             routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
        );
        let error = TestGateway::try_start(&upstream, &yaml).unwrap_err();
        assert!(error.contains("cors"), "{error}");
    }
}
