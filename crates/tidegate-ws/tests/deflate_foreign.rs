//! permessage-deflate with those who speak it too: Python's websockets, which uses zlib, and Node's ws.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::BytesMut;
use tidegate_ws::deflate::{
    Agreed, Compressor, Config, Inflater, Level, Outcome, accept, answered, offers,
};
use tidegate_ws::handshake::extensions;

mod corpus;

/// A process that speaks the lines told in `foreign/deflate.py`.
struct Foreign {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Foreign {
    fn python(test: &str) -> Option<Self> {
        let python = variable(test, "TIDEGATE_PYTHON")?;
        Some(Self::start(python.into(), "deflate.py"))
    }

    fn node(test: &str) -> Option<Self> {
        let _tools = variable(test, "TIDEGATE_NODE_TOOLS")?;
        Some(Self::start("node".into(), "deflate.mjs"))
    }

    fn start(program: PathBuf, script: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
        let mut child = Command::new(program)
            .arg(folder.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        Self { child, to, from }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
        self.to.flush().unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it has ended");
        line.trim_end().to_owned()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What `cargo xtask services` has set up; `None`, said aloud, when it is not there.
fn variable(test: &str, name: &str) -> Option<OsString> {
    let value = std::env::var_os(name);
    if value.is_none() {
        let words = format!("SKIPPED {test}: no {name} (run cargo xtask services)");
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{words}"
        );
        writeln!(std::io::stderr(), "{words}").ok();
    }
    value
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

/// What one side is configured to; bits are 0 where it says nothing, and 1 for no value.
#[derive(Debug, Clone, Copy)]
struct Wish {
    server_alone: bool,
    client_alone: bool,
    server_bits: u8,
    client_bits: u8,
}

impl Wish {
    fn all() -> impl Iterator<Item = Self> {
        let takeovers = [(false, false), (false, true), (true, false), (true, true)];
        let bits = [(0, 1), (9, 1), (0, 9), (12, 10), (15, 15)];
        takeovers
            .into_iter()
            .flat_map(move |(server_alone, client_alone)| {
                bits.map(|(server_bits, client_bits)| Self {
                    server_alone,
                    client_alone,
                    server_bits,
                    client_bits,
                })
            })
    }

    fn words(self) -> String {
        format!(
            "{} {} {} {}",
            u8::from(self.server_alone),
            u8::from(self.client_alone),
            self.server_bits,
            self.client_bits
        )
    }

    fn config(self) -> Config {
        let or_15 = |bits: u8| if bits < 8 { 15 } else { bits };
        let mut config = Config::default();
        config.server_no_context_takeover = self.server_alone;
        config.client_no_context_takeover = self.client_alone;
        config.server_max_window_bits = or_15(self.server_bits);
        config.client_max_window_bits = or_15(self.client_bits);
        config.threshold = 0;
        config
    }
}

/// We serve: its offer, our answer.
fn serve(foreign: &mut Foreign, theirs: Wish, ours: &Config) -> Agreed {
    foreign.tell(&format!("new client {}", theirs.words()));
    let offer = foreign.hear();
    let offered = extensions(std::iter::once(offer.as_bytes())).unwrap();
    let (agreed, answer) = accept(&offered, ours).expect("an offer that we understand");
    foreign.tell(&answer);
    assert_eq!(foreign.hear(), "agreed", "{offer} answered by {answer}");
    agreed
}

/// We call: our offers, its answer.
fn call(foreign: &mut Foreign, theirs: Wish, ours: &Config) -> Option<Agreed> {
    foreign.tell(&format!("new server {}", theirs.words()));
    let offer = offers(std::slice::from_ref(ours));
    foreign.tell(&offer);
    let answer = foreign.hear();
    if answer == "-" {
        return None;
    }
    let elements = extensions(std::iter::once(answer.as_bytes())).unwrap();
    let agreed = answered(&elements, std::slice::from_ref(ours));
    Some(
        agreed
            .unwrap_or_else(|error| panic!("{answer} to {offer}: {error}"))
            .unwrap(),
    )
}

fn messages() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = corpus::messages()
        .into_iter()
        .take(4)
        .map(String::into_bytes)
        .collect();
    all.insert(
        2,
        (0..9_000_u32)
            .flat_map(|number| (number % 977).to_be_bytes())
            .collect(),
    );
    all.push(all[0].clone());
    all
}

/// Sends messages both ways.
fn talk(foreign: &mut Foreign, agreed: &Agreed, config: &Config) {
    let mut compressor = Compressor::new(agreed, config);
    let mut inflater = Inflater::new(agreed);
    for message in messages() {
        let mut packed = BytesMut::new();
        assert_eq!(
            compressor.compress(&message, &mut packed),
            Outcome::Compressed
        );
        let (first, second) = packed.split_at(packed.len() / 3);
        foreign.tell(&format!("message {},{}", to_hex(first), to_hex(second)));
        let heard = foreign.hear();
        let (plain, pieces) = heard.split_once(' ').unwrap();
        assert!(from_hex(plain) == message, "it read something else");
        let mut into = BytesMut::new();
        let (first, second) = pieces.split_once(',').unwrap();
        let limit = message.len() as u64;
        inflater
            .inflate(&from_hex(first), false, &mut into, limit)
            .unwrap();
        inflater
            .inflate(&from_hex(second), true, &mut into, limit)
            .unwrap();
        assert!(into[..] == message[..], "we read something else");
    }
}

/// Every parameter, in both roles; `declines` tells what the foreign server does not take.
fn meet(foreign: &mut Foreign, declines: impl Fn(Wish, &Config) -> bool) {
    let ours: Vec<Config> = Wish::all().map(Wish::config).collect();
    for (place, theirs) in Wish::all().enumerate() {
        // Each of theirs with some of ours, the same among them.
        for config in ours.iter().cycle().skip(place).step_by(7).take(3) {
            let agreed = serve(foreign, theirs, config);
            talk(foreign, &agreed, config);
            let agreed = call(foreign, theirs, config);
            assert_eq!(
                agreed.is_none(),
                declines(theirs, config),
                "{theirs:?} {config:?}"
            );
            if let Some(agreed) = agreed {
                talk(foreign, &agreed, config);
            }
        }
    }
}

#[test]
fn websockets_of_python() {
    let Some(mut python) = Foreign::python("websockets_of_python") else {
        return;
    };
    meet(&mut python, |_, _| false);
}

#[test]
fn ws_of_node() {
    let Some(mut node) = Foreign::node("ws_of_node") else {
        return;
    };
    // It has no smaller window than it is configured to, and does not make it smaller.
    meet(&mut node, |theirs, ours| {
        let server =
            theirs.server_bits > ours.server_max_window_bits && ours.server_max_window_bits < 15;
        let client =
            theirs.client_bits > ours.client_max_window_bits && ours.client_max_window_bits < 15;
        server || client
    });
}

/// zlib has no compressor with a window of 256 bytes, but one that inflates.
#[test]
fn zlib_inflates_what_was_compressed_for_8_bits() {
    let test = "zlib_inflates_what_was_compressed_for_8_bits";
    let Some(mut python) = Foreign::python(test) else {
        return;
    };
    for alone in [false, true] {
        let theirs = Wish {
            server_alone: alone,
            client_alone: alone,
            server_bits: 8,
            client_bits: 1,
        };
        let mut config = Config::default();
        config.server_no_context_takeover = alone;
        config.threshold = 0;
        let agreed = serve(&mut python, theirs, &config);
        assert_eq!(agreed.own_bits, 8);
        talk(&mut python, &agreed, &config);
    }
}

#[test]
fn pythons_zlib_is_no_smaller() {
    let Some(mut python) = Foreign::python("pythons_zlib_is_no_smaller") else {
        return;
    };
    let texts: Vec<String> = corpus::messages()
        .iter()
        .map(|text| to_hex(text.as_bytes()))
        .collect();
    let texts = texts.join(",");
    for (level, takeover) in [(1, false), (1, true), (6, false), (6, true), (9, true)] {
        python.tell(&format!("sizes {level} {} 15 {texts}", u8::from(takeover)));
        let zlib: usize = python.hear().parse().unwrap();
        let agreed = Agreed {
            own_takeover: takeover,
            own_bits: 15,
            peer_takeover: takeover,
            peer_bits: 15,
        };
        let mut config = Config::default();
        config.level = Level::new(level).unwrap();
        config.threshold = 0;
        let mut compressor = Compressor::new(&agreed, &config);
        let mut ours = BytesMut::new();
        for message in corpus::messages() {
            assert_eq!(
                compressor.compress(message.as_bytes(), &mut ours),
                Outcome::Compressed
            );
        }
        assert!(
            ours.len() * 100 <= zlib * 105,
            "level {level}: {} and {zlib}",
            ours.len()
        );
    }
}
