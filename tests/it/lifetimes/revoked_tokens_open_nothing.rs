//! A token that was taken back opens nothing, and what it has opened is closed within a
//! second, whatever else is remembered or forgotten.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::mint::from_now;
use tidegate_tests::time::SLACK;
use tidegate_tests::{Frame, Mint, Request, TestGateway, Token};

use super::{Client, bearing, gateway, renewed, revoke, revoked, told, upstream, version_1};

const TEST: &str = "revoked_tokens_open_nothing";

/// What becomes of a handshake.
async fn tried(gateway: &TestGateway, handshake: &Request) -> (u16, String) {
    let mut wire = gateway.connect().await;
    wire.request(handshake).await;
    let head = wire.read_head().await;
    let status = head.status();
    if status == 101 {
        return (status, String::new());
    }
    let body = wire.read_body(&head).await.unwrap().0;
    let problem: Value = serde_json::from_slice(&body).unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

/// The SHA-256 of a token, in hexadecimal digits, by somebody else's code.
fn digest(token: &str) -> Option<String> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let openssl = tidegate_tests::tools::program(TEST, "openssl")?;
    let mut child = Command::new(openssl)
        .args(["dgst", "-sha256", "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(token.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let output = String::from_utf8(output).unwrap();
    Some(output.split(' ').next().unwrap().to_owned())
}

#[tokio::test]
async fn by_each_name_that_it_has() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "", "");
    let admin = gateway.admin();
    let other = mint.sign(&Token::secret().claim("sub", "other"));
    let mut witness = Client::open(&gateway, &bearing("/proxied", &other)).await;
    for (number, by) in ["token", "token_sha256", "jti", "session", "user"]
        .into_iter()
        .enumerate()
    {
        let (user, jti) = (format!("u{number}"), format!("j{number}"));
        let token = Token::secret().claim("sub", &*user).claim("jti", &*jti);
        let token = mint.sign(&token.claim("iat", from_now(0)));
        let mut proxied = Client::open(&gateway, &bearing("/proxied", &token)).await;
        let mut handled = Client::open(&gateway, &bearing("/handled", &token)).await;
        let mut legacy = Client::open(&gateway, &bearing("/bridged", &token)).await;
        let mut bridged = Client::open(&gateway, &version_1(&token)).await;
        proxied.echoes().await;
        let name = match by {
            "token" => token.clone(),
            "token_sha256" => match digest(&token) {
                Some(digest) => digest,
                None => continue,
            },
            "jti" => jti,
            "session" => handled.id.clone(),
            _ => user,
        };
        let begun = Instant::now();
        assert_eq!(revoked(admin, &json!({by: name})).await, 4, "{by}");
        assert_eq!(proxied.closed().await, told(1008, "token_revoked"), "{by}");
        for client in [&mut handled, &mut legacy, &mut bridged] {
            assert_eq!(client.closed().await, told(4440, "token_revoked"), "{by}");
        }
        assert!(begun.elapsed() < Duration::from_secs(1) + SLACK);
        let refused = (401, "token_revoked".to_owned());
        for handshake in [bearing("/handled", &token), version_1(&token)] {
            assert_eq!(tried(&gateway, &handshake).await, refused, "{by}");
        }
        // Nor does it extend what another one opened, issued in a later second.
        let mut session = None;
        tidegate_tests::eventually_does("a newer token opens a session", async || {
            let newer = Token::secret().claim("sub", format!("u{number}"));
            let newer = mint.sign(&newer.claim("n", 1).claim("iat", from_now(0)));
            let handshake = bearing("/proxied", &newer);
            session = Client::open_at(gateway.connect().await, &handshake).await;
            session.is_some()
        })
        .await;
        let session = session.unwrap();
        let answer = renewed(&gateway, &session.id, &token).await;
        assert_eq!((answer.status(), &*answer.code()), (401, "token_revoked"));
    }
    witness.echoes().await;
    let counted = "tidegate_auth_refused_total{code=\"token_revoked\"}";
    let refused = admin.metrics().await.get(counted).unwrap();
    assert!(refused >= 15.0, "{refused}");
}

#[tokio::test]
async fn it_outlives_what_is_remembered_of_tokens() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    // Two tokens or so are remembered, and for a second.
    let cache = "cache: { max_entries: 1, expire_after_write: 1s }";
    let gateway = gateway(&upstream, cache, "", "");
    let token = mint.sign(&Token::secret());
    let handshake = bearing("/proxied", &token);
    assert_eq!(tried(&gateway, &handshake).await.0, 101);
    revoked(gateway.admin(), &json!({"token": token})).await;
    let refused = (401, "token_revoked".to_owned());
    assert_eq!(tried(&gateway, &handshake).await, refused);
    for number in 0..200 {
        let other = mint.sign(&Token::secret().claim("sub", number));
        let request = Request::get("/proxied").with("Authorization", &format!("Bearer {other}"));
        assert_eq!(gateway.ask(&request).await.status(), 200);
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(tried(&gateway, &handshake).await, refused);
}

