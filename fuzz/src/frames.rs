//! A second reader of WebSocket frames, written from RFC 6455 alone, and what a relay may make of
//! them: the same bytes, whole frames, then perhaps one close frame of its own; and pings and pongs of
//! its own between them, where the route has it so.

use tidegate::fuzzing::Left;

/// The limits of the world's route.
const MAX_FRAME: u64 = 3000;
const MAX_MESSAGE: u64 = 5000;
/// Pings and pongs that a side may send at once.
const MAX_CONTROLS: usize = 100;

/// One direction of a session, as it stands.
pub struct Direction<'a> {
    pub from_client: bool,
    pub deflate: bool,
    /// What the gateway does with pings of its own, and with those of others.
    pub pings: Pings,
    pub sent: &'a [u8],
    pub got: &'a [u8],
    /// How the gateway left the one who got it.
    pub left: Left,
}

/// What a route does with pings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pings {
    /// The gateway sends its own and takes the answers to them out.
    pub own: bool,
    /// The gateway answers those of others and takes them out.
    pub answered: bool,
}

/// A frame's place in a stream.
#[derive(Debug, Clone, Copy)]
struct Frame {
    first: u8,
    masked: bool,
    /// Bytes of the header.
    header: usize,
    length: u64,
}

/// Reads a header; `None` when it needs more bytes.
fn header(bytes: &[u8]) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, at) = match second & 0x7f {
        126 => (
            u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            4,
        ),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let masked = second & 0x80 != 0;
    let header = at + 4 * usize::from(masked);
    (bytes.len() >= header).then_some(Frame {
        first,
        masked,
        header,
        length,
    })
}

impl Frame {
    const fn opcode(self) -> u8 {
        self.first & 0x0f
    }

    const fn is_control(self) -> bool {
        self.opcode() >= 8
    }

    const fn is_final(self) -> bool {
        self.first & 0x80 != 0
    }

    fn is_shortest(self) -> bool {
        let bytes = self.header - 4 * usize::from(self.masked);
        let wanted = match self.length {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        bytes == wanted && self.length >> 63 == 0
    }

    fn payload(self, bytes: &[u8]) -> Vec<u8> {
        let size = usize::try_from(self.length).unwrap_or(usize::MAX);
        let payload = bytes[self.header..].iter().take(size).copied();
        if self.masked {
            let mask = &bytes[self.header - 4..self.header];
            payload
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask)
                .collect()
        } else {
            payload.collect()
        }
    }
}

/// Whether a close frame may say this.
#[must_use]
pub fn is_close_payload(payload: &[u8]) -> bool {
    match payload {
        [] => true,
        [_] => false,
        [high, low, reason @ ..] => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            let known = (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code);
            (known || (3000..5000).contains(&code)) && std::str::from_utf8(reason).is_ok()
        }
    }
}

/// How far a stream goes without breaking a rule.
struct Walk {
    /// Up to here bytes may go on.
    pass: usize,
    /// A rule is broken, or the stream is closed, behind `pass`.
    over: bool,
    /// Pings and pongs before that.
    controls: usize,
}

fn walk(bytes: &[u8], from_client: bool, deflate: bool) -> Walk {
    let mut walk = Walk {
        pass: 0,
        over: false,
        controls: 0,
    };
    let mut message: Option<u64> = None;
    loop {
        let rest = &bytes[walk.pass..];
        let Some(frame) = header(rest) else {
            return walk;
        };
        let is_first = matches!(frame.opcode(), 1 | 2);
        let reserved = frame.first & 0x70;
        let so_far = message.unwrap_or(0).saturating_add(frame.length);
        let right = (reserved == 0 || reserved == 0x40 && deflate && is_first)
            && matches!(frame.opcode(), 0..=2 | 8..=10)
            && frame.masked == from_client
            && frame.is_shortest()
            && if frame.is_control() {
                frame.is_final() && frame.length <= 125
            } else {
                is_first == message.is_none() && frame.length <= MAX_FRAME && so_far <= MAX_MESSAGE
            };
        if !right {
            walk.over = true;
            return walk;
        }
        let size = frame.header + usize::try_from(frame.length).unwrap_or(usize::MAX);
        if frame.is_control() {
            if rest.len() < size {
                return walk;
            }
            walk.controls += usize::from(frame.opcode() != 8);
            if frame.opcode() == 8 {
                walk.over = true;
                if !is_close_payload(&frame.payload(rest)) {
                    return walk;
                }
            }
        } else {
            message = (!frame.is_final()).then_some(so_far);
        }
        if rest.len() < size {
            walk.pass = bytes.len();
            return walk;
        }
        walk.pass += size;
        if walk.over {
            return walk;
        }
    }
}

