//! While nothing was promised, another endpoint may do what one could not: for handshakes and
//! idempotent requests; a POST goes on only where it cannot have been seen.

use tidegate_tests::sockets::FullListener;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire, eventually};

/// A gateway whose service has the endpoints BAD and then GOOD.
fn two(bad: &ScriptedUpstream, good: &ScriptedUpstream, keys: &str) -> TestGateway {
    let yaml = format!(
        "services: {{ up: {{ endpoints: [http://BAD, http://GOOD], balance: round_robin, {keys} }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
    );
    let addresses = [("BAD", bad.address()), ("GOOD", good.address())];
    TestGateway::start_among(&addresses, &yaml)
}

/// Each twice, so that both endpoints are the first choice once.
fn twice(requests: Vec<Request>) -> Vec<Request> {
    requests
        .into_iter()
        .flat_map(|request| [request.clone(), request])
        .collect()
}

fn idempotent() -> Vec<Request> {
    vec![
        Request::get("/"),
        Request::new("HEAD", "/"),
        Request::new("OPTIONS", "/"),
        Request::new("PUT", "/"),
        Request::new("DELETE", "/"),
    ]
}

async fn status(gateway: &TestGateway, request: &Request) -> u16 {
    let mut client = gateway.connect().await;
    client.request(request).await;
    client.read_head().await.status()
}

#[tokio::test]
async fn when_one_refuses_connections() {
    let bad = ScriptedUpstream::bind().await;
    bad.refuse().await;
    let good = ScriptedUpstream::mirror().await;
    let gateway = two(&bad, &good, "");
    for request in twice(idempotent()) {
        assert_eq!(status(&gateway, &request).await, 200, "{request:?}");
    }
    for request in twice(vec![Request::handshake("/")]) {
        assert_eq!(status(&gateway, &request).await, 101);
    }
    // Nothing of these was sent to anybody, so they may go on as well, their bodies untouched.
    let posts = vec![
        Request::new("POST", "/").body("hello"),
        Request::new("POST", "/").chunks(&["hello"]),
        Request::new("PATCH", "/").body("hello"),
    ];
    for request in twice(posts) {
        assert_eq!(status(&gateway, &request).await, 200, "{request:?}");
    }
}

#[tokio::test]
async fn when_one_does_not_accept_in_time() {
    let full = FullListener::bind();
    let good = ScriptedUpstream::mirror().await;
    let yaml = "services: { up: { endpoints: [http://BAD, http://GOOD], balance: round_robin, \
        connect_timeout: 200ms } }\n\
        routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
    let addresses = [("BAD", full.address()), ("GOOD", good.address())];
    let gateway = TestGateway::start_among(&addresses, yaml);
    for request in twice(vec![Request::get("/")]) {
        assert_eq!(status(&gateway, &request).await, 200);
    }
    for request in twice(vec![Request::handshake("/")]) {
        assert_eq!(status(&gateway, &request).await, 101);
    }
}

#[tokio::test]
async fn when_one_hangs_up_on_the_request() {
    let fates: [fn(Wire); 2] = [drop, Wire::reset];
    for fate in fates {
        let bad = ScriptedUpstream::serve(move |mut wire| async move {
            wire.read_head().await;
            fate(wire);
        })
        .await;
        let good = ScriptedUpstream::mirror().await;
        let gateway = two(&bad, &good, "");
        for request in twice(idempotent()) {
            assert_eq!(status(&gateway, &request).await, 200, "{request:?}");
        }
        for request in twice(vec![Request::handshake("/")]) {
            assert_eq!(status(&gateway, &request).await, 101);
        }
    }
}

/// The endpoint that fails is also the one without sessions: a policy must not choose it again.
#[tokio::test]
async fn whatever_the_policy() {
    let refusing = ScriptedUpstream::bind().await;
    refusing.refuse().await;
    let dropping = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
    })
    .await;
    for bad in [&refusing, &dropping] {
        for balance in ["least_sessions", "random", "round_robin"] {
            let good = ScriptedUpstream::mirror().await;
            let yaml = format!(
                "services: {{ up: {{ endpoints: [http://BAD, http://GOOD], balance: {balance} }} }}\n\
                 routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
            );
            let addresses = [("BAD", bad.address()), ("GOOD", good.address())];
            let gateway = TestGateway::start_among(&addresses, &yaml);
            let mut sessions = Vec::new();
            for number in 0..20 {
                let mut client = gateway.connect().await;
                client.request(&Request::handshake("/")).await;
                let answer = client.read_head().await;
                assert_eq!(answer.status(), 101, "{balance}, handshake {number}");
                sessions.push(client);
                let plain = status(&gateway, &Request::get("/")).await;
                assert_eq!(plain, 200, "{balance}, request {number}");
            }
        }
    }
}

