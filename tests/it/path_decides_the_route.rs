//! The first route whose path matches gets the request; what was matched is what is forwarded.

use tidegate_tests::{Request, ScriptedUpstream, TestGateway};

/// Asks for each target; the upstream must see the other, or the client the status.
async fn routed(routes: &str, cases: &[(&str, &str)]) {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::routing(&upstream, routes);
    let mut client = gateway.connect().await;
    for (target, expected) in cases {
        let answer = client.ask(&Request::get(target)).await;
        if *expected == "404" {
            answer.expect_problem(404);
        } else {
            assert_eq!(answer.seen().target(), *expected, "for {target}");
        }
    }
    // The same for handshakes.
    for (target, expected) in cases {
        drop(upstream.take_heads());
        let mut client = gateway.connect().await;
        client.request(&Request::handshake(target)).await;
        let answer = client.read_head().await;
        if *expected == "404" {
            assert_eq!(answer.status(), 404, "for {target}");
        } else {
            assert_eq!(answer.status(), 101, "for {target}");
            assert_eq!(upstream.only_head().await.target(), *expected);
        }
    }
}

#[tokio::test]
async fn literal() {
    let routes = "  - { name: one, match: { path: /one }, proxy: { service: a } }\n  \
        - { name: deep, match: { path: /one/two }, proxy: { service: b } }\n  \
        - { name: root, match: { path: / }, proxy: { service: c } }\n";
    let cases = [
        ("/one", "/a/one"),
        ("/one?x=1", "/a/one?x=1"),
        ("/one/two", "/b/one/two"),
        ("/", "/c/"),
        ("/ONE", "404"),
        ("/one/", "404"),
        ("/one/two/three", "404"),
        ("/on", "404"),
        ("/onetwo", "404"),
    ];
    routed(routes, &cases).await;
}

#[tokio::test]
async fn captured_segment() {
    let routes = "  - { name: a, match: { path: '/a/{id}/b' }, proxy: { service: a } }\n  \
        - { name: b, match: { path: '/b/{id:[0-9]+}' }, proxy: { service: b } }\n  \
        - { name: c, match: { path: '/b/{id}' }, proxy: { service: c } }\n";
    let cases = [
        ("/a/1/b", "/a/a/1/b"),
        ("/a/x%20y/b", "/a/a/x%20y/b"),
        ("/a/x%2Fy/b", "/a/a/x%2Fy/b"), // an encoded slash is no separator
        ("/a//b", "404"),
        ("/a/1/2/b", "404"),
        ("/a/b", "404"),
        ("/b/123", "/b/b/123"),
        ("/b/123x", "/c/b/123x"),
        ("/b/x123", "/c/b/x123"),
        ("/b/12/3", "404"),
    ];
    routed(routes, &cases).await;
}

#[tokio::test]
async fn everything_below() {
    let routes = "  - { name: a, match: { path: /a/** }, proxy: { service: a } }\n  \
        - { name: b, match: { path: '/b/{*rest}' }, proxy: { service: b } }\n  \
        - { name: c, match: { path: '/c/{id}/**' }, proxy: { service: c } }\n";
    let cases = [
        ("/a/1", "/a/a/1"),
        ("/a/1/2/3?q", "/a/a/1/2/3?q"),
        ("/a/", "/a/a/"),
        ("/ab", "404"),
        ("/b/1/2", "/b/b/1/2"),
        ("/bb/1", "404"),
        ("/c/1/2", "/c/c/1/2"),
        ("/c/1/2/3/", "/c/c/1/2/3/"),
        ("/", "404"),
    ];
    routed(routes, &cases).await;
}

#[tokio::test]
async fn first_in_the_list_wins() {
    let routes = "  - { name: a, match: { path: /x/y }, proxy: { service: a } }\n  \
        - { name: b, match: { path: /x/** }, proxy: { service: b } }\n  \
        - { name: c, match: { path: '/{any}/y' }, proxy: { service: c } }\n  \
        - { name: d, match: { path: /** }, proxy: { service: d } }\n";
    let cases = [
        ("/x/y", "/a/x/y"),
        ("/x/z", "/b/x/z"),
        ("/z/y", "/c/z/y"),
        ("/z/z", "/d/z/z"),
        ("/", "/d/"),
    ];
    routed(routes, &cases).await;
    // Not the most specific.
    let routes = "  - { name: d, match: { path: /** }, proxy: { service: d } }\n  \
        - { name: a, match: { path: /x/y }, proxy: { service: a } }\n";
    routed(routes, &[("/x/y", "/d/x/y")]).await;
}

#[tokio::test]
async fn one_of_several_paths() {
    let routes =
        "  - { name: a, match: { path: [/one, '/two/{id}', /three/**] }, proxy: { service: a } }\n";
    let cases = [
        ("/one", "/a/one"),
        ("/two/2", "/a/two/2"),
        ("/three/3/3", "/a/three/3/3"),
        ("/four", "404"),
    ];
    routed(routes, &cases).await;
}

