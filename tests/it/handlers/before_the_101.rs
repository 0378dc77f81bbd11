//! Until the 101 the route of a handler is a route like any other.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tidegate::body::Body;
use tidegate::exchange::{Answer, Exchange};
use tidegate::handler::{BoxError, WebSocketHandler, WebSocketSession};
use tidegate::headers::FieldName;
use tidegate::pipeline::{ExchangeFacts, Filter, Moment, ResponseHead, Step};
use tidegate_tests::{Frame, Request, TestGateway, accept_for, eventually};

use super::{Alive, echo, echoes, gateway, open, yaml};

/// Lets in who has a cookie, and gives another one.
#[derive(Debug)]
struct Doorman;

impl Filter for Doorman {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        if exchange.headers.contains("Cookie") {
            return Moment::ready(Ok(Step::Continue));
        }
        let mut answer = Answer::new(StatusCode::FORBIDDEN);
        answer.body = Body::full("not you");
        Moment::ready(Ok(Step::Answer(answer)))
    }

    fn on_response(&self, _facts: &ExchangeFacts<'_>, head: &mut ResponseHead<'_>) {
        for cookie in ["a=1; HttpOnly", "b=2"] {
            let name = FieldName::from_static("Set-Cookie");
            head.headers_mut()
                .append(name, HeaderValue::from_static(cookie));
        }
        // None of these are a filter's to write.
        for name in ["Connection", "Sec-WebSocket-Extensions", "Upgrade"] {
            let name = FieldName::from_static(name);
            head.headers_mut().set(name, HeaderValue::from_static("x"));
        }
    }
}

#[tokio::test]
async fn filters_refuse_and_write_on_the_101() {
    let filters = "filters: [{ set_response_header: { X-Room: '{room}' } }]";
    let gateway = TestGateway::handling(&yaml("", filters, ""), |builder| {
        builder.handler("code", echo).filter("chat", Doorman)
    });
    for request in [Request::handshake("/chat/7"), Request::get("/chat/7")] {
        let refused = gateway.ask(&request).await;
        assert_eq!(
            (refused.status(), refused.text().as_str()),
            (403, "not you")
        );
        assert_eq!(refused.head.field("X-Room"), Some("7"));
    }
    let mut client = gateway.connect().await;
    let request = Request::handshake("/chat/7").with("Cookie", "who=me");
    client.request(&request).await;
    let head = client.read_head().await;
    assert_eq!(head.status(), 101, "{head:?}");
    let accept = accept_for(tidegate_tests::request::KEY);
    assert_eq!(head.field("Sec-WebSocket-Accept"), Some(&*accept));
    assert_eq!(head.field("Upgrade"), Some("websocket"));
    assert_eq!(head.field("Connection"), Some("Upgrade"));
    assert_eq!(head.field("X-Room"), Some("7"));
    assert_eq!(head.fields("Set-Cookie"), ["a=1; HttpOnly", "b=2"]);
    assert!(!head.has("Sec-WebSocket-Extensions"), "{head:?}");
    assert!(!head.has("Sec-WebSocket-Protocol"), "{head:?}");
    echoes(&mut client, "hello").await;
    client.close_session().await;
    gateway.is_empty().await;
}

#[tokio::test]
async fn a_plain_request_is_told_what_is_served_here() {
    let gateway = gateway(&yaml("", "", ""), echo);
    let mut client = gateway.connect().await;
    for method in ["GET", "POST", "OPTIONS"] {
        let answer = client.ask(&Request::new(method, "/chat/1")).await;
        answer.expect_problem(426);
        assert_eq!(answer.code(), "upgrade_required");
        assert_eq!(answer.head.field("Upgrade"), Some("websocket"));
        assert_eq!(answer.head.field("Sec-WebSocket-Version"), Some("13"));
    }
}

