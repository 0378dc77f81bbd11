//! JSON as applications send it over WebSockets, the same on every run and every machine.

use std::fmt::Write as _;

const NAMES: &[&str] = &[
    "Anna", "Bruno", "Chiara", "David", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Karla",
    "Lena", "Mats", "Nora", "Omar", "Paula",
];
const TOPICS: &[&str] = &["price", "order", "chat", "presence", "alarm", "job"];
const ROLES: &[&str] = &["admin", "trader", "reader", "support"];
const WORDS: &[&str] = &[
    "the", "tide", "gate", "opens", "when", "water", "rises", "and", "every", "vessel", "waits",
    "its", "turn", "in", "line", "while", "lights", "along", "quay", "turn", "green", "für", "não",
];

/// A sequence of numbers without a pattern that a compressor could find (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

/// 500 messages of 200 bytes to 2.5 KiB, of 1 KiB on average.
pub(crate) fn messages() -> Vec<String> {
    let mut numbers = Numbers(7692);
    (0..500).map(|_| message(&mut numbers)).collect()
}

fn message(numbers: &mut Numbers) -> String {
    let mut text = String::new();
    let (topic, name) = (numbers.one_of(TOPICS), numbers.one_of(NAMES));
    let (id, user) = (numbers.next(), numbers.below(100_000));
    let [day, hour, minute, milli] = [28, 24, 60, 1000].map(|end| numbers.below(end));
    let role = numbers.one_of(ROLES);
    write!(
        text,
        r#"{{"id":"{id:016x}","type":"{topic}.changed","time":"2026-03-{:02}T{hour:02}:{minute:02}:00.{milli:03}Z","user":{{"id":{user},"name":"{name}","roles":["{role}"]}},"items":["#,
        day + 1,
    )
    .expect("a string takes everything");
    for place in 0..=numbers.below(19) {
        let comma = if place == 0 { "" } else { "," };
        let [sku, quantity, cents] = [9_000, 20, 20_000].map(|end| numbers.below(end));
        let words: Vec<&str> = (0..3 + numbers.below(8))
            .map(|_| numbers.one_of(WORDS))
            .collect();
        write!(
            text,
            r#"{comma}{{"sku":"T-{}","quantity":{quantity},"price":{}.{:02},"text":"{}"}}"#,
            sku + 1000,
            cents / 100,
            cents % 100,
            words.join(" "),
        )
        .expect("a string takes everything");
    }
    text.push_str("]}");
    text
}
