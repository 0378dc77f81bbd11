//! Messages out of bytes: the same under any cut, as another implementation has them, and back.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::io::{self, Read, Write};

use bytes::BytesMut;
use proptest::prelude::*;
use tidegate_ws::codec::{Decoder, Encoder, Event, Role};
use tidegate_ws::deflate::{Agreed, Config};
use tidegate_ws::frame::{FrameHeader, MAX_HEADER, OpCode, Violation, apply_mask};
use tidegate_ws::{Close, Limits, Message};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Error, WebSocket};

const AGREED: Agreed = Agreed {
    own_takeover: false,
    own_bits: 15,
    peer_takeover: false,
    peer_bits: 15,
};

const TAKEOVER: Agreed = Agreed {
    own_takeover: true,
    own_bits: 15,
    peer_takeover: true,
    peer_bits: 15,
};

type Outcome = (Vec<Event>, Option<Violation>);

/// What comes of `stream` in reads of the lengths in `steps`, again and again.
fn decode(mut decoder: Decoder, stream: &[u8], steps: &[usize]) -> Outcome {
    let (mut events, mut held, mut rest) = (Vec::new(), Vec::new(), stream);
    for step in steps.iter().cycle() {
        let (piece, later) = rest.split_at((*step).min(rest.len()));
        held.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut held) {
                Ok(decoded) => {
                    held.drain(..decoded.used);
                    match decoded.event {
                        None => break,
                        Some(close @ Event::Close(_)) => {
                            events.push(close);
                            return (events, None);
                        }
                        Some(event) => events.push(event),
                    }
                }
                Err(violation) => return (events, Some(violation)),
            }
        }
        assert!(held.len() <= 138, "{} bytes are left over", held.len());
        if later.is_empty() {
            return (events, None);
        }
        rest = later;
    }
    (events, None)
}

#[derive(Debug, Clone)]
struct Sent {
    opcode: u8,
    fin: bool,
    reserved: u8,
    payload: Vec<u8>,
    mask: Option<[u8; 4]>,
}

fn opcode() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => prop::sample::select(vec![0, 0, 1, 1, 2, 2, 9, 10]),
        1 => Just(8),
        1 => 0..16_u8,
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "\\PC{0,40}".prop_map(String::into_bytes),
        2 => "[a-z\u{e4}]{100,300}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => Just(Vec::new()),
        1 => (0..5000_u16, "[ -~]{0,130}").prop_map(|(code, reason)| {
            [&code.to_be_bytes()[..], reason.as_bytes()].concat()
        }),
    ]
}

/// Frames as a client sends them, most of them right.
fn sent() -> impl Strategy<Value = Sent> {
    let reserved = prop_oneof![30 => Just(0), 1 => 0..8_u8];
    let mask = prop_oneof![40 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
    let wild = prop_oneof![30 => Just(false), 1 => Just(true)];
    (opcode(), any::<bool>(), reserved, payload(), mask, wild).prop_map(
        |(opcode, fin, reserved, mut payload, mask, is_wild)| {
            if opcode >= 8 && !is_wild {
                payload.truncate(125);
            }
            let fin = fin || opcode >= 8 && !is_wild;
            Sent {
                opcode,
                fin,
                reserved,
                payload,
                mask,
            }
        },
    )
}

fn wire(frames: &[Sent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        let header = FrameHeader {
            fin: frame.fin,
            reserved: frame.reserved,
            opcode: OpCode::Binary,
            mask: frame.mask,
            length: frame.payload.len() as u64,
        };
        let mut start = [0; MAX_HEADER];
        let size = header.write(&mut start);
        start[0] = start[0] & 0xf0 | frame.opcode;
        bytes.extend_from_slice(&start[..size]);
        let from = bytes.len();
        bytes.extend_from_slice(&frame.payload);
        apply_mask(&mut bytes[from..], frame.mask.unwrap_or_default(), 0);
    }
    bytes
}

/// A connection that has nothing more to say after `0`, and takes everything.
struct Said(io::Cursor<Vec<u8>>);

impl Read for Said {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of it, and whether it refuses.
fn theirs(stream: Vec<u8>) -> (Vec<Event>, bool) {
    let config = WebSocketConfig::default().max_message_size(Some(1 << 20));
    let stream = Said(io::Cursor::new(stream));
    let mut socket = WebSocket::from_raw_socket(stream, TheirRole::Server, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Event::Message(Message::text(text.to_string())),
            Ok(tungstenite::Message::Binary(bytes)) => Event::Message(Message::Binary(bytes)),
            Ok(tungstenite::Message::Ping(bytes)) => Event::Message(Message::Ping(bytes)),
            Ok(tungstenite::Message::Pong(bytes)) => Event::Message(Message::Pong(bytes)),
            Ok(tungstenite::Message::Close(close)) => {
                let Some(close) = close else {
                    events.push(Event::Close(Close::default()));
                    return (events, false);
                };
                // So it tells of a code that must not be.
                if close.reason == "Protocol violation" {
                    return (events, true);
                }
                let close = Close::new(close.code.into(), close.reason.to_string());
                events.push(Event::Close(close));
                return (events, false);
            }
            Ok(other) => panic!("{other:?}"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (events, false);
            }
            Err(_refused) => return (events, true),
        });
    }
}

