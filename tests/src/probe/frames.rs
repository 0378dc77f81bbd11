//! Rows of WebSocket frames, from either side, each in one write and byte by byte.

use super::request::send;
use crate::TestGateway;
use crate::frame::Frame;
use crate::request::Request;
use crate::upstream::ScriptedUpstream;
use crate::wire::{Wire, switching};

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client, which masks.
    Client,
    /// The upstream, which does not.
    Upstream,
}

/// One row: what a side sends, and what comes of it.
#[derive(Debug, Clone)]
pub struct FrameRow {
    from: Side,
    good: Vec<u8>,
    bad: Vec<u8>,
    /// The code that the sender is told, where it is told off.
    code: Option<u16>,
    deflate: bool,
    limits: &'static str,
}

impl FrameRow {
    /// These frames pass as they are.
    #[must_use]
    pub fn passes(from: Side, frames: &[Frame]) -> Self {
        Self {
            from,
            good: frames.iter().flat_map(|frame| sent(from, frame)).collect(),
            bad: Vec::new(),
            code: None,
            deflate: false,
            limits: "",
        }
    }

    /// The last of these frames breaks the protocol; those before it pass.
    #[must_use]
    pub fn breach(from: Side, frames: &[Frame]) -> Self {
        let (bad, good) = frames.split_last().expect("a frame");
        Self {
            bad: sent(from, bad),
            code: Some(1002),
            ..Self::passes(from, good)
        }
    }

    /// The last of these frames goes nowhere, and nobody is told off for it.
    #[must_use]
    pub fn ignored(from: Side, frames: &[Frame]) -> Self {
        Self {
            code: None,
            ..Self::breach(from, frames)
        }
    }

    /// These bytes break the protocol.
    #[must_use]
    pub fn breach_of(from: Side, bytes: &[u8]) -> Self {
        Self {
            bad: bytes.to_vec(),
            code: Some(1002),
            ..Self::passes(from, &[])
        }
    }

    /// The sender is told this code, not 1002.
    #[must_use]
    pub const fn told(mut self, code: u16) -> Self {
        self.code = Some(code);
        self
    }

    /// permessage-deflate is agreed on.
    #[must_use]
    pub const fn deflate(mut self) -> Self {
        self.deflate = true;
        self
    }

    /// The route has these limits (`max_frame: 10`).
    #[must_use]
    pub const fn limits(mut self, limits: &'static str) -> Self {
        self.limits = limits;
        self
    }

    /// Tries it against a gateway of its own, in one write and byte by byte.
    pub async fn judge(&self) {
        let mut upstream = ScriptedUpstream::bind().await;
        let proxy = match self.limits {
            "" => String::new(),
            limits => format!("websocket: {{ {limits} }}"),
        };
        let gateway = TestGateway::before_with(&upstream, "", &proxy);
        let whole = self.open(&gateway, &mut upstream).await;
        let parted = self.open(&gateway, &mut upstream).await;
        tokio::join!(self.run(whole, usize::MAX), self.run(parted, 1));
    }

    async fn open(&self, gateway: &TestGateway, upstream: &mut ScriptedUpstream) -> (Wire, Wire) {
        let mut request = Request::handshake("/");
        let mut lines: &[&str] = &[];
        if self.deflate {
            request = request.with("Sec-WebSocket-Extensions", "permessage-deflate");
            lines = &["Sec-WebSocket-Extensions: permessage-deflate"];
        }
        let mut client = gateway.connect().await;
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        let asked = peer.read_head().await;
        peer.send(switching(&asked, lines)).await;
        assert_eq!(client.read_head().await.status(), 101);
        (client, peer)
    }

    async fn run(&self, (client, peer): (Wire, Wire), step: usize) {
        let (mut sender, mut receiver) = match self.from {
            Side::Client => (client, peer),
            Side::Upstream => (peer, client),
        };
        let bytes = [&self.good[..], &self.bad].concat();
        send(&mut sender, &bytes, step).await;
        receiver.expect(&self.good).await;
        if let Some(code) = self.code {
            self.are_told(&mut sender, &mut receiver, code).await;
        }
        if !self.bad.is_empty() {
            // Both ends come, and not a byte of what was refused.
            receiver.finish().await;
            let (rest, _) = receiver.read_to_end().await;
            assert!(rest.is_empty(), "{}", rest.escape_ascii());
        }
        sender.reset();
        receiver.reset();
    }

    /// Both sides hear of a breach what `docs/statuses.md` says.
    async fn are_told(&self, sender: &mut Wire, receiver: &mut Wire, code: u16) {
        // An upstream's breach is the client's 1011.
        let other = match (self.from, code) {
            (Side::Upstream, 1002) => 1011,
            _ => 1001,
        };
        let told = receiver.read_frame().await;
        assert_eq!(told.close_code(), Some(other), "to the other side");
        assert_eq!(told.mask.is_some(), self.from == Side::Client);
        let told = sender.read_frame().await;
        assert_eq!(told.close_code(), Some(code), "to the sender");
        assert_eq!(told.mask.is_some(), self.from == Side::Upstream);
    }
}

fn sent(from: Side, frame: &Frame) -> Vec<u8> {
    match (from, frame.mask) {
        (Side::Client, None) => frame.clone().masked([0x11, 0x22, 0x33, 0x44]).bytes(),
        _ => frame.bytes(),
    }
}
