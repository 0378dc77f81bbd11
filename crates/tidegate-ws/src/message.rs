//! What applications send and receive.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use crate::close::{CloseFrame, cut_reason, is_legal_on_wire};

/// One message (RFC 6455 sections 5.5 and 5.6). A clone shares the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// UTF-8 text.
    Text(Text),
    /// Bytes.
    Binary(Bytes),
    /// Asks for a pong with the same payload of at most 125 bytes.
    Ping(Bytes),
    /// Answers a ping, or stands alone; at most 125 bytes.
    Pong(Bytes),
}

impl Message {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The payload, whatever the kind.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        match self {
            Self::Text(text) => &text.0,
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes,
        }
    }

    /// The payload, whatever the kind.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        match self {
            Self::Text(text) => text.0,
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes,
        }
    }

    /// The text, of a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a ping or a pong.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        matches!(self, Self::Ping(_) | Self::Pong(_))
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&'static str> for Message {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// UTF-8 text (RFC 6455 section 8.1) whose clones share one buffer.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(Bytes);

impl Text {
    /// Takes `bytes` as text.
    ///
    /// # Errors
    /// Where they are not UTF-8.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, std::str::Utf8Error> {
        let bytes = bytes.into();
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes bytes that have been found to be UTF-8, on which `as_str` relies.
    pub(crate) const fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// What a close frame says (RFC 6455 section 5.5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Close {
    /// The code; `None` for a close frame without one.
    pub code: Option<u16>,
    /// The reason, at most 123 bytes.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// Says `code` and `reason`, which is cut to 123 bytes on a character boundary.
    #[must_use]
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        let mut reason = reason.into();
        let end = cut_reason(&reason).len();
        if end < reason.len() {
            reason.to_mut().truncate(end);
        }
        Self {
            code: Some(code),
            reason,
        }
    }

    /// What of it may stand on the wire: 1005 says that there is no code, and any other that must
    /// not stand there is 1011.
    pub(crate) fn on_wire(mut self) -> Self {
        match self.code {
            None => {}
            Some(1005) => self = Self::default(),
            Some(code) if is_legal_on_wire(code) => {}
            Some(_) => self.code = Some(1011),
        }
        self
    }
}

impl From<CloseFrame<'_>> for Close {
    fn from(frame: CloseFrame<'_>) -> Self {
        Self {
            code: frame.code,
            reason: frame.reason.to_owned().into(),
        }
    }
}
