//! A session goes on by a newer token of the same user: in a message of a bridge, or by HTTP.

use serde_json::{Value, json};
use tidegate_tests::mint::from_now;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::{Client, bearing, ending, gateway, in_time, renewed, told, upstream, version_1};

const TEST: &str = "newer_tokens_extend";

#[tokio::test]
async fn by_http_where_messages_are_not_ours() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "session_cookie: sid", "");
    let end = from_now(300);
    let newer = mint.sign(&Token::secret().claim("exp", end));
    let (mut sessions, mut witness) = in_time(async |lifetime| {
        let old = ending(&mint, lifetime);
        let mut sessions = Vec::new();
        for path in ["/proxied", "/handled"] {
            let session = opened(&gateway, &bearing(path, &old)).await?;
            let answer = renewed(&gateway, &session.id, &newer).await;
            if answer.status() == 404 {
                return None;
            }
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let said: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(said, json!({"session": session.id, "exp": end}));
            sessions.push(session);
        }
        // One beside them that is left alone shows that the time has come.
        let witness = bearing("/proxied", &old);
        let witness = Client::open_at(gateway.connect().await, &witness).await?;
        Some((sessions, witness))
    })
    .await;
    assert_eq!(witness.closed().await, told(1008, "token_expired"));
    for session in &mut sessions {
        session.echoes().await;
    }
    // So it is with a shorter one.
    for (session, code) in sessions.iter_mut().zip([1008, 4401]) {
        in_time(async |lifetime| {
            let shorter = ending(&mint, lifetime);
            let answer = renewed(&gateway, &session.id, &shorter).await;
            (answer.status() == 200).then_some(())
        })
        .await;
        assert_eq!(session.closed().await, told(code, "token_expired"));
    }
}

/// A session whose id a browser is told too.
async fn opened(gateway: &TestGateway, handshake: &Request) -> Option<Client> {
    let mut wire = gateway.connect().await;
    wire.request(handshake).await;
    let head = wire.read_head().await;
    if head.status() == 401 {
        return None;
    }
    let id = head.field("X-Tidegate-Session").unwrap().to_owned();
    let cookie = head.field("Set-Cookie").unwrap();
    let expected = format!("sid={id}; Path=/; SameSite=Strict");
    let plain = cookie.strip_suffix("; Secure").unwrap_or(cookie);
    assert_eq!(plain, expected);
    Some(Client { wire, id })
}

#[tokio::test]
async fn by_http_nobody_takes_over_a_session() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let tenants = "tenant_claim: tenant, token_from: [header, cookie: jwt]";
    let gateway = gateway(&upstream, tenants, "", "");
    let of = |user: &str, tenant: &str| {
        mint.sign(&Token::secret().claim("sub", user).claim("tenant", tenant))
    };
    let own = of("u42", "a");
    let session = Client::open(&gateway, &bearing("/proxied", &own)).await;
    let bridged = Client::open(&gateway, &bearing("/bridged", &own)).await;
    let open = Client::open(&gateway, &Request::handshake("/open")).await;
    assert_eq!(open.id, "", "nobody was asked who that is");
    let expired = mint.sign(
        &Token::secret()
            .claim("tenant", "a")
            .claim("exp", from_now(-60)),
    );
    for (id, token, status, code) in [
        (&session.id, &of("u43", "a"), 403, "subject_mismatch"),
        (&session.id, &of("u42", "b"), 403, "subject_mismatch"),
        (
            &session.id,
            &mint.sign(&Token::secret()),
            403,
            "subject_mismatch",
        ),
        (&session.id, &expired, 401, "token_expired"),
        (
            &session.id,
            &"no.token.atall".to_owned(),
            401,
            "invalid_token",
        ),
        (&bridged.id, &own, 409, "renewed_in_band"),
        (&"s_AAAAAAAAAAAAAAAA".to_owned(), &own, 404, "no_session"),
        (&"x".to_owned(), &own, 404, "no_session"),
    ] {
        let answer = renewed(&gateway, id, token).await;
        assert_eq!((answer.status(), &*answer.code()), (status, code), "{id}");
    }
    let path = format!("/_tidegate/sessions/{}/token", session.id);
    let put = || Request::new("PUT", &path).body("");
    let answer = gateway.ask(&put()).await;
    assert_eq!((answer.status(), &*answer.code()), (401, "unauthenticated"));
    let answer = gateway.ask(&Request::new("POST", &path).body("")).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.head.field("Allow"), Some("PUT"));
    // What browsers send unasked counts from where they may send it.
    let cookie = |origin: &str| {
        put()
            .with("Cookie", &format!("jwt={own}"))
            .with("Origin", origin)
    };
    let answer = gateway.ask(&cookie("https://evil.example")).await;
    assert_eq!(
        (answer.status(), &*answer.code()),
        (403, "origin_not_allowed")
    );
    let same = if tidegate_tests::tls::is_over_tls() {
        "https"
    } else {
        "http"
    };
    let same = format!("{same}://{}", put().bytes().host());
    assert_eq!(gateway.ask(&cookie(&same)).await.status(), 200);
    assert!(
        upstream
            .heads()
            .iter()
            .all(|head| !head.target().contains("_tidegate"))
    );
}

