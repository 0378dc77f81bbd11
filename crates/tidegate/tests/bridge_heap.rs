//! What an idle session of a bridge holds on the heap, counted by the allocator.

#![expect(unsafe_code, reason = "an allocator that counts")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::yield_now;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tidegate::Gateway;
use tidegate::auth::mint::Mint;
use tidegate::config::{Config, Secret};

/// Bytes of one session, its connection, its user and what is remembered of the token included. The aim is
/// 4,096, which it kept before sessions knew pushes, users who are online and the end of their tokens. It
/// is 4,341 to 4,370, as the maps grow by chance.
const MOST: usize = 4416;
/// Sessions that are there before any counts, and those that count.
const FIRST: usize = 64;
const COUNTED: usize = 256;
/// Bytes of a token.
const TOKEN: usize = 700;
const SECRET: &str = "a secret that is for nothing but this test";

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

/// As much as jemalloc takes for so many bytes: the binary has it.
const fn class(size: usize) -> usize {
    if size <= 8 {
        return 8;
    }
    let step = if size <= 128 {
        16
    } else {
        1 << ((size - 1).ilog2() - 2)
    };
    size.next_multiple_of(step)
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(class(layout.size()), Ordering::Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(class(layout.size()), Ordering::Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn gateway() -> Gateway {
    let yaml = format!(
        "version: 1\n\
         workers: 1\n\
         auth: {{ jwt: {{ secret: {SECRET} }} }}\n\
         listeners: [{{ name: public, bind: \"127.0.0.1:0\" }}]\n\
         services: {{ upstream: {{ endpoints: \"http://127.0.0.1:9\" }} }}\n\
         access_log: none\n\
         routes:\n\
         - {{ name: bridge, match: {{ path: /ws }}, filters: require, bridge: {{ services: upstream }} }}\n"
    );
    let plan = Config::from_yaml("heap.yaml", &yaml).unwrap().resolve();
    Gateway::start(plan.unwrap()).unwrap()
}

/// A token of that user, of about [`TOKEN`] bytes.
fn token(mint: &Mint, user: usize) -> String {
    let signed = |pad: usize| {
        let claims = json!({
            "sub": format!("user-{user:06}"), "roles": ["user"], "exp": 4_102_444_800_u64,
            "note": "n".repeat(pad),
        });
        mint.sign(claims.as_object().unwrap()).unwrap()
    };
    let missing = TOKEN - signed(0).len();
    let token = signed(missing * 3 / 4);
    assert!(token.len().abs_diff(TOKEN) < 4, "{}", token.len());
    token
}

/// A session that has its welcome.
fn open(address: &str, token: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: tidegate.v1.json\r\nAccept-Language: de-DE,de;q=0.9,en;q=0.8\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    client.write_all(handshake.as_bytes()).unwrap();
    let mut told = [0; 4096];
    let mut length = 0;
    while !told[..length].ends_with(b"}") {
        let count = client.read(&mut told[length..]).unwrap();
        let text = String::from_utf8_lossy(&told[..length]);
        assert!(count > 0, "no welcome, but {text}");
        length += count;
    }
    client
}

#[test]
fn an_idle_session_with_a_token_is_small() {
    let gateway = gateway();
    let address = gateway.addresses()[0].1.to_string();
    let mint = Mint::of_secret(&Secret::new(SECRET)).unwrap();
    let mut clients = Vec::with_capacity(FIRST + COUNTED);
    clients.extend((0..FIRST).map(|user| open(&address, &token(&mint, user))));
    let before = HELD.load(Ordering::Relaxed);
    clients.extend((FIRST..FIRST + COUNTED).map(|user| open(&address, &token(&mint, user))));
    // What the last handshakes took is given back at once, or soon.
    let begun = SystemTime::now();
    let mut each = usize::MAX;
    while each > MOST {
        let held = HELD.load(Ordering::Relaxed).saturating_sub(before);
        each = held / COUNTED;
        let waited = begun.elapsed().unwrap_or_default();
        assert!(waited < Duration::from_secs(30), "{each} bytes");
        yield_now();
    }
    println!("an idle session of a bridge: {each} bytes");
    assert!(each > TOKEN, "{each} bytes cannot be all");
    drop(clients);
    gateway.stop();
}
