//! Host, method, headers and the wish for a WebSocket decide the route beside the path.

use tidegate_tests::{Answer, Request, ScriptedUpstream, TestGateway};

struct Case {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
}

impl Case {
    /// Routes by name, service and the rest of `match`, tried in this order for `/x`.
    async fn routes(routes: &[(&str, &str)]) -> Self {
        let upstream = ScriptedUpstream::mirror().await;
        let lines: String = routes
            .iter()
            .enumerate()
            .map(|(number, (service, conditions))| {
                format!(
                    "  - {{ name: r{number}, match: {{ path: /x/**, {conditions} }}, \
                     proxy: {{ service: {service} }} }}\n"
                )
            })
            .collect();
        let gateway = TestGateway::routing(&upstream, &lines);
        Self { upstream, gateway }
    }

    async fn ask(&self, request: &Request) -> Answer {
        self.gateway.ask(request).await
    }

    /// The service to which `request` goes, or the status with which it is refused.
    async fn goes_to(&self, request: &Request) -> String {
        drop(self.upstream.take_heads());
        let mut client = self.gateway.connect().await;
        client.request(request).await;
        let answer = client.read_head().await;
        match self.upstream.heads().first() {
            Some(seen) => seen.target()[1..2].to_owned(),
            None => answer.status().to_string(),
        }
    }
}

fn get() -> Request {
    Request::get("/x/y")
}

fn handshake() -> Request {
    Request::handshake("/x/y")
}

#[tokio::test]
async fn host() {
    let case = Case::routes(&[
        ("a", "host: api.example"),
        ("b", "host: '*.example'"),
        ("c", "host: 'port.test:8443'"),
        ("d", "host: [one.test, two.test]"),
    ])
    .await;
    for (host, service) in [
        ("api.example", "a"),
        ("API.Example", "a"),
        ("api.example:8080", "a"),
        ("www.example", "b"),
        ("www.example:80", "b"),
        ("example", "404"),
        ("notexample", "404"),
        ("api.example.evil", "404"),
        ("port.test:8443", "c"),
        ("port.test", "404"),
        ("port.test:8444", "404"),
        ("one.test", "d"),
        ("two.test:1", "d"),
        ("three.test", "404"),
        ("127.0.0.1", "404"),
    ] {
        for request in [get(), handshake()] {
            assert_eq!(case.goes_to(&request.host(host)).await, service, "{host}");
        }
    }
    let absolute = Request::get("http://api.example/x/y").host("www.example");
    assert_eq!(case.goes_to(&absolute).await, "a");
    // RFC 9110 section 4.2.3: the dot of the root changes nothing, or is another name; it is not
    // to be taken for a host below.
    let dotted = case.goes_to(&get().host("example.")).await;
    assert!(matches!(dotted.as_str(), "404" | "400"), "{dotted}");
}

#[tokio::test]
async fn ipv6_host() {
    let case = Case::routes(&[("a", "host: '[::1]'"), ("b", "host: '[::2]:8080'")]).await;
    assert_eq!(case.goes_to(&get().host("[::1]")).await, "a");
    assert_eq!(case.goes_to(&get().host("[::1]:9")).await, "a");
    assert_eq!(case.goes_to(&get().host("[::2]:8080")).await, "b");
    assert_eq!(case.goes_to(&get().host("[::2]")).await, "404");
}

#[tokio::test]
async fn method() {
    let case = Case::routes(&[("a", "methods: [GET]"), ("b", "methods: [POST, PURGE]")]).await;
    for (method, service) in [("GET", "a"), ("POST", "b"), ("PURGE", "b")] {
        assert_eq!(case.goes_to(&Request::new(method, "/x/y")).await, service);
    }
    for method in ["PUT", "DELETE", "OPTIONS", "get"] {
        let answer = case.ask(&Request::new(method, "/x/y")).await;
        answer.expect_problem(405);
        let mut allowed = answer.head.tokens("Allow");
        allowed.sort();
        allowed.retain(|name| name != "head");
        assert_eq!(allowed, ["get", "post", "purge"], "{:?}", answer.head);
    }
    // Another path is no question of the method.
    case.ask(&Request::new("PUT", "/elsewhere"))
        .await
        .expect_problem(404);
}

