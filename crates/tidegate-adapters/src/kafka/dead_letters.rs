//! Records that are no events, on their way to where somebody may look at them. Nobody waits for that: a
//! topic that takes nothing costs the letters alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use tidegate::bus::{BusError, EventId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::producer::{Outgoing, Producer};
use super::record::ID;

/// Letters that may wait.
const MOST_WAITING: usize = 256;
/// The most bytes of them.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How long one may wait for brokers that do not answer, and how soon it is tried again.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(500);

/// What the record itself said was its event's name.
const ITS_ID: &str = "tidegate-origin-id";

/// The way there.
#[derive(Debug)]
pub(super) struct DeadLetters {
    topic: Arc<str>,
    waiting: mpsc::Sender<Outgoing>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
    /// Of those that wait.
    bytes: AtomicU64,
}

/// Who writes them.
pub(super) struct Writing {
    waiting: mpsc::Receiver<Outgoing>,
    counts: Arc<Counts>,
}

impl DeadLetters {
    pub(super) fn new(topic: Arc<str>) -> (Self, Writing) {
        let (sender, waiting) = mpsc::channel(MOST_WAITING);
        let counts = Arc::new(Counts::default());
        let writing = Writing {
            waiting,
            counts: Arc::clone(&counts),
        };
        let letters = Self {
            topic,
            waiting: sender,
            counts,
        };
        (letters, writing)
    }

    /// Leaves a record there, or counts it where there is no room.
    pub(super) fn leave(&self, message: &impl Message, identity: Option<&[u8]>, what: &str) {
        let letter = letter(&self.topic, message, identity, what);
        let size = size(&letter);
        let before = self.counts.bytes.fetch_add(size, Ordering::Relaxed);
        let has_room = before == 0 || before + size <= MOST_BYTES as u64;
        if has_room && self.waiting.try_send(letter).is_ok() {
            return;
        }
        self.counts.bytes.fetch_sub(size, Ordering::Relaxed);
        self.counts.lost("too many wait already");
    }

