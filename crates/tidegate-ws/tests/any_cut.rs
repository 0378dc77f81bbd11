//! However a stream is cut into reads: the same frames are told, the same bytes go on, the verdict
//! is the same, and frames of ours would stand between frames alone.

use proptest::prelude::*;
use tidegate_ws::close::CloseFrame;
use tidegate_ws::frame::{FrameHeader, MAX_HEADER, OpCode, Violation, apply_mask};
use tidegate_ws::scan::{Extensions, MAX_HELD, Observer, Rules, Scanner, Sender};

/// What the observer is told, in order.
#[derive(Debug, Default, PartialEq)]
struct Told {
    frames: Vec<(OpCode, u64, bool)>,
    controls: Vec<(OpCode, Vec<u8>)>,
    own: usize,
    close: Option<(Option<u16>, String)>,
}

impl Observer for Told {
    fn is_own(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        let is_own = opcode == OpCode::Pong && payload.len() == 8;
        self.own += usize::from(is_own);
        is_own
    }
    fn on_frame(&mut self, header: &FrameHeader) -> Result<(), Violation> {
        self.frames.push((header.opcode, header.length, header.fin));
        Ok(())
    }
    fn on_control(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        self.controls.push((opcode, payload.to_vec()));
        opcode != OpCode::Ping || payload.len().is_multiple_of(2)
    }
    fn on_close(&mut self, close: CloseFrame<'_>) -> bool {
        self.close = Some((close.code, close.reason.to_owned()));
        true
    }
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    passed: Vec<u8>,
    violation: Option<Violation>,
    is_whole: bool,
    told: Told,
}

/// Feeds `stream`, cut into pieces of the lengths in `steps`, again and again.
fn relay(rules: Rules, stream: &[u8], steps: &[usize]) -> (Outcome, Vec<usize>) {
    let mut scanner = Scanner::new();
    let (mut outcome, mut gaps, mut held) = (Outcome::default(), Vec::new(), Vec::new());
    let mut rest = stream;
    for step in steps.iter().cycle() {
        if rest.is_empty() || outcome.violation.is_some() || scanner.is_closed() {
            break;
        }
        let (piece, later) = rest.split_at((*step).min(rest.len()));
        rest = later;
        held.extend_from_slice(piece);
        let scan = scanner.scan(&rules, &mut held, &mut outcome.told);
        assert!(scan.pass <= scan.hold_from && scan.hold_from <= held.len());
        assert!(scan.gap.is_none_or(|gap| gap <= scan.pass));
        gaps.extend(scan.gap.map(|gap| outcome.passed.len() + gap));
        outcome.passed.extend_from_slice(&held[..scan.pass]);
        held.drain(..scan.hold_from);
        assert!(held.len() <= MAX_HELD, "more is held back than promised");
        outcome.violation = scan.violation;
    }
    outcome.is_whole = scanner.at_boundary();
    (outcome, gaps)
}

/// Where the frames in `bytes` begin and end.
fn boundaries(mut bytes: &[u8]) -> Vec<usize> {
    let (whole, mut all) = (bytes.len(), vec![0]);
    while let Ok(Some((header, size))) = FrameHeader::parse(bytes) {
        let Some(rest) = bytes.get(size + header.length as usize..) else {
            break;
        };
        bytes = rest;
        all.push(whole - bytes.len());
    }
    all
}

#[derive(Debug, Clone)]
struct Sent {
    opcode: OpCode,
    fin: bool,
    reserved: u8,
    payload: Vec<u8>,
    mask: [u8; 4],
}

