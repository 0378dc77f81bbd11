//! Who opened a session is who calls: services, routes and the client itself are told, and nothing that the
//! client writes makes it somebody else.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tidegate_tests::mint::{SECRET, from_now};
use tidegate_tests::{Head, Mint, Request, ScriptedUpstream, TestGateway, Token, tools};

use super::Client;

const TEST: &str = "services_know_who_calls";
const SIGNING: &str = "a secret that the services know, too";

/// A gateway with a bridge that requires a user, and a route for each of two roles.
fn gateway(upstream: &ScriptedUpstream, options: &str) -> TestGateway {
    let yaml = format!(
        "auth: {{ jwt: {{ secret: '{SECRET}', token_from: [header, subprotocol], leeway: 1s }} }}\n\
         admin: {{ bind: '127.0.0.1:0' }}\n\
         services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes:\n\
         - {{ name: bridge, match: {{ path: /ws }}, filters: require, bridge: {{ services: up, {options} }} }}\n\
         - {{ name: open, match: {{ path: /open }}, bridge: {{ services: up, {options} }} }}\n\
         - {{ name: users, match: {{ path: /users/** }}, filters: [require: {{ roles: user }}], proxy: {{ service: up }} }}\n\
         - {{ name: admins, match: {{ path: /admins/** }}, filters: [require: {{ roles: admin }}], proxy: {{ service: up }} }}\n\
         - {{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}\n"
    );
    TestGateway::start(upstream, &yaml)
}

fn bearing(token: &str) -> Request {
    let offer = format!("tidegate.v1.json, tidegate.bearer.{token}");
    Request::handshake("/ws").with("Sec-WebSocket-Protocol", &offer)
}

/// The head that an answered call was sent with.
async fn sent(client: &mut Client, upstream: &ScriptedUpstream, envelope: &Value) -> Head {
    let _ = upstream.take_heads();
    let told = client.ask(envelope).await;
    assert_eq!(told["status"], 200, "{told}");
    upstream.only_head().await
}

#[tokio::test]
async fn the_welcome_says_who_and_until_when() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = gateway(&upstream, "");
    let end = from_now(300);
    let token = mint.sign(&Token::secret().claim("exp", end));
    let mut client = Client::open(&gateway, &bearing(&token)).await;
    let welcome = client.receive().await;
    assert_eq!(
        (&welcome["user"], &welcome["exp"]),
        (&json!("u42"), &json!(end))
    );
    let request = Request::handshake("/open").with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut stranger = Client::open(&gateway, &request).await;
    let welcome = stranger.receive().await;
    assert!(
        welcome.get("user").is_none() && welcome.get("exp").is_none(),
        "{welcome}"
    );
    let sessions = gateway.admin().get("/v1/sessions?user=u42").await;
    let sessions: Value = serde_json::from_slice(&sessions.body).unwrap();
    assert_eq!(
        sessions["sessions"].as_array().unwrap().len(),
        1,
        "{sessions}"
    );
}

#[tokio::test]
async fn the_token_goes_on_and_routes_judge_it() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    for (forward, is_told) in [("bearer", true), ("none", false)] {
        let gateway = gateway(&upstream, &format!("forward_auth: {forward}"));
        let token = mint.sign(&Token::secret());
        let mut client = Client::open(&gateway, &bearing(&token)).await;
        client.receive().await;
        let expected: &[String] = if is_told {
            &[format!("Bearer {token}")]
        } else {
            &[]
        };
        let own = json!({"authorization": "Bearer mine", "x-tidegate-user": "root"});
        for envelope in [
            json!({"id": 1, "baseUrl": "up", "uri": "/a", "headers": own}),
            json!({"id": 2, "uri": "/users/a", "headers": own}),
        ] {
            let head = sent(&mut client, &upstream, &envelope).await;
            assert_eq!(head.fields("Authorization"), expected, "{forward}");
            assert!(head.fields("X-Tidegate-User").is_empty());
        }
        let told = client.ask(&json!({"id": 3, "uri": "/admins/a"})).await;
        assert_eq!(told["error"]["code"], "forbidden", "{told}");
        // Without a user there is nobody to be judged.
        let mut stranger = Client::open(&gateway, &Request::handshake("/open")).await;
        let told = stranger.ask(&json!({"id": 4, "uri": "/users/a"})).await;
        assert_eq!(told["error"]["code"], "unauthenticated", "{told}");
    }
}