/// The host that a request names.
trait Host {
    fn host(&self) -> String;
}

impl Host for Vec<u8> {
    fn host(&self) -> String {
        let text = String::from_utf8_lossy(self).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("Host: "));
        line.unwrap().trim().to_owned()
    }
}

#[tokio::test]
async fn in_a_message_of_a_bridge() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "", "");
    let (old, end) = (mint.sign(&Token::secret()), from_now(400));
    let mut client = Client::open(&gateway, &version_1(&old)).await;
    assert_eq!(client.receive().await["op"], "welcome");
    let wrong = mint.sign(&Token::secret().claim("sub", "u43"));
    let poor = mint.sign(&Token::secret().claim("roles", json!([])));
    let past = ending(&mint, -60);
    for (token, status, code) in [
        (&*wrong, 403, "subject_mismatch"),
        (&*poor, 403, "forbidden"),
        (&*past, 401, "token_expired"),
        ("x", 401, "invalid_token"),
    ] {
        let answer = client
            .ask(&json!({"op": "auth", "id": "a", "token": token}))
            .await;
        assert_eq!(answer["id"], "a");
        assert_eq!(
            (&answer["status"], &answer["error"]["code"]),
            (&json!(status), &json!(code))
        );
    }
    let answer = client.ask(&json!({"op": "auth", "id": 5})).await;
    assert_eq!(answer["error"]["code"], "malformed_frame");
    let call = json!({"id": 6, "baseUrl": "up", "uri": "/a"});
    let sent = |upstream: &ScriptedUpstream| upstream.take_heads().pop().unwrap();
    assert_eq!(client.ask(&call).await["status"], 200);
    let head = sent(&upstream);
    assert_eq!(head.field("Authorization"), Some(&*format!("Bearer {old}")));
    let newer = Token::secret()
        .claim("exp", end)
        .claim("roles", json!(["user", "admin"]));
    let newer = mint.sign(&newer);
    let answer = client
        .ask(&json!({"op": "auth", "id": 7, "token": newer}))
        .await;
    let expected =
        json!({"id": 7, "status": 200, "body": {"exp": end, "roles": ["user", "admin"]}});
    assert_eq!(answer, expected);
    assert_eq!(client.ask(&call).await["status"], 200);
    let head = sent(&upstream);
    assert_eq!(
        head.field("Authorization"),
        Some(&*format!("Bearer {newer}"))
    );
}

#[tokio::test]
async fn a_session_of_a_bridge_outlives_its_first_token() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "", "");
    let newer = mint.sign(&Token::secret());
    let (mut client, mut witness) = in_time(async |lifetime| {
        let old = ending(&mint, lifetime);
        let connect = async || gateway.connect().await;
        let mut client = Client::open_at(connect().await, &version_1(&old)).await?;
        for op in ["welcome", "auth-expiring"] {
            assert_eq!(client.next().await.ok()?["op"], op);
        }
        let auth = json!({"op": "auth", "id": 1, "token": newer});
        client.send(&auth).await;
        let answer = client.next().await.ok()?;
        if answer["op"] == "goaway" {
            return None;
        }
        assert_eq!(answer["status"], 200, "{answer}");
        let witness = bearing("/proxied", &old);
        Some((client, Client::open_at(connect().await, &witness).await?))
    })
    .await;
    assert_eq!(witness.closed().await, told(1008, "token_expired"));
    let call = json!({"id": 2, "baseUrl": "up", "uri": "/a"});
    assert_eq!(client.ask(&call).await["status"], 200);
}

#[tokio::test]
async fn a_call_keeps_the_token_that_it_began_with() {
    let Some(mint) = Mint::open(TEST) else { return };
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "", "", "");
    let (old, newer) = (
        mint.sign(&Token::secret()),
        mint.sign(&Token::secret().claim("n", 1)),
    );
    let mut client = Client::open(&gateway, &version_1(&old)).await;
    client.receive().await;
    client
        .send(&json!({"id": 1, "baseUrl": "up", "uri": "/a"}))
        .await;
    let mut peer = upstream.accept().await;
    let head = peer.read_head().await;
    let answer = client
        .ask(&json!({"op": "auth", "id": 2, "token": newer}))
        .await;
    assert_eq!(answer["status"], 200);
    // An id that is under way is not taken a second time.
    let answer = client
        .ask(&json!({"op": "auth", "id": 1, "token": newer}))
        .await;
    assert_eq!(answer["error"]["code"], "duplicate_id");
    assert_eq!(head.field("Authorization"), Some(&*format!("Bearer {old}")));
    peer.send("HTTP/1.1 204 No\r\n\r\n").await;
    let answer = client.receive().await;
    assert_eq!((&answer["id"], &answer["status"]), (&json!(1), &json!(204)));
    let series = "tidegate_token_refresh_total{result=\"ok\"}";
    gateway.admin().counts(series, 1.0).await;
}
