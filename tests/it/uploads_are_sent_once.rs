//! A body that went out once is not there for a second time: the request is not sent again, neither
//! whole nor without its body.

use tidegate_tests::wire::Framing;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire, eventually, within};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn puts() -> [Request; 3] {
    [
        Request::new("PUT", "/stored").body("hello"),
        Request::new("PUT", "/stored").chunks(&["hel", "lo"]),
        Request::new("DELETE", "/stored").body("hello"),
    ]
}

/// An upstream that answers GETs, and hangs up on whoever sends a body, as `fate` has it.
async fn hanging_up(fate: fn(Wire), reads: bool) -> ScriptedUpstream {
    ScriptedUpstream::serve(move |mut wire| async move {
        while let Ok(head) = wire.read_head_or_end().await {
            if head.method() != "GET" {
                if reads {
                    let (body, framing, _) = wire.read_body(&head).await.unwrap();
                    assert_ne!(
                        framing,
                        Framing::None,
                        "it was sent without its body: {head:?}"
                    );
                    assert_eq!(body, b"hello", "{head:?}");
                }
                return fate(wire);
            }
            wire.send(OK).await;
        }
    })
    .await
}

#[tokio::test]
async fn put_that_was_hung_up_on_is_not_stored_empty() {
    let fates: [fn(Wire); 2] = [drop, Wire::reset];
    for fate in fates {
        for reads in [true, false] {
            for pooled in [false, true] {
                for request in puts() {
                    let upstream = hanging_up(fate, reads).await;
                    let gateway = TestGateway::before(&upstream);
                    let mut client = gateway.connect().await;
                    if pooled {
                        client.ask(&Request::get("/")).await;
                        eventually("it is pooled", || gateway.upstream_idle() == 1).await;
                    }
                    drop(upstream.take_heads());
                    let answer = client.ask(&request).await;
                    answer.expect_problem(502);
                    let seen = upstream.take_heads();
                    assert_eq!(seen.len(), 1, "{request:?} was seen as {seen:?}");
                    assert_eq!(upstream.connections(), 1, "{request:?} was sent again");
                    // A request that can be repeated goes on as before.
                    assert_eq!(client.ask(&Request::get("/")).await.text(), "ok");
                }
            }
        }
    }
}

/// One connection of the pool that ends as it is used says nothing of the upstream; nor do two.
#[tokio::test]
async fn get_survives_two_stale_connections() {
    let fates: [fn(Wire); 2] = [drop, Wire::reset];
    for fate in fates {
        for ended_before in [true, false] {
            let mut upstream = ScriptedUpstream::bind().await;
            let gateway = TestGateway::before(&upstream);
            let (mut first, mut second) = (gateway.connect().await, gateway.connect().await);
            let mut peers = Vec::new();
            for client in [&mut first, &mut second] {
                client.request(&Request::get("/")).await;
                let mut peer = upstream.accept().await;
                peer.read_head().await;
                peers.push(peer);
            }
            for peer in &mut peers {
                peer.send(OK).await;
            }
            assert_eq!(first.read_answer().await.text(), "ok");
            assert_eq!(second.read_answer().await.text(), "ok");
            eventually("both are pooled", || gateway.upstream_idle() == 2).await;

            for mut peer in peers {
                if ended_before {
                    fate(peer);
                } else {
                    tokio::spawn(async move {
                        if peer.read_head_or_end().await.is_ok() {
                            fate(peer);
                        }
                    });
                }
            }
            first.request(&Request::get("/again")).await;
            let mut fresh = upstream.accept().await;
            assert_eq!(fresh.read_head().await.target(), "/again");
            fresh.send(OK).await;
            let answer = within("the answer", first.read_answer()).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
        }
    }
}
