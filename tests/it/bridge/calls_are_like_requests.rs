//! A call in an envelope reaches its service as the same request over HTTP would have: with the client that
//! proxies tell of, with an id and a trace, and with nothing that only its message says of who calls.

use serde_json::{Value, json};
use tidegate_tests::mint::SECRET;
use tidegate_tests::{Head, LogFile, Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::{Client, bridged};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TOLD: [&str; 6] = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Real-IP",
    "Forwarded",
];

fn gateway(upstream: &ScriptedUpstream, top: &str) -> TestGateway {
    let yaml = format!(
        "{top}\nservices: {{ up: {{ endpoints: http://UP }} }}\n\
         routes:\n\
         - {{ name: bridge, match: {{ path: /ws }}, bridge: {{ services: up }} }}\n\
         - {{ name: api, match: {{ path: /api/** }}, proxy: {{ service: up }} }}\n"
    );
    TestGateway::start(upstream, &yaml)
}

/// The head that a call of `uri` is sent with, where it is answered.
async fn sent(client: &mut Client, upstream: &ScriptedUpstream, call: Value) -> Head {
    drop(upstream.take_heads());
    let told = client.ask(&call).await;
    assert_eq!(told["status"], 200, "{told}");
    upstream.only_head().await
}

#[tokio::test]
async fn who_the_client_is() {
    let upstream = ScriptedUpstream::mirror().await;
    let forwarded = "for=203.0.113.7;host=api.example;proto=https";
    for (top, fields) in [
        ("", &[("X-Forwarded-For", "203.0.113.7")][..]),
        (
            "trusted_proxies: 127.0.0.0/8",
            &[
                ("X-Forwarded-For", "203.0.113.7"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "api.example"),
                ("X-Forwarded-Port", "443"),
            ],
        ),
        (
            "trusted_proxies: 127.0.0.0/8\nforwarded_header: forwarded",
            &[("Forwarded", forwarded)],
        ),
    ] {
        let gateway = gateway(&upstream, top);
        let with = |request: Request| {
            let fields = fields.iter();
            fields.fold(request, |request, (name, value)| request.with(name, value))
        };
        let plain = gateway.ask(&with(Request::get("/api/a"))).await.seen();
        let mut client = Client::open(&gateway, &with(Request::handshake("/ws"))).await;
        for call in [
            json!({"id": 1, "uri": "/api/a"}),
            json!({"id": 2, "baseUrl": "up", "uri": "/api/a"}),
            json!({"id": 3, "baseUrl": "up", "uri": "/api/a", "headers": {"x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "ws"}}),
        ] {
            let head = sent(&mut client, &upstream, call).await;
            for name in TOLD {
                assert_eq!(head.fields(name), plain.fields(name), "{name} {top}");
            }
        }
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[tokio::test]
async fn each_has_an_id_and_a_trace() {
    let upstream = ScriptedUpstream::mirror().await;
    let log = LogFile::new();
    let gateway = gateway(&upstream, &log.yaml(""));
    let mut client = Client::new(&gateway).await;
    let mut ids = Vec::new();
    for call in [
        json!({"id": 1, "uri": "/api/a"}),
        json!({"id": 2, "baseUrl": "up", "uri": "/a"}),
        json!({"id": 3, "baseUrl": "up", "uri": "/a", "headers": {"x-request-id": "a b", "traceparent": "1"}}),
    ] {
        let head = sent(&mut client, &upstream, call).await;
        let id = head.fields("X-Request-Id");
        assert!(id.len() == 1 && is_hex(id[0], 32), "{id:?}");
        ids.push(id[0].to_owned());
        let trace: Vec<_> = head.field("traceparent").unwrap().split('-').collect();
        assert_eq!((trace[0], trace[3]), ("00", "00"));
        assert!(is_hex(trace[1], 32) && is_hex(trace[2], 16), "{trace:?}");
    }
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let own = json!({"x-request-id": "mine-1", "traceparent": parent});
    let head = sent(
        &mut client,
        &upstream,
        json!({"id": 4, "uri": "/api/a", "headers": own}),
    )
    .await;
    assert_eq!(head.fields("X-Request-Id"), ["mine-1"]);
    assert_eq!(head.fields("traceparent"), [parent.as_str()]);
    ids.push("mine-1".to_owned());
    let lines = log.events("bridge.request", 4).await;
    for (line, id) in lines.iter().zip(&ids) {
        assert_eq!(line["request_id"], **id, "{line}");
        assert!(is_hex(line["trace_id"].as_str().unwrap(), 32), "{line}");
    }
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
    // Which route it took, and to whom.
    assert_eq!(
        (&lines[0]["route"], &lines[0]["service"]),
        (&json!("api"), &json!("up"))
    );
    assert_eq!(
        (&lines[1]["route"], &lines[1]["service"]),
        (&json!("bridge"), &json!("up"))
    );
    // What the gateway answers itself names the trace.
    for call in [
        json!({"id": 5, "uri": "/nowhere", "headers": own}),
        json!({"id": 6, "baseUrl": "nobody", "headers": own}),
        json!({"uri": "/nowhere", "headers": own}),
    ] {
        let told = client.ask(&call).await;
        assert_eq!(told["error"]["trace_id"], TRACE, "{told}");
    }
    let told = client.ask(&json!({"id": 7, "uri": "/nowhere"})).await;
    assert!(
        is_hex(told["error"]["trace_id"].as_str().unwrap(), 32),
        "{told}"
    );
}

#[tokio::test]
async fn a_token_in_a_uri_is_nobodys() {
    let Some(mint) = Mint::open("calls_are_like_requests") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = format!(
        "auth: {{ jwt: {{ secret: '{SECRET}', token_from: [header, {{ query: auth }}, ticket] }} }}\n\
         services: {{ up: {{ endpoints: http://UP }} }}\n\
         routes:\n\
         - {{ name: open, match: {{ path: /open }}, bridge: {{ services: up }} }}\n\
         - {{ name: known, match: {{ path: /ws }}, filters: require, bridge: {{ services: up }} }}\n\
         - {{ name: api, match: {{ path: /api/** }}, filters: require, proxy: {{ service: up }} }}\n"
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let (own, other) = (
        mint.sign(&Token::secret()),
        mint.sign(&Token::secret().claim("sub", "other")),
    );
    let mut stranger = Client::open(&gateway, &Request::handshake("/open")).await;
    let uri = format!("/api/a?auth={own}");
    let told = stranger.ask(&json!({"id": 1, "uri": uri})).await;
    assert_eq!(told["error"]["code"], "unauthenticated", "{told}");
    let known = Request::handshake("/ws").with("Authorization", &format!("Bearer {own}"));
    let mut known = Client::open(&gateway, &known).await;
    for base in [json!(null), json!("up")] {
        for token in [&own, &other] {
            let uri = format!("/api/a?x=1&%61uth={token}&ticket=tt_x&y=2");
            let mut call = json!({"id": 2, "uri": uri});
            if !base.is_null() {
                call["baseUrl"] = base.clone();
            }
            let head = sent(&mut known, &upstream, call).await;
            assert_eq!(head.target(), "/api/a?x=1&y=2");
            assert_eq!(head.fields("Authorization"), [format!("Bearer {own}")]);
        }
    }
}

#[tokio::test]
async fn as_long_as_a_target_may_be() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "");
    let mut client = Client::new(&gateway).await;
    for uri in [
        format!("/{}", "a".repeat(8192)),
        format!("/?{}", "é".repeat(1400)),
    ] {
        let told = client
            .ask(&json!({"id": 1, "baseUrl": "account-service", "uri": uri}))
            .await;
        assert_eq!(
            (&told["status"], &told["error"]["code"]),
            (&json!(414), &json!("uri_too_long"))
        );
    }
    assert!(upstream.take_heads().is_empty());
    let uri = format!("/{}", "a".repeat(8000));
    sent(
        &mut client,
        &upstream,
        json!({"id": 2, "baseUrl": "account-service", "uri": uri}),
    )
    .await;
}

#[tokio::test]
async fn what_has_no_body_says_so() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "");
    let mut client = Client::new(&gateway).await;
    for (method, length) in [
        ("POST", &["0"][..]),
        ("PUT", &["0"]),
        ("PATCH", &["0"]),
        ("GET", &[]),
        ("DELETE", &[]),
    ] {
        let call = json!({"id": 1, "type": method, "baseUrl": "account-service", "uri": "/a"});
        let head = sent(&mut client, &upstream, call).await;
        assert_eq!(head.fields("Content-Length"), length, "{method}");
        assert!(!head.has("Transfer-Encoding"));
    }
}

#[tokio::test]
async fn a_body_is_of_one_kind() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = bridged(&upstream, "");
    let mut client = Client::new(&gateway).await;
    let headers = json!({"content-type": ["text/plain", "application/json"]});
    let call = json!({"id": 1, "type": "POST", "baseUrl": "account-service", "uri": "/a", "body": 1, "headers": headers});
    let told = client.ask(&call).await;
    assert_eq!(
        (&told["status"], &told["error"]["code"]),
        (&json!(400), &json!("malformed_frame"))
    );
}
