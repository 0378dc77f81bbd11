//! The payload of a close frame: accepted exactly as RFC 6455 section 7.4 and the registry have it,
//! and the same again when it is built.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::frames::is_close_payload;
use tidegate_ws::close::{CloseFrame, cut_reason};
use tidegate_ws::frame::{ControlFrame, FrameHeader, MAX_CONTROL_PAYLOAD, OpCode, apply_mask};

fuzz_target!(|bytes: &[u8]| {
    let payload = &bytes[..bytes.len().min(MAX_CONTROL_PAYLOAD)];
    let parsed = CloseFrame::parse(payload);
    assert_eq!(parsed.is_ok(), is_close_payload(payload));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let cut = cut_reason(text);
        assert!(cut.len() <= 123 && text.starts_with(cut) && cut.len() + 3 >= text.len().min(123));
    }
    let Ok(CloseFrame {
        code: Some(code),
        reason,
    }) = parsed
    else {
        return;
    };
    for mask in [None, Some([payload[0], 1, 0, 255])] {
        let built = ControlFrame::close(code, reason, mask);
        let Ok(Some((header, size))) = FrameHeader::parse(built.as_bytes()) else {
            panic!("a close frame of ours is none");
        };
        assert_eq!(
            (header.opcode, header.fin, header.mask),
            (OpCode::Close, true, mask)
        );
        let mut again = built.as_bytes()[size..].to_vec();
        apply_mask(&mut again, mask.unwrap_or_default(), 0);
        assert_eq!(again, payload);
    }
});