fn sent() -> impl Strategy<Value = Sent> {
    let opcode = prop::sample::select(vec![
        OpCode::Continuation,
        OpCode::Continuation,
        OpCode::Text,
        OpCode::Text,
        OpCode::Binary,
        OpCode::Ping,
        OpCode::Pong,
        OpCode::Close,
    ]);
    let payload = prop_oneof![
        4 => "\\PC{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => Just(b"8 bytes!".to_vec()),
        1 => "[a-z\u{e4}]{100,200}".prop_map(String::into_bytes),
    ];
    let reserved = prop_oneof![9 => Just(0), 1 => 0..8_u8];
    (opcode, any::<bool>(), reserved, payload, any::<[u8; 4]>()).prop_map(
        |(opcode, fin, reserved, mut payload, mask)| {
            if opcode.is_control() {
                payload.truncate(125);
            }
            if opcode == OpCode::Close {
                payload.splice(..0, 1000_u16.to_be_bytes());
                payload.truncate(2);
            }
            let fin = fin || opcode.is_control();
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

fn bytes_of(frames: &[Sent], is_client: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        let header = FrameHeader {
            fin: frame.fin,
            reserved: frame.reserved,
            opcode: frame.opcode,
            mask: is_client.then_some(frame.mask),
            length: frame.payload.len() as u64,
        };
        let mut start = [0; MAX_HEADER];
        let size = header.write(&mut start);
        bytes.extend_from_slice(&start[..size]);
        let mut payload = frame.payload.clone();
        if is_client {
            apply_mask(&mut payload, frame.mask, 0);
        }
        bytes.extend(payload);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_same_under_any_cut(
        frames in prop::collection::vec(sent(), 0..12),
        is_client in any::<bool>(),
        text in any::<bool>(),
        limits in prop::sample::select(vec![(u64::MAX, u64::MAX), (150, u64::MAX), (100, 120)]),
        extensions in prop::sample::select(vec![
            Extensions::None, Extensions::Deflate, Extensions::Foreign,
        ]),
        steps in prop::collection::vec(1..50_usize, 1..8),
    ) {
        let stream = bytes_of(&frames, is_client);
        let rules = Rules {
            sender: if is_client { Sender::Client } else { Sender::Server },
            extensions,
            text,
            max_frame: limits.0,
            max_message: limits.1,
        };
        let (at_once, _) = relay(rules, &stream, &[stream.len().max(1)]);
        prop_assert!(at_once.is_whole || at_once.violation.is_none(), "read at once, nothing is torn");
        let borders = boundaries(&at_once.passed);
        for steps in [&steps[..], &[1]] {
            let (mut pieces, gaps) = relay(rules, &stream, steps);
            if at_once.violation == Some(Violation::Text) {
                // Of the bad frame so much went on as came before the wrong byte did.
                prop_assert_eq!(pieces.is_whole, pieces.passed.len() == at_once.passed.len());
                prop_assert!(pieces.passed.len() >= at_once.passed.len());
                pieces.passed.truncate(at_once.passed.len());
                pieces.is_whole = true;
            }
            prop_assert_eq!(&pieces, &at_once);
            for gap in gaps {
                prop_assert!(borders.contains(&gap), "a gap within a frame at {}", gap);
            }
        }
    }

    #[test]
    fn whatever_comes_is_judged_alike(
        stream in prop::collection::vec(any::<u8>(), 0..200),
        is_client in any::<bool>(),
        steps in prop::collection::vec(1..20_usize, 1..5),
    ) {
        let rules = Rules {
            sender: if is_client { Sender::Client } else { Sender::Server },
            extensions: Extensions::Foreign,
            text: false,
            max_frame: u64::MAX,
            max_message: u64::MAX,
        };
        let (at_once, _) = relay(rules, &stream, &[stream.len().max(1)]);
        let (pieces, _) = relay(rules, &stream, &steps);
        prop_assert_eq!(pieces, at_once);
    }

    /// The whole of a message, against std's judgement of the whole.
    #[test]
    fn text_is_what_std_says(
        parts in prop::collection::vec((prop::collection::vec(prop_oneof![
            4 => 0x61..0x7b_u8, 1 => 0x80..0xc0_u8, 1 => 0xc0..0xff_u8
        ], 0..6), any::<[u8; 4]>()), 1..5),
        steps in prop::collection::vec(1..9_usize, 1..5),
    ) {
        let last = parts.len() - 1;
        let frames: Vec<Sent> = parts.iter().enumerate().map(|(place, (payload, mask))| Sent {
            opcode: if place == 0 { OpCode::Text } else { OpCode::Continuation },
            fin: place == last,
            reserved: 0,
            payload: payload.clone(),
            mask: *mask,
        }).collect();
        let whole: Vec<u8> = parts.iter().flat_map(|(payload, _)| payload.clone()).collect();
        let rules = Rules {
            sender: Sender::Client,
            extensions: Extensions::Deflate,
            text: true,
            max_frame: u64::MAX,
            max_message: u64::MAX,
        };
        let (outcome, _) = relay(rules, &bytes_of(&frames, true), &steps);
        let expected = std::str::from_utf8(&whole).err().map(|_wrong| Violation::Text);
        prop_assert_eq!(outcome.violation, expected);
    }
}
