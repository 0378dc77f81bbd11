//! Keys come from whom the issuer publishes them at: once for all who wait, again when they change or one
//! is missing, and when they cannot be had any more, nobody is let through for want of them.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_tests::certificates::Authority;
use tidegate_tests::mint::PublicKey;
use tidegate_tests::{
    Answer, Mint, Request, ScriptedUpstream, TestGateway, Token, eventually, eventually_does, tls,
};
use tokio::sync::Semaphore;

use super::bearing;

const TEST: &str = "keys_are_fetched";

/// Publishes what it is told to.
struct Publisher {
    upstream: ScriptedUpstream,
    /// A status, further lines and a body.
    said: Arc<Mutex<(u16, String, String)>>,
}

impl Publisher {
    async fn of(keys: &[Value]) -> Self {
        Self::patient(keys, Arc::new(Semaphore::new(1_000_000))).await
    }

    /// Answers as many requests as there are permits.
    async fn patient(keys: &[Value], permits: Arc<Semaphore>) -> Self {
        let said = Arc::new(Mutex::new((200, String::new(), String::new())));
        let told = Arc::clone(&said);
        let upstream = ScriptedUpstream::serve(move |mut wire| {
            let (told, permits) = (Arc::clone(&told), Arc::clone(&permits));
            async move {
                while wire.read_head_or_end().await.is_ok() {
                    permits.acquire().await.unwrap().forget();
                    let (status, lines, body) = told.lock().unwrap().clone();
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
                    );
                    if wire.try_send(answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        let publisher = Self { upstream, said };
        publisher.publish(keys);
        publisher
    }

    fn publish(&self, keys: &[Value]) {
        self.say(200, "", &json!({ "keys": keys }).to_string());
    }

    fn say(&self, status: u16, lines: &str, body: &str) {
        *self.said.lock().unwrap() = (status, lines.to_owned(), body.to_owned());
    }

    fn fetches(&self) -> usize {
        self.upstream.heads().len()
    }
}

fn named(key: &PublicKey, id: &str) -> Value {
    key.jwk_with(&json!({ "kid": id }))
}

fn gateway(upstream: &ScriptedUpstream, publisher: &Publisher, more: &str) -> TestGateway {
    let auth = format!("jwt: {{ jwks: {{ url: 'http://KEYS/jwks.json', {more} }} }}");
    let yaml = format!(
        "admin: {{ bind: 127.0.0.1:0 }}\n{}",
        super::yaml(&auth, "require")
    );
    let addresses = [
        ("UP", upstream.address()),
        ("KEYS", publisher.upstream.address()),
    ];
    TestGateway::start_among(&addresses, &yaml)
}

async fn show(gateway: &TestGateway, token: &str) -> Answer {
    gateway.ask(&bearing(Request::get("/"), token)).await
}

fn signed(mint: &Mint, key: &str) -> String {
    mint.sign(&Token::of("RS256", key).header("kid", key))
}

#[tokio::test]
async fn who_comes_first_waits_for_the_one_fetch() {
    let Some(mint) = Mint::open(TEST) else { return };
    let key = mint.key("a", "rsa");
    let permits = Arc::new(Semaphore::new(0));
    let publisher = Publisher::patient(&[named(&key, "a")], Arc::clone(&permits)).await;
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &publisher, "timeout: 60s");
    let ready = || async { gateway.admin().get("/readyz").await.status() };
    eventually("the keys are asked for", || publisher.fetches() == 1).await;
    assert_eq!(ready().await, 503);
    let token = signed(&mint, "a");
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = gateway.connect().await;
        client.request(&bearing(Request::get("/"), &token)).await;
        clients.push(client);
    }
    for client in &mut clients {
        client.stays_silent().await;
    }
    permits.add_permits(1);
    for client in &mut clients {
        assert_eq!(client.read_answer().await.status(), 200);
    }
    assert_eq!(publisher.fetches(), 1);
    assert_eq!(ready().await, 200);
    let head = publisher.upstream.only_head().await;
    assert_eq!(head.target(), "/jwks.json");
    let address = publisher.upstream.address().to_string();
    assert_eq!(head.fields("Host"), [address]);
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_at_once() {
    let Some(mint) = Mint::open(TEST) else { return };
    let (a, b) = (mint.key("a", "rsa"), mint.key("b", "rsa"));
    let publisher = Publisher::of(&[named(&a, "a")]).await;
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &publisher, "cooldown: 1ms");
    assert_eq!(show(&gateway, &signed(&mint, "a")).await.status(), 200);
    publisher.publish(&[named(&a, "a"), named(&b, "b")]);
    assert_eq!(show(&gateway, &signed(&mint, "b")).await.status(), 200);
    assert_eq!(show(&gateway, &signed(&mint, "a")).await.status(), 200);
    assert_eq!(publisher.fetches(), 2);
}

/// A set may leave names out, though its tokens bear some.
#[tokio::test]
async fn a_key_without_a_name_is_fetched_when_it_is_new() {
    let Some(mint) = Mint::open(TEST) else { return };
    let (a, b) = (mint.key("a", "rsa"), mint.key("b", "rsa"));
    let unnamed = |key: &PublicKey| key.jwk_with(&json!({}));
    assert!(unnamed(&a).get("kid").is_none());
    let publisher = Publisher::of(&[unnamed(&a)]).await;
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &publisher, "cooldown: 1ms");
    assert_eq!(show(&gateway, &signed(&mint, "a")).await.status(), 200);
    publisher.publish(&[unnamed(&b)]);
    assert_eq!(show(&gateway, &signed(&mint, "b")).await.status(), 200);
    assert_eq!(publisher.fetches(), 2);
}

#[tokio::test]
async fn unknown_keys_bring_no_more_than_one_fetch_in_a_while() {
    let Some(mint) = Mint::open(TEST) else { return };
    let (a, _) = (mint.key("a", "rsa"), mint.key("b", "rsa"));
    let publisher = Publisher::of(&[named(&a, "a")]).await;
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &publisher, "cooldown: 1h");
    assert_eq!(show(&gateway, &signed(&mint, "a")).await.status(), 200);
    for number in 0..20 {
        let kid = format!("../../{number}");
        let token = mint.sign(&Token::of("RS256", "b").header("kid", kid));
        let answer = show(&gateway, &token).await;
        assert_eq!((answer.status(), &*answer.code()), (401, "invalid_token"));
    }
    assert_eq!(publisher.fetches(), 1);
}

