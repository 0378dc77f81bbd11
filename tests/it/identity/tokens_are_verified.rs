//! A token opens what it says it opens, whoever signed it by the standard; anything less is 401 with a
//! challenge, before an upstream hears of the request.

use serde_json::{Value, json};
use tidegate_tests::mint::{PublicKey, SECRET, from_now};
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::{bearing, by_secret, gateway};

const TEST: &str = "tokens_are_verified";

/// In a YAML text between double quotes, without the letters that stand for an upstream.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace('U', "\\u0055")
}

#[tokio::test]
async fn each_algorithm_has_its_keys() {
    let Some(mint) = Mint::open(TEST) else { return };
    for (kind, algorithms) in [
        (
            "rsa",
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..],
        ),
        ("p256", &["ES256"]),
        ("p384", &["ES384"]),
        ("p521", &["ES512"]),
        ("ed25519", &["EdDSA"]),
    ] {
        let key = mint.key(kind, kind);
        let upstream = ScriptedUpstream::mirror().await;
        let gateway = gateway(
            &upstream,
            &format!("jwt: {{ pem: {} }}", quoted(&key.pem)),
            "require",
        );
        for algorithm in algorithms {
            let token = mint.sign(&Token::of(algorithm, kind));
            let answer = gateway.ask(&bearing(Request::get("/"), &token)).await;
            assert_eq!(answer.status(), 200, "{algorithm}");
            let head = upstream.only_head().await;
            assert_eq!(head.fields("Authorization"), [format!("Bearer {token}")]);
            let _ = upstream.take_heads();
        }
    }
}

#[tokio::test]
async fn secrets_of_each_length() {
    let Some(mint) = Mint::open(TEST) else { return };
    for algorithm in ["HS256", "HS384", "HS512"] {
        let upstream = ScriptedUpstream::mirror().await;
        let auth = by_secret(&format!("algorithms: {algorithm}"));
        let gateway = gateway(&upstream, &auth, "require");
        for tried in ["HS256", "HS384", "HS512"] {
            let token = mint.sign(&Token::of(tried, ""));
            let answer = gateway.ask(&bearing(Request::get("/"), &token)).await;
            let expected = if tried == algorithm { 200 } else { 401 };
            assert_eq!(answer.status(), expected, "{algorithm} {tried}");
        }
    }
}

/// Asks both ways, and expects both to be refused.
async fn refused(gateway: &TestGateway, what: &str, token: &str) -> String {
    let mut codes = Vec::new();
    for request in [Request::get("/"), Request::handshake("/")] {
        let answer = gateway.ask(&bearing(request, token)).await;
        assert_eq!(answer.status(), 401, "{what}");
        answer.expect_problem(401);
        let challenges = answer.head.fields("WWW-Authenticate");
        assert_eq!(challenges.len(), 1, "{what}");
        assert!(
            challenges[0].starts_with("Bearer error=\"invalid_token\""),
            "{what}: {challenges:?}"
        );
        codes.push(answer.code());
    }
    assert_eq!(codes[0], codes[1], "{what}");
    codes.remove(0)
}

/// One that is right.
fn good() -> Token {
    Token::of("RS256", "r")
        .claim("iss", "https://id.example/")
        .claim("aud", "api")
}

/// Headers and signatures that are wrong; `key` is the public one, `other` somebody else's.
fn wrong_heads(key: &PublicKey, other: &PublicKey) -> Vec<(&'static str, Token)> {
    let unsigned = |alg: &str| good().header("alg", alg).signed_by("none");
    let by_public_key = good().header("alg", "HS256").signed_by("HS256");
    vec![
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("NONE", unsigned("NONE")),
        ("nOnE", unsigned("nOnE")),
        ("no algorithm", unsigned("")),
        ("algorithm is a number", good().header("alg", 1)),
        ("algorithm is null", good().header("alg", Value::Null)),
        ("lower case", good().header("alg", "rs256")),
        (
            "HMAC with the public key",
            by_public_key.clone().with_secret(&key.pem),
        ),
        (
            "HMAC with the public key, trimmed",
            by_public_key.clone().with_secret(key.pem.trim()),
        ),
        ("HMAC with PKCS 1", by_public_key.with_secret(&key.pkcs1)),
        (
            "HMAC",
            good()
                .header("alg", "HS256")
                .signed_by("HS256")
                .with_secret(""),
        ),
        (
            "not on the list",
            good().header("alg", "RS512").signed_by("RS512"),
        ),
        ("another key", good().signed_with("other")),
        ("signed by another padding", good().signed_by("PS256")),
        (
            "jwk of the token",
            good().signed_with("other").header("jwk", other.jwk.clone()),
        ),
        (
            "jku",
            good()
                .signed_with("other")
                .header("jku", "http://127.0.0.1:1/"),
        ),
        (
            "kid is a path",
            good().signed_with("other").header("kid", "/dev/null"),
        ),
        (
            "kid is a query",
            good().signed_with("other").header("kid", "' or 1=1 --"),
        ),
        ("kid is no text", good().header("kid", json!(["a"]))),
        ("crit", good().header("crit", json!(["exp"]))),
        (
            "unknown crit",
            good().header("crit", json!(["x"])).header("x", true),
        ),
        ("empty crit", good().header("crit", json!([]))),
        (
            "payload that is not encoded",
            good().header("crit", json!(["b64"])).header("b64", false),
        ),
    ]
}