#[tokio::test]
async fn header() {
    let case = Case::routes(&[
        ("a", "headers: { X-A: one }"),
        ("b", "headers: { X-A: { regex: '^v[0-9]+$' } }"),
        ("c", "headers: { X-B: { present: true }, X-C: yes }"),
        ("d", "headers: { x-lower: '1' }"),
    ])
    .await;
    for (lines, service) in [
        (&[("X-A", "one")][..], "a"),
        (&[("x-a", "one")], "a"),
        (&[("X-A", "One")], "404"),
        (&[("X-A", "ones")], "404"),
        (&[("X-A", "v12")], "b"),
        (&[("X-A", "v12x")], "404"),
        (&[("X-A", "xv12")], "404"),
        (&[("X-B", "")], "404"),
        (&[("X-B", "anything"), ("X-C", "yes")], "c"),
        (&[("X-B", ""), ("X-C", "yes")], "c"),
        (&[("X-C", "yes")], "404"),
        (&[("X-Lower", "1")], "d"),
        (&[], "404"),
    ] {
        for request in [get(), handshake()] {
            let request = lines
                .iter()
                .fold(request, |request, (name, value)| request.with(name, value));
            assert_eq!(case.goes_to(&request).await, service, "{lines:?}");
        }
    }
}

#[tokio::test]
async fn plain_request_on_a_websocket_route_is_426() {
    let case = Case::routes(&[("a", "upgrade: websocket")]).await;
    assert_eq!(case.goes_to(&handshake()).await, "a");
    for request in [
        get(),
        handshake().version("HTTP/1.0"),
        handshake().without("Connection"),
        handshake().set("Upgrade", "h2c"),
        get().with("Upgrade", "h2c").with("Connection", "Upgrade"),
    ] {
        let answer = case.ask(&request).await;
        answer.expect_problem(426);
        assert_eq!(
            answer.head.tokens("Upgrade"),
            ["websocket"],
            "{:?}",
            answer.head
        );
        assert!(
            answer
                .head
                .tokens("Connection")
                .contains(&"upgrade".to_owned())
        );
        assert_eq!(answer.head.field("Sec-WebSocket-Version"), Some("13"));
    }
    case.ask(&Request::get("/elsewhere"))
        .await
        .expect_problem(404);
}

/// SockJS and its like.
#[tokio::test]
async fn one_route_serves_both() {
    let case = Case::routes(&[("a", "methods: [GET]")]).await;
    for request in [get(), handshake(), get(), handshake()] {
        assert_eq!(case.goes_to(&request).await, "a");
    }
    case.gateway.is_empty().await;
    let mut client = case.gateway.connect().await;
    client.ask(&get()).await.seen();
    client.upgrade("/x/y").await;
}

#[tokio::test]
async fn one_path_serves_both_by_two_routes() {
    let case = Case::routes(&[("a", "upgrade: websocket"), ("b", "methods: [GET, POST]")]).await;
    assert_eq!(case.goes_to(&handshake()).await, "a");
    assert_eq!(case.goes_to(&get()).await, "b");
    assert_eq!(case.goes_to(&Request::new("POST", "/x/y")).await, "b");
    assert_eq!(case.goes_to(&handshake().version("HTTP/1.0")).await, "b");

    // The other way round, where the plain route cannot take the handshake.
    let case = Case::routes(&[("b", "methods: [POST]"), ("a", "upgrade: websocket")]).await;
    assert_eq!(case.goes_to(&handshake()).await, "a");
    assert_eq!(case.goes_to(&Request::new("POST", "/x/y")).await, "b");
    // The plain route says 405, the WebSocket's 426: either helps.
    let other = case.goes_to(&get()).await;
    assert!(other == "405" || other == "426", "{other}");
}

#[tokio::test]
async fn ws_in_the_path_makes_no_websocket() {
    let upstream = ScriptedUpstream::mirror().await;
    let routes = "  - { name: ws, match: { path: /ws/**, upgrade: websocket }, proxy: { service: a } }\n  \
        - { name: http, match: { path: /** }, proxy: { service: b } }\n";
    let gateway = TestGateway::routing(&upstream, routes);
    for target in ["/ws/info", "/ws/", "/api/ws/info", "/websocket"] {
        let seen = gateway.ask(&Request::get(target)).await.seen();
        assert_eq!(seen.target(), format!("/b{target}"));
    }
    gateway.connect().await.upgrade("/ws/info").await;
    assert_eq!(upstream.heads().last().unwrap().target(), "/a/ws/info");
}

#[tokio::test]
async fn all_conditions_must_hold() {
    let case = Case::routes(&[
        (
            "a",
            "host: api.example, methods: [GET], headers: { X-A: '1' }, upgrade: websocket",
        ),
        (
            "b",
            "host: api.example, methods: [GET], headers: { X-A: '1' }",
        ),
        ("c", "host: api.example"),
    ])
    .await;
    let api = |request: Request| request.host("api.example");
    assert_eq!(case.goes_to(&api(handshake()).with("X-A", "1")).await, "a");
    assert_eq!(case.goes_to(&api(get()).with("X-A", "1")).await, "b");
    assert_eq!(case.goes_to(&api(get()).with("X-A", "2")).await, "c");
    assert_eq!(case.goes_to(&api(handshake())).await, "c");
    assert_eq!(case.goes_to(&get().with("X-A", "1")).await, "404");
}