#[tokio::test]
async fn without_keys_nobody_comes_through() {
    let Some(mint) = Mint::open(TEST) else { return };
    let key = mint.key("a", "rsa");
    let publisher = Publisher::of(&[]).await;
    let (canary, upstream) = (
        ScriptedUpstream::mirror().await,
        ScriptedUpstream::mirror().await,
    );
    publisher.say(500, "", "");
    let gateway = gateway(&upstream, &publisher, "refresh: 50ms");
    let token = signed(&mint, "a");
    let refused = || async {
        let answer = show(&gateway, &token).await;
        answer.expect_problem(503);
        assert_eq!(answer.code(), "keys_unavailable");
        assert!(answer.head.has("Retry-After"));
    };
    refused().await;
    let location = format!("Location: http://{}/\r\n", canary.address());
    let few = json!({ "keys": [named(&key, "a")] }).to_string();
    for (status, lines, body) in [
        (302, location.as_str(), ""),
        (404, "", few.as_str()),
        (200, "", "{"),
        (200, "", "[]"),
        (200, "", r#"{"keys":{}}"#),
        (200, "", r#"{"keys":[]}"#),
        (200, "", r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}"#),
    ] {
        publisher.say(status, lines, body);
        let before = publisher.fetches();
        eventually("it is asked again, twice", || {
            publisher.fetches() >= before + 2
        })
        .await;
        refused().await;
    }
    let large = format!("{}{}", " ".repeat(600 * 1024), few);
    publisher.say(200, "", &large);
    let before = publisher.fetches();
    eventually("it is asked again, twice", || {
        publisher.fetches() >= before + 2
    })
    .await;
    refused().await;
    canary.was_left_alone().await;
    upstream.was_left_alone().await;
    publisher.publish(&[named(&key, "a")]);
    eventually_does("it comes through", || async {
        show(&gateway, &token).await.status() == 200
    })
    .await;
    let metrics = gateway.admin().metrics().await;
    assert!(metrics.get("tidegate_jwks_fetches_total{result=\"failed\"}") > Some(6.0));
    assert!(metrics.get("tidegate_jwks_fetches_total{result=\"ok\"}") >= Some(1.0));
}

#[tokio::test]
async fn keys_hold_a_while_though_they_cannot_be_fetched_again() {
    let Some(mint) = Mint::open(TEST) else { return };
    let key = mint.key("a", "rsa");
    let publisher = Publisher::of(&[named(&key, "a")]).await;
    let upstream = ScriptedUpstream::mirror().await;
    let held = gateway(&upstream, &publisher, "refresh: 20ms");
    let token = signed(&mint, "a");
    assert_eq!(show(&held, &token).await.status(), 200);
    publisher.say(500, "", "");
    let before = publisher.fetches();
    eventually("some fetches fail", || publisher.fetches() > before + 2).await;
    assert_eq!(show(&held, &token).await.status(), 200);
    // And with less patience.
    publisher.publish(&[named(&key, "a")]);
    let gateway = gateway(&upstream, &publisher, "refresh: 20ms, max_stale: 1s");
    eventually_does("it comes through", || async {
        show(&gateway, &token).await.status() == 200
    })
    .await;
    publisher.say(500, "", "");
    eventually_does("what was known is not any more", || async {
        show(&gateway, &token).await.status() == 503
    })
    .await;
    let ready = gateway.admin().get("/readyz?verbose").await;
    assert_eq!(ready.status(), 503);
    let told: Value = serde_json::from_slice(&ready.body).unwrap();
    assert!(told.to_string().contains("older than max_stale"), "{told}");
}

#[tokio::test]
async fn a_key_that_is_withdrawn_opens_nothing_more() {
    let Some(mint) = Mint::open(TEST) else { return };
    let (a, b) = (mint.key("a", "rsa"), mint.key("b", "rsa"));
    let publisher = Publisher::of(&[named(&a, "a"), named(&b, "b")]).await;
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &publisher, "refresh: 20ms, cooldown: 1h");
    let token = signed(&mint, "a");
    assert_eq!(show(&gateway, &token).await.status(), 200);
    publisher.publish(&[named(&b, "b")]);
    eventually_does("it is refused", || async {
        show(&gateway, &token).await.status() == 401
    })
    .await;
    assert_eq!(show(&gateway, &signed(&mint, "b")).await.status(), 200);
}

#[tokio::test]
async fn a_key_says_itself_what_it_is_for() {
    let Some(mint) = Mint::open(TEST) else { return };
    let mut keys = Vec::new();
    for (id, members) in [
        ("any", json!({})),
        ("ps", json!({ "alg": "PS256" })),
        ("enc", json!({ "use": "enc" })),
        ("sig", json!({ "use": "sig", "key_ops": ["verify"] })),
        ("sign", json!({ "key_ops": ["sign"] })),
        ("odd", json!({ "alg": "RSA-OAEP" })),
    ] {
        keys.push(named(&mint.key(id, "rsa"), id));
        let last = keys.len() - 1;
        for (name, value) in members.as_object().unwrap() {
            keys[last][name] = value.clone();
        }
    }
    let small = mint.key("small", "rsa1024");
    keys.push(named(&small, "small"));
    for (id, kind) in [
        ("p256", "p256"),
        ("p384", "p384"),
        ("p521", "p521"),
        ("ed", "ed25519"),
    ] {
        keys.push(named(&mint.key(id, kind), id));
    }
    let publisher = Publisher::of(&keys).await;
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, &publisher, "cooldown: 1h");
    for (alg, id, expected) in [
        ("RS256", "any", 200),
        ("PS512", "any", 200),
        ("PS256", "ps", 200),
        ("RS256", "ps", 401),
        ("RS256", "enc", 401),
        ("RS256", "sig", 200),
        ("RS256", "sign", 401),
        ("RS256", "odd", 401),
        ("RS256", "small", 401),
        ("ES256", "p256", 200),
        ("ES384", "p384", 200),
        ("ES512", "p521", 200),
        ("EdDSA", "ed", 200),
    ] {
        let token = mint.sign(&Token::of(alg, id).header("kid", id));
        assert_eq!(
            show(&gateway, &token).await.status(),
            expected,
            "{alg} {id}"
        );
    }
    // Without a name, each that could be it is tried.
    let token = mint.sign(&Token::of("RS256", "sig"));
    assert_eq!(show(&gateway, &token).await.status(), 200);
}

