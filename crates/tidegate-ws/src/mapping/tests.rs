use http::{Method, Response};

use super::*;
use crate::cors::CorsRefusal;
use crate::error::BoxError;
use crate::session::WebSocketSession;

async fn done(_session: WebSocketSession) -> Result<(), BoxError> {
    Ok(())
}

/// A handler that can be told by the subprotocol that it agrees on.
fn named(name: &'static str) -> MappedHandler {
    let service = HandshakeService::new().subprotocols([name]);
    MappedHandler::with_service(done, service)
}

fn handshake(path: &str) -> http::request::Builder {
    Request::get(path)
        .header("host", "example.com")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "a, b, c, d")
}

fn built(builder: http::request::Builder) -> Request<()> {
    builder.body(()).unwrap()
}

fn taken(outcome: Outcome<MappedPending>) -> Result<String, u16> {
    let (response, pending): (Response<_>, _) = outcome.into_parts();
    match pending {
        Some(pending) => Ok(pending
            .pending
            .handshake()
            .subprotocol
            .clone()
            .unwrap()
            .into()),
        None => Err(response.status().as_u16()),
    }
}

fn allowing(origin: &str) -> Cors {
    Cors::new().allow_origin(origin.parse().unwrap())
}

#[test]
fn the_first_pattern_that_matches_in_order() {
    let mapping = HandlerMapping::builder()
        .handler("/x/**", named("a").order(5))
        .handler("/x/{id:[0-9]+}", named("b"))
        .handler("/x/7", named("c"))
        .handler("/x/8", named("d").order(-1))
        .build()
        .unwrap();
    let ask = |path: &str| taken(mapping.handle(&built(handshake(path))));
    assert_eq!(ask("/x/7").as_deref(), Ok("b"), "added before its equal");
    assert_eq!(ask("/x/8").as_deref(), Ok("d"));
    assert_eq!(ask("/x/y").as_deref(), Ok("a"));
    assert_eq!(ask("/%78/7?x=y").as_deref(), Ok("b"));
    assert_eq!(ask("/y"), Err(404));
    assert_eq!(ask("/x/%2e%2e/y"), Err(400));
}

#[test]
fn what_the_path_captured_is_an_attribute() {
    let mapping = HandlerMapping::builder()
        .handler("/{room}/{*rest}", named("a"))
        .build()
        .unwrap();
    let Outcome::Switch { mut pending, .. } = mapping.handle(&built(handshake("/lobby/x/y")))
    else {
        panic!("refused");
    };
    let info = pending.pending_mut().handshake();
    let captures = info.attributes.get::<Captures>().unwrap();
    let all: Vec<_> = captures.iter().collect();
    assert_eq!(all, [("room", "lobby"), ("rest", "/x/y")]);
}

#[test]
fn before_and_after_the_other_routes_of_a_server() {
    let mapping = HandlerMapping::builder()
        .handler("/first", named("a").order(-1))
        .handler("/last", named("b"))
        .build()
        .unwrap();
    let first = built(handshake("/first"));
    let last = built(handshake("/last"));
    let plain = built(Request::get("/first").header("host", "example.com"));
    let elsewhere = built(handshake("/other"));

    assert_eq!(mapping.before(&first).map(taken), Some(Ok("a".into())));
    assert!(mapping.before(&last).is_none());
    assert!(
        mapping.before(&plain).is_none(),
        "it may be another route's"
    );
    assert!(mapping.before(&elsewhere).is_none());

    assert_eq!(mapping.after(&last).map(taken), Some(Ok("b".into())));
    assert_eq!(mapping.after(&plain).map(taken), Some(Err(426)));
    assert!(mapping.after(&elsewhere).is_none());
    assert_eq!(taken(mapping.handle(&elsewhere)), Err(404));
}

#[test]
fn a_path_that_no_pattern_can_match_is_left_to_the_other_routes() {
    let mapping = HandlerMapping::builder()
        .handler("/**", named("a").order(-1))
        .build()
        .unwrap();
    let hidden = built(handshake("/x/%2e%2e/y"));
    assert!(mapping.before(&hidden).is_none());
    assert!(mapping.after(&hidden).is_none());
    assert_eq!(taken(mapping.handle(&hidden)), Err(400));
    let none = HandlerMapping::default();
    assert!(none.before(&hidden).is_none());
    assert!(none.after(&hidden).is_none());
    assert_eq!(taken(none.handle(&hidden)), Err(400));
}

