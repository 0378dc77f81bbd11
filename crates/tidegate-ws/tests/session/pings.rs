//! Pings are answered each, and where they stand.

use std::sync::Arc;

use tidegate_ws::frame::OpCode;
use tidegate_ws::{HandshakeInfo, SessionConfig, run};
use tokio::io::{AsyncWriteExt as _, duplex};

use crate::kit::{Peer, echo, frame, part};

#[tokio::test]
async fn pings_that_come_at_once_are_answered_each_and_in_their_order() {
    let (near, far) = duplex(4096);
    let config = Arc::new(SessionConfig::default());
    let server = tokio::task::spawn(run(far, HandshakeInfo::default(), config, echo));
    let mut peer = Peer(near);

    let pings: Vec<u8> = (0..10)
        .flat_map(|number| frame(OpCode::Ping, &[number]))
        .collect();
    peer.0.write_all(&pings).await.unwrap();
    for number in 0..10 {
        assert_eq!(peer.next().await, Some((OpCode::Pong, vec![number])));
    }

    // One inside a message is answered in front of what is made of the message.
    let fragments = [
        part(OpCode::Text, false, b"a"),
        frame(OpCode::Ping, b"inside"),
        part(OpCode::Continuation, true, b"b"),
    ];
    peer.0.write_all(&fragments.concat()).await.unwrap();
    assert_eq!(peer.next().await, Some((OpCode::Pong, b"inside".to_vec())));
    assert_eq!(peer.next().await, Some((OpCode::Text, b"ab".to_vec())));
    drop(peer);
    server.await.unwrap();
}
