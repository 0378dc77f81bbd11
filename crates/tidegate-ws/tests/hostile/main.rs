//! Peers that mean harm, over real sockets: what they are told, and how much memory they get.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and spawns plain tasks"
)]

mod heap;
mod kit;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tidegate_ws::codec::Role;
use tidegate_ws::deflate::{Agreed, Compressor, Config, Outcome};
use tidegate_ws::frame::OpCode;
use tidegate_ws::session::{Cause, Initiator};
use tidegate_ws::{BoxError, Limits, Opening, SessionConfig, WebSocketSession, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::timeout;

use self::heap::Heap;
use self::kit::{Attack, Frame, Handler};

/// What a session may hold of a message of 1 MiB: a buffer grows by doubling, and is moved.
const MESSAGE: usize = 3 << 20;
/// The buffers that the sessions of a thread share: one to read, one to write.
const SHARED: usize = (32 << 10) + (16 << 10);
/// The session itself, its task, its connection's, and what the case does meanwhile.
const REST: usize = 48 << 10;
/// An engine that inflates, with its window.
const ENGINE: usize = 64 << 10;

/// What a session holds that has begun a small part of a message, with its task and its peer.
const EACH: usize = 6 << 10;
/// The most parts of a message.
const MAX_PARTS: usize = 16 << 10;
/// A message that fills sockets soon.
const LARGE: usize = 64 << 10;

const EACH_ALONE: Agreed = Agreed {
    own_takeover: false,
    own_bits: 15,
    peer_takeover: false,
    peer_bits: 15,
};

/// 16 MiB of zeros, compressed as a client would.
fn bomb() -> Vec<u8> {
    let mut config = Config::default();
    config.threshold = 0;
    let mut compressor = Compressor::new(&EACH_ALONE, &config);
    let mut compressed = BytesMut::new();
    let outcome = compressor.compress(&vec![0; 16 << 20], &mut compressed);
    assert_eq!(outcome, Outcome::Compressed);
    compressed.to_vec()
}

#[test]
fn a_compression_bomb_is_1009_and_never_unfolds() {
    let mut heap = Heap::alone();
    let bomb = bomb();
    assert!(bomb.len() < 1 << 15, "{} bytes", bomb.len());
    let (front, back) = bomb.split_at(bomb.len() / 2);
    let whole = Frame::new(OpCode::Binary, &bomb).compressed();
    let parts = [
        Frame::new(OpCode::Text, front).compressed().open(),
        Frame::new(OpCode::Continuation, back),
    ];
    let mut tiny: Vec<Frame<'_>> = bomb
        .chunks(7)
        .map(|part| Frame::new(OpCode::Continuation, part).open())
        .collect();
    tiny[0] = Frame::new(OpCode::Binary, &bomb[..7]).compressed().open();
    for frames in [&[whole][..], &parts, &tiny] {
        let wire = Frame::all(frames);
        heap.mark();
        let mut attack = Attack::on(Handler::Echo);
        attack.agreed = Some(EACH_ALONE);
        let (ending, close) = attack.run(async |mut peer| {
            // It may be over before all of it is taken.
            let _ = peer.io.write_all(&wire).await;
            peer.closes().await
        });
        assert_eq!((ending.code, close), (1009, Some(1009)));
        heap.was_at_most(MESSAGE + ENGINE + SHARED + REST);
    }
}

/// A message of text in so many parts.
fn parts(count: usize, part: &[u8]) -> Vec<u8> {
    let mut frames = vec![Frame::new(OpCode::Continuation, part).open(); count];
    frames[0] = Frame::new(OpCode::Text, part).open();
    frames[count - 1] = Frame::new(OpCode::Continuation, part);
    Frame::all(&frames)
}

/// Small parts cost what they bring, and not something each.
#[test]
fn as_many_parts_as_may_be_are_one_message() {
    let mut heap = Heap::alone();
    let wire = parts(MAX_PARTS, b"x");
    let close = Frame::new(OpCode::Close, &[3, 232]).bytes();
    heap.mark();
    let (ending, echoed) = Attack::on(Handler::Echo).run(async |mut peer| {
        peer.io.write_all(&wire).await.unwrap();
        let (opcode, payload) = peer.next().await.unwrap();
        peer.io.write_all(&close).await.unwrap();
        (opcode, payload.len(), peer.closes().await)
    });
    assert_eq!(echoed, (OpCode::Text, MAX_PARTS, Some(1000)));
    assert_eq!((ending.code, ending.initiator), (1000, Initiator::Peer));
    heap.was_at_most(4 * MAX_PARTS + SHARED + REST);
}

#[test]
fn a_fragment_bomb_is_1009() {
    let mut heap = Heap::alone();
    for part in [&b""[..], b"x"] {
        let wire = parts(MAX_PARTS + 1, part);
        heap.mark();
        let (ending, close) = Attack::on(Handler::Echo).run(async |mut peer| {
            let _ = peer.io.write_all(&wire).await;
            peer.closes().await
        });
        assert_eq!((ending.code, close), (1009, Some(1009)));
        heap.was_at_most(2 * MAX_PARTS + SHARED + REST);
    }
}

#[test]
fn lengths_that_are_too_much_get_no_memory() {
    let mut heap = Heap::alone();
    for length in [(1 << 20) + 1, 1 << 40, u64::MAX >> 1] {
        let header = Frame::new(OpCode::Binary, b"").header(length);
        heap.mark();
        let (ending, close) = Attack::on(Handler::Echo).run(async |mut peer| {
            peer.io.write_all(&header).await.unwrap();
            peer.closes().await
        });
        assert_eq!((ending.code, close), (1009, Some(1009)));
        heap.was_at_most(SHARED + REST);
    }
}

/// Each declares the most that it may, and sends a little of it.
#[test]
fn promises_get_no_memory() {
    const SESSIONS: usize = 100;
    let mut heap = Heap::alone();
    let ping = Frame::new(OpCode::Ping, b"?").bytes();
    let header = Frame::new(OpCode::Binary, b"").header(1 << 20);
    let begun = [&ping[..], &header, &[0; 1000]].concat();
    heap.mark();
    kit::runtime().block_on(async {
        let mut open = Vec::with_capacity(SESSIONS);
        for _ in 0..SESSIONS {
            let (mut peer, running) = Attack::on(Handler::Echo).begin().await;
            peer.io.write_all(&begun).await.unwrap();
            let pong = timeout(kit::DEADLINE, peer.next()).await.unwrap();
            assert_eq!(pong.unwrap(), (OpCode::Pong, b"?".to_vec()));
            open.push((peer, running));
        }
        heap.is_at_most(SESSIONS * EACH + SHARED + REST);
    });
}

#[test]
fn a_flood_of_pings_is_1008_and_holds_one_pong() {
    let mut heap = Heap::alone();
    let wire = Frame::new(OpCode::Ping, &[7; 125]).bytes().repeat(10_000);
    for handler in [Handler::Echo, Handler::Silent] {
        heap.mark();
        let (ending, close) = Attack::on(handler).run(async |mut peer| {
            // Nothing is read before all is said, or cannot be.
            let _ = peer.io.write_all(&wire).await;
            peer.closes().await
        });
        assert_eq!((ending.code, close), (1008, Some(1008)));
        heap.was_at_most(SHARED + REST);
    }
}

#[test]
fn who_reads_nothing_is_not_read_and_let_go() {
    let mut heap = Heap::alone();
    let message = Frame::new(OpCode::Binary, &[7; LARGE]).bytes();
    let mut attack = Attack::on(Handler::Echo);
    attack.config.write_timeout = Duration::from_secs(1);
    let outbox = attack.config.outbox;
    heap.mark();
    let (ending, sent) = attack.run(async |mut peer| {
        let mut sent = 0;
        while sent < 4096 && peer.io.write_all(&message).await.is_ok() {
            sent += 1;
        }
        sent
    });
    assert_eq!((ending.code, ending.cause), (1013, Cause::WriteStall));
    assert!(sent < 4096, "256 MiB were taken from it");
    // The outbox takes one message while it has room, and grows by doubling; one waits with the
    // handler.
    heap.was_at_most(3 * (outbox + LARGE) + LARGE + SHARED + REST);
}

/// It always takes some of what waits, and never all.
#[test]
fn who_reads_slowly_and_steadily_costs_no_more_than_the_outbox() {
    const PIECE: usize = 16 << 10;
    let mut heap = Heap::alone();
    for role in [Role::Server, Role::Client] {
        let config = SessionConfig::default();
        let outbox = config.outbox;
        heap.mark();
        kit::runtime().block_on(async {
            let (mut near, far) = duplex(64 << 10);
            let handle = async |session: WebSocketSession| {
                let sender = session.sender();
                while sender.send(vec![7; 1000]).await.is_ok() {}
                Ok::<(), BoxError>(())
            };
            let running = tokio::spawn(run(far, Opening::new(role), Arc::new(config), handle));
            let mut piece = vec![0; PIECE];
            for _ in 0..(16 << 20) / PIECE {
                let read = near.read_exact(&mut piece);
                timeout(kit::DEADLINE, read).await.unwrap().unwrap();
            }
            drop(near);
            timeout(kit::DEADLINE, running).await.unwrap().unwrap();
        });
        // As much as waits may be written already; a buffer grows by doubling, and is moved.
        heap.was_at_most(6 * outbox + 2 * (64 << 10) + SHARED + REST);
    }
}

#[test]
fn who_is_not_heard_is_not_read() {
    let mut heap = Heap::alone();
    let message = Frame::new(OpCode::Binary, &[7; LARGE]).bytes();
    heap.mark();
    kit::runtime().block_on(async {
        let (mut peer, running) = Attack::on(Handler::Silent).begin().await;
        let mut sent = 0;
        // Until its socket is full, and stays so.
        while let Ok(written) = timeout(Duration::from_secs(1), peer.io.write_all(&message)).await {
            written.unwrap();
            sent += 1;
            assert!(sent < 4096, "256 MiB were taken from it");
        }
        assert!(!running.is_finished());
    });
    heap.was_at_most(3 * LARGE + SHARED + REST);
}

#[test]
fn small_limits_are_kept() {
    let _alone = Heap::alone();
    let attack = || {
        let mut attack = Attack::on(Handler::Echo);
        attack.config.limits = Limits::new().with_max_message(1000);
        attack
    };
    let fits = Frame::new(OpCode::Binary, &[7; 1000]).bytes();
    let (_, echoed) = attack().run(async |mut peer| {
        peer.io.write_all(&fits).await.unwrap();
        peer.next().await.unwrap().1.len()
    });
    assert_eq!(echoed, 1000);
    let large = [Frame::new(OpCode::Binary, &[7; 1001])];
    let together = [
        Frame::new(OpCode::Binary, &[7; 600]).open(),
        Frame::new(OpCode::Continuation, &[7; 401]),
    ];
    for frames in [&large[..], &together] {
        let wire = Frame::all(frames);
        let (ending, close) = attack().run(async |mut peer| {
            let _ = peer.io.write_all(&wire).await;
            peer.closes().await
        });
        assert_eq!((ending.code, close), (1009, Some(1009)));
    }
}
