//! What a filter sees of a session: the headers of its frames.

use std::borrow::Cow;

use http::HeaderValue;
use tidegate_ws::close::cut_reason;

use super::ExchangeFacts;

/// A session that is about to begin.
#[derive(Debug, Clone, Copy)]
pub struct SessionOpening<'a> {
    /// The exchange that asked for it.
    pub exchange: ExchangeFacts<'a>,
    /// The subprotocol that was agreed upon.
    pub subprotocol: Option<&'a HeaderValue>,
}

/// Watches the frames of one session. It sees headers alone, so that payloads are passed on as they
/// came.
pub trait FrameFilter: Send {
    /// Runs for every frame, before any of it is passed on; it must neither wait nor do much. A
    /// refusal closes the session with 1008 and the refusal's reason, and the frame goes nowhere.
    fn on_frame(&mut self, direction: Direction, frame: &FrameFacts) -> Result<(), FrameRefusal>;
}

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the upstream to the client.
    ToDownstream,
    /// From the client to the upstream.
    ToUpstream,
}

/// What the header of a frame tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameFacts {
    /// The opcode, four bits (RFC 6455 section 5.2).
    pub opcode: u8,
    /// Whether it is the last frame of its message.
    pub fin: bool,
    /// How many bytes of payload it announces.
    pub length: u64,
}

impl FrameFacts {
    /// Whether it is a close, ping or pong.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.opcode & 0x8 != 0
    }
}

/// A filter will not have a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a filter refused a frame: {reason}")]
pub struct FrameRefusal {
    reason: Cow<'static, str>,
}

impl FrameRefusal {
    /// A refusal for `reason`, which the client is told: `<cause>[;key=value]`, cut to the 123
    /// bytes that a close frame has room for.
    #[must_use]
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = match reason.into() {
            Cow::Borrowed(text) => cut_reason(text).into(),
            Cow::Owned(text) => cut_reason(&text).to_owned().into(),
        };
        Self { reason }
    }

    /// The reason, at most 123 bytes.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Those who watch one session, in the order of the pipeline. Without any it holds no memory.
#[derive(Default)]
pub struct FrameFilters {
    filters: Option<Box<Watchers>>,
}

/// A pointer to these is smaller than a list.
struct Watchers(Vec<Box<dyn FrameFilter>>);

impl FrameFilters {
    /// Whether nobody watches.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filters.is_none()
    }

    /// Shows a frame to each, until one refuses it.
    pub fn on_frame(
        &mut self,
        direction: Direction,
        frame: &FrameFacts,
    ) -> Result<(), FrameRefusal> {
        let mut watchers = self.filters.iter_mut().flat_map(|all| &mut all.0);
        watchers.try_for_each(|filter| filter.on_frame(direction, frame))
    }
}

impl FromIterator<Box<dyn FrameFilter>> for FrameFilters {
    fn from_iter<I: IntoIterator<Item = Box<dyn FrameFilter>>>(filters: I) -> Self {
        let watchers: Vec<_> = filters.into_iter().collect();
        Self {
            filters: (!watchers.is_empty()).then(|| Box::new(Watchers(watchers))),
        }
    }
}

impl std::fmt::Debug for FrameFilters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.filters.as_ref().map_or(0, |all| all.0.len());
        write!(f, "FrameFilters({count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(FrameRefusal::new("rate").reason(), "rate");
        let long = "é".repeat(80);
        assert_eq!(FrameRefusal::new(long).reason().len(), 122);
    }

    #[test]
    fn control_frames_are_told_by_their_opcode() {
        let facts = |opcode| FrameFacts {
            opcode,
            fin: true,
            length: 0,
        };
        assert!(facts(8).is_control() && facts(10).is_control());
        assert!(!facts(0).is_control() && !facts(2).is_control());
    }
}
