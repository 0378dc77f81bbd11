//! A browser hides why a handshake is refused: a plain request to the same place tells, and takes nothing.

use tidegate_tests::{Answer, Request, ScriptedUpstream, TestGateway, eventually};

const APP: &str = "https://app.example";

/// A route that is for sessions alone, at a bridge, and the same at a handler of the embedder's.
async fn gateways(general: &str, route: &str) -> Vec<(TestGateway, ScriptedUpstream)> {
    let mut gateways = Vec::new();
    for target in ["bridge: { services: up }", "handler: code"] {
        let upstream = ScriptedUpstream::mirror().await;
        let yaml = format!(
            "{general}\nservices: {{ up: {{ endpoints: [http://UP] }} }}\n\
             routes:\n- name: sessions\n  match: {{ path: /ws }}\n  {route}\n  {target}\n"
        );
        let gateway = if target.starts_with("bridge") {
            TestGateway::start(&upstream, &yaml)
        } else {
            let yaml = yaml.replace("http://UP", &format!("http://{}", upstream.address()));
            TestGateway::handling(&yaml, |builder| builder.handler("code", waits))
        };
        gateways.push((gateway, upstream));
    }
    gateways
}

async fn waits(
    mut session: tidegate::handler::WebSocketSession,
) -> Result<(), tidegate::handler::BoxError> {
    while session.receive().await.is_some() {}
    Ok(())
}

/// What a plain request is told, three times over: it takes nothing.
async fn told(gateway: &TestGateway, request: &Request, status: u16, code: &str) -> Answer {
    for _ in 0..2 {
        gateway.ask(request).await.expect_problem(status);
    }
    let answer = gateway.ask(request).await;
    answer.expect_problem(status);
    assert_eq!(answer.code(), code);
    let must_wait = matches!(status, 429 | 503);
    assert_eq!(answer.head.has("Retry-After"), must_wait, "{answer:?}");
    answer
}

#[tokio::test]
async fn a_full_route_is_told_until_there_is_room() {
    let plain = Request::get("/ws");
    for (gateway, _upstream) in gateways("", "limits: { max_sessions: 1 }").await {
        told(&gateway, &plain, 426, "upgrade_required").await;
        let mut client = gateway.connect().await;
        client.request(&Request::handshake("/ws")).await;
        assert_eq!(client.read_head().await.status(), 101);
        told(&gateway, &plain, 503, "route_full").await;
        let refused = gateway.ask(&Request::handshake("/ws")).await;
        assert_eq!((refused.status(), &*refused.code()), (503, "route_full"));
        drop(client);
        eventually("its place is free", || gateway.sessions() == 0).await;
        gateway.is_empty().await;
        told(&gateway, &plain, 426, "upgrade_required").await;
    }
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_so() {
    let rate = "limits: { handshakes_per_address: { rate: 1/m, burst: 1 } }";
    let plain = Request::get("/ws");
    for (gateway, _upstream) in gateways(rate, "").await {
        told(&gateway, &plain, 426, "upgrade_required").await;
        let mut client = gateway.connect().await;
        client.request(&Request::handshake("/ws")).await;
        assert_eq!(client.read_head().await.status(), 101);
        told(&gateway, &plain, 429, "too_many_handshakes").await;
    }
}

#[tokio::test]
async fn scripts_of_pages_that_may_ask_can_read_it() {
    let route = "cors: { origins: 'https://app.example' }\n  limits: { max_sessions: 1 }";
    let from = |origin| Request::get("/ws").with("Origin", origin);
    let allowed = |answer: &Answer| {
        let field = answer.head.field("Access-Control-Allow-Origin");
        field.map(str::to_owned)
    };
    for (gateway, _upstream) in gateways("", route).await {
        let answer = told(&gateway, &from(APP), 426, "upgrade_required").await;
        assert_eq!(allowed(&answer).as_deref(), Some(APP));
        let evil = from("https://evil.example");
        let answer = told(&gateway, &evil, 403, "origin_not_allowed").await;
        assert_eq!(allowed(&answer), None);
        let mut client = gateway.connect().await;
        let handshake = Request::handshake("/ws").with("Origin", APP);
        client.request(&handshake).await;
        assert_eq!(client.read_head().await.status(), 101);
        let answer = told(&gateway, &from(APP), 503, "route_full").await;
        assert_eq!(allowed(&answer).as_deref(), Some(APP));
    }
}
