//! A peer raw enough to misbehave, over an in-memory connection.

use tidegate_ws::frame::{FrameHeader, MAX_HEADER, OpCode, apply_mask};
use tidegate_ws::{BoxError, WebSocketSession};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A whole frame of a client.
pub(crate) fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    part(opcode, true, payload)
}

pub(crate) fn part(opcode: OpCode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut start = [0; MAX_HEADER];
    let size = FrameHeader {
        fin,
        reserved: 0,
        opcode,
        mask: Some(MASK),
        length: payload.len() as u64,
    }
    .write(&mut start);
    let mut bytes = start[..size].to_vec();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[size..], MASK, 0);
    bytes
}

/// The payload of a close frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// A client that is written by hand.
pub(crate) struct Peer(pub(crate) DuplexStream);

impl Peer {
    pub(crate) async fn send(&mut self, opcode: OpCode, payload: &[u8]) {
        self.0.write_all(&frame(opcode, payload)).await.unwrap();
    }

    /// The next frame of the server; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(OpCode, Vec<u8>)> {
        let mut bytes = Vec::new();
        let (header, _) = loop {
            if let Some(parsed) = FrameHeader::parse(&bytes).unwrap() {
                break parsed;
            }
            bytes.push(self.0.read_u8().await.ok()?);
        };
        assert_eq!(header.mask, None, "a server does not mask");
        let mut payload = vec![0; usize::try_from(header.length).unwrap()];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((header.opcode, payload))
    }
}

pub(crate) async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        session.send(message?).await?;
    }
    Ok(())
}

/// Receives until there is nothing more.
pub(crate) async fn listen(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        message?;
    }
    Ok(())
}
