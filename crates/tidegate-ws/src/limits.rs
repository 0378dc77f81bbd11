//! What a session allows its peer.

/// Limits on what a peer may send (RFC 6455 section 10.4; close codes: section 7.4.1). Lengths are judged
/// as they are declared, before anything is allocated for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest payload of one frame in bytes; 1 MiB unless set. A larger one ends the session
    /// with 1009.
    pub max_frame: u64,
    /// The largest message in bytes, after inflating; 1 MiB unless set. A larger one ends the
    /// session with 1009.
    pub max_message: u64,
    /// The most frames of one message (RFC 6455 section 5.4); 16 Ki unless set. More end the session with 1009.
    pub max_parts: u32,
    /// The most pings and pongs (RFC 6455 sections 5.5.2, 5.5.3) within one second; 100 unless set. More end the session with 1008.
    pub max_control_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 1 << 20,
            max_message: 1 << 20,
            max_parts: 16 << 10,
            max_control_per_second: 100,
        }
    }
}

impl Limits {
    /// The limits that stand unless others are set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows messages of up to `bytes`, in frames of up to as many.
    #[must_use]
    pub const fn with_max_message(mut self, bytes: u64) -> Self {
        self.max_message = bytes;
        self.max_frame = bytes;
        self
    }
}
