use http::Method;
use tokio::io::duplex;

use super::*;
use crate::cors::{CorsRefusal, MissingOrigin};
use crate::error::BoxError;
use crate::handshake::RequestError;
use crate::session::WebSocketSession;

fn request(fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::get("/x?y=z")
        .header("host", "example.com")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

#[track_caller]
fn switched(outcome: Outcome) -> (Response<()>, Pending) {
    match outcome {
        Outcome::Switch { response, pending } => (response, pending),
        Outcome::Refuse(refusal) => panic!("{refusal:?}"),
    }
}

#[track_caller]
fn refused(outcome: Outcome) -> Why {
    match outcome {
        Outcome::Switch { response, .. } => panic!("{response:?}"),
        Outcome::Refuse(refusal) => refusal.why,
    }
}

#[test]
fn what_the_session_is_told() {
    let mut request = request(&[
        ("cookie", "a=b; c=\"d=e\""),
        ("cookie", "f=; g"),
        ("x-own", "1"),
        ("sec-websocket-protocol", "p, q"),
    ]);
    let address = "127.0.0.1:7".parse().unwrap();
    request.extensions_mut().insert(RemoteAddress(address));
    request.extensions_mut().insert(Principal("ada".into()));
    let service = HandshakeService::new().subprotocols(["q"]);
    let (_, pending) = switched(service.handle(&request));
    let info = pending.handshake();
    assert_eq!(info.uri, "/x?y=z");
    assert_eq!(info.headers["x-own"], "1");
    let cookies: Vec<_> = info
        .cookies
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(cookies, [("a", "b"), ("c", "\"d=e\""), ("f", "")]);
    assert_eq!(info.principal.as_deref(), Some("ada"));
    assert_eq!(info.remote_address, Some(address));
    assert_eq!(info.subprotocol.as_deref(), Some("q"));
    assert!(info.attributes.is_empty());
}

#[test]
fn attributes_are_selected_by_name_and_none_by_default() {
    let mut request = request(&[]);
    let mut attributes = Attributes::new();
    attributes.insert("tenant", 7_u32);
    attributes.insert("secret", "hunter2");
    request.extensions_mut().insert(attributes);

    let (_, pending) = switched(HandshakeService::new().handle(&request));
    assert!(pending.handshake().attributes.is_empty());

    let service = HandshakeService::new().attributes(|name| name == "tenant");
    let (_, pending) = switched(service.handle(&request));
    let given = pending.handshake().attributes.get::<Attributes>().unwrap();
    assert_eq!(given.names().collect::<Vec<_>>(), ["tenant"]);
    assert_eq!(given.get::<u32>("tenant"), Some(&7));
}

#[test]
fn refusals() {
    let service = HandshakeService::new();
    let origin = |origin| refused(service.handle(&request(&[("origin", origin)])));
    assert_eq!(origin("null"), Why::Cors(CorsRefusal::OriginNull));
    let elsewhere = Why::Cors(CorsRefusal::OriginNotAllowed);
    assert_eq!(origin("https://evil.net"), elsewhere);
    let twice = request(&[
        ("origin", "https://example.com"),
        ("origin", "https://example.com"),
    ]);
    let malformed = Why::Cors(CorsRefusal::OriginMalformed);
    assert_eq!(refused(service.handle(&twice)), malformed);

    let mut post = request(&[]);
    *post.method_mut() = Method::POST;
    let why = Why::Request(RequestError::Method);
    assert_eq!(refused(service.handle(&post)), why);
}

#[test]
fn origins_as_configured() {
    let cors = Cors::new()
        .allow_origin("https://app.example.com".parse().unwrap())
        .missing_origin(MissingOrigin::Refuse);
    let service = HandshakeService::new().cors(cors).unwrap().scheme("https");
    let ask = |fields: &[(&'static str, &str)]| match service.handle(&request(fields)) {
        Outcome::Switch { .. } => 101,
        Outcome::Refuse(refusal) => refusal.status.as_u16(),
    };
    assert_eq!(ask(&[("origin", "https://app.example.com")]), 101);
    assert_eq!(ask(&[("origin", "https://example.com")]), 101);
    assert_eq!(
        ask(&[("origin", "http://example.com")]),
        403,
        "the scheme is known"
    );
    assert_eq!(ask(&[]), 403);
}

#[test]
fn deflate_is_agreed_on_where_it_is_wanted() {
    let offer = (
        "sec-websocket-extensions",
        "permessage-deflate; client_max_window_bits",
    );
    let (response, pending) = switched(HandshakeService::new().handle(&request(&[offer])));
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    assert!(pending.deflate.is_none());

    let session = SessionConfig {
        deflate: Some(deflate::Config::default()),
        ..SessionConfig::default()
    };
    let service = HandshakeService::new().session(session);
    let (response, pending) = switched(service.handle(&request(&[offer])));
    assert_eq!(
        response.headers()["sec-websocket-extensions"],
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    );
    assert!(pending.deflate.is_some_and(|agreed| !agreed.own_takeover));
    let (response, pending) = switched(service.handle(&request(&[])));
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    assert!(pending.deflate.is_none());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test spawns a plain task")]
async fn a_pending_session_runs_over_any_connection() {
    struct Chat;
    impl WebSocketHandler for Chat {
        async fn handle(&self, mut session: WebSocketSession) -> Result<(), BoxError> {
            let chosen = session
                .handshake()
                .and_then(|info| info.subprotocol.clone());
            session
                .send(chosen.unwrap_or_default().into_string())
                .await?;
            Ok(())
        }

        fn subprotocols(&self) -> Vec<&str> {
            vec!["chat"]
        }
    }
    let service = HandshakeService::speaking(&Chat);
    let request = request(&[("sec-websocket-protocol", "other, chat")]);
    let (response, pending) = service.handle(&request).into_parts();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");

    let (ours, theirs) = duplex(1024);
    let served = tokio::spawn(pending.unwrap().run(ours, Chat));
    let opening = Opening::new(crate::codec::Role::Client);
    let mut client = WebSocketSession::new(theirs, opening, Arc::default());
    let said = client.receive().await.unwrap().unwrap();
    assert_eq!(said, crate::Message::from("chat".to_owned()));
    assert!(client.receive().await.is_none());
    assert_eq!(served.await.unwrap().code, 1000);
}