/// The one that hangs up is met first, in the middle or last.
#[tokio::test]
async fn among_three_whatever_the_policy() {
    let bad = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
    })
    .await;
    for balance in ["least_sessions", "random", "round_robin"] {
        let good = ScriptedUpstream::mirror().await;
        let fine = ScriptedUpstream::mirror().await;
        for order in [
            "http://BAD, http://GOOD, http://FINE",
            "http://GOOD, http://BAD, http://FINE",
            "http://GOOD, http://FINE, http://BAD",
        ] {
            let yaml = format!(
                "services: {{ up: {{ endpoints: [{order}], balance: {balance} }} }}\n\
                 routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
            );
            let addresses = [
                ("BAD", bad.address()),
                ("GOOD", good.address()),
                ("FINE", fine.address()),
            ];
            let gateway = TestGateway::start_among(&addresses, &yaml);
            for number in 0..20 {
                let plain = status(&gateway, &Request::get("/")).await;
                assert_eq!(plain, 200, "{balance}, {order}, request {number}");
            }
        }
    }
    assert!(!bad.heads().is_empty(), "nobody met the bad one");
}

/// `SECURITY.md`, promise 3.
#[tokio::test]
async fn but_never_for_a_post_that_may_have_been_seen() {
    for keep_alive in [false, true] {
        let bad = ScriptedUpstream::serve(move |mut wire| async move {
            let head = wire.read_head().await;
            wire.read_body(&head).await.unwrap();
            if keep_alive && head.method() == "GET" {
                // The next request meets a connection of the pool.
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await;
                if let Ok(head) = wire.read_head_or_end().await {
                    wire.read_body(&head).await.unwrap();
                }
            }
        })
        .await;
        let good = ScriptedUpstream::mirror().await;
        let gateway = two(&bad, &good, "");
        if keep_alive {
            for _ in 0..2 {
                assert_eq!(status(&gateway, &Request::get("/")).await, 200);
            }
        }
        let posts = [
            Request::new("POST", "/").body("hello"),
            Request::new("PATCH", "/").body("hello"),
            Request::new("POST", "/").chunks(&["hello"]),
            Request::new("POST", "/").body(""),
            // Idempotent, but its body is gone.
            Request::new("PUT", "/").body("hello"),
            Request::new("PUT", "/").chunks(&["hello"]),
        ];
        for request in posts {
            drop((bad.take_heads(), good.take_heads()));
            let mut statuses = [
                status(&gateway, &request).await,
                status(&gateway, &request).await,
            ];
            statuses.sort_unstable();
            let seen = bad.take_heads().len() + good.take_heads().len();
            assert_eq!(seen, 2, "each was to be seen once: {request:?}");
            assert_eq!(statuses, [200, 502], "{request:?}");
        }
    }
}

/// An upstream that answers has decided, whatever it says.
#[tokio::test]
async fn but_not_after_an_answer() {
    let bad = ScriptedUpstream::answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
    let good = ScriptedUpstream::mirror().await;
    let gateway = two(&bad, &good, "");
    for request in [Request::get("/"), Request::handshake("/")] {
        let mut statuses = [
            status(&gateway, &request).await,
            status(&gateway, &request).await,
        ];
        statuses.sort_unstable();
        assert_eq!(statuses[1], 503, "{request:?}");
    }
    assert_eq!((bad.heads().len(), good.heads().len()), (2, 2));
}

#[tokio::test]
async fn all_of_them_failing_is_one_502() {
    let bad = ScriptedUpstream::bind().await;
    let worse = ScriptedUpstream::bind().await;
    bad.refuse().await;
    worse.refuse().await;
    let gateway = two(&bad, &worse, "");
    for request in [Request::get("/"), Request::handshake("/")] {
        gateway.ask(&request).await.expect_problem(502);
    }
    gateway.is_empty().await;
}

/// An idempotent request is repeated once, not until it works.
#[tokio::test]
async fn requests_are_not_multiplied() {
    let fickle = ScriptedUpstream::serve(|mut wire| async move {
        wire.read_head().await;
    })
    .await;
    let endpoints = ["http://UP"; 6].join(", ");
    let yaml = format!(
        "services: {{ up: {{ endpoints: [{endpoints}] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n"
    );
    // The endpoints differ by their paths alone.
    let mut distinct = String::new();
    for (number, part) in yaml.split("http://UP").enumerate() {
        distinct.push_str(part);
        if number < 6 {
            distinct.push_str(&format!("http://UP/{number}"));
        }
    }
    let gateway = TestGateway::start(&fickle, &distinct);
    gateway.ask(&Request::get("/")).await.expect_problem(502);
    let seen = fickle.take_heads().len();
    assert!(seen <= 2, "one GET was sent {seen} times");
}

/// A session that is open stays where it is, and its end is told, not repeated.
#[tokio::test]
async fn sessions_do_not_move() {
    let mut first = ScriptedUpstream::bind().await;
    let gateway = {
        let yaml = "services: { up: { endpoints: [http://UP/a, http://UP/b] } }\n\
            routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n";
        TestGateway::start(&first, yaml)
    };
    let (mut client, peer) = gateway.open(&mut first).await;
    drop(peer);
    assert_eq!(client.read_close().await, Some(1011));
    drop(client);
    gateway.is_empty().await;
    eventually("one handshake was made", || first.connections() == 1).await;
}
