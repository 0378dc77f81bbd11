//! A browser lets any page open a WebSocket anywhere, and sends its cookies with it. So a bridge is for pages
//! of its own origin, unless `cors` names others; and a plain request is told what a handshake would be.

use tidegate_tests::tls::is_over_tls;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token, mint::SECRET};

const APP: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

fn gateway(upstream: &ScriptedUpstream, top: &str, route: &str) -> TestGateway {
    let yaml = format!(
        "{top}services: {{ up: {{ endpoints: http://UP }} }}\n\
         routes:\n\
         - {{ name: bridge, match: {{ path: /ws }}, {route} bridge: {{ services: up }} }}\n\
         - {{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}\n"
    );
    TestGateway::start(upstream, &yaml)
}

/// What a handshake and a plain request are told that come with these fields.
async fn told(gateway: &TestGateway, fields: &[(&str, &str)]) -> (u16, u16) {
    let with = |request: Request| {
        let fields = fields.iter();
        fields.fold(request, |request, (name, value)| request.with(name, value))
    };
    let mut client = gateway.connect().await;
    client.request(&with(Request::handshake("/ws"))).await;
    let handshake = client.read_head().await.status();
    let plain = gateway.ask(&with(Request::get("/ws"))).await;
    if plain.status() == 403 {
        plain.expect_problem(403);
        assert_eq!(plain.code(), "origin_not_allowed");
    }
    (handshake, plain.status())
}

const OPENED: (u16, u16) = (101, 426);
const REFUSED: (u16, u16) = (403, 403);

#[tokio::test]
async fn without_cors_only_its_own_origin_may() {
    let upstream = ScriptedUpstream::mirror().await;
    let (own, other) = match is_over_tls() {
        true => ("https", "http"),
        false => ("http", "https"),
    };
    let own = format!("{own}://test.example");
    for route in ["", "cors: none,"] {
        let gateway = gateway(&upstream, "", route);
        assert_eq!(
            told(&gateway, &[]).await,
            OPENED,
            "who sends none is no browser"
        );
        assert_eq!(told(&gateway, &[("Origin", &own)]).await, OPENED);
        for origin in [
            EVIL,
            "null",
            "",
            &format!("{other}://test.example"),
            &format!("{own}:81"),
            &format!("{own}.evil.example"),
        ] {
            assert_eq!(
                told(&gateway, &[("Origin", origin)]).await,
                REFUSED,
                "{origin}"
            );
        }
        // What a service is behind is the service's business.
        let proxied = Request::handshake("/other").with("Origin", EVIL);
        let mut client = gateway.connect().await;
        client.request(&proxied).await;
        assert_eq!(client.read_head().await.status(), 101);
    }
}

#[tokio::test]
async fn cors_names_others() {
    let upstream = ScriptedUpstream::mirror().await;
    let listed = format!("cors: {{ origins: '{APP}' }}");
    for (top, route) in [
        (String::new(), format!("{listed},")),
        (format!("{listed}\n"), String::new()),
    ] {
        let gateway = gateway(&upstream, &top, &route);
        assert_eq!(
            told(&gateway, &[("Origin", APP)]).await,
            OPENED,
            "{top}{route}"
        );
        assert_eq!(
            told(&gateway, &[("Origin", EVIL)]).await,
            REFUSED,
            "{top}{route}"
        );
    }
    let open = gateway(&upstream, "", "cors: { origins: '*' },");
    assert_eq!(told(&open, &[("Origin", EVIL)]).await, OPENED);
    assert_eq!(told(&open, &[("Origin", "null")]).await, REFUSED);
}

/// The scheme is that which a trusted proxy tells.
#[tokio::test]
async fn behind_a_proxy_that_ends_tls() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "trusted_proxies: 127.0.0.0/8\n", "");
    let from = |origin| [("X-Forwarded-Proto", "https"), ("Origin", origin)];
    assert_eq!(told(&gateway, &from("https://test.example")).await, OPENED);
    if !is_over_tls() {
        assert_eq!(told(&gateway, &from("http://test.example")).await, REFUSED);
    }
}

/// Handshakes carry cookies whatever `credentials` says, so it is not asked of what asks for them.
#[tokio::test]
async fn a_plain_request_is_judged_as_the_handshake() {
    let Some(mint) = Mint::open("foreign_pages_are_refused") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let top =
        format!("auth: {{ jwt: {{ secret: '{SECRET}', token_from: {{ cookie: session }} }} }}\n");
    let route = format!("cors: {{ origins: '{APP}' }}, filters: require,");
    let gateway = gateway(&upstream, &top, &route);
    let cookie = format!("session={}", mint.sign(&Token::secret()));
    let from = |origin| [("Cookie", cookie.as_str()), ("Origin", origin)];
    assert_eq!(told(&gateway, &from(APP)).await, OPENED);
    assert_eq!(told(&gateway, &from(EVIL)).await, REFUSED);
}