/// Times that are wrong.
fn wrong_times() -> Vec<(&'static str, Token)> {
    vec![
        ("no exp", good().without("exp")),
        ("exp is a text", good().claim("exp", "9999999999")),
        ("exp is null", good().claim("exp", Value::Null)),
        (
            "exp is a list",
            good().claim("exp", json!([9_999_999_999_u64])),
        ),
        ("exp is an object", good().claim("exp", json!({}))),
        ("exp is true", good().claim("exp", true)),
        ("exp is 0", good().claim("exp", 0)),
        ("exp is negative", good().claim("exp", -1)),
        ("exp is past", good().claim("exp", from_now(-61))),
        ("exp is past by 11 s", good().claim("exp", from_now(-11))),
        ("nbf is ahead", good().claim("nbf", from_now(120))),
        ("nbf is a text", good().claim("nbf", "0")),
        ("nbf is null", good().claim("nbf", Value::Null)),
        ("iat is ahead", good().claim("iat", from_now(120))),
    ]
}

/// Other claims that are wrong.
fn wrong_claims() -> Vec<(&'static str, Token)> {
    vec![
        ("no aud", good().without("aud")),
        ("another aud", good().claim("aud", "apis")),
        ("other auds", good().claim("aud", json!(["x", "y"]))),
        ("no auds", good().claim("aud", json!([]))),
        ("aud is a number", good().claim("aud", 1)),
        ("no iss", good().without("iss")),
        ("another iss", good().claim("iss", "https://id.example")),
        (
            "iss is a list",
            good().claim("iss", json!(["https://id.example/"])),
        ),
        ("no sub", good().without("sub")),
        ("empty sub", good().claim("sub", "")),
        ("sub is an object", good().claim("sub", json!({}))),
        ("sub with a line end", good().claim("sub", "a\nb")),
        ("no object", good().payload("[]")),
        ("no JSON", good().payload("{")),
        ("nothing", good().payload("")),
    ]
}

/// What is no token, made of one that is right.
fn malformed(token: &str) -> Vec<(&'static str, String)> {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let long = format!("{message}.{}", "A".repeat(17 * 1024));
    vec![
        ("no signature", format!("{message}.")),
        ("no third part", message.to_owned()),
        ("a fourth part", format!("{token}.x")),
        (
            "two of the first",
            format!("{header}.{header}.{payload}.{signature}"),
        ),
        ("no header", format!(".{payload}.{signature}")),
        ("padding", format!("{token}=")),
        ("a cut signature", token[..token.len() - 2].to_owned()),
        (
            "a sign that is not of base64url",
            format!("{message}.{}+", &signature[1..]),
        ),
        ("a word", "token".to_owned()),
        ("dots", "..".to_owned()),
        ("nothing", String::new()),
        ("two words", format!("{token} {token}")),
        ("a long one", long),
    ]
}