/// What the example of the documentation says of a request.
fn verified(head: &Head, secret: &str, now: i64) -> Value {
    let page = include_str!("../../../docs/bridge.md");
    let example = page.split("```python\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let names =
        ["User", "Roles", "Session", "Time", "Signature"].map(|name| format!("X-Tidegate-{name}"));
    let fields: serde_json::Map<_, _> = names
        .iter()
        .filter_map(|name| Some((name.clone(), head.field(name)?.into())))
        .collect();
    let script = format!(
        "{example}\nimport json, sys\ngiven = json.load(sys.stdin)\n\
         print(json.dumps(caller(given['fields'], given['secret'].encode(), given['now'])))"
    );
    let mut child = Command::new("python3")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let given = json!({"fields": fields, "secret": secret, "now": now});
    child
        .stdin
        .take()
        .unwrap()
        .write_all(given.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn signed_headers_say_it_and_cannot_be_forged() {
    let Some(mint) = Mint::open(TEST) else { return };
    if tools::program(TEST, "python3").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::mirror().await;
    let options = format!("forward_auth: signed_headers, signing_secret: '{SIGNING}'");
    let gateway = gateway(&upstream, &options);
    let roles = json!(["user", "a,b", "é"]);
    let token = Token::secret()
        .claim("sub", "bro ü")
        .claim("roles", roles.clone());
    let request = bearing(&mint.sign(&token)).with("X-Tidegate-Roles", "admin");
    let mut client = Client::open(&gateway, &request).await;
    let session = client.receive().await["session"].clone();
    let own =
        json!({"X-Tidegate-User": "root", "x_tidegate_user": "root", "X-Tidegate-Signature": "00"});
    let now = from_now(0);
    for envelope in [
        json!({"id": 1, "baseUrl": "up", "uri": "/a", "headers": own}),
        json!({"id": 2, "uri": "/users/a", "headers": own}),
    ] {
        let head = sent(&mut client, &upstream, &envelope).await;
        assert!(
            head.fields("Authorization").is_empty() && head.fields("x_tidegate_user").is_empty()
        );
        assert_eq!(head.fields("X-Tidegate-User").len(), 1);
        assert_eq!(head.fields("X-Tidegate-Signature").len(), 1);
        let said = verified(&head, SIGNING, now);
        assert_eq!(said, json!(["bro ü", roles, session]));
        assert_eq!(verified(&head, SECRET, now), Value::Null);
        assert_eq!(verified(&head, SIGNING, now + 100_000), Value::Null);
    }
    // Who is nobody is said to be nobody, be it over HTTP.
    let mut stranger = Client::open(
        &gateway,
        &Request::handshake("/open").with("X-Tidegate-User", "root"),
    )
    .await;
    let head = sent(
        &mut stranger,
        &upstream,
        &json!({"id": 3, "baseUrl": "up", "headers": own}),
    )
    .await;
    assert!(
        head.fields("X-Tidegate-User").is_empty() && head.fields("X-Tidegate-Signature").is_empty()
    );
    let _ = upstream.take_heads();
    let request = Request::get("/b")
        .with("X-Tidegate-User", "root")
        .with("x_tidegate_roles", "admin");
    assert_eq!(gateway.ask(&request).await.status(), 200);
    let head = upstream.only_head().await;
    assert!(
        head.fields("X-Tidegate-User").is_empty() && head.fields("x_tidegate_roles").is_empty()
    );
}
