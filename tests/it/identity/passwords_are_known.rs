//! Users of the configuration come with a password, which passes as it came; whoever is wrong is told how to
//! ask, and soon to wait.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token, Wire};
use tokio::task::JoinSet;
use tokio::time::Instant;

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

/// What is said to each of these, all at once.
async fn at_once(gateway: &TestGateway, requests: Vec<Request>) -> Vec<u16> {
    let mut all = JoinSet::new();
    for request in requests {
        let address = gateway.address();
        all.spawn(async move { Wire::connect(address).await.ask(&request).await.status() });
    }
    all.join_all().await
}

#[tokio::test]
async fn guesses_at_once_are_no_more_of_them() {
    let upstream = ScriptedUpstream::mirror().await;
    // Each takes a while, so that many are on their way.
    let slow = users().replace("m=256", "m=2048");
    for (more, most) in [
        ("", 20),
        (", failures_per_address: none", 20),
        (", failures_per_address: { rate: 1000/s, burst: 1000 }", 20),
        (", failures_per_address: { rate: 1/m, burst: 3 }", 3),
    ] {
        let gateway = gateway(&upstream, &format!("{slow}{more}"), "require");
        let begun = Instant::now();
        let guesses = (0..150).map(|number| with("alice", &number.to_string()));
        let said = at_once(&gateway, guesses.collect()).await;
        let most = most + begun.elapsed().as_secs() as usize + 1;
        let wrong = said.iter().filter(|status| **status == 401).count();
        assert!((1..=most).contains(&wrong), "{more}: {wrong} of {most}");
        // On a machine that is very busy the turn of some does not come.
        assert!(said.iter().all(|status| [401, 429, 503].contains(status)));
        assert!(said.contains(&429));
    }
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn the_right_one_may_come_often() {
    let upstream = ScriptedUpstream::mirror().await;
    let auth = format!(
        "{}, failures_per_address: {{ rate: 1/m, burst: 1 }}",
        users()
    );
    let gateway = gateway(&upstream, &auth, "require");
    let requests = (0..50).map(|_| with("alice", "password"));
    let said = at_once(&gateway, requests.collect()).await;
    assert_eq!(said, [200; 50]);
}

/// A browser sends a password that was typed once whoever asks for the request.
#[tokio::test]
async fn foreign_pages_cannot_use_it() {
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = super::yaml(&users(), "require");
    let listed = "cors: { origins: ['https://app.example'], credentials: true }\n";
    for (cors, origin, expected) in [
        ("", "https://evil.example", 403),
        ("", "null", 403),
        (listed, "https://evil.example", 403),
        (listed, "https://app.example", 200),
        (
            "cors: { origins: 'https://app.example' }\n",
            "https://app.example",
            403,
        ),
        ("cors: { origins: '*' }\n", "https://evil.example", 403),
    ] {
        let gateway = TestGateway::start(&upstream, &format!("{cors}{yaml}"));
        for _ in 0..2 {
            let request = with("alice", "password").with("Origin", origin);
            let answer = gateway.ask(&request).await;
            assert_eq!(answer.status(), expected, "{cors} {origin}");
        }
        let foreign = with("alice", "password").with("Sec-Fetch-Site", "cross-site");
        let answer = gateway.ask(&foreign).await;
        assert_eq!(
            (answer.status(), &*answer.code()),
            (403, "origin_not_allowed")
        );
        assert_eq!(gateway.ask(&with("alice", "password")).await.status(), 200);
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

/// A browser that is challenged asks its user, and the script waits for that without end.
#[tokio::test]
async fn scripts_are_not_asked_for_one() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &users(), "require");
    for (fields, is_asked) in [
        (&[][..], true),
        (&[("Sec-Fetch-Mode", "navigate")], true),
        (
            &[
                ("Sec-Fetch-Mode", "navigate"),
                ("Origin", "http://test.example"),
            ],
            true,
        ),
        (&[("Sec-Fetch-Mode", "cors")], false),
        (&[("Sec-Fetch-Mode", "same-origin")], false),
        (&[("X-Requested-With", "XMLHttpRequest")], false),
        (&[("Origin", "http://test.example")], false),
    ] {
        let fields = fields.iter();
        let request = fields.fold(Request::get("/"), |request, (name, value)| {
            request.with(name, value)
        });
        let answer = gateway.ask(&request).await;
        assert_eq!(answer.status(), 401);
        let challenges = answer.head.fields("WWW-Authenticate");
        let basic = challenges.iter().any(|one| one.starts_with("Basic "));
        assert_eq!(basic, is_asked, "{request:?}");
        assert!(
            !challenges.is_empty(),
            "RFC 9110 section 15.5.2: {request:?}"
        );
    }
}