#[tokio::test]
async fn a_session_goes_on_by_its_newer_token() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "", "");
    let (old, newer) = (
        mint.sign(&Token::secret()),
        mint.sign(&Token::secret().claim("n", 1)),
    );
    let mut session = Client::open(&gateway, &bearing("/proxied", &old)).await;
    assert_eq!(renewed(&gateway, &session.id, &newer).await.status(), 200);
    assert_eq!(revoked(gateway.admin(), &json!({"token": old})).await, 0);
    session.echoes().await;
    assert_eq!(revoked(gateway.admin(), &json!({"token": newer})).await, 1);
    assert_eq!(session.closed().await, told(1008, "token_revoked"));
}

#[tokio::test]
async fn whatever_is_open_of_a_user_ends_with_the_user() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "leeway: 60s", "", "");
    // The clock of who issued it is ahead, by no more than clocks may differ.
    let token = mint.sign(&Token::secret().claim("iat", from_now(50)));
    let mut session = Client::open(&gateway, &bearing("/proxied", &token)).await;
    session.echoes().await;
    let told_of = json!({"user": "u42"});
    assert_eq!(revoked(gateway.admin(), &told_of).await, 1);
    assert_eq!(session.closed().await, told(1008, "token_revoked"));
}

#[tokio::test]
async fn there_is_room_for_so_many_and_none_is_pushed_out() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "revocations: { max_entries: 3 }", "", "");
    let admin = gateway.admin();
    let token = mint.sign(&Token::secret());
    revoked(admin, &json!({"token": token})).await;
    for name in ["a", "b"] {
        revoked(admin, &json!({"jti": name, "exp": from_now(3600)})).await;
    }
    let answer = revoke(admin, &json!({"user": "u42"})).await;
    assert_eq!(
        (answer.status(), &*answer.code()),
        (503, "revocations_full")
    );
    admin.counts("tidegate_revocations", 3.0).await;
    admin
        .counts("tidegate_revocations_refused_total", 1.0)
        .await;
    let refused = (401, "token_revoked".to_owned());
    assert_eq!(tried(&gateway, &bearing("/proxied", &token)).await, refused);
}