fn server() -> Decoder {
    Decoder::new(Role::Server, &Limits::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn as_tungstenite_has_it(frames in prop::collection::vec(sent(), 0..12)) {
        let stream = wire(&frames);
        let (events, violation) = decode(server(), &stream, &[stream.len().max(1)]);
        let (expected, refuses) = theirs(stream);
        prop_assert_eq!(&events, &expected);
        prop_assert_eq!(violation.is_some(), refuses, "{:?}", violation);
    }

    #[test]
    fn the_same_under_any_cut(
        frames in prop::collection::vec(sent(), 0..12),
        steps in prop::collection::vec(1..60_usize, 1..8),
    ) {
        let stream = wire(&frames);
        let at_once = decode(server(), &stream, &[stream.len().max(1)]);
        prop_assert_eq!(&decode(server(), &stream, &steps), &at_once);
        prop_assert_eq!(&decode(server(), &stream, &[1]), &at_once);
    }

    #[test]
    fn any_bytes_are_judged_alike(
        stream in prop::collection::vec(any::<u8>(), 0..200),
        steps in prop::collection::vec(1..20_usize, 1..5),
    ) {
        let at_once = decode(server(), &stream, &[stream.len().max(1)]);
        prop_assert_eq!(decode(server(), &stream, &steps), at_once);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// What is written is read again, in fragments with control frames between, compressed or not.
    #[test]
    fn a_round_trip(
        messages in prop::collection::vec(message(), 1..8),
        is_client in any::<bool>(),
        deflate in prop::sample::select(vec![None, Some(AGREED), Some(TAKEOVER)]),
        cut in prop::option::of(1..200_usize),
        steps in prop::collection::vec(1..6000_usize, 1..8),
    ) {
        let (own, peer) = if is_client {
            (Role::Client, Role::Server)
        } else {
            (Role::Server, Role::Client)
        };
        let mut limits = Limits::default();
        // A large message may be cut into single bytes.
        limits.max_parts = 40_000;
        let (mut encoder, mut decoder) = (Encoder::new(own), Decoder::new(peer, &limits));
        if let Some(agreed) = &deflate {
            let mut config = Config::default();
            config.threshold = 16;
            encoder = encoder.with_deflate(agreed, &config);
            decoder = decoder.with_deflate(agreed);
        }
        let mut stream = BytesMut::new();
        for message in &messages {
            encoder.encode(message, &mut stream).unwrap();
        }
        let (stream, pings) = match cut {
            Some(cut) => fragmented(&stream, cut),
            None => (stream.to_vec(), 0),
        };
        let (events, violation) = decode(decoder, &stream, &steps);
        prop_assert_eq!(violation, None);
        let of_ours = |event: &Event| *event != Event::Message(Message::Ping("between".into()));
        let messages: Vec<Event> = messages.into_iter().map(Event::Message).collect();
        prop_assert_eq!(events.len(), messages.len() + pings);
        prop_assert_eq!(events.into_iter().filter(of_ours).collect::<Vec<_>>(), messages);
    }
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,400}".prop_map(Message::text),
        "[ab]{0,3000}".prop_map(Message::text),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Message::binary),
        (any::<u8>(), 17000..40000_usize).prop_map(|(byte, length)| {
            Message::binary(
                (0..length)
                    .map(|at| byte ^ (at / 7) as u8)
                    .collect::<Vec<u8>>(),
            )
        }),
        prop::collection::vec(any::<u8>(), 0..125).prop_map(|bytes| Message::Ping(bytes.into())),
        prop::collection::vec(any::<u8>(), 0..125).prop_map(|bytes| Message::Pong(bytes.into())),
    ]
}

