//! How a peer can break the rules, and what it is told.

/// How a peer broke RFC 6455, or a limit that holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A close frame with a code that must not stand on the wire.
    #[error("close code {0} must not stand in a close frame")]
    CloseCode(u16),
    /// A close frame whose reason is not UTF-8.
    #[error("the reason of a close frame is not UTF-8")]
    CloseReason,
    /// A close frame with a payload of one byte.
    #[error("a close frame with half a close code")]
    CloseTooShort,
    /// A compressed message that is no DEFLATE data (RFC 7692 section 7.2.2).
    #[error("a compressed message that is no DEFLATE data")]
    Compressed,
    /// More control frames within a second than are allowed.
    #[error("more than {0} control frames within a second")]
    ControlFlood(u32),
    /// A control frame without FIN.
    #[error("a fragmented control frame")]
    ControlFragmented,
    /// A control frame with more than 125 payload bytes.
    #[error("a control frame with more than 125 payload bytes")]
    ControlTooLong,
    /// A frame whose declared length is over the limit.
    #[error("a frame of {length} bytes where {limit} are allowed")]
    FrameTooBig {
        /// The declared length of its payload.
        length: u64,
        /// The most bytes allowed.
        limit: u64,
    },
    /// A length in more bytes than it needs, or with its top bit set (RFC 6455 section 5.2).
    #[error("a payload length that is not in its shortest form, or over 2^63")]
    LengthEncoding,
    /// A masked frame from a server.
    #[error("a masked frame from a server")]
    Masked,
    /// A message whose frames' declared lengths add up to more than the limit.
    #[error("a message of at least {length} bytes where {limit} are allowed")]
    MessageTooBig {
        /// The declared length of its frames so far.
        length: u64,
        /// The most bytes allowed.
        limit: u64,
    },
    /// A new message before the one under way has ended.
    #[error("a new message inside a fragmented one")]
    MessageInside,
    /// An opcode that means nothing.
    #[error("reserved opcode {0}")]
    OpCode(u8),
    /// An observer refused a frame that is right in itself.
    #[error("the frame was refused")]
    Refused,
    /// Reserved bits that no negotiated extension gives a meaning.
    #[error("reserved bits {0:#05b} without an extension that uses them")]
    ReservedBits(u8),
    /// A continuation while no message is under way.
    #[error("a continuation without a message")]
    StrayContinuation,
    /// A text message that is not UTF-8 (RFC 6455 section 8.1).
    #[error("a text message that is not UTF-8")]
    Text,
    /// A message of more frames than are allowed.
    #[error("a message of more than {0} frames")]
    TooManyParts(u32),
    /// An unmasked frame from a client.
    #[error("an unmasked frame from a client")]
    Unmasked,
}

impl Violation {
    /// The close code that its sender is told (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::CloseReason | Self::Compressed | Self::Text => 1007,
            Self::ControlFlood(_) => 1008,
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } | Self::TooManyParts(_) => 1009,
            _ => 1002,
        }
    }
}
