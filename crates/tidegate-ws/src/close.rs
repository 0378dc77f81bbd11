//! Close codes (RFC 6455 section 7.4) and the payload of a close frame.

use crate::frame::Violation;

/// What the payload of a close frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloseFrame<'a> {
    /// The code; `None` for an empty close frame, which stays empty wherever it is passed on.
    pub code: Option<u16>,
    /// The reason, at most 123 bytes.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Parses an unmasked payload (RFC 6455 section 5.5.1).
    ///
    /// # Errors
    /// One byte alone, a code that must not stand on the wire, a reason that is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() {
                Ok(Self::default())
            } else {
                Err(Violation::CloseTooShort)
            };
        };
        let code = u16::from_be_bytes(*code);
        if !is_legal_on_wire(code) {
            return Err(Violation::CloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_invalid| Violation::CloseReason)?;
        Ok(Self {
            code: Some(code),
            reason,
        })
    }
}

/// Whether `code` may stand in a close frame: 1000-1003, 1007-1014, 3000-4999. The others are
/// reserved, or stand for what was *not* on the wire (1005, 1006, 1015).
#[must_use]
pub const fn is_legal_on_wire(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Cuts `reason` to the 123 bytes that a close frame has room for, on a character boundary.
#[must_use]
pub fn cut_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(123)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads() {
        assert_eq!(
            CloseFrame::parse(b"").unwrap(),
            CloseFrame {
                code: None,
                reason: ""
            }
        );
        assert_eq!(
            CloseFrame::parse(b"\x03\xe8bye").unwrap(),
            CloseFrame {
                code: Some(1000),
                reason: "bye"
            }
        );
        assert_eq!(CloseFrame::parse(b"\x03"), Err(Violation::CloseTooShort));
        assert_eq!(
            CloseFrame::parse(b"\x03\xe8\xff"),
            Err(Violation::CloseReason)
        );
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(
                CloseFrame::parse(&code.to_be_bytes()),
                Err(Violation::CloseCode(code))
            );
        }
        for code in [1000_u16, 1003, 1007, 1012, 1014, 3000, 4999] {
            assert_eq!(
                CloseFrame::parse(&code.to_be_bytes()).unwrap().code,
                Some(code)
            );
        }
    }

    #[test]
    fn a_reason_is_cut_on_a_character_boundary() {
        let long = "ä".repeat(100);
        assert_eq!(cut_reason(&long).len(), 122);
        assert_eq!(cut_reason("short"), "short");
    }
}