    /// How many are there, and how many are not.
    pub(super) fn counts(&self) -> [(&'static str, u64); 2] {
        [
            ("written", self.counts.written.load(Ordering::Relaxed)),
            ("lost", self.counts.lost.load(Ordering::Relaxed)),
        ]
    }
}

impl Counts {
    fn lost(&self, why: &str) {
        // Every record that is no event is in the log already.
        match self.lost.fetch_add(1, Ordering::Relaxed) {
            0 => tracing::error!(why, "a record is not among the dead letters either"),
            _ => tracing::debug!(why, "a record is not among the dead letters either"),
        }
    }
}

impl Writing {
    /// Writes until the end; what waits then is handed over, and sent with the producer's last words.
    pub(super) async fn run(mut self, producer: &Producer, end: CancellationToken) {
        loop {
            let letter = tokio::select! {
                biased;
                () = end.cancelled() => break,
                letter = self.waiting.recv() => match letter {
                    Some(letter) => letter,
                    None => return,
                },
            };
            let deadline = Instant::now() + PATIENCE;
            let written = tokio::select! {
                biased;
                () = end.cancelled() => Err(BusError::Unreachable),
                written = write(producer, &letter, deadline) => written,
            };
            self.counts
                .bytes
                .fetch_sub(size(&letter), Ordering::Relaxed);
            match written {
                Ok(()) => _ = self.counts.written.fetch_add(1, Ordering::Relaxed),
                Err(error) => self.counts.lost(&error.to_string()),
            }
        }
        while let Ok(letter) = self.waiting.try_recv() {
            let _ = producer.hand_over(&letter);
        }
    }
}

/// Tries it while it may help.
async fn write(producer: &Producer, letter: &Outgoing, deadline: Instant) -> Result<(), BusError> {
    loop {
        let written = tokio::select! {
            written = producer.send(letter) => written,
            () = sleep_until(deadline) => return Err(BusError::Unreachable),
        };
        match written {
            Err(BusError::Unreachable | BusError::Full) => sleep(AGAIN).await,
            done => return done.map(|_place| ()),
        }
    }
}

fn size(letter: &Outgoing) -> u64 {
    let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    (of(&letter.key) + of(&letter.value)) as u64
}

/// The record as it was, with what is known of it, and a name that it has from every gateway that reads it.
fn letter(
    topic: &Arc<str>,
    message: &impl Message,
    identity: Option<&[u8]>,
    what: &str,
) -> Outgoing {
    let (from, number, offset) = (message.topic(), message.partition(), message.offset());
    let origin = format!("{from}/{number}/{offset}");
    let whole = [identity.unwrap_or_default(), b"\0", origin.as_bytes()].concat();
    let hash = digest(&SHA256, &whole);
    let id = EventId::of_bytes(*hash.as_ref().first_chunk().unwrap_or(&[0; 16]));
    let header = |key, value| Header {
        key,
        value: Some(value),
    };
    let id = id.to_string();
    let headers = OwnedHeaders::new().insert(header(ID, &id));
    let its = message.headers().map(Headers::iter);
    let headers = its.into_iter().flatten().fold(headers, |headers, mut one| {
        if one.key == ID {
            one.key = ITS_ID;
        }
        headers.insert(one)
    });
    let headers = headers.insert(header("tidegate-origin", &origin));
    Outgoing {
        topic: Arc::clone(topic),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.insert(header("tidegate-error", &what.to_owned())),
        time: SystemTime::now(),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn record(size: usize) -> OwnedMessage {
        let value = Some(vec![0; size]);
        OwnedMessage::new(value, None, "t".into(), Timestamp::NotAvailable, 0, 7, None)
    }

    #[test]
    fn what_has_no_room_is_counted_and_not_waited_for() {
        let (letters, mut writing) = DeadLetters::new("dead".into());
        for _ in 0..MOST_WAITING + 3 {
            letters.leave(&record(1), None, "it is none");
        }
        assert_eq!(letters.counts(), [("written", 0), ("lost", 3)]);
        let first = writing.waiting.try_recv().unwrap();
        assert_eq!(&*first.topic, "dead");
        assert_eq!(first.value.as_deref(), Some(&[0][..]));
    }

    #[test]
    fn large_ones_take_their_room() {
        let (letters, _writing) = DeadLetters::new("dead".into());
        for _ in 0..3 {
            letters.leave(&record(MOST_BYTES / 2), None, "it is none");
        }
        assert_eq!(letters.counts(), [("written", 0), ("lost", 1)]);
    }

    /// Each gateway that reads it leaves one.
    #[test]
    fn a_letter_has_one_name_from_whomever_it_is() {
        let named = |identity, topic: &str, offset| {
            let its = OwnedHeaders::new().insert(Header {
                key: ID,
                value: Some("mine"),
            });
            let time = Timestamp::now();
            let record = OwnedMessage::new(None, None, topic.into(), time, 0, offset, Some(its));
            let letter = letter(&"dead".into(), &record, identity, "it is none");
            let header = |name| {
                let mut all = letter.headers.iter().filter(|header| header.key == name);
                let one = all
                    .next()
                    .and_then(|header| header.value)
                    .map(<[u8]>::to_vec);
                assert!(all.next().is_none(), "{name} is there twice");
                one.map(|value| String::from_utf8(value).unwrap())
            };
            assert_eq!(header(ITS_ID).as_deref(), Some("mine"));
            header(ID).unwrap()
        };
        let first = named(Some(b"id"), "t", 7);
        assert!(first.parse::<EventId>().is_ok(), "{first}");
        assert_eq!(named(Some(b"id"), "t", 7), first);
        for other in [
            named(Some(b"id"), "t", 8),
            named(Some(b"id"), "s", 7),
            named(Some(b"other"), "t", 7),
            named(None, "t", 7),
        ] {
            assert_ne!(other, first);
        }
    }
}
