//! The engine under the tables of `tests/it/wire`: a row says what is sent, what must be answered,
//! and what the other side may have seen of it.

mod frames;
mod peers;
mod recorder;
mod reply;
mod request;

pub use frames::{FrameRow, Side};
pub use peers::{Did, Peer, Target};
pub use recorder::{Received, Recorder, Script, Then};
pub use reply::{Ask, Heard, ReplyRow};
pub use request::{Row, Want};

/// Bytes of a row: characters of a text up to 255 stand for the byte of the same number.
pub trait Wired {
    /// The bytes.
    fn wired(self) -> Vec<u8>;
}

impl Wired for &str {
    fn wired(self) -> Vec<u8> {
        self.chars().map(|letter| letter as u8).collect()
    }
}

impl Wired for String {
    fn wired(self) -> Vec<u8> {
        self.as_str().wired()
    }
}

impl Wired for Vec<u8> {
    fn wired(self) -> Vec<u8> {
        self
    }
}

impl Wired for crate::Request {
    fn wired(self) -> Vec<u8> {
        self.bytes()
    }
}

/// The status, and whether the connection ends, of a problem of the gateway's
/// (`docs/statuses.md`).
fn problem(code: &str) -> (u16, bool) {
    match code {
        "bad_request" | "bad_body" | "bad_handshake" | "upgrade_with_body" => (400, true),
        "bad_path" => (400, false),
        "no_route" => (404, false),
        "method_not_allowed" => (405, false),
        "target_too_long" => (414, true),
        "bad_version" | "upgrade_required" => (426, false),
        "head_too_large" => (431, true),
        "upstream_bad_switch" | "upstream_lost" | "upstream_malformed" => (502, false),
        "upstream_handshake_timeout" => (504, false),
        _ => panic!("no such problem: {code}"),
    }
}

/// The request that follows a row: its answer shows that both sides agree on where they are.
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: after.example\r\n\r\n";
