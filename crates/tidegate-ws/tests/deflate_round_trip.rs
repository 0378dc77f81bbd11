//! What one side compresses, the other inflates to the same, whatever was agreed and however the
//! bytes come.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::BytesMut;
use proptest::prelude::*;
use tidegate_ws::deflate::{Agreed, Compressor, Config, InflateError, Inflater, Level, Outcome};

const LIMIT: u64 = 1 << 20;

/// A pair of ends as the two directions of one session see each other.
fn ends(takeover: bool, bits: u8, level: Level) -> (Compressor, Inflater) {
    let mut config = Config::default();
    config.level = level;
    config.threshold = 0;
    let sender = Agreed {
        own_takeover: takeover,
        own_bits: bits,
        peer_takeover: false,
        peer_bits: 15,
    };
    let receiver = Agreed {
        own_takeover: false,
        own_bits: 15,
        peer_takeover: takeover,
        peer_bits: bits,
    };
    (Compressor::new(&sender, &config), Inflater::new(&receiver))
}

/// Inflates a message in pieces cut at `cuts`.
fn inflate(inflater: &mut Inflater, packed: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (packed.len() + 1)).collect();
    cuts.sort_unstable();
    let mut whole = BytesMut::new();
    let mut start = 0;
    for cut in cuts {
        inflater
            .inflate(&packed[start..cut], false, &mut whole, LIMIT)
            .unwrap();
        start = cut;
    }
    inflater
        .inflate(&packed[start..], true, &mut whole, LIMIT)
        .unwrap();
    whole.to_vec()
}

/// A message: noise, or words that come again, within it and in others.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(prop::sample::select(WORDS), 0..2_000);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2_000),
        words.prop_map(|words| words.concat().into_bytes()),
        (any::<u8>(), 0_usize..100_000).prop_map(|(byte, times)| vec![byte; times]),
    ]
}

const WORDS: &[&str] = &[
    "{\"id\":",
    "\"price\":",
    "17.25",
    "true",
    "},",
    "\"quay\"",
    "tide",
    "\u{1f6a2}",
    "gate",
    "[",
];

fn level() -> impl Strategy<Value = Level> {
    (0_u8..=9).prop_map(|level| Level::new(level).unwrap_or(Level::FASTEST))
}

proptest! {
    #[test]
    fn any_messages_come_out_as_they_went_in(
        messages in prop::collection::vec((message(), prop::collection::vec(any::<usize>(), 0..4)), 1..6),
        takeover in any::<bool>(),
        bits in 8_u8..=15,
        level in level(),
    ) {
        let (mut compressor, mut inflater) = ends(takeover, bits, level);
        for (message, cuts) in messages {
            let mut packed = BytesMut::from(&b"head"[..]);
            match compressor.compress(&message, &mut packed) {
                Outcome::AsItIs => prop_assert_eq!(&packed[..], b"head"),
                Outcome::Compressed => {
                    prop_assert!(takeover || packed.len() - 4 < message.len());
                    prop_assert_eq!(inflate(&mut inflater, &packed[4..], &cuts), message);
                }
            }
        }
    }

    #[test]
    fn any_bytes_inflate_the_same_under_any_cut(
        packed in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(any::<usize>(), 1..5),
        takeover in any::<bool>(),
        limit in 0_u64..2_000,
    ) {
        let whole = |cuts: &[usize]| {
            let (_, mut inflater) = ends(takeover, 15, Level::default());
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (packed.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(packed.len());
            let mut into = BytesMut::new();
            let mut start = 0;
            for (place, cut) in cuts.iter().enumerate() {
                inflater.inflate(&packed[start..*cut], place + 1 == cuts.len(), &mut into, limit)?;
                start = *cut;
            }
            Ok::<_, InflateError>(into)
        };
        prop_assert_eq!(whole(&cuts), whole(&[]));
    }
}

#[test]
fn a_message_larger_than_what_is_inflated_at_once() {
    for takeover in [false, true] {
        let (mut compressor, mut inflater) = ends(takeover, 15, Level::default());
        for size in [16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 48 * 1024, 700_001] {
            let message: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
            let mut packed = BytesMut::new();
            let outcome = compressor.compress(&message, &mut packed);
            assert_eq!(outcome, Outcome::Compressed);
            assert!(
                inflate(&mut inflater, &packed, &[1, 100]) == message,
                "{size}"
            );
        }
    }
}

#[test]
fn sessions_without_takeover_share_no_context() {
    let secret = b"a secret that another session sent, and that is long enough to be found again";
    let (mut first, _) = ends(false, 15, Level::default());
    let (mut second, mut inflater) = ends(false, 15, Level::default());
    let mut alone = BytesMut::new();
    assert_eq!(first.compress(secret, &mut alone), Outcome::Compressed);
    let mut after = BytesMut::new();
    assert_eq!(second.compress(secret, &mut after), Outcome::Compressed);
    assert_eq!(after, alone);
    assert_eq!(inflate(&mut inflater, &after, &[]), secret);
}

#[test]
fn a_message_below_the_threshold_is_left_alone() {
    let agreed = Agreed {
        own_takeover: true,
        own_bits: 15,
        peer_takeover: true,
        peer_bits: 15,
    };
    let mut compressor = Compressor::new(&agreed, &Config::default());
    let mut into = BytesMut::new();
    assert_eq!(
        compressor.compress(&[b'a'; 255], &mut into),
        Outcome::AsItIs
    );
    assert!(into.is_empty());
    assert_eq!(
        compressor.compress(&[b'a'; 256], &mut into),
        Outcome::Compressed
    );
}