#[tokio::test]
async fn the_publisher_must_be_who_it_says() {
    if tls::is_over_tls() {
        return; // then the kit makes every service believe anybody
    }
    let Some(mint) = Mint::open(TEST) else { return };
    let key = mint.key("a", "rsa");
    let body = json!({ "keys": [named(&key, "a")] }).to_string();
    let authority = Authority::new("Keys");
    let config = tls::server(&authority.server(&["localhost"]));
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut publisher = ScriptedUpstream::bind_tls(config).await;
    let port = publisher.address().port();
    tokio::spawn(async move {
        loop {
            let mut wire = publisher.accept().await;
            if wire.read_head_or_end().await.is_ok() {
                let _ = wire.try_send(&answer).await;
            }
        }
    });
    let folder = tidegate_tests::child::Scratch::new();
    let upstream = ScriptedUpstream::mirror().await;
    for (ca, expected) in [(&authority, 200), (&Authority::new("Others"), 503)] {
        let ca = folder.write("ca.pem", ca.pem());
        let jwks = format!(
            "{{ url: 'https://localhost:{port}/', tls: {{ ca: {} }} }}",
            ca.display()
        );
        let yaml = super::yaml(&format!("jwt: {{ jwks: {jwks} }}"), "require");
        let gateway = TestGateway::start(&upstream, &yaml);
        assert_eq!(show(&gateway, &signed(&mint, "a")).await.status(), expected);
    }
}

