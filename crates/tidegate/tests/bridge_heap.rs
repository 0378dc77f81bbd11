//! What an idle session of a bridge holds on the heap, counted by the allocator.

#![expect(unsafe_code, reason = "an allocator that counts")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use tidegate::Gateway;
use tidegate::auth::mint::Mint;
use tidegate::config::{Config, Secret};

static TRACE: AtomicBool = AtomicBool::new(false);
static HELD: AtomicIsize = AtomicIsize::new(0);
static LIVE: Mutex<Option<HashMap<usize, (usize, String)>>> = Mutex::new(None);
thread_local! { static BUSY: Cell<bool> = const { Cell::new(false) }; }

struct Counting;

fn class(size: usize) -> usize {
    if size <= 128 {
        return size.max(8).next_multiple_of(16);
    }
    let step = (size - 1).ilog2() - 2;
    size.next_multiple_of(1 << step)
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(class(layout.size()) as isize, Ordering::Relaxed);
        let p = unsafe { System.alloc(layout) };
        if TRACE.load(Ordering::Relaxed) && !BUSY.get() {
            BUSY.set(true);
            let bt = Backtrace::force_capture().to_string();
            let lines: Vec<&str> = bt
                .lines()
                .map(str::trim)
                .filter(|l| l.contains(": ") || l.contains("tidegate"))
                .filter(|l| {
                    !l.starts_with("at ")
                        && (l.contains("tidegate")
                            || l.contains("tokio")
                            || l.contains("serde")
                            || l.contains("hashbrown")
                            || l.contains("bytes"))
                        && !l.contains("Counting")
                })
                .take(14)
                .collect();
            LIVE.lock()
                .unwrap()
                .get_or_insert_default()
                .insert(p as usize, (layout.size(), lines.join("\n      ")));
            BUSY.set(false);
        }
        p
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(class(layout.size()) as isize, Ordering::Relaxed);
        if TRACE.load(Ordering::Relaxed) && !BUSY.get() {
            BUSY.set(true);
            LIVE.lock()
                .unwrap()
                .get_or_insert_default()
                .remove(&(pointer as usize));
            BUSY.set(false);
        }
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONFIG: &str = r#"
version: 1
workers: 1
auth: { jwt: { secret: a secret that is for nothing but the bench } }
listeners: [{ name: public, bind: "127.0.0.1:0" }]
services: { upstream: { endpoints: "http://127.0.0.1:9" } }
access_log: none
routes:
  - { name: known, match: { path: /known }, filters: require, bridge: { services: upstream } }
"#;

fn token(mint: &Mint, user: usize) -> String {
    let note = "n".repeat(382);
    let claims = serde_json::json!({"sub": format!("user-{user:06}"), "roles": ["user"], "exp": 4_102_444_800_u64, "note": note});
    let token = mint.sign(claims.as_object().unwrap()).unwrap();
    assert!(token.len().abs_diff(700) < 60, "{}", token.len());
    token
}

fn open(address: &str, token: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET /known HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidegate.v1.json\r\nAccept-Language: de-DE,de;q=0.9,en;q=0.8\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
    let mut read = [0; 2048];
    let mut at = 0;
    while !String::from_utf8_lossy(&read[..at]).contains("\"server\"") {
        let n = client.read(&mut read[at..]).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&read[..at]));
        at += n;
    }
    client
}

#[test]
fn an_idle_session_is_small() {
    let plan = Config::from_yaml("heap.yaml", CONFIG)
        .unwrap()
        .resolve()
        .unwrap();
    let gateway = Gateway::start(plan).unwrap();
    let address = gateway.addresses()[0].1.to_string();
    let mint = Mint::of_secret(&Secret::new("a secret that is for nothing but the bench")).unwrap();
    let mut clients = Vec::with_capacity(2000);
    for user in 0..100 {
        clients.push(open(&address, &token(&mint, user)));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let before = HELD.load(Ordering::Relaxed);
    for user in 100..400 {
        clients.push(open(&address, &token(&mint, user)));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let after = HELD.load(Ordering::Relaxed);
    println!("bytes a session: {}", (after - before) / 300);
    if std::env::var_os("TRACE").is_some() {
        TRACE.store(true, Ordering::Relaxed);
        let n = 10;
        for user in 400..400 + n {
            clients.push(open(&address, &token(&mint, user)));
        }
        std::thread::sleep(std::time::Duration::from_millis(1500));
        TRACE.store(false, Ordering::Relaxed);
        BUSY.set(true);
        let live = LIVE.lock().unwrap().take().unwrap();
        let mut by: HashMap<(usize, String), usize> = HashMap::new();
        for (size, bt) in live.into_values() {
            *by.entry((size, bt)).or_default() += 1;
        }
        let mut all: Vec<_> = by.into_iter().collect();
        all.sort_by_key(|((size, _), count)| std::cmp::Reverse(size * count));
        for ((size, bt), count) in all {
            println!("{count} x {size} (class {})\n      {bt}", class(size));
        }
    }
    drop(clients);
    gateway.stop();
}
