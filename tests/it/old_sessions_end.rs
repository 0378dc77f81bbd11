//! A session may become so old and no older, however busy it is; those that were opened together
//! do not all end together.

use std::time::{Duration, Instant};

use tidegate_tests::time::SLACK;
use tidegate_tests::{Frame, ScriptedUpstream, TestGateway};

#[tokio::test]
async fn busy_session_ends_at_its_age_with_1001_to_both() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "websocket: { max_age: 2s, keep_alive: none }";
    let gateway = TestGateway::before_with(&upstream, "", keys);
    let begun = Instant::now();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let told = loop {
        ticks.tick().await;
        let said = Frame::text("busy");
        if peer.try_send(said.bytes()).await.is_err() {
            panic!("lost after {:?}", begun.elapsed());
        }
        let frame = client.read_frame().await;
        if frame != said {
            break frame;
        }
    };
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1800), "after {took:?}");
    assert!(took < Duration::from_secs(3) + SLACK, "after {took:?}");
    assert_eq!(told.close_code(), Some(1001));
    assert_eq!(told.payload[2..], *b"max_age;after=2s");
    let told = peer.read_frame().await;
    assert_eq!(told.close_code(), Some(1001));
    assert_eq!(told.payload[2..], *b"max_age;after=2s");
    client
        .send_frame(&Frame::close(1001, "").from_client())
        .await;
    drop((client, peer));
    gateway.is_empty().await;
}

#[tokio::test]
async fn ages_are_spread() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "websocket: { max_age: 20s, keep_alive: none }";
    let gateway = TestGateway::before_with(&upstream, "", keys);
    let begun = Instant::now();
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (client, mut peer) = gateway.open(&mut upstream).await;
        let mut client = client.patient(Duration::from_secs(40));
        sessions.spawn(async move {
            assert_eq!(client.read_close().await, Some(1001));
            let took = begun.elapsed();
            assert_eq!(peer.read_close().await, Some(1001));
            took
        });
    }
    let mut ages = sessions.join_all().await;
    ages.sort();
    let (first, last) = (ages[0], ages[ages.len() - 1]);
    assert!(
        first >= Duration::from_secs(18),
        "the first after {first:?}"
    );
    // Counted from before the first of forty handshakes.
    let latest = Duration::from_secs(20 + 1) + SLACK * 3;
    assert!(last < latest, "the last after {last:?}");
    let spread = last - first;
    assert!(spread > Duration::from_millis(900), "all within {spread:?}");
}

/// Without the key a session has no age; `idle_timeout: none` leaves it no silence either.
#[tokio::test]
async fn none_is_none() {
    let mut upstream = ScriptedUpstream::bind().await;
    let keys = "websocket: { max_age: none, idle_timeout: none, keep_alive: none }";
    let gateway = TestGateway::before_with(&upstream, "", keys);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let quiet = tokio::time::timeout(Duration::from_secs(3), client.something_came()).await;
    assert!(quiet.is_err(), "something came");
    let up = Frame::text("still here").from_client().bytes();
    client.send(&up).await;
    peer.expect(&up).await;
}