#[tokio::test]
async fn wrong_ones_are_401() {
    let Some(mint) = Mint::open(TEST) else { return };
    let (key, other) = (mint.key("r", "rsa"), mint.key("other", "rsa"));
    let upstream = ScriptedUpstream::mirror().await;
    let auth = format!(
        "jwt: {{ pem: {}, issuer: 'https://id.example/', audience: [api, other], algorithms: [RS256, PS256] }}",
        quoted(&key.pem)
    );
    let open = gateway(&upstream, &auth, "require");
    let passes = |token: Token| {
        let token = mint.sign(&token);
        let gateway = &open;
        async move {
            let request = bearing(Request::get("/"), &token);
            gateway.ask(&request).await.status()
        }
    };
    for token in [
        good(),
        good().claim("aud", json!(["x", "other"])),
        good().claim("nbf", from_now(-1)),
        good()
            .header("jku", "https://evil.example/")
            .header("x5u", "x"),
    ] {
        assert_eq!(passes(token).await, 200);
    }
    // One that nobody reaches.
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &auth, "require");
    let mut wrong = wrong_heads(&key, &other);
    wrong.extend(wrong_times());
    wrong.extend(wrong_claims());
    assert!(wrong.len() > 45, "the tables are missing");
    for (what, token) in wrong {
        let is_past = what.starts_with("exp is past");
        let expected = if is_past || matches!(what, "exp is 0" | "exp is negative") {
            "token_expired"
        } else {
            "invalid_token"
        };
        let code = refused(&gateway, what, &mint.sign(&token)).await;
        assert_eq!(code, expected, "{what}");
    }
    for (what, token) in malformed(&mint.sign(&good())) {
        let code = refused(&gateway, what, &token).await;
        assert_eq!(code, "invalid_token", "{what}");
    }
    upstream.was_left_alone().await;
    assert_eq!(passes(good()).await, 200, "and the right one still is");
}

#[tokio::test]
async fn who_has_none_is_told_what_to_show() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &by_secret(""), "require");
    for request in [
        Request::get("/"),
        Request::handshake("/"),
        Request::get("/").with("Authorization", "Digest a=b"),
        Request::get("/").with("Authorization", "Basic YTpi"),
        Request::get("/").with("Authorization", ""),
    ] {
        let answer = gateway.ask(&request).await;
        assert_eq!(answer.status(), 401);
        answer.expect_problem(401);
        assert_eq!(answer.code(), "unauthenticated");
        let challenges = answer.head.fields("WWW-Authenticate");
        assert_eq!(challenges, ["Bearer realm=\"tidegate\""]);
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn two_of_them_are_none() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &by_secret(""), "require");
    let token = mint.sign(&Token::secret());
    let request = bearing(bearing(Request::get("/"), &token), &token);
    let answer = gateway.ask(&request).await;
    assert_eq!(
        (answer.status(), answer.code()),
        (401, "invalid_token".to_owned())
    );
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn clocks_may_differ_as_configured() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    for (leeway, expected) in [("60s", 200), ("none", 401)] {
        let gateway = gateway(
            &upstream,
            &by_secret(&format!("leeway: {leeway}")),
            "require",
        );
        for token in [
            Token::secret().claim("exp", from_now(-5)),
            Token::secret().claim("nbf", from_now(40)),
            Token::secret().claim("iat", from_now(40)),
        ] {
            let answer = gateway
                .ask(&bearing(Request::get("/"), &mint.sign(&token)))
                .await;
            assert_eq!(answer.status(), expected, "{leeway} {token:?}");
        }
    }
}

#[tokio::test]
async fn keys_that_are_not_safe_are_refused_with_the_file() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let (short, rsa) = (mint.key("short", "rsa1024"), mint.key("r", "rsa"));
    for (jwt, said) in [
        (format!("pem: {}", quoted(&short.pem)), "2048"),
        (format!("pem: {}", quoted(&rsa.private)), "private"),
        (
            format!("pem: {}, algorithms: ES256", quoted(&rsa.pem)),
            "none of the algorithms",
        ),
        (
            format!("pem: {}, algorithms: HS256", quoted(&rsa.pem)),
            "for a `secret`",
        ),
        (
            format!("pem: {}, algorithms: none", quoted(&rsa.pem)),
            "no algorithm",
        ),
        ("secret: short".to_owned(), "32 bytes"),
        (
            format!("secret: {}, algorithms: HS512", &SECRET[..63]),
            "64 bytes",
        ),
        (
            format!("secret: {SECRET}, algorithms: RS256"),
            "for public keys",
        ),
        ("certificate: abcd".to_owned(), "certificate"),
        ("issuer: a".to_owned(), "no key"),
    ] {
        let yaml = super::yaml(&format!("jwt: {{ {jwt} }}"), "require");
        let error = TestGateway::try_start(&upstream, &yaml).unwrap_err();
        assert!(error.contains(said), "{said}: {error}");
        assert!(!error.contains(&SECRET[..20]), "{error}");
    }
}
