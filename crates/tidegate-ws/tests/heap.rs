//! What an idle session holds on the heap, counted by the allocator.

#![expect(unsafe_code, reason = "an allocator that counts")]
#![expect(clippy::disallowed_methods, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_ws::codec::Role;
use tidegate_ws::{BoxError, Opening, SessionConfig, WebSocketSession, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::yield_now;

static HELD: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        session.send(message?).await?;
    }
    Ok(())
}

/// One masked text message.
fn frame(length: u16) -> Vec<u8> {
    let mut frame = vec![0x81, 0xfe];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(frame.len() + usize::from(length), b'x');
    frame
}

/// Everything in one test: others would be counted too.
#[test]
fn an_idle_session_holds_little_and_an_echo_allocates_its_payload_alone() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = Arc::new(SessionConfig::default());
        for length in [0, 200, 40_000] {
            let mut peers = Vec::with_capacity(3);
            let mut last = 0_isize;
            // The first ones fill the thread's pools.
            for _ in 0..3 {
                let (mut near, mut far) = duplex(64 << 10);
                // What the pipe itself keeps is there before.
                let mut room = vec![0; usize::from(length) + 16];
                near.write_all(&room).await.unwrap();
                far.read_exact(&mut room).await.unwrap();
                far.write_all(&room).await.unwrap();
                near.read_exact(&mut room).await.unwrap();
                let before = HELD.load(Ordering::Relaxed);
                let opening = Opening::new(Role::Server);
                // With its task, and all that belongs to it.
                let server = tokio::task::spawn(run(far, opening, Arc::clone(&config), echo));
                yield_now().await;
                let frame = frame(length);
                let mut echo = vec![0; usize::from(length) + 4];
                let more = frame.capacity() + echo.capacity();
                for round in 0..if length == 0 { 0 } else { 5 } {
                    near.write_all(&frame).await.unwrap();
                    let before = COUNT.load(Ordering::Relaxed);
                    yield_now().await;
                    let count = COUNT.load(Ordering::Relaxed) - before;
                    near.read_exact(&mut echo).await.unwrap();
                    if length == 200 && round > 0 {
                        assert_eq!(count, 1, "allocations of an echo: its payload alone");
                    }
                }
                let held = HELD.load(Ordering::Relaxed);
                last = held.cast_signed() - before.cast_signed() - more.cast_signed();
                peers.push((near, server));
            }
            println!("after messages of {length}: {last} bytes");
            assert!(last <= 1024, "after messages of {length}: {last} bytes");
        }
    });
}