#[tokio::test]
async fn certificates_and_files_hold_keys_too() {
    let Some(mint) = Mint::open(TEST) else { return };
    let key = mint.key("a", "rsa");
    let folder = tidegate_tests::child::Scratch::new();
    let set = json!({ "keys": [named(&key, "a")] }).to_string();
    let set = folder.write("jwks.json", &set);
    let pem = folder.write("key.pem", &key.pem);
    let pkcs1 = folder.write("pkcs1.pem", &key.pkcs1);
    let private = folder.write("private.pem", &key.private);
    let Some(openssl) = tidegate_tests::tools::program(TEST, "openssl") else {
        return;
    };
    let made = std::process::Command::new(openssl)
        .args(["req", "-x509", "-subj", "/CN=issuer", "-days", "1", "-key"])
        .arg(&private)
        .output()
        .unwrap();
    let certificate = String::from_utf8(made.stdout).unwrap();
    let bare: String = certificate
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    // As the predecessor's configuration had it, over several lines.
    let (front, rest) = bare.split_at(64);
    let wrapped = folder.write("certificate.txt", &format!("{front}\n  {rest}\n"));
    let whole = folder.write("certificate.pem", &certificate);
    let upstream = ScriptedUpstream::mirror().await;
    for jwt in [
        format!("jwks: 'file:{}'", set.display()),
        format!("pem: 'file:{}'", pem.display()),
        format!("pem: 'file:{}'", pkcs1.display()),
        format!("pem: 'file:{}'", whole.display()),
        format!("certificate: 'file:{}'", wrapped.display()),
        format!("certificate: 'file:{}'", whole.display()),
    ] {
        let yaml = super::yaml(&format!("jwt: {{ {jwt} }}"), "require");
        let gateway = TestGateway::start(&upstream, &yaml);
        assert_eq!(
            show(&gateway, &signed(&mint, "a")).await.status(),
            200,
            "{jwt}"
        );
    }
}
