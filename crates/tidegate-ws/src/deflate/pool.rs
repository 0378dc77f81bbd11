//! What sessions without context takeover share: engines that lie idle, one pool for each thread.

use std::cell::Cell;

use zlib_rs::{Deflate, DeflateConfig, Inflate};

use crate::deflate::{Level, MAX_WINDOW_BITS};

/// How many engines of a kind a thread keeps: more than one, because windows and levels differ, and
/// because messages in fragments are inflated beside each other.
const KEPT: usize = 4;

/// What an engine writes at once, in bytes.
const CHUNK: usize = 16 * 1024;

thread_local! {
    static COMPRESSORS: Cell<Vec<CompressEngine>> = const { Cell::new(Vec::new()) };
    static INFLATERS: Cell<Vec<InflateEngine>> = const { Cell::new(Vec::new()) };
    static CHUNKS: Cell<Option<Chunk>> = const { Cell::new(None) };
}

/// Where engines write, before what they wrote is appended to a message: so no buffer is filled with
/// zeros for every message, and none grows by more than was written.
pub(super) type Chunk = Box<[u8; CHUNK]>;

/// Runs `work` with the thread's chunk.
pub(super) fn with_chunk<T>(work: impl FnOnce(&mut [u8; CHUNK]) -> T) -> T {
    let kept = CHUNKS.try_with(Cell::take).ok().flatten();
    let mut chunk = kept.unwrap_or_else(|| Box::new([0; CHUNK]));
    let done = work(&mut chunk);
    // A thread that ends has no pool any more.
    let _ = CHUNKS.try_with(|chunks| chunks.set(Some(chunk)));
    done
}

/// An engine that compresses, with what it was made for.
pub(super) struct CompressEngine {
    level: Level,
    bits: u8,
    pub(super) deflate: Box<Deflate>,
}

impl CompressEngine {
    pub(super) fn new(level: Level, bits: u8) -> Self {
        let config = DeflateConfig {
            level: level.of_engine(),
            // Raw DEFLATE is asked for by a negative number. For 8 bits see `Compressor`.
            window_bits: -i32::from(bits.clamp(9, MAX_WINDOW_BITS)),
            ..DeflateConfig::default()
        };
        Self {
            level,
            bits,
            deflate: Box::new(Deflate::new_with_config(config)),
        }
    }

    /// One without a context, from the pool if it has one.
    pub(super) fn take(level: Level, bits: u8) -> Self {
        let fits = |engine: &Self| engine.level == level && engine.bits == bits;
        take(&COMPRESSORS, fits).unwrap_or_else(|| Self::new(level, bits))
    }

    /// Forgets its context and goes back to the pool.
    pub(super) fn give_back(mut self) {
        self.deflate.reset();
        give_back(&COMPRESSORS, self);
    }
}

/// An engine that inflates. It has the largest window, which serves any that was agreed on.
pub(super) struct InflateEngine(pub(super) Box<Inflate>);

impl InflateEngine {
    pub(super) fn new() -> Self {
        Self(Box::new(Inflate::new(false, MAX_WINDOW_BITS)))
    }

    /// One without a context, from the pool if it has one.
    pub(super) fn take() -> Self {
        take(&INFLATERS, |_any| true).unwrap_or_else(Self::new)
    }

    /// Forgets its context and goes back to the pool.
    pub(super) fn give_back(mut self) {
        self.0.reset(false);
        give_back(&INFLATERS, self);
    }
}

type Pool<E> = std::thread::LocalKey<Cell<Vec<E>>>;

fn take<E>(pool: &'static Pool<E>, fits: impl Fn(&E) -> bool) -> Option<E> {
    let taken = pool.try_with(|pool| {
        let mut engines = pool.take();
        let place = engines.iter().rposition(fits);
        let engine = place.map(|place| engines.remove(place));
        pool.set(engines);
        engine
    });
    taken.ok().flatten()
}

/// The one that was not needed for longest gives way.
fn give_back<E>(pool: &'static Pool<E>, engine: E) {
    let _ = pool.try_with(|pool| {
        let mut engines = pool.take();
        if engines.len() == KEPT {
            engines.remove(0);
        }
        engines.push(engine);
        pool.set(engines);
    });
}
