//! A peer that says much, says goodbye and is gone has said it all the same: a slow reader gets
//! every byte and the close, even while its own words find nobody any more.

use std::time::Duration;

use tidegate_tests::frame::{BINARY, PING};
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, TestGateway, Wire, sockets};

/// It pings as often as it can, and is given time: a busy machine is slow to read.
const PINGS: &str = "websocket: { max_control_frames: none, close_timeout: 1m }";

/// Sends `words` from `from` and hangs up as soon as the kernel has passed them on, while `to` reads
/// no more of them than that takes; then `to` pings whoever is gone until the gateway knows. Returns
/// what `to` has read.
async fn say_and_leave(mut from: Wire, to: &mut Wire, words: &[u8], ping: &Frame) -> Vec<u8> {
    let (local, remote) = (from.local().port(), from.peer().port());
    let mut read = Vec::new();
    let all = words.to_vec();
    let sender = tokio::spawn(async move {
        from.send(&all).await;
        while !from.all_is_taken() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        from
    });
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    while !sender.is_finished() {
        let due = (words.len() - read.len()).min(16 * 1024);
        assert!(due > 0, "all was read before it was sent");
        read.extend(to.read_exact(due).await);
        pace.tick().await;
    }
    drop(sender.await.unwrap());
    // The first ping is answered by a reset, which ends the connection; the next cannot be written.
    let mut pings = 0;
    while sockets::is_open(remote, local) || pings < 10 {
        assert!(
            pings < 1000,
            "the connection of a peer that is gone lives on"
        );
        to.send_frame(ping).await;
        pings += 1;
        // Who takes nothing at all for 5 s is given up, and a busy machine is slow.
        if words.len() - read.len() > 64 * 1024 {
            read.extend(to.read_exact(512).await);
        }
        pace.tick().await;
    }
    read
}

#[tokio::test]
async fn upstreams_to_a_slow_client_that_pings() {
    for _ in 0..3 {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before_with(&upstream, "", PINGS);
        let mut client = Wire::connect_narrow(gateway.address()).await;
        client.request(&Request::handshake("/")).await;
        let mut peer = upstream.accept().await;
        peer.accept_handshake().await;
        assert_eq!(client.read_head().await.status(), 101);

        let close = Frame::close(1000, "all said");
        let words = [Frame::new(BINARY, vec![7; 3 << 20]).bytes(), close.bytes()].concat();
        let ping = Frame::new(PING, "there?").from_client();
        let read = say_and_leave(peer, &mut client, &words, &ping).await;
        assert!(words.starts_with(&read), "garbled");
        client.expect(&words[read.len()..]).await;
        client.send_frame(&close.from_client()).await;
        assert_eq!(client.expect_end().await, End::Fin);
        drop(client);
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn clients_to_a_slow_upstream_that_pings() {
    for _ in 0..3 {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before_with(&upstream, "", PINGS);
        let (client, mut peer) = gateway.open(&mut upstream).await;

        let close = Frame::close(1000, "all said").from_client();
        let message = Frame::new(BINARY, vec![7; 3 << 20]).from_client();
        let words = [message.bytes(), close.bytes()].concat();
        let ping = Frame::new(PING, "there?");
        let read = say_and_leave(client, &mut peer, &words, &ping).await;
        assert!(words.starts_with(&read), "garbled");
        peer.expect(&words[read.len()..]).await;
        peer.send_frame(&Frame::close(1000, "")).await;
        peer.finish().await;
        peer.expect_end().await;
        gateway.is_empty().await;
    }
}
