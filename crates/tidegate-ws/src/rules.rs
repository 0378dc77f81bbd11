//! What one direction of a WebSocket allows.

use crate::frame::{FrameHeader, Violation};

/// Who sends in the direction that is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The side that opened the WebSocket: it must mask.
    Client,
    /// The side that was opened to: it must not mask.
    Server,
}

/// The extensions that were negotiated, as far as they matter to a reader of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extensions {
    /// None: no reserved bit has a meaning.
    #[default]
    None,
    /// permessage-deflate: RSV1 stands on the first frame of a compressed message.
    Deflate,
    /// One that we do not know: any reserved bit may stand on any frame, and what a payload means
    /// cannot be told.
    Foreign,
}

/// What a direction allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Who sends.
    pub sender: Sender,
    /// The extensions that were negotiated.
    pub extensions: Extensions,
    /// Whether the payload of text messages must be UTF-8. Those with a reserved bit (compressed
    /// ones) are not looked at.
    pub text: bool,
    /// The largest frame payload in bytes, on the declared length.
    pub max_frame: u64,
    /// The largest message in bytes: all its frames' payloads, on the declared lengths.
    pub max_message: u64,
}

impl Rules {
    /// RSV1 of permessage-deflate stands on the first frame of a message alone (RFC 7692 section 6.1).
    pub(crate) const fn check_reserved(&self, first: u8) -> Result<(), Violation> {
        let reserved = first >> 4 & 0b111;
        let allowed = match (self.extensions, first & 0x0f) {
            (Extensions::Foreign, _) => 0b111,
            (Extensions::Deflate, 1 | 2) => 0b100,
            _ => 0,
        };
        if reserved & !allowed == 0 {
            Ok(())
        } else {
            Err(Violation::ReservedBits(reserved))
        }
    }

    pub(crate) const fn check_mask(&self, header: &FrameHeader) -> Result<(), Violation> {
        match (self.sender, header.mask) {
            (Sender::Client, None) => Err(Violation::Unmasked),
            (Sender::Server, Some(_)) => Err(Violation::Masked),
            _ => Ok(()),
        }
    }
}
