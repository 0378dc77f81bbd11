//! What a configuration names must be registered: else nothing starts, and it is said which route that
//! is, and where it stands.

use tidegate::pipeline::{Filter, Moment, Step};
use tidegate_tests::{Request, TestGateway};

use super::{echo, gateway, yaml};

#[derive(Debug)]
struct Nothing;

impl Filter for Nothing {
    fn on_request<'a>(&'a self, _: &'a mut tidegate::exchange::Exchange) -> Moment<'a> {
        Moment::ready(Ok(Step::Continue))
    }
}

#[tokio::test]
async fn one_that_is_not_registered_keeps_the_gateway_from_starting() {
    let two = "routes:\n  - name: chat\n    match: { path: /chat }\n    handler: chat\n  \
        - { name: feed, match: { path: /feed }, handler: { name: fed } }\n";
    let refused = TestGateway::try_handling(two, |builder| builder.handler("feed", echo));
    let said = refused.unwrap_err();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "test.yaml:7:14: routes[0].handler: no handler is registered as `chat`, where the route \
             `chat` ends (one of: feed)",
            "test.yaml:8:60: routes[1].handler.name: no handler is registered as `fed`, where the \
             route `feed` ends (did you mean `feed`?)",
        ]
    );
    let refused = TestGateway::try_handling(two, |builder| builder);
    let said = refused.unwrap_err();
    assert!(
        said.contains("a program that embeds the gateway registers them"),
        "{said}"
    );
}

#[tokio::test]
async fn a_name_is_registered_once_and_filters_find_their_routes() {
    let one = yaml("", "", "");
    let twice =
        |builder: tidegate::GatewayBuilder| builder.handler("code", echo).handler("code", echo);
    let said = TestGateway::try_handling(&one, twice).unwrap_err();
    assert_eq!(said, "two handlers are registered as `code`");
    let astray = |builder: tidegate::GatewayBuilder| {
        builder.handler("code", echo).filter("nowhere", Nothing)
    };
    let said = TestGateway::try_handling(&one, astray).unwrap_err();
    assert_eq!(
        said,
        "a filter is for the route `nowhere`, which there is not"
    );
}

/// Which of them the operator uses is the operator's to say.
#[tokio::test]
async fn one_that_no_route_names_is_no_error() {
    let started = TestGateway::try_handling(&yaml("", "", ""), |builder| {
        builder.handler("code", echo).handler("other", echo)
    });
    started.unwrap();
}

#[tokio::test]
async fn the_admin_listener_tells_where_a_route_ends() {
    let gateway = gateway(&yaml("", "", ""), echo);
    let answer = gateway.admin().get("/v1/routes").await;
    let routes: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let route = &routes["routes"][0];
    assert_eq!(route["handler"], "code", "{route}");
    assert_eq!(route["service"], serde_json::Value::Null);
    let plain = gateway.ask(&Request::get("/chat/1")).await;
    plain.expect_problem(426);
}
