//! Compressed messages: the same under any cut, never more than the limit, no half message taken for a
//! whole one; and what came out goes through a compressor and comes out again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tidegate_ws::deflate::{
    Agreed, Compressor, Config, InflateError, Inflater, Level, Outcome, accept,
};
use tidegate_ws::handshake::Extension;

fuzz_target!(|bytes: &[u8]| {
    let [manner, piece, level, stream @ ..] = bytes else {
        return;
    };
    let agreed = agreed(manner & 1 == 1, 8 + (manner >> 1 & 7));
    let limit = [70_000, 4_096, 100, 0][usize::from(manner >> 4 & 3)];
    // Messages stand behind each other, parted by what no one of them can end with.
    let messages = split(stream);
    let whole = inflate(&agreed, &messages, usize::MAX, limit);
    let cut = inflate(&agreed, &messages, usize::from(*piece).max(1), limit);
    match (&whole, &cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
        (whole, cut) => assert_eq!(whole.is_err(), cut.is_err()),
    }
    if let Ok(plain) = whole {
        assert!(plain.iter().all(|message| message.len() as u64 <= limit));
        again(&agreed, *level, &plain);
    }
});

fn agreed(takeover: bool, bits: u8) -> Agreed {
    let mut config = Config::default();
    config.server_no_context_takeover = !takeover;
    config.client_no_context_takeover = !takeover;
    config.server_max_window_bits = bits;
    let offer = Extension::parse("permessage-deflate").unwrap();
    let (agreed, _) = accept(&[offer], &config).unwrap();
    assert_eq!((agreed.own_takeover, agreed.own_bits), (takeover, bits));
    agreed
}

/// The tail of a flush, which senders leave out, parts messages.
fn split(stream: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    let mut rest = stream;
    while let Some(place) = rest
        .windows(4)
        .position(|window| window == b"\x00\x00\xff\xff")
    {
        messages.push(&rest[..=place]);
        rest = &rest[place + 4..];
    }
    messages.push(rest);
    messages
}

fn inflate(
    agreed: &Agreed,
    messages: &[&[u8]],
    piece: usize,
    limit: u64,
) -> Result<Vec<BytesMut>, InflateError> {
    let mut inflater = Inflater::new(agreed);
    messages
        .iter()
        .map(|message| {
            let mut into = BytesMut::new();
            for piece in message.chunks(piece.min(message.len().max(1))) {
                inflater.inflate(piece, false, &mut into, limit)?;
                assert!(into.len() as u64 <= limit);
            }
            inflater.inflate(b"", true, &mut into, limit)?;
            Ok(into)
        })
        .collect()
}

fn again(agreed: &Agreed, level: u8, messages: &[BytesMut]) {
    let mut config = Config::default();
    config.level = Level::new(level % 10).unwrap_or(Level::FASTEST);
    config.threshold = 0;
    let mut compressor = Compressor::new(agreed, &config);
    let mut inflater = Inflater::new(agreed);
    for message in messages {
        let mut packed = BytesMut::new();
        if compressor.compress(message, &mut packed) == Outcome::Compressed {
            let mut into = BytesMut::new();
            let result = inflater.inflate(&packed, true, &mut into, message.len() as u64);
            assert_eq!(result, Ok(()));
            assert_eq!(&into, message);
        }
    }
}
