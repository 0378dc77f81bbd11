//! A frame header: every prefix of it asks for more or says the same, and writing it gives it back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ws::frame::{FrameHeader, MAX_HEADER};

fuzz_target!(|bytes: &[u8]| {
    header(bytes);
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
