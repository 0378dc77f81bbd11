//! Users of the configuration come with a password, which passes as it came; whoever is wrong is told how to
//! ask, and soon to wait.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::{bearing, by_secret, gateway};

const TEST: &str = "passwords_are_known";
/// Of `password`, from the tests of the reference.
const HASH: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn users() -> String {
    format!(
        "basic: {{ users: {{ alice: {{ password: '{HASH}', roles: [user, admin] }}, \
         bob: {{ password: '{HASH}' }} }} }}"
    )
}

fn with(user: &str, password: &str) -> Request {
    let credential = BASE64_STANDARD.encode(format!("{user}:{password}"));
    Request::get("/").with("Authorization", &format!("Basic {credential}"))
}

#[tokio::test]
async fn who_knows_it_comes_through() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &users(), "{ require: { roles: admin } }");
    for _ in 0..3 {
        let request = with("alice", "password");
        let seen = gateway.ask(&request).await.seen();
        let credential = BASE64_STANDARD.encode("alice:password");
        assert_eq!(
            seen.fields("Authorization"),
            [format!("Basic {credential}")]
        );
    }
    let answer = gateway.ask(&with("bob", "password")).await;
    assert_eq!((answer.status(), &*answer.code()), (403, "forbidden"));
    let before = upstream.heads().len();
    for request in [
        with("alice", "Password"),
        with("alice", ""),
        with("carol", "password"),
        with("", "password"),
        Request::get("/").with("Authorization", "Basic"),
        Request::get("/").with("Authorization", "Basic !!!!"),
        Request::get("/").with("Authorization", &format!("Basic {}", "YTpi".repeat(400))),
    ] {
        let answer = gateway.ask(&request).await;
        assert_eq!((answer.status(), &*answer.code()), (401, "wrong_password"));
        let challenges = answer.head.fields("WWW-Authenticate");
        assert_eq!(challenges, ["Basic realm=\"tidegate\", charset=\"UTF-8\""]);
    }
    let missing = gateway.ask(&bearing(Request::get("/"), "x")).await;
    assert_eq!(
        (missing.status(), &*missing.code()),
        (401, "unauthenticated")
    );
    assert_eq!(upstream.heads().len(), before);
}

#[tokio::test]
async fn it_stands_beside_tokens() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let auth = format!("{}, {}", by_secret(""), users());
    let gateway = gateway(&upstream, &auth, "require");
    let token = mint.sign(&Token::secret());
    assert_eq!(gateway.ask(&with("bob", "password")).await.status(), 200);
    assert_eq!(
        gateway
            .ask(&bearing(Request::get("/"), &token))
            .await
            .status(),
        200
    );
    let answer = gateway.ask(&Request::get("/")).await;
    assert_eq!(answer.head.fields("WWW-Authenticate").len(), 2);
}

#[tokio::test]
async fn guessing_is_slow() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &users(), "require");
    let guess = async |number: usize| gateway.ask(&with("alice", &number.to_string())).await;
    assert_eq!(guess(0).await.status(), 401);
    for number in 1.. {
        let answer = guess(number).await;
        if answer.status() == 429 {
            assert!(answer.head.has("Retry-After"));
            return;
        }
        assert!(number < 500, "nobody is told to wait");
    }
}

#[tokio::test]
async fn hashes_are_checked_with_the_file() {
    let upstream = ScriptedUpstream::mirror().await;
    for hash in [
        "hunter2",
        "$2b$12$abcdefghijklmnopqrstuv",
        &HASH.replace("m=256", "m=9999999"),
    ] {
        let auth = format!("basic: {{ users: {{ a: {{ password: '{hash}' }} }} }}");
        let error = TestGateway::try_start(&upstream, &super::yaml(&auth, "require")).unwrap_err();
        assert!(error.contains("password"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