#[tokio::test]
async fn a_wrong_handshake_starts_no_handler() {
    let alive = Alive::default();
    let counted = alive.clone();
    let gateway = gateway(&yaml("", "", ""), move |session| {
        let living = counted.one();
        async move {
            let _living = living;
            echo(session).await
        }
    });
    let handshake = || Request::handshake("/chat/1");
    for (request, status) in [
        (handshake().set("Sec-WebSocket-Key", "short"), 400),
        (handshake().without("Sec-WebSocket-Key"), 400),
        (handshake().set("Sec-WebSocket-Version", "8"), 426),
        (handshake().with("Sec-WebSocket-Protocol", "a b"), 400),
        (handshake().with("Sec-WebSocket-Extensions", "a;;"), 400),
        (handshake().body("hello"), 400),
    ] {
        let answer = gateway.ask(&request).await;
        answer.expect_problem(status);
        assert_eq!(alive.count(), 0, "{request:?}");
    }
}

/// Speaks two subprotocols, and tells which it speaks.
struct Polyglot;

impl WebSocketHandler for Polyglot {
    async fn handle(&self, mut session: WebSocketSession) -> Result<(), BoxError> {
        let handshake = session.take_handshake().ok_or("nothing is known")?;
        let spoken = handshake
            .subprotocol
            .as_deref()
            .unwrap_or("none")
            .to_owned();
        session.send(spoken).await?;
        Ok(())
    }

    fn subprotocols(&self) -> Vec<&str> {
        vec!["v1.chat", "v2.chat"]
    }
}

#[tokio::test]
async fn the_first_offered_subprotocol_that_is_spoken_is_agreed() {
    let gateway = gateway(&yaml("", "", ""), Polyglot);
    for (offers, chosen) in [
        (&["v2.chat, v1.chat"][..], Some("v2.chat")),
        (&["x", "y,v1.chat", "v2.chat"], Some("v1.chat")),
        (&["V1.CHAT"], None),
        (&["x"], None),
        (&[], None),
    ] {
        let mut request = Request::handshake("/chat/1");
        for offer in offers {
            request = request.with("Sec-WebSocket-Protocol", offer);
        }
        let mut client = gateway.connect().await;
        client.request(&request).await;
        let head = client.read_head().await;
        assert_eq!(head.status(), 101);
        assert_eq!(head.field("Sec-WebSocket-Protocol"), chosen, "{offers:?}");
        let told = client.read_frame().await;
        assert_eq!(told, Frame::text(chosen.unwrap_or("none")));
    }
}

#[tokio::test]
async fn caps_and_rates_hold_and_are_given_back() {
    let route = "limits: { max_sessions: 2 }";
    let gateway = gateway(&yaml("", route, ""), echo);
    for _ in 0..3 {
        let (first, second) = (open(&gateway).await, open(&gateway).await);
        let answer = gateway.ask(&Request::handshake("/chat/1")).await;
        answer.expect_problem(503);
        assert_eq!(answer.code(), "route_full");
        assert!(answer.head.has("Retry-After"));
        drop(first);
        second.close_session().await;
        eventually("both are free again", || gateway.sessions() == 0).await;
        gateway.is_empty().await;
    }
    let rate = "limits: { handshakes_per_address: { rate: 1/m, burst: 1 } }";
    let gateway = super::gateway(&yaml(rate, "", ""), echo);
    let _client = open(&gateway).await;
    let answer = gateway.ask(&Request::handshake("/chat/1")).await;
    answer.expect_problem(429);
    assert_eq!(answer.code(), "too_many_handshakes");
}

/// A handler has nobody behind it that would look at `Origin`.
#[tokio::test]
async fn pages_of_another_origin_are_refused() {
    let gateway = gateway(&yaml("", "", ""), echo);
    let listed = gateway_of_app();
    for (gateway, origin, status) in [
        (&gateway, "https://evil.example", 403),
        (&gateway, "https://app.example", 403),
        (&gateway, "null", 403),
        (&listed, "https://app.example", 101),
        (&listed, "https://evil.example", 403),
    ] {
        let request = Request::handshake("/chat/1").with("Origin", origin);
        let mut client = gateway.connect().await;
        client.request(&request).await;
        assert_eq!(client.read_head().await.status(), status, "{origin}");
        let plain = Request::get("/chat/1").with("Origin", origin);
        let expected = if status == 101 { 426 } else { status };
        assert_eq!(gateway.ask(&plain).await.status(), expected, "{origin}");
    }
}

fn gateway_of_app() -> TestGateway {
    gateway(
        &yaml("", "cors: { origins: 'https://app.example' }", ""),
        echo,
    )
}
