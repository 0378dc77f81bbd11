//! Answers of gateways that are not ours, read as leniently as clients do.

use super::{End, Wire, find};

impl Wire {
    /// Reads an answer without judging it: its status, and whether it came to its end; `None`
    /// where no head came. `is_head` says that no body follows.
    pub async fn read_loosely(&mut self, is_head: bool) -> Option<(u16, bool)> {
        let (status, head) = loop {
            let (status, head) = self.read_loose_head().await?;
            // Answers before the answer are told by some gateways and kept by others.
            if !matches!(status, 100 | 102..200) {
                break (status, head);
            }
        };
        let value = |name: &str| {
            head.lines().find_map(|line| {
                let (known, value) = line.split_once(':')?;
                let is = known.trim().eq_ignore_ascii_case(name);
                is.then(|| value.trim().to_ascii_lowercase())
            })
        };
        if is_head || matches!(status, 101 | 204 | 304) {
            return Some((status, true));
        }
        let whole = if value("transfer-encoding").is_some() {
            self.chunks_end().await
        } else if let Some(length) = value("content-length").and_then(|text| text.parse().ok()) {
            self.read_exact_or_end(length).await.is_ok()
        } else {
            self.read_to_end().await.1 == End::Fin
        };
        Some((status, whole))
    }

    async fn read_loose_head(&mut self) -> Option<(u16, String)> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.fill("a head").await.ok()?;
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head: String = head.into_iter().map(char::from).collect();
        Some((head.get(9..12)?.parse().ok()?, head))
    }

    async fn chunks_end(&mut self) -> bool {
        loop {
            let Ok(line) = self.read_line_or_end().await else {
                return false;
            };
            let digits = line.split([';', ' ']).next().unwrap_or_default();
            match usize::from_str_radix(digits, 16) {
                Ok(0) => break,
                Ok(size) if self.read_exact_or_end(size + 2).await.is_ok() => {}
                _ => return false,
            }
        }
        while let Ok(line) = self.read_line_or_end().await {
            if line.is_empty() {
                return true;
            }
        }
        false
    }
}
