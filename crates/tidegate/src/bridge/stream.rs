//! An answer that goes to its client in chunks, as far as the client grants.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::answer::{MediaType, base64, string};
use super::call;
use super::envelope::{Credit, Id};
use super::events::{Events, JsonLines, TooLong};
use super::problem::Problem;
use crate::body::Body;

/// How long a client may grant nothing of an answer that has more: it holds a connection of the service.
const CREDIT_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// What may be sent unasked where the request does not say.
pub(super) const DEFAULT_CREDIT: u64 = 256 * 1024;

/// What a client still grants a streamed answer, in bytes of decoded payload.
#[derive(Debug, Clone)]
pub(super) struct Window(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None`: any number.
    left: Mutex<Option<u64>>,
    granted: Notify,
}

impl Window {
    pub(super) fn new(credit: Option<Credit>) -> Self {
        let left = match credit {
            None => Some(DEFAULT_CREDIT),
            Some(Credit::Bytes(bytes)) => Some(bytes),
            Some(Credit::Unlimited) => None,
        };
        Self(Arc::new(Shared {
            left: Mutex::new(left),
            granted: Notify::new(),
        }))
    }

    /// The client grants `bytes` more.
    pub(super) fn grant(&self, bytes: u64) {
        if let Some(left) = &mut *self.lock() {
            *left = left.saturating_add(bytes);
        }
        self.0.granted.notify_one();
    }

    /// Waits until there is something left. Nothing of the service is read meanwhile.
    async fn open(&self) {
        while *self.lock() == Some(0) {
            self.0.granted.notified().await;
        }
    }

    /// Takes at most `wanted`, and says how much; at least one byte once [`Self::open`] has returned.
    fn take(&self, wanted: usize) -> usize {
        let mut left = self.lock();
        let Some(left) = &mut *left else {
            return wanted;
        };
        let taken = (wanted as u64).min(*left);
        *left -= taken;
        usize::try_from(taken).unwrap_or(wanted)
    }

    /// Charges a whole item, which is not cut: the window may be overdrawn by the rest of one.
    fn charge(&self, size: usize) {
        if let Some(left) = &mut *self.lock() {
            *left = left.saturating_sub(size as u64);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a streamed body is cut.
#[derive(Debug)]
enum Cutting {
    /// As it comes, in base64.
    Bytes,
    Events(Events),
    Lines(JsonLines),
    /// As it comes, where a character ends. At most three bytes wait for the rest of theirs.
    Text(Vec<u8>),
}

/// The chunks of one answer.
#[derive(Debug)]
pub(super) struct Chunks {
    id: Id,
    number: u64,
    cutting: Cutting,
    window: Window,
    /// What is cut already and waits to be sent.
    ready: std::collections::VecDeque<(usize, Vec<u8>)>,
    rest: Bytes,
    is_over: bool,
}

impl Chunks {
    pub(super) fn new(id: Id, media_type: &MediaType, window: Window) -> Self {
        let cutting = if media_type.is("text/event-stream") {
            Cutting::Events(Events::default())
        } else if media_type.is("application/x-ndjson") {
            Cutting::Lines(JsonLines::default())
        } else if media_type.is_utf8_text() {
            Cutting::Text(Vec::new())
        } else {
            Cutting::Bytes
        };
        Self {
            id,
            number: 0,
            cutting,
            window,
            ready: std::collections::VecDeque::new(),
            rest: Bytes::new(),
            is_over: false,
        }
    }

    /// The next `chunk`, once the client grants it; `None` at the end of the body.
    ///
    /// # Errors
    /// When the body is cut, or an event or line of it is too long.
    pub(super) async fn next(
        &mut self,
        body: &mut Body,
        patience: Duration,
    ) -> Result<Option<String>, Problem> {
        loop {
            if self.has_something() {
                // Nothing more of the service is read meanwhile.
                timeout(CREDIT_PATIENCE, self.window.open())
                    .await
                    .map_err(|_elapsed| {
                        Problem::no_credit("nothing was granted for five minutes")
                    })?;
                if let Some(item) = self.take() {
                    return Ok(Some(self.chunk(&item)));
                }
            } else if self.is_over {
                return Ok(None);
            } else {
                match call::next(body, patience).await? {
                    Some(data) => self.cut(data)?,
                    None => self.finish(),
                }
            }
        }
    }

    fn has_something(&self) -> bool {
        !self.ready.is_empty() || !self.rest.is_empty()
    }

    /// The members of the next chunk, as much as is granted; `None` where that is only the beginning of a
    /// character.
    fn take(&mut self) -> Option<Vec<u8>> {
        if let Some((size, item)) = self.ready.pop_front() {
            self.window.charge(size);
            return Some(item);
        }
        let taken = self.window.take(self.rest.len());
        let piece = self.rest.split_to(taken);
        self.piece(&piece)
    }

    /// The chunk that was made last is sent.
    pub(super) const fn sent(&mut self) {
        self.number += 1;
    }

    /// The frame behind the last chunk.
    pub(super) fn end(&self, problem: Option<&Problem>, route: Option<&str>) -> String {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(b"{\"op\":\"end\",\"id\":");
        self.id.write(&mut out);
        out.extend_from_slice(b",\"n\":");
        out.extend_from_slice(self.number.to_string().as_bytes());
        if let Some(problem) = problem {
            out.extend_from_slice(b",\"error\":");
            problem.write(route, &mut out);
        }
        out.push(b'}');
        String::from_utf8(out).unwrap_or_default()
    }

    fn cut(&mut self, data: Bytes) -> Result<(), Problem> {
        let too_long =
            |_: TooLong| Problem::response_too_big("an event or line of the answer is over 1 MiB");
        match &mut self.cutting {
            Cutting::Bytes | Cutting::Text(_) => self.rest = data,
            Cutting::Events(events) => {
                for event in events.push(&data).map_err(too_long)? {
                    let mut item = b"\"event\":".to_vec();
                    event.write(&mut item);
                    self.ready.push_back((event.data.len().max(1), item));
                }
            }
            Cutting::Lines(lines) => {
                for line in lines.push(&data).map_err(too_long)? {
                    self.ready.push_back((line.len(), json_line(&line)));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.is_over = true;
        match &mut self.cutting {
            Cutting::Lines(lines) => {
                if let Some(line) = lines.finish() {
                    self.ready.push_back((line.len(), json_line(&line)));
                }
            }
            Cutting::Text(begun) if !begun.is_empty() => {
                let item = text_item(&String::from_utf8_lossy(&std::mem::take(begun)));
                self.ready.push_back((1, item));
            }
            // What has no empty line behind it was no event (WHATWG HTML section 9.2.6).
            Cutting::Bytes | Cutting::Events(_) | Cutting::Text(_) => {}
        }
    }

    /// The members of a chunk with `bytes`; `None` where they are the beginning of a character.
    fn piece(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Cutting::Text(begun) = &mut self.cutting else {
            let mut item = b"\"data\":".to_vec();
            base64(bytes, &mut item);
            item.extend_from_slice(b",\"enc\":\"base64\"");
            return Some(item);
        };
        begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(begun) {
            Ok(_) => begun.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // It is no text after all; what is wrong shows as U+FFFD.
            Err(_) => begun.len(),
        };
        let rest = begun.split_off(whole);
        let text = std::mem::replace(begun, rest);
        (!text.is_empty()).then(|| text_item(&String::from_utf8_lossy(&text)))
    }

    fn chunk(&self, item: &[u8]) -> String {
        let mut out = Vec::with_capacity(item.len() + 64);
        out.extend_from_slice(b"{\"op\":\"chunk\",\"id\":");
        self.id.write(&mut out);
        out.extend_from_slice(b",\"n\":");
        out.extend_from_slice(self.number.to_string().as_bytes());
        out.push(b',');
        out.extend_from_slice(item);
        out.push(b'}');
        String::from_utf8(out).unwrap_or_default()
    }
}

fn text_item(text: &str) -> Vec<u8> {
    let mut item = b"\"data\":".to_vec();
    string(text, &mut item);
    item
}

/// One line of a body of JSON lines: as a value where it is one, else as text.
fn json_line(line: &[u8]) -> Vec<u8> {
    match serde_json::from_slice::<&serde_json::value::RawValue>(line) {
        Ok(value) => {
            let mut item = b"\"data\":".to_vec();
            item.extend_from_slice(value.get().as_bytes());
            item.extend_from_slice(b",\"enc\":\"json\"");
            item
        }
        Err(_) => text_item(&String::from_utf8_lossy(line)),
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use futures_util::FutureExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::body::{Part, Pulled, Stream};

    struct Pieces(std::collections::VecDeque<&'static [u8]>);

    impl Stream for Pieces {
        fn poll_part(&mut self, _cx: &mut Context<'_>) -> Poll<Pulled> {
            let data = |piece| Ok(Part::Data(Bytes::from_static(piece)));
            Poll::Ready(self.0.pop_front().map(data))
        }

        fn length(&self) -> Option<u64> {
            None
        }
    }

    fn body(pieces: &[&'static [u8]]) -> Body {
        Body::stream(Pieces(pieces.iter().copied().collect()))
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn all(media_type: &str, pieces: &[&'static [u8]]) -> Vec<Value> {
        let mut body = body(pieces);
        let media_type = MediaType::parse(media_type);
        let mut chunks = Chunks::new(Id::Number(8), &media_type, Window::new(None));
        let mut told = Vec::new();
        while let Some(chunk) = chunks.next(&mut body, LONG).await.unwrap() {
            told.push(serde_json::from_str(&chunk).unwrap());
            chunks.sent();
        }
        told.push(serde_json::from_str(&chunks.end(None, None)).unwrap());
        told
    }

    #[tokio::test]
    async fn bodies_are_cut_as_their_media_type_says() {
        let events: &[&[u8]] = &[b"id: 1\nevent: token\ndata: Hel", b"\n\ndata: lo\n\n"];
        assert_eq!(
            all("text/event-stream", events).await,
            [
                json!({"op":"chunk","id":8,"n":0,"event":{"id":"1","event":"token","data":"Hel"}}),
                json!({"op":"chunk","id":8,"n":1,"event":{"data":"lo"}}),
                json!({"op":"end","id":8,"n":2}),
            ]
        );
        assert_eq!(
            all("application/x-ndjson", &[b"{\"a\":1}\n[", b"2]\nbroken"]).await,
            [
                json!({"op":"chunk","id":8,"n":0,"data":{"a":1},"enc":"json"}),
                json!({"op":"chunk","id":8,"n":1,"data":[2],"enc":"json"}),
                json!({"op":"chunk","id":8,"n":2,"data":"broken"}),
                json!({"op":"end","id":8,"n":3}),
            ]
        );
        assert_eq!(
            all("text/plain", &[b"a\xc3", b"\xa9"]).await,
            [
                json!({"op":"chunk","id":8,"n":0,"data":"a"}),
                json!({"op":"chunk","id":8,"n":1,"data":"é"}),
                json!({"op":"end","id":8,"n":2}),
            ]
        );
        assert_eq!(
            all("image/png", &[b"\x89PNG"]).await[0],
            json!({"op":"chunk","id":8,"n":0,"data":"iVBORw==","enc":"base64"})
        );
    }

    #[tokio::test]
    async fn nothing_is_sent_beyond_what_is_granted() {
        let mut body = body(&[b"abcdef", b"gh"]);
        let window = Window::new(Some(Credit::Bytes(4)));
        let media_type = MediaType::parse("text/plain");
        let mut chunks = Chunks::new(Id::Number(1), &media_type, window.clone());
        let first = chunks.next(&mut body, LONG).await.unwrap().unwrap();
        assert!(first.contains("\"abcd\""), "{first}");
        assert!(chunks.next(&mut body, LONG).now_or_never().is_none());
        window.grant(1);
        let second = chunks.next(&mut body, LONG).await.unwrap().unwrap();
        assert!(second.contains("\"e\""), "{second}");
        window.grant(3);
        assert!(
            chunks
                .next(&mut body, LONG)
                .await
                .unwrap()
                .unwrap()
                .contains("\"f\"")
        );
        assert!(
            chunks
                .next(&mut body, LONG)
                .await
                .unwrap()
                .unwrap()
                .contains("\"gh\"")
        );
        assert!(chunks.next(&mut body, LONG).await.unwrap().is_none());
    }
}
