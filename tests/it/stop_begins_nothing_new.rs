//! Once a stop has begun no session begins: a handshake under way is told 503, or, where its 101
//! was out, Close 1001; and the stop does not wait for it.

use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::wire::switching;
use tidegate_tests::{Frame, Head, Request, ScriptedUpstream, TestGateway, Wire, eventually};

/// Far below the ten seconds that a stop may take.
const PROMPT: Duration = Duration::from_secs(4);

/// A handshake that the upstream has read and not yet answered.
async fn handshake_under_way(
    upstream: &mut ScriptedUpstream,
    gateway: &TestGateway,
) -> (Wire, Wire, Head) {
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    (client, peer, asked)
}

#[tokio::test]
async fn late_101_is_503_draining() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let address = gateway.address();
    let (mut client, mut peer, asked) = handshake_under_way(&mut upstream, &gateway).await;
    let begun = Instant::now();
    let stopping = tokio::spawn(gateway.stop());
    eventually("the stop has begun", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    peer.send(switching(&asked, &[])).await;
    let answer = client.read_answer().await;
    answer.expect_problem(503);
    assert!(answer.text().contains("\"draining\""), "{}", answer.text());
    assert!(begun.elapsed() < SLACK, "told after {:?}", begun.elapsed());
    // No frame of ours may stand on a connection whose 101 nobody will use.
    let (rest, _) = peer.read_to_end().await;
    assert!(rest.is_empty(), "{rest:?}");
    drop(client);
    stopping.await.unwrap();
    assert!(begun.elapsed() < PROMPT, "it took {:?}", begun.elapsed());
}

/// The 101 and the stop meet: whichever is first, nobody is left with an open session.
#[tokio::test]
async fn racing_101_is_503_or_1001() {
    for round in 0..20 {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let (mut client, mut peer, asked) = handshake_under_way(&mut upstream, &gateway).await;
        let begun = Instant::now();
        let answer = switching(&asked, &[]);
        let stopping = if round % 2 == 0 {
            let stopping = tokio::spawn(gateway.stop());
            tokio::task::yield_now().await;
            peer.send(answer).await;
            stopping
        } else {
            peer.send(answer).await;
            tokio::spawn(gateway.stop())
        };
        let head = client.read_head().await;
        if head.status() == 101 {
            let told = client.read_frame().await;
            assert_eq!(told.close_code(), Some(1001));
            client.send_frame(&told.from_client()).await;
            assert_eq!(peer.read_close().await, Some(1001));
            peer.send_frame(&Frame::close(1001, "")).await;
            peer.finish().await;
            client.expect_end().await;
        } else {
            assert_eq!(head.status(), 503, "{head:?}");
            client.read_body(&head).await.unwrap();
        }
        assert!(begun.elapsed() < SLACK, "told after {:?}", begun.elapsed());
        drop((client, peer));
        stopping.await.unwrap();
        assert!(begun.elapsed() < PROMPT, "it took {:?}", begun.elapsed());
    }
}