/// What is routed is what is forwarded: an upstream that decodes once more finds nothing new.
#[tokio::test]
async fn normalised_path_is_routed_and_forwarded() {
    let routes = "  - { name: admin, match: { path: /admin/** }, proxy: { service: a } }\n  \
        - { name: rest, match: { path: /** }, proxy: { service: b } }\n";
    let cases = [
        ("/admin/x", "/a/admin/x"),
        ("/%61dmin/x", "/a/admin/x"),
        ("/%61%64%6D%69%6e/x", "/a/admin/x"),
        ("/./admin/x", "/a/admin/x"),
        ("/x/../admin/x", "/a/admin/x"),
        ("/x/y/../../admin/./x", "/a/admin/x"),
        ("/admin/../x", "/b/x"),
        ("/admin/../admin/x", "/a/admin/x"),
        ("/admin/a/..", "/a/admin/"),
        ("/admin%2Fx", "/b/admin%2Fx"),
        ("/admin%2fx", "/b/admin%2fx"),
        ("/x?/../admin", "/b/x?/../admin"),
        ("/.hidden/..x/...", "/b/.hidden/..x/..."),
        ("/Admin/x", "/b/Admin/x"),
    ];
    routed(routes, &cases).await;
}

#[tokio::test]
async fn doubled_slashes_are_read_alike_by_both() {
    let upstream = ScriptedUpstream::mirror().await;
    let routes = "  - { name: admin, match: { path: /admin/** }, proxy: { service: a } }\n  \
        - { name: rest, match: { path: /** }, proxy: { service: b } }\n";
    let gateway = TestGateway::routing(&upstream, routes);
    for target in [
        "//admin/x",
        "/admin//x",
        "///admin",
        "//x.example/admin",
        "/x//../admin/x",
    ] {
        let answer = gateway.ask(&Request::get(target)).await;
        let seen = answer.seen().target().to_owned();
        let (service, path) = seen.split_at(2);
        let is_admin = path == "/admin" || path.starts_with("/admin/");
        assert_eq!(service == "/a", is_admin, "{target} became {seen}");
    }
}

#[tokio::test]
async fn tricks_are_400_and_the_upstream_hears_nothing() {
    let tricks = [
        "/..",
        "/../",
        "/../admin",
        "/a/../../admin",
        "/a/%2e%2e/admin",
        "/a/%2E%2E/admin",
        "/a/.%2e/admin",
        "/a/%2e./admin",
        "/%2e%2e",
        "/a%00b",
        "/%00",
        "/a\\b",
        "/a\\..\\admin",
        "/..\\admin",
        "/a\u{1}b",
        "/a\u{7f}b",
        "/a%0d%0aX-A:1",
        "/a%0a",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a#b",
    ];
    for trick in tricks {
        let upstream = ScriptedUpstream::mirror().await;
        let gateway = TestGateway::before(&upstream);
        for request in [Request::get(trick), Request::handshake(trick)] {
            let answer = gateway.ask(&request).await;
            assert_eq!(answer.status(), 400, "{trick:?}: {:?}", answer.head);
            answer.expect_problem(400);
        }
        upstream.was_left_alone().await;
    }
}

#[tokio::test]
async fn no_route_is_a_404_that_tells_nothing() {
    let upstream = ScriptedUpstream::mirror().await;
    let routes = "  - { name: secret-route, match: { path: /a }, proxy: { service: a } }\n";
    let gateway = TestGateway::routing(&upstream, routes);
    let mut client = gateway.connect().await;
    for request in [
        Request::get("/nowhere"),
        Request::new("POST", "/nowhere").body("hello"),
        Request::handshake("/nowhere"),
        Request::new("OPTIONS", "/nowhere"),
    ] {
        let answer = client.ask(&request).await;
        answer.expect_problem(404);
        assert!(!answer.text().contains("secret-route"), "{}", answer.text());
    }
    client.ask(&Request::get("/a")).await.seen(); // the connection lives on
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn endpoints_path_stands_before_the_requests() {
    let upstream = ScriptedUpstream::mirror().await;
    for (endpoint, target, expected) in [
        ("http://UP/base", "/x?q", "/base/x?q"),
        ("http://UP/base/", "/x", "/base/x"),
        ("http://UP/a/b", "/", "/a/b/"),
        ("http://UP/", "/x", "/x"),
        ("ws://UP/base", "/x", "/base/x"),
    ] {
        let yaml = format!(
            "services: {{ up: {{ endpoints: ['{endpoint}'] }} }}\n\
             routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
        );
        let gateway = TestGateway::start(&upstream, &yaml);
        for request in [Request::get(target), Request::handshake(target)] {
            drop(upstream.take_heads());
            let mut client = gateway.connect().await;
            client.request(&request).await;
            client.read_head().await;
            assert_eq!(upstream.only_head().await.target(), expected, "{endpoint}");
        }
    }
}
