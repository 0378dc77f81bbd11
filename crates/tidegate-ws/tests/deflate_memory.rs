//! What deflate holds: nothing while a session without takeover is idle, and never more than its bounds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::BytesMut;
use tidegate_ws::deflate::{Agreed, Compressor, Config, InflateError, Inflater, Level, Outcome};

/// Counts the bytes that this thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    MOST.set(MOST.get().max(HELD.get()));
}

#[expect(
    unsafe_code,
    reason = "an allocator that counts can be had in no other way"
)]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const KIB: isize = 1024;

/// What a compressing engine takes, at the largest window.
const COMPRESSING: isize = 390 * KIB;

/// What an inflating engine takes, at any window.
const INFLATING: isize = 48 * KIB;

/// What a thread keeps for all its sessions: four engines of each kind, and what they write to.
const POOL: isize = 4 * (COMPRESSING + INFLATING) + 17 * KIB;

fn held() -> isize {
    MOST.set(HELD.get());
    HELD.get()
}

fn agreed(takeover: bool, bits: u8) -> Agreed {
    Agreed {
        own_takeover: takeover,
        own_bits: bits,
        peer_takeover: takeover,
        peer_bits: bits,
    }
}

fn text() -> Vec<u8> {
    (0..200)
        .flat_map(|number| format!("{{\"number\":{number}}}").into_bytes())
        .collect()
}

#[test]
fn an_idle_session_without_takeover_holds_nothing() {
    let (agreed, config, text) = (agreed(false, 15), Config::default(), text());
    let (mut packed, mut plain) = (BytesMut::with_capacity(8192), BytesMut::with_capacity(8192));
    let mut talk = |compressor: &mut Compressor, inflater: &mut Inflater| {
        packed.clear();
        plain.clear();
        assert_eq!(compressor.compress(&text, &mut packed), Outcome::Compressed);
        inflater
            .inflate(&packed[..9], false, &mut plain, 8192)
            .unwrap();
        inflater
            .inflate(&packed[9..], true, &mut plain, 8192)
            .unwrap();
        assert_eq!(&plain[..], text);
    };
    let mut sessions = Vec::with_capacity(1000);
    talk(
        &mut Compressor::new(&agreed, &config),
        &mut Inflater::new(&agreed),
    );
    let before = held();
    for _ in 0..1000 {
        let mut session = (Compressor::new(&agreed, &config), Inflater::new(&agreed));
        talk(&mut session.0, &mut session.1);
        sessions.push(session);
    }
    assert_eq!(held(), before);
}

#[test]
fn a_session_with_takeover_holds_one_engine_each_way_once_it_needs_them() {
    let (config, text) = (Config::default(), text());
    for bits in [8, 9, 12, 15] {
        let agreed = agreed(true, bits);
        let (mut packed, mut plain) =
            (BytesMut::with_capacity(8192), BytesMut::with_capacity(8192));
        let start = held();
        let mut compressor = Compressor::new(&agreed, &config);
        let mut inflater = Inflater::new(&agreed);
        assert_eq!(
            compressor.compress(&text[..255], &mut packed),
            Outcome::AsItIs
        );
        assert_eq!(held(), start, "before a message is large enough");
        assert_eq!(compressor.compress(&text, &mut packed), Outcome::Compressed);
        let compressing = held() - start;
        inflater.inflate(&packed, true, &mut plain, 8192).unwrap();
        let inflating = held() - start - compressing;
        // The first of them on this thread also makes what they write to.
        println!("{bits} bits: {compressing} and {inflating} bytes");
        assert!(
            (0..=COMPRESSING + 17 * KIB).contains(&compressing),
            "{compressing}"
        );
        assert!((0..=INFLATING).contains(&inflating), "{inflating}");
    }
}

#[test]
fn a_thread_keeps_few_engines_whatever_its_sessions_agree_on() {
    let text = text();
    let mut packed = BytesMut::with_capacity(1 << 20);
    let start = held();
    let mut under_way = Vec::with_capacity(40);
    for level in (1..=9).filter_map(Level::new).chain([Level::FASTEST]) {
        for bits in [8, 10, 12, 15] {
            let mut config = Config::default();
            config.level = level;
            packed.clear();
            let mut compressor = Compressor::new(&agreed(false, bits), &config);
            assert_eq!(compressor.compress(&text, &mut packed), Outcome::Compressed);
            let mut inflater = Inflater::new(&agreed(false, bits));
            let mut plain = BytesMut::with_capacity(8192);
            inflater.inflate(&packed, false, &mut plain, 8192).unwrap();
            under_way.push((inflater, plain));
        }
    }
    for (mut inflater, mut plain) in under_way.drain(..) {
        inflater.inflate(b"", true, &mut plain, 8192).unwrap();
    }
    let kept = held() - start;
    assert!((0..=POOL).contains(&kept), "{kept}");
}

/// A mebibyte on the wire that would be a gibibyte.
fn bomb() -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut one = BytesMut::new();
    let mut compressor = Compressor::new(&agreed(false, 15), &Config::default());
    assert_eq!(compressor.compress(&zeros, &mut one), Outcome::Compressed);
    let blocks = [&one[..], b"\x00\x00\xff\xff"].concat();
    blocks.repeat(1024)
}

#[test]
fn a_bomb_is_stopped_while_it_inflates() {
    let bomb = bomb();
    let limit = 1 << 20;
    for takeover in [false, true] {
        for piece in [usize::MAX, 4096, 13] {
            let start = held();
            let mut inflater = Inflater::new(&agreed(takeover, 15));
            let mut into = BytesMut::new();
            let mut read = 0;
            let result = bomb.chunks(piece.min(bomb.len())).try_for_each(|piece| {
                read += piece.len();
                inflater.inflate(piece, false, &mut into, limit)
            });
            assert_eq!(result, Err(InflateError::TooBig { limit }));
            assert!(into.len() as u64 <= limit);
            // One block is a mebibyte: the next one is too much.
            assert!(piece > bomb.len() || read <= 2048 + piece, "{read}");
            let most = MOST.get() - start;
            // The buffer doubles, and the old one is there while it moves.
            let bound = 3 * limit as isize + INFLATING + 17 * KIB;
            assert!(most <= bound, "{most} bytes in pieces of {piece}");
        }
    }
}
