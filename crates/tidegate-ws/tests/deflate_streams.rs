//! Compressed messages as others write them: the examples of RFC 7692 section 7.2.3, and what is wrong.

use bytes::BytesMut;
use tidegate_ws::deflate::{Agreed, Compressor, Config, InflateError, Inflater, Outcome};
use tidegate_ws::frame::Violation;

fn inflater(takeover: bool) -> Inflater {
    Inflater::new(&agreed(takeover))
}

const fn agreed(takeover: bool) -> Agreed {
    Agreed {
        own_takeover: takeover,
        own_bits: 15,
        peer_takeover: takeover,
        peer_bits: 15,
    }
}

fn message(inflater: &mut Inflater, pieces: &[&[u8]], limit: u64) -> Result<Vec<u8>, InflateError> {
    let mut into = BytesMut::new();
    for (place, piece) in pieces.iter().enumerate() {
        inflater.inflate(piece, place + 1 == pieces.len(), &mut into, limit)?;
    }
    Ok(into.to_vec())
}

fn alone(packed: &[u8]) -> Result<Vec<u8>, InflateError> {
    let by_takeover = [false, true].map(|takeover| {
        let whole = message(&mut inflater(takeover), &[packed], 1000);
        let bytes: Vec<&[u8]> = packed.chunks(1).chain([&b""[..]]).collect();
        assert_eq!(message(&mut inflater(takeover), &bytes, 1000), whole);
        whole
    });
    let [without, with] = by_takeover;
    assert_eq!(without, with);
    without
}

const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

#[test]
fn the_examples_of_the_rfc() {
    // 7.2.3.1: one fixed block; the second way in fragments.
    assert_eq!(alone(HELLO).unwrap(), b"Hello");
    let fragments = message(&mut inflater(false), &[&HELLO[..3], &HELLO[3..]], 5);
    assert_eq!(fragments.unwrap(), b"Hello");
    // 7.2.3.3: a block that is not compressed.
    let stored = alone(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00");
    assert_eq!(stored.unwrap(), b"Hello");
    // 7.2.3.4: a final block.
    assert_eq!(
        alone(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00").unwrap(),
        b"Hello"
    );
    // 7.2.3.5: two blocks in one message.
    let two = alone(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00");
    assert_eq!(two.unwrap(), b"Hello");
    // 7.2.3.6: an empty message.
    assert_eq!(alone(b"\x00").unwrap(), b"");
}

/// 7.2.3.2: the second message refers to the first.
#[test]
fn the_context_is_taken_over_only_where_that_was_agreed() {
    let second = b"\xf2\x00\x11\x00\x00";
    let mut with = inflater(true);
    assert_eq!(message(&mut with, &[HELLO], 5).unwrap(), b"Hello");
    assert_eq!(message(&mut with, &[second], 5).unwrap(), b"Hello");
    let mut without = inflater(false);
    assert_eq!(message(&mut without, &[HELLO], 5).unwrap(), b"Hello");
    let lost = message(&mut without, &[second], 5);
    assert_eq!(lost, Err(InflateError::Corrupt));
}

#[test]
fn streams_that_end_are_followed_by_others() {
    let ends = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    let three = [&ends[..], &ends[..], HELLO].concat();
    assert_eq!(alone(&three).unwrap(), b"HelloHelloHello");
    // The byte that must follow a final block, and none: both are clear.
    assert_eq!(alone(&[&ends[..], b"\x00"].concat()).unwrap(), b"Hello");
    assert_eq!(alone(ends).unwrap(), b"Hello");
    // Later messages are read from the begin of a stream.
    let mut with = inflater(true);
    for packed in [ends, HELLO, ends] {
        assert_eq!(message(&mut with, &[packed], 5).unwrap(), b"Hello");
    }
}

#[test]
fn a_message_of_no_bytes_is_empty_and_disturbs_nothing() {
    assert_eq!(alone(b"").unwrap(), b"");
    let mut with = inflater(true);
    assert_eq!(message(&mut with, &[HELLO], 5).unwrap(), b"Hello");
    assert_eq!(message(&mut with, &[b"", b""], 5).unwrap(), b"");
    let second = message(&mut with, &[b"\xf2\x00\x11\x00\x00"], 5);
    assert_eq!(second.unwrap(), b"Hello");
}

#[test]
fn what_is_no_deflate_data_is_refused() {
    for wrong in [
        // A block of a kind that does not exist.
        &b"\xff\xff\xff"[..],
        // A stored block whose lengths differ.
        b"\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00",
        // A reference to what is not there.
        b"\xf2\x00\x11\x00\x00",
        // Codes that cannot be.
        b"\x05\xff\xff\xff\xff\xff",
    ] {
        assert_eq!(alone(wrong), Err(InflateError::Corrupt), "{wrong:02x?}");
    }
    assert_eq!(Violation::from(InflateError::Corrupt).close_code(), 1007);
}

/// Whatever is cut off must be noticed, or else half a message would look whole.
#[test]
fn a_message_that_was_cut_off_is_refused() {
    let text: Vec<u8> = (0..2000_u32)
        .flat_map(|number| (number * number).to_be_bytes())
        .collect();
    let mut compressor = Compressor::new(&agreed(false), &Config::default());
    let mut packed = BytesMut::new();
    assert_eq!(compressor.compress(&text, &mut packed), Outcome::Compressed);
    let whole = message(&mut inflater(false), &[&packed], 8000);
    assert_eq!(whole.unwrap(), text);
    for length in 1..packed.len() {
        for takeover in [false, true] {
            let cut = message(&mut inflater(takeover), &[&packed[..length]], 8000);
            assert_eq!(
                cut,
                Err(InflateError::Corrupt),
                "{length} of {}",
                packed.len()
            );
        }
    }
    // With the tail, or a part of it, there is too much.
    for rest in [&b"\x00\x00\xff\xff"[..], b"\x00", b"\x00\x00"] {
        let more = [&packed[..], rest].concat();
        let result = message(&mut inflater(false), &[&more], 8000);
        assert_eq!(result, Err(InflateError::Corrupt), "{rest:02x?}");
    }
}

#[test]
fn the_limit_is_exact_and_counts_the_whole_message() {
    for (limit, fits) in [(5, true), (4, false), (0, false), (u64::MAX, true)] {
        for takeover in [false, true] {
            let pieces: [&[u8]; 2] = [&HELLO[..3], &HELLO[3..]];
            let result = message(&mut inflater(takeover), &pieces, limit);
            let expected = if fits {
                Ok(b"Hello".to_vec())
            } else {
                Err(InflateError::TooBig { limit })
            };
            assert_eq!(result, expected, "{limit}");
        }
    }
    // It begins anew with each message.
    let mut with = inflater(true);
    for _ in 0..3 {
        assert_eq!(message(&mut with, &[HELLO], 5).unwrap(), b"Hello");
    }
    let too_big = Violation::from(InflateError::TooBig { limit: 4 });
    assert_eq!(too_big.close_code(), 1009);
}