#[tokio::test]
async fn what_is_open_ends_where_there_is_no_room_too() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    for (filler, is_soon) in [
        (json!({"jti": "a"}), false),
        (json!({"jti": "a", "exp": from_now(3600)}), false),
        // Each is kept for a minute at least.
        (json!({"jti": "a", "exp": from_now(-5)}), true),
    ] {
        let gateway = gateway(&upstream, "revocations: { max_entries: 1 }", "", "");
        let admin = gateway.admin();
        revoked(admin, &filler).await;
        for by in ["user", "session", "jti"] {
            let token = Token::secret().claim("jti", by).claim("sub", by);
            let token = mint.sign(&token);
            let mut proxied = Client::open(&gateway, &bearing("/proxied", &token)).await;
            let mut bridged = Client::open(&gateway, &version_1(&token)).await;
            let name = match by {
                "session" => &*proxied.id,
                _ => by,
            };
            let answer = revoke(admin, &json!({by: name})).await;
            let problem: Value = serde_json::from_str(&answer.text()).unwrap();
            assert_eq!(
                (&problem["status"], &problem["code"], &problem["sessions"]),
                (&json!(503), &json!("revocations_full"), &json!(2)),
                "{by}: {problem}"
            );
            assert_eq!(problem["retryable"], is_soon, "{by} {filler}");
            let after = answer.head.field("Retry-After");
            let after: Option<u64> = after.map(|after| after.parse().unwrap());
            assert_eq!(after.is_some_and(|after| after <= 61), is_soon, "{after:?}");
            let detail = problem["detail"].as_str().unwrap();
            assert_eq!(detail.contains("max_entries"), !is_soon, "{detail}");
            assert_eq!(proxied.closed().await, told(1008, "token_revoked"));
            assert_eq!(bridged.closed().await, told(4440, "token_revoked"));
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_disconnect_ends_the_others_where_there_is_no_room_too() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let route = "revoke_on_disconnect: always";
    let gateway = gateway(&upstream, "revocations: { max_entries: 1 }", route, "");
    revoked(gateway.admin(), &json!({"jti": "a"})).await;
    let token = mint.sign(&Token::secret());
    let mut other = Client::open(&gateway, &bearing("/handled", &token)).await;
    let mut one = Client::open(&gateway, &bearing("/proxied", &token)).await;
    one.echoes().await;
    let close = Frame::close(1000, "").from_client();
    one.wire.send_frame(&close).await;
    one.closed().await;
    assert_eq!(other.closed().await, told(4440, "token_revoked"));
    // What ended for it is revoked, or would be, too.
    let refused = "tidegate_revocations_refused_total";
    tidegate_tests::eventually_does("both are counted", async || {
        let metrics = gateway.admin().metrics().await;
        metrics.get(refused).unwrap() >= 2.0
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_told() {
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "", "");
    for body in [
        json!({}),
        json!({"user": 1}),
        json!({"jti": "a", "user": "b"}),
        json!([]),
    ] {
        let answer = revoke(gateway.admin(), &body).await;
        assert_eq!(
            (answer.status(), &*answer.code()),
            (400, "bad_request"),
            "{body}"
        );
    }
    for id in ["s_AAAAAAAAAAAAAAAA", "x"] {
        let answer = revoke(gateway.admin(), &json!({"session": id})).await;
        assert_eq!((answer.status(), &*answer.code()), (404, "no_session"));
    }
}

/// Opens a session, ends it as a client does, and tries its token again.
async fn after_a_close(gateway: &TestGateway, path: &str, token: &str) -> (u16, String) {
    let mut session = Client::open(gateway, &bearing(path, token)).await;
    session.echoes().await;
    let close = Frame::close(1000, "").from_client();
    session.wire.send_frame(&close).await;
    session.closed().await;
    session.wire.read_to_end().await;
    tidegate_tests::time::eventually("the session has ended", || gateway.sessions() == 0).await;
    tried(gateway, &bearing("/handled", token)).await
}

#[tokio::test]
async fn a_disconnect_revokes_where_the_route_says_so() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    for (revokes, expected) in [
        ("", (101, String::new())),
        ("revoke_on_disconnect: never", (101, String::new())),
        ("revoke_on_disconnect: timeout", (101, String::new())),
        (
            "revoke_on_disconnect: always",
            (401, "token_revoked".to_owned()),
        ),
    ] {
        let gateway = gateway(&upstream, "", revokes, "");
        for path in ["/handled", "/proxied"] {
            let token = mint.sign(&Token::secret().claim("for", path));
            let became = after_a_close(&gateway, path, &token).await;
            assert_eq!(became, expected, "{revokes} {path}");
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn silence_revokes_where_the_route_says_so() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let bridge = "websocket: { idle_timeout: 1s }";
    let gateway = gateway(&upstream, "", "revoke_on_disconnect: timeout", bridge);
    let token = mint.sign(&Token::secret());
    let mut second = Client::open(&gateway, &bearing("/proxied", &token)).await;
    let mut silent = Client::open(&gateway, &bearing("/bridged", &token)).await;
    assert_eq!(silent.closed().await, told(1001, "idle_timeout;after=1s"));
    silent.wire.read_to_end().await;
    // As with any revocation, all that the token has opened ends.
    assert_eq!(second.closed().await, told(1008, "token_revoked"));
    let refused = (401, "token_revoked".to_owned());
    assert_eq!(tried(&gateway, &bearing("/handled", &token)).await, refused);
}

/// Whoever comes back in another socket has not left.
#[tokio::test]
async fn who_comes_back_has_not_left() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "revoke_on_disconnect: always", "");
    let token = mint.sign(&Token::secret());
    let mut old = Client::open(&gateway, &version_1(&token)).await;
    let welcome = old.receive().await;
    let mut new = Client::open(&gateway, &version_1(&token)).await;
    assert_eq!(new.receive().await["op"], "welcome");
    let resume =
        json!({"session": welcome["session"], "token": welcome["resume"]["token"], "seq": 0});
    let welcome = new
        .ask(&json!({"op": "hello", "v": 1, "resume": resume}))
        .await;
    assert_eq!(welcome["resume"]["continued"], true, "{welcome}");
    assert_eq!(old.closed().await, told(1000, "resumed"));
    old.wire.read_to_end().await;
    tidegate_tests::time::eventually("the session has ended", || gateway.sessions() == 1).await;
    let open = (101, String::new());
    assert_eq!(tried(&gateway, &bearing("/handled", &token)).await, open);
}
