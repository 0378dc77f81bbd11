//! A handler sees the request that became its session, as filters have left it.

use std::net::IpAddr;

use serde_json::{Value, json};
use tidegate::exchange::Exchange;
use tidegate::handler::{Attributes, BoxError, Principal, RouteFacts, WebSocketSession};
use tidegate::pipeline::{Filter, Moment, Step};
use tidegate_tests::{Request, TestGateway, Wire};

use super::{farewell, yaml};

/// What a filter knows, and the handler is to know.
#[derive(Debug, Clone)]
struct Tenant(String);

#[derive(Debug)]
struct KnowsTenant;

impl Filter for KnowsTenant {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        let host = exchange.authority.as_ref().map(ToString::to_string);
        let tenant = Tenant(host.unwrap_or_default());
        exchange.extensions.insert(tenant.clone());
        let attributes: &mut Attributes = exchange.extensions.get_or_insert_default();
        attributes.insert("tenant", tenant.clone());
        attributes.insert("secret", tenant);
        exchange.extensions.insert(Principal("alice".into()));
        Moment::ready(Ok(Step::Continue))
    }
}

/// Says all that it knows.
async fn tell(mut session: WebSocketSession) -> Result<(), BoxError> {
    let id = session.id().to_owned();
    let known = session.take_handshake().ok_or("nothing is known")?;
    assert!(session.handshake().is_none(), "it was let go");
    let facts = known.attributes.get::<RouteFacts>().ok_or("no facts")?;
    let captures = facts
        .captures
        .iter()
        .map(|(name, value)| json!([name, value]));
    let headers = known.headers.get_all("x-a").iter();
    assert!(known.attributes.get::<Tenant>().is_none());
    let attributes = known.attributes.get::<Attributes>();
    let tenant = attributes.and_then(|attributes| attributes.get::<Tenant>("tenant"));
    let said = json!({
        "id": id,
        "uri": known.uri.to_string(),
        "x-a": headers.map(|value| value.to_str().unwrap_or("")).collect::<Vec<_>>(),
        "x-room": known.headers.get("x-room").and_then(|value| value.to_str().ok()),
        "cookies": known.cookies,
        "principal": known.principal.as_deref(),
        "remote": known.remote_address.map(|address| address.to_string()),
        "route": &*facts.route,
        "captures": captures.collect::<Value>(),
        "asked": &*facts.original_path,
        "client": facts.client.to_string(),
        "listener": &*facts.downstream.listener,
        "attributes": attributes.map(|attributes| attributes.names().collect::<Vec<_>>()),
        "tenant": tenant.map(|Tenant(name)| name.as_str()),
    });
    session.send(said.to_string()).await?;
    Ok(())
}

async fn told(client: &mut Wire, request: &Request) -> Value {
    client.request(request).await;
    let head = client.read_head().await;
    assert_eq!(head.status(), 101, "{head:?}");
    let said = client.read_frame().await;
    let said = serde_json::from_slice(&said.payload).unwrap();
    assert_eq!(farewell(client).await, (Some(1000), String::new()));
    said
}

#[tokio::test]
async fn all_of_it() {
    let filters = "filters: [{ strip_prefix: 1 }, { set_request_header: { X-Room: '{room}' } }]";
    let yaml = yaml("trusted_proxies: [127.0.0.9]", filters, "");
    let gateway = TestGateway::handling(&yaml, |builder| {
        let builder = builder.handler("code", tell).filter("chat", KnowsTenant);
        builder.attributes("code", |name| name == "tenant")
    });
    let request = Request::handshake("/chat/den?a=b&c")
        .host("chat.example:8443")
        .with("X-A", "1")
        .with("X-A", "2")
        .with("X-Room", "forged")
        .with("Cookie", "who=me; theme=\"dark\"")
        .with("Cookie", "last=1=2")
        .with("X-Forwarded-For", "203.0.113.9");
    let mut client = gateway.connect().await;
    let local = client.local();
    let mut said = told(&mut client, &request).await;
    let id = said["id"].take();
    assert!(id.as_str().unwrap().starts_with("s_"), "{id}");
    let uri = said["uri"].take();
    assert!(
        uri == "ws://chat.example:8443/den?a=b&c" || uri == "wss://chat.example:8443/den?a=b&c",
        "{uri}"
    );
    let expected = json!({
        "id": null, "uri": null, "x-a": ["1", "2"], "x-room": "den",
        "cookies": [["who", "me"], ["theme", "\"dark\""], ["last", "1=2"]],
        "principal": "alice", "remote": local.to_string(), "route": "chat",
        "captures": [["room", "den"]], "asked": "/chat/den", "client": "127.0.0.1",
        "listener": "public", "attributes": ["tenant"], "tenant": "chat.example:8443",
    });
    assert_eq!(said, expected);

    // From a proxy that is trusted the client is whom it names.
    let from: IpAddr = [127, 0, 0, 9].into();
    let mut client = Wire::connect_from(from, gateway.address()).await;
    let said = told(&mut client, &request).await;
    assert_eq!(said["client"], "203.0.113.9");
    assert_eq!(said["remote"], "203.0.113.9:0");
}

/// What filters know may be secret: a handler is given what its embedder names.
#[tokio::test]
async fn no_attributes_unless_they_are_selected() {
    let gateway = TestGateway::handling(&yaml("", "", ""), |builder| {
        builder.handler("code", tell).filter("chat", KnowsTenant)
    });
    let mut client = gateway.connect().await;
    let said = told(&mut client, &Request::handshake("/chat/den")).await;
    assert_eq!(said["attributes"], Value::Null);
    assert_eq!(said["tenant"], Value::Null);
}

#[tokio::test]
async fn requests_with_little_in_them() {
    let gateway = super::gateway(&yaml("", "", ""), tell);
    for (request, uri) in [
        (
            Request::handshake("/chat/%C3%A9?"),
            "://test.example/chat/%C3%A9?",
        ),
        (
            Request::handshake("/chat/a?x=%zz&y=[]|"),
            "://test.example/chat/a",
        ),
    ] {
        let mut client = gateway.connect().await;
        let said = told(&mut client, &request).await;
        let found = said["uri"].as_str().unwrap();
        assert!(found.contains(uri), "{found}");
        assert_eq!(said["cookies"], json!([]));
    }
}

/// What came behind the request, before the 101, is the session's first.
#[tokio::test]
async fn words_that_came_early_are_heard() {
    let gateway = super::gateway(&yaml("", "", ""), super::echo);
    let mut client = gateway.connect().await;
    let mut early = Request::handshake("/chat/1").bytes();
    for text in ["first", "second"] {
        early.extend(tidegate_tests::Frame::text(text).from_client().bytes());
    }
    client.send(&early[..early.len() - 3]).await;
    assert_eq!(client.read_head().await.status(), 101);
    let first = client.read_frame().await;
    assert_eq!(first.payload, b"first");
    client.send(&early[early.len() - 3..]).await;
    assert_eq!(client.read_frame().await.payload, b"second");
}