/// How many bytes of `sent` go on, `None` when something in it ends the session, or may do so: how many
/// pings are too many depends on the time that the machine takes for them.
#[must_use]
pub fn passable(sent: &[u8], from_client: bool, deflate: bool) -> Option<usize> {
    let walk = walk(sent, from_client, deflate);
    // A header that is wrong already, though it is not whole, ends it as well.
    let rest = &sent[walk.pass..];
    (!walk.over && rest.is_empty() && walk.controls <= MAX_CONTROLS).then_some(walk.pass)
}

impl Direction<'_> {
    /// How many bytes may go on of what was sent.
    #[must_use]
    pub fn passable(&self) -> usize {
        walk(self.sent, self.from_client, self.deflate).pass
    }

    /// What was got is a beginning of what may go on, cut between two frames if it was ended there,
    /// and one close frame of the gateway's may stand behind it.
    pub fn judge(&self) {
        let walk = walk(self.sent, self.from_client, self.deflate);
        let (mut sent, mut got) = (&self.sent[..walk.pass], self.got);
        loop {
            // Whatever else could stand for it, a ping that is answered never passes.
            if let Some(size) = frame_size(sent).filter(|_| self.pings.answered && sent[0] == 0x89)
            {
                sent = &sent[size..];
                continue;
            }
            let whole = frame_size(got);
            match frame_size(sent) {
                _ if got.is_empty() => return,
                // A data frame goes on as it comes, so both may end within it.
                None if sent.starts_with(got) => return self.is_cut(),
                Some(size) if whole.is_none() && sent[..size].starts_with(got) => {
                    return self.is_cut();
                }
                Some(size) if whole == Some(size) && sent[..size] == got[..size] => {
                    (sent, got) = (&sent[size..], &got[size..]);
                }
                sent_size => match whole {
                    Some(size) if self.is_ping_of_ours(got) => got = &got[size..],
                    Some(size) if size == got.len() && self.is_close_of_ours(got) => return,
                    None if matches!(got[0], 0x88..=0x8a) => return self.is_cut(),
                    _ => match sent_size.filter(|_| self.is_taken_out(sent[0])) {
                        Some(size) => sent = &sent[size..],
                        None => panic!("what was never sent: {got:?} of {:?}", self.sent),
                    },
                },
            }
        }
    }

    fn is_cut(&self) {
        assert!(self.left != Left::Ended, "half a frame before a clean end");
    }

    /// Whether it may be the answer to a ping of the gateway's.
    const fn is_taken_out(&self, first: u8) -> bool {
        self.pings.own && first == 0x8a
    }

    fn is_control_of_ours(&self, bytes: &[u8]) -> Option<Frame> {
        header(bytes).filter(|frame| {
            frame.masked == self.from_client && frame.is_shortest() && frame.length <= 125
        })
    }

    fn is_ping_of_ours(&self, bytes: &[u8]) -> bool {
        self.is_control_of_ours(bytes).is_some_and(|frame| {
            self.pings.own && frame.first == 0x89 && frame.length == 8
                || self.pings.answered && frame.first == 0x8a
        })
    }

    fn is_close_of_ours(&self, bytes: &[u8]) -> bool {
        self.is_control_of_ours(bytes).is_some_and(|frame| {
            frame.first == 0x88 && frame.length >= 2 && is_close_payload(&frame.payload(bytes))
        })
    }
}

/// The size of the frame at the beginning of `bytes`, if it is whole.
fn frame_size(bytes: &[u8]) -> Option<usize> {
    let frame = header(bytes)?;
    let size = usize::try_from(frame.length)
        .ok()?
        .checked_add(frame.header)?;
    (size <= bytes.len()).then_some(size)
}

/// A frame made of two bytes: what it is, and how long.
#[must_use]
pub fn made(kind: u8, size: u8, masked: bool) -> Vec<u8> {
    let opcode = [0, 1, 2, 8, 9, 10, 8, 3][usize::from(kind & 7)];
    let fin = if kind & 8 == 0 { 0x80 } else { 0 };
    let reserved = kind & 0x40;
    // One bit turns the mask around, which is a violation.
    let masked = masked != (kind & 0x80 != 0);
    let mut payload = vec![b'x'; usize::from(size) * if kind & 0x10 == 0 { 1 } else { 16 }];
    if kind & 7 == 3 {
        // A close frame with a code from all over the range.
        let code = 995 + u16::from(size) * 16 % 4100;
        payload = code.to_be_bytes().to_vec();
        payload.extend(b"bye");
    }
    let mut bytes = vec![fin | reserved | opcode];
    let bit = u8::from(masked) << 7;
    match u16::try_from(payload.len()) {
        Ok(short @ 0..=125) => bytes.push(bit | short.to_be_bytes()[1]),
        Ok(length) => {
            bytes.push(bit | 126);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => unreachable!("at most 255 * 16"),
    }
    if masked {
        let mask = [1, 2, 3, 4];
        bytes.extend(mask);
        payload
            .iter_mut()
            .zip(mask.iter().cycle())
            .for_each(|(byte, mask)| *byte ^= mask);
    }
    bytes.extend(payload);
    bytes
}
