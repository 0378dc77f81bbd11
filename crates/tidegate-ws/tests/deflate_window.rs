//! What is compressed never refers further back than the window that was agreed on: seen by a reader of
//! DEFLATE (RFC 1951) of our own, which shares nothing with the engine.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use bytes::BytesMut;
use tidegate_ws::deflate::{Agreed, Compressor, Config, Level, Outcome};

mod corpus;

#[test]
fn no_reference_is_longer_than_the_window() {
    for bits in [8, 9, 10, 12, 15] {
        for level in [1, 3, 6, 7, 9]
            .into_iter()
            .filter_map(Level::new)
            .chain([Level::FASTEST])
        {
            for takeover in [false, true] {
                let furthest = furthest(bits, level, takeover);
                assert!(
                    furthest <= 1 << bits,
                    "{furthest} back at {bits} bits, {level:?}"
                );
                // It has a use.
                assert!(furthest > 200, "{furthest} back at {bits} bits, {level:?}");
            }
        }
    }
}

/// How far back the messages of a session refer.
fn furthest(bits: u8, level: Level, takeover: bool) -> usize {
    let agreed = Agreed {
        own_takeover: takeover,
        own_bits: bits,
        peer_takeover: takeover,
        peer_bits: bits,
    };
    let mut config = Config::default();
    config.level = level;
    let mut compressor = Compressor::new(&agreed, &config);
    let mut reader = Reader::default();
    let messages = corpus::messages();
    // Distances of all kinds: a word again after as many other bytes.
    let gaps = (0..300).flat_map(|gap| {
        let filler = messages[gap % messages.len()].bytes().cycle().take(gap);
        b"a far word "
            .iter()
            .copied()
            .chain(filler)
            .collect::<Vec<u8>>()
    });
    let gaps: Vec<u8> = gaps.collect();
    let texts = messages
        .iter()
        .take(40)
        .map(String::as_bytes)
        .chain([&gaps[..], &gaps[..]]);
    for message in texts {
        let mut packed = BytesMut::new();
        if compressor.compress(message, &mut packed) == Outcome::Compressed {
            packed.extend_from_slice(b"\x00\x00\xff\xff");
            if !takeover {
                reader.plain.clear();
            }
            let start = reader.plain.len();
            reader.read(&packed);
            assert!(reader.plain[start..] == *message, "read wrongly");
        }
    }
    reader.furthest
}

/// Reads DEFLATE without a bound on its window, and notes the longest distance.
#[derive(Default)]
struct Reader {
    plain: Vec<u8>,
    furthest: usize,
}

struct Bits<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl Bits<'_> {
    fn one(&mut self) -> usize {
        let bit = self.bytes[self.place / 8] >> (self.place % 8) & 1;
        self.place += 1;
        usize::from(bit)
    }

    fn number(&mut self, bits: usize) -> usize {
        (0..bits).map(|place| self.one() << place).sum()
    }

    /// The next symbol of a canonical code.
    fn symbol(&mut self, code: &Code) -> usize {
        let (mut word, mut first, mut passed) = (0, 0, 0);
        for count in code.counts.iter().skip(1) {
            word |= self.one();
            if word < first + count {
                return code.symbols[passed + word - first];
            }
            passed += count;
            first = (first + count) << 1;
            word <<= 1;
        }
        panic!("no such word");
    }
}

/// A canonical code: its symbols, short words first, and how many words of each length there are.
struct Code {
    symbols: Vec<usize>,
    counts: [usize; 16],
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|at| lengths[*at] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        symbols
            .iter()
            .for_each(|symbol| counts[lengths[*symbol]] += 1);
        Self { symbols, counts }
    }
}

impl Reader {
    fn read(&mut self, packed: &[u8]) {
        let mut bits = Bits {
            bytes: packed,
            place: 0,
        };
        while bits.place.div_ceil(8) < packed.len() {
            assert_eq!(bits.one(), 0, "a final block");
            match bits.number(2) {
                0 => self.stored(&mut bits),
                1 => {
                    let long = |symbol| match symbol {
                        0..144 | 280..288 => 8,
                        144..256 => 9,
                        _ => 7,
                    };
                    let lengths: Vec<usize> = (0..288).map(long).collect();
                    self.block(&mut bits, &Code::new(&lengths), &Code::new(&[5; 30]));
                }
                2 => {
                    let (literals, distances) = tables(&mut bits);
                    self.block(&mut bits, &literals, &distances);
                }
                _ => panic!("no such kind of block"),
            }
        }
    }

    fn stored(&mut self, bits: &mut Bits<'_>) {
        bits.place = bits.place.next_multiple_of(8);
        let length = bits.number(16);
        assert_eq!(bits.number(16), length ^ 0xffff);
        for _ in 0..length {
            self.plain.push(bits.number(8) as u8);
        }
    }

    fn block(&mut self, bits: &mut Bits<'_>, literals: &Code, distances: &Code) {
        loop {
            let symbol = bits.symbol(literals);
            let length = match symbol {
                0..256 => {
                    self.plain.push(symbol as u8);
                    continue;
                }
                256 => return,
                257..265 => symbol - 254,
                265..285 => {
                    let extra = (symbol - 261) / 4;
                    let base = (4 + (symbol - 261) % 4) << extra;
                    3 + base + bits.number(extra)
                }
                _ => 258,
            };
            let symbol = bits.symbol(distances);
            let distance = match symbol {
                0..2 => symbol + 1,
                _ => {
                    let extra = symbol / 2 - 1;
                    1 + ((2 + symbol % 2) << extra) + bits.number(extra)
                }
            };
            self.furthest = self.furthest.max(distance);
            for _ in 0..length {
                self.plain.push(self.plain[self.plain.len() - distance]);
            }
        }
    }
}

/// The two codes in front of a block that has its own (RFC 1951 section 3.2.7).
fn tables(bits: &mut Bits<'_>) -> (Code, Code) {
    const ORDER: [usize; 19] = [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ];
    let literals = bits.number(5) + 257;
    let distances = bits.number(5) + 1;
    let mut of_lengths = [0; 19];
    for place in ORDER.into_iter().take(bits.number(4) + 4) {
        of_lengths[place] = bits.number(3);
    }
    let of_lengths = Code::new(&of_lengths);
    let mut lengths: Vec<usize> = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match bits.symbol(&of_lengths) {
            16 => (lengths[lengths.len() - 1], 3 + bits.number(2)),
            17 => (0, 3 + bits.number(3)),
            18 => (0, 11 + bits.number(7)),
            length => (length, 1),
        };
        lengths.extend(vec![length; times]);
    }
    let distances = lengths.split_off(literals);
    (Code::new(&lengths), Code::new(&distances))
}