/// The same messages in frames of at most `cut` bytes, a ping behind each but the last; and how many
/// pings that are.
fn fragmented(mut stream: &[u8], cut: usize) -> (Vec<u8>, usize) {
    let (mut frames, mut pings) = (Vec::new(), 0);
    while let Some((header, size)) = FrameHeader::parse(stream).unwrap() {
        let (payload, rest) = stream[size..].split_at(usize::try_from(header.length).unwrap());
        stream = rest;
        let mut payload = payload.to_vec();
        apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
        let frame = |opcode: OpCode, fin, reserved, payload: &[u8]| Sent {
            opcode: opcode as u8,
            fin,
            reserved,
            payload: payload.to_vec(),
            mask: header.mask,
        };
        if header.opcode.is_control() || payload.is_empty() {
            frames.push(frame(header.opcode, true, header.reserved, &payload));
            continue;
        }
        let last = payload.len().div_ceil(cut) - 1;
        for (place, piece) in payload.chunks(cut).enumerate() {
            let first = place == 0;
            let opcode = if first {
                header.opcode
            } else {
                OpCode::Continuation
            };
            let reserved = if first { header.reserved } else { 0 };
            frames.push(frame(opcode, place == last, reserved, piece));
            if place != last {
                frames.push(frame(OpCode::Ping, true, 0, b"between"));
                pings += 1;
            }
        }
    }
    (wire(&frames), pings)
}

fn limits(max_message: u64) -> Limits {
    Limits::new().with_max_message(max_message)
}

#[test]
fn declared_lengths_are_judged_before_anything_comes() {
    let declared = |opcode, fin, length| {
        let mut bytes = [0; MAX_HEADER];
        let size = FrameHeader {
            fin,
            reserved: 0,
            opcode,
            mask: Some([0; 4]),
            length,
        }
        .write(&mut bytes);
        bytes[..size].to_vec()
    };
    let one = declared(OpCode::Binary, true, 1 << 62);
    let (_, violation) = decode(Decoder::new(Role::Server, &limits(1000)), &one, &[1]);
    assert_eq!(violation.map(Violation::close_code), Some(1009));
    let mut two = declared(OpCode::Binary, false, 600);
    two.extend_from_slice(&[0; 600]);
    two.extend(declared(OpCode::Continuation, false, 600));
    let (_, violation) = decode(Decoder::new(Role::Server, &limits(1000)), &two, &[2000]);
    let expected = Violation::MessageTooBig {
        length: 1200,
        limit: 1000,
    };
    assert_eq!(violation, Some(expected));
}

#[test]
fn a_message_of_too_many_parts_is_refused() {
    let part = |opcode: OpCode, fin| Sent {
        opcode: opcode as u8,
        fin,
        reserved: 0,
        payload: Vec::new(),
        mask: Some([1; 4]),
    };
    for (more, expected) in [
        (16 * 1024 - 1, None),
        (16 * 1024, Some(Violation::TooManyParts(16 * 1024))),
    ] {
        let mut frames = vec![part(OpCode::Binary, false)];
        frames.extend(vec![part(OpCode::Continuation, false); more - 1]);
        frames.push(part(OpCode::Continuation, true));
        let (events, violation) = decode(server(), &wire(&frames), &[1 << 20]);
        assert_eq!(violation, expected);
        assert_eq!(events.len(), usize::from(expected.is_none()));
    }
}

