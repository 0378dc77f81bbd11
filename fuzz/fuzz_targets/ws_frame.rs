//! A frame header: every prefix of it asks for more or says the same, and writing it gives it back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ws::close::CloseFrame;
use tidegate_ws::frame::{ControlFrame, FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER};

fuzz_target!(|bytes: &[u8]| {
    header(bytes);
    close(bytes);
});

fn header(bytes: &[u8]) {
    let whole = FrameHeader::parse(bytes);
    // What is said of fewer bytes is never taken back when more arrive.
    for end in 0..bytes.len().min(MAX_HEADER) {
        let part = FrameHeader::parse(&bytes[..end]);
        assert!(part == Ok(None) || part == whole);
    }
    let Ok(Some((header, size))) = whole else {
        return;
    };
    let mut written = [0; MAX_HEADER];
    let length = header.write(&mut written);
    assert_eq!(written[..length], bytes[..size]);
}

fn close(bytes: &[u8]) {
    let payload = &bytes[..bytes.len().min(MAX_CONTROL_PAYLOAD)];
    let Ok(CloseFrame {
        code: Some(code),
        reason,
    }) = CloseFrame::parse(payload)
    else {
        return;
    };
    let frame = ControlFrame::close(code, reason, None);
    assert_eq!(frame.as_bytes()[2..], *payload);
}
