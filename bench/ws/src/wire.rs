//! The client: frames that were made beforehand, and the echoes that they must bring.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Several equal messages of text in one write, and what comes back.
pub struct Batch {
    frames: Vec<u8>,
    echoes: Vec<u8>,
}

impl Batch {
    /// `count` messages of `text`. Of a library that copies, `is_copied`, the frames come back as they
    /// were.
    pub fn new(text: &str, count: usize, is_copied: bool) -> Self {
        let frame = frame(text, Some(MASK));
        let echo = if is_copied {
            frame.clone()
        } else {
            frame_of(text)
        };
        Self {
            frames: frame.repeat(count),
            echoes: echo.repeat(count),
        }
    }

    /// Sends it, and reads the echoes, which must be right.
    pub async fn exchange(&self, io: &mut DuplexStream, room: &mut Vec<u8>) {
        room.resize(self.echoes.len(), 0);
        // The pipe holds a whole batch, so that writing never waits for reading.
        io.write_all(&self.frames).await.expect("it is open");
        io.read_exact(room).await.expect("an echo comes");
        assert!(*room == self.echoes, "an echo differs");
    }

    /// The frames alone.
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }
}

fn frame_of(text: &str) -> Vec<u8> {
    frame(text, None)
}

fn frame(text: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(bit | length as u8),
        length @ 126..65_536 => {
            frame.push(bit | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(bit | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| frame.extend_from_slice(mask));
    let mask = mask.unwrap_or_default();
    frame.extend(
        text.bytes()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}