#[test]
fn what_is_kept_pins_at_most_twice_its_size() {
    for (length, fragment, step) in [
        (1, 1, 1),
        (100, 7, 3),
        (5000, 1, 64 << 10),
        (5000, 4096, 1000),
        (100_000, 100_000, 32 << 10),
        (70_001, 10_000, 32 << 10),
        ((1 << 20) - 5, 1 << 20, 9000),
    ] {
        let mut encoder = Encoder::new(Role::Client);
        let mut stream = BytesMut::new();
        let sent = Message::binary(vec![9; length]);
        encoder.encode(&sent, &mut stream).unwrap();
        let (stream, _) = fragmented(&stream, fragment);
        let mut limits = Limits::default();
        limits.max_parts = u32::MAX;
        let (events, violation) = decode(Decoder::new(Role::Server, &limits), &stream, &[step]);
        assert_eq!(violation, None);
        let Some(Event::Message(message)) = events.into_iter().last() else {
            panic!("no message");
        };
        let payload = message.into_payload();
        assert_eq!(payload.len(), length);
        // The only handle on it, so that this is the buffer itself.
        let pinned = BytesMut::from(payload).capacity();
        assert!(pinned <= 2 * length, "{length} bytes pin {pinned}");
    }
}

#[test]
fn a_bomb_is_stopped_while_it_inflates() {
    let mut config = Config::default();
    config.threshold = 0;
    let mut encoder = Encoder::new(Role::Client).with_deflate(&AGREED, &config);
    let mut stream = BytesMut::new();
    let bomb = Message::binary(vec![0; 64 << 20]);
    encoder.encode(&bomb, &mut stream).unwrap();
    assert!(stream.len() < 100 << 10, "{}", stream.len());
    let decoder = Decoder::new(Role::Server, &limits(1 << 20)).with_deflate(&AGREED);
    let (events, violation) = decode(decoder, &stream, &[1 << 20]);
    assert!(events.is_empty());
    assert_eq!(violation.map(Violation::close_code), Some(1009));
}

#[test]
fn compressed_text_is_judged_too() {
    let mut config = Config::default();
    config.threshold = 0;
    let mut encoder = Encoder::new(Role::Client).with_deflate(&AGREED, &config);
    let mut stream = BytesMut::new();
    let mut wrong = vec![b'a'; 2000];
    wrong[1500] = 0xff;
    encoder
        .encode(&Message::binary(wrong), &mut stream)
        .unwrap();
    // RSV1 and text, rather than binary.
    assert_eq!(stream[0], 0b1100_0010);
    stream[0] = 0b1100_0001;
    for step in [1, 1 << 20] {
        let decoder = Decoder::new(Role::Server, &Limits::default()).with_deflate(&AGREED);
        assert_eq!(
            decode(decoder, &stream, &[step]),
            (vec![], Some(Violation::Text))
        );
    }
}

#[test]
fn controls_that_are_too_long_are_not_written() {
    let mut encoder = Encoder::new(Role::Server);
    let mut stream = BytesMut::new();
    let ping = Message::Ping(vec![0; 126].into());
    assert!(encoder.encode(&ping, &mut stream).is_err());
    assert!(stream.is_empty());
}

#[test]
fn a_close_that_must_not_stand_on_the_wire_is_written_as_one_that_may() {
    for code in 0..=u16::MAX {
        let mut bytes = BytesMut::new();
        Encoder::new(Role::Client).close(&Close::new(code, "bye"), &mut bytes);
        let (events, violation) = decode(
            Decoder::new(Role::Server, &Limits::default()),
            &bytes,
            &[1 << 10],
        );
        let expected = match code {
            1005 => Close::default(),
            1000..=1003 | 1007..=1014 | 3000..=4999 => Close::new(code, "bye"),
            _ => Close::new(1011, "bye"),
        };
        assert_eq!((events, violation), (vec![Event::Close(expected)], None));
    }
}