#[test]
fn a_handshake_is_judged_where_a_handler_is() {
    let mapping = HandlerMapping::builder()
        .handler("/x", named("a"))
        .build()
        .unwrap();
    let status = |builder| taken(mapping.handle(&built(builder)));
    assert_eq!(status(handshake("/x").method(Method::POST)), Err(405));
    assert_eq!(
        status(handshake("/x").header("content-length", "3")),
        Err(400)
    );
    assert_eq!(status(handshake("/x").header("origin", "null")), Err(403));
}

#[test]
fn origins_of_handler_and_pattern_are_combined() {
    let own = HandshakeService::new()
        .subprotocols(["b"])
        .cors(allowing("https://handler.com"))
        .unwrap();
    let mapping = HandlerMapping::builder()
        .handler("/free", named("a"))
        .handler("/chat/own", MappedHandler::with_service(done, own))
        .handler("/chat/**", named("c"))
        .cors("/chat/**", allowing("https://pattern.com"))
        .cors("/**", allowing("https://rest.com"))
        .build()
        .unwrap();
    let ask = |path: &str, origin: &str| {
        let request = built(handshake(path).header("origin", origin));
        match mapping.handle(&request) {
            Outcome::Switch { .. } => Ok(()),
            Outcome::Refuse(refusal) => Err(refusal.why),
        }
    };
    let refused = Err(Why::Cors(CorsRefusal::OriginNotAllowed));
    for path in ["/free", "/chat/own", "/chat/x"] {
        assert_eq!(ask(path, "https://example.com"), Ok(()), "the same origin");
        assert_eq!(ask(path, "https://evil.net"), refused);
    }
    assert_eq!(ask("/chat/own", "https://handler.com"), Ok(()));
    assert_eq!(ask("/chat/own", "https://pattern.com"), Ok(()));
    assert_eq!(ask("/chat/x", "https://pattern.com"), Ok(()));
    assert_eq!(ask("/chat/x", "https://handler.com"), refused);
    assert_eq!(
        ask("/chat/x", "https://rest.com"),
        refused,
        "the first counts"
    );
    assert_eq!(ask("/free", "https://rest.com"), Ok(()));
    assert_eq!(ask("/free", "https://pattern.com"), refused);
}

#[test]
fn what_cannot_be_built() {
    let bad = HandlerMapping::builder().handler("chat", named("a"));
    let error = bad.build().unwrap_err().to_string();
    assert!(error.starts_with("the path pattern `chat`: "), "{error}");
    let bad = HandlerMapping::builder().cors("/{", Cors::new());
    assert!(matches!(bad.build(), Err(MappingError::Pattern { .. })));

    let service = HandshakeService::new()
        .cors(Cors::new().allow_credentials(true))
        .unwrap();
    let bad = HandlerMapping::builder()
        .handler("/x", MappedHandler::with_service(done, service))
        .cors("/**", allowing("*"))
        .build();
    let error = bad.unwrap_err();
    assert!(matches!(error, MappingError::Cors { .. }), "{error}");
}

#[test]
fn a_handler_speaks_its_subprotocols_unless_its_service_names_others() {
    struct Chat;
    impl WebSocketHandler for Chat {
        async fn handle(&self, _session: WebSocketSession) -> Result<(), BoxError> {
            Ok(())
        }

        fn subprotocols(&self) -> Vec<&str> {
            vec!["b", "c"]
        }
    }
    let agreed = |mapped| {
        let builder = HandlerMapping::builder().handler("/x", mapped);
        taken(builder.build().unwrap().handle(&built(handshake("/x"))))
    };
    let silent = HandshakeService::new().scheme("https");
    let naming = HandshakeService::new().subprotocols(["d"]);
    assert_eq!(agreed(MappedHandler::new(Chat)), Ok("b".into()));
    let mapped = MappedHandler::with_service(Chat, silent);
    assert_eq!(agreed(mapped), Ok("b".into()));
    let mapped = MappedHandler::with_service(Chat, naming);
    assert_eq!(agreed(mapped), Ok("d".into()));
}
