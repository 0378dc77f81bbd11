//! JSON becomes as small as zlib makes it, within 5 %.

use bytes::BytesMut;
use tidegate_ws::deflate::{Agreed, Compressor, Config, Level};

mod corpus;

/// The size in bytes that zlib 1.2.13 (memory level 8, a sync flush behind each message, its tail left
/// out) gives the whole corpus: level, context takeover, window bits, size. The case
/// `pythons_zlib_is_no_smaller` of `deflate_foreign` asks a zlib that is there.
const ZLIB: &[(u8, bool, u8, usize)] = &[
    (1, false, 9, 238041),
    (1, false, 12, 225731),
    (1, false, 15, 225731),
    (1, true, 9, 232733),
    (1, true, 12, 162336),
    (1, true, 15, 156326),
    (2, false, 9, 236856),
    (2, false, 12, 223733),
    (2, false, 15, 223733),
    (2, true, 9, 230000),
    (2, true, 12, 156532),
    (2, true, 15, 148636),
    (3, false, 9, 236034),
    (3, false, 12, 223000),
    (3, false, 15, 223000),
    (3, true, 9, 229049),
    (3, true, 12, 154279),
    (3, true, 15, 136103),
    (4, false, 9, 226322),
    (4, false, 12, 217091),
    (4, false, 15, 217091),
    (4, true, 9, 212563),
    (4, true, 12, 143207),
    (4, true, 15, 133430),
    (5, false, 9, 226103),
    (5, false, 12, 215753),
    (5, false, 15, 215753),
    (5, true, 9, 212313),
    (5, true, 12, 139650),
    (5, true, 15, 125871),
    (6, false, 9, 226103),
    (6, false, 12, 215579),
    (6, false, 15, 215579),
    (6, true, 9, 212313),
    (6, true, 12, 136736),
    (6, true, 15, 117822),
    (7, false, 9, 226103),
    (7, false, 12, 215573),
    (7, false, 15, 215573),
    (7, true, 9, 212314),
    (7, true, 12, 135864),
    (7, true, 15, 116035),
    (8, false, 9, 226103),
    (8, false, 12, 215573),
    (8, false, 15, 215573),
    (8, true, 9, 212314),
    (8, true, 12, 135863),
    (8, true, 15, 114958),
    (9, false, 9, 226103),
    (9, false, 12, 215573),
    (9, false, 15, 215573),
    (9, true, 9, 212314),
    (9, true, 12, 135863),
    (9, true, 15, 114945),
];

fn size(level: u8, takeover: bool, bits: u8) -> usize {
    let agreed = Agreed {
        own_takeover: takeover,
        own_bits: bits,
        peer_takeover: takeover,
        peer_bits: 15,
    };
    let mut config = Config::default();
    config.level = Level::new(level).expect("a level");
    config.threshold = 0;
    let mut compressor = Compressor::new(&agreed, &config);
    let mut into = BytesMut::new();
    for message in corpus::messages() {
        let _ = compressor.compress(message.as_bytes(), &mut into);
    }
    into.len()
}

#[test]
fn json_is_as_small_as_zlib_makes_it() {
    let all: usize = corpus::messages().iter().map(String::len).sum();
    assert_eq!(all, 522_753, "the corpus is another one");
    for (level, takeover, bits, zlib) in ZLIB.iter().copied() {
        let ours = size(level, takeover, bits);
        println!("level {level}, takeover {takeover}, {bits} bits: {ours}, zlib {zlib}");
        assert!(
            ours * 100 <= zlib * 105,
            "level {level}, takeover {takeover}, {bits} bits: {ours} bytes, zlib has {zlib}"
        );
    }
}
