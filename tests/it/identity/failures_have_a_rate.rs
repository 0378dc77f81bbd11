//! Who shows wrong credentials over and over is told to wait, and nobody else is.

use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token, Wire};

use super::{bearing, by_secret};

const TEST: &str = "failures_have_a_rate";

#[tokio::test]
async fn the_next_attempt_waits() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let auth = format!(
        "{}, failures_per_address: {{ rate: 1/m, burst: 3 }}",
        by_secret("")
    );
    let yaml = format!(
        "trusted_proxies: [127.0.0.1]\n{}",
        super::yaml(&auth, "require")
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let from = |client: &str, token: &str| {
        let request = bearing(Request::get("/"), token).with("X-Forwarded-For", client);
        let address = gateway.address();
        async move { Wire::connect(address).await.ask(&request).await }
    };
    let (good, late) = (
        mint.sign(&Token::secret()),
        mint.sign(&Token::secret().claim("jti", "b")),
    );
    assert_eq!(from("192.0.2.1", &good).await.status(), 200);
    let wrong = |number: usize| {
        let secret = "another secret that is at least as long";
        mint.sign(&Token::secret().claim("n", number).with_secret(secret))
    };
    for number in 0..3 {
        // One that was seen before is as wrong as before.
        let answer = from("192.0.2.1", &wrong(number / 2)).await;
        assert_eq!(answer.status(), 401, "{number}");
    }
    for token in [wrong(9), wrong(0), late.clone()] {
        let answer = from("192.0.2.1", &token).await;
        answer.expect_problem(429);
        assert_eq!(answer.code(), "too_many_failures");
        let seconds: u32 = answer.head.field("Retry-After").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    assert_eq!(
        from("192.0.2.1", &good).await.status(),
        200,
        "who is known is known"
    );
    assert_eq!(from("192.0.2.2", &late).await.status(), 200, "another one");
    assert_eq!(
        from("192.0.2.2", &wrong(1)).await.status(),
        401,
        "another one"
    );
    let answer = from("192.0.2.1", "").await;
    assert_eq!(answer.status(), 429);
    let missing = Request::get("/").with("X-Forwarded-For", "192.0.2.1");
    assert_eq!(
        gateway.ask(&missing).await.status(),
        401,
        "no attempt at all"
    );
}
