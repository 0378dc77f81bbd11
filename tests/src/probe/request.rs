//! Rows from the client's side: a request, its answer, and what the upstream saw.

use super::recorder::{Received, Recorder};
use super::{AFTER, Wired, problem};
use crate::TestGateway;
use crate::frame::Frame;
use crate::head::Head;
use crate::request::{KEY, accept_for};
use crate::wire::{Answer, End, Wire};

/// What the gateway must do with a row's bytes.
#[derive(Debug, Clone)]
pub enum Want {
    /// A problem of the gateway's with this code; the upstream sees nothing.
    Refused(&'static str),
    /// The head is passed on, and the body turns out to be wrong: a problem with the code
    /// `bad_body`, and the upstream sees a request that is visibly cut, if anything.
    Cut,
    /// The upstream sees so many whole requests, and their answers come back.
    Forwarded(usize),
    /// The upstream sees a handshake, and the client a 101.
    Opened,
}

/// One row: what is sent, what must come of it.
#[derive(Debug, Clone)]
pub struct Row {
    bytes: Vec<u8>,
    want: Want,
    ends: bool,
    exactly: Option<String>,
    target: Option<&'static str>,
    fields: Vec<(&'static str, Option<&'static str>)>,
    body: Option<Vec<u8>>,
    early: Option<&'static str>,
    config: Option<&'static str>,
    /// It is tried in one write alone.
    at_once: bool,
    why: Option<&'static str>,
}

/// Rows up to this size are tried byte by byte too.
const SMALL: usize = 1024;

impl Row {
    fn new(bytes: impl Wired, want: Want, ends: bool) -> Self {
        Self {
            bytes: bytes.wired(),
            want,
            ends,
            exactly: None,
            target: None,
            fields: Vec::new(),
            body: None,
            early: None,
            config: None,
            at_once: false,
            why: None,
        }
    }

    /// Refused with the problem `code`.
    pub fn refused(bytes: impl Wired, code: &'static str) -> Self {
        Self::new(bytes, Want::Refused(code), problem(code).1)
    }

    /// Refused in its body.
    pub fn cut(bytes: impl Wired) -> Self {
        Self::new(bytes, Want::Cut, true)
    }

    /// Passed on as one plain request.
    pub fn forwarded(bytes: impl Wired) -> Self {
        Self::new(bytes, Want::Forwarded(1), false)
    }

    /// Passed on as so many plain requests.
    pub fn forwarded_as(count: usize, bytes: impl Wired) -> Self {
        Self::new(bytes, Want::Forwarded(count), false)
    }

    /// Opens a WebSocket.
    pub fn opened(bytes: impl Wired) -> Self {
        Self::new(bytes, Want::Opened, false)
    }

    /// Opens a WebSocket, where the row was made for a plain request.
    #[must_use]
    pub const fn opens(mut self) -> Self {
        self.want = Want::Opened;
        self
    }

    /// The connection ends with the answer.
    #[must_use]
    pub const fn ends(mut self) -> Self {
        self.ends = true;
        self
    }

    /// What came of it depends on what is there when it is decided, so it is sent in one write.
    #[must_use]
    pub const fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// The upstream sees exactly this head, but for the six fields that tell of the client, which
    /// are judged by themselves.
    #[must_use]
    pub fn exactly(mut self, head: impl Into<String>) -> Self {
        self.exactly = Some(head.into());
        self
    }

    /// The upstream sees this target.
    #[must_use]
    pub const fn target(mut self, target: &'static str) -> Self {
        self.target = Some(target);
        self
    }

    /// The upstream sees one line `name` with this value.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, Some(value)));
        self
    }

    /// The upstream sees no line `name`.
    #[must_use]
    pub fn lacks(mut self, name: &'static str) -> Self {
        self.fields.push((name, None));
        self
    }

    /// The upstream sees this body; trailers stand behind it, each after a line feed.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// A text message that stands behind the handshake: the upstream echoes it once it is open.
    #[must_use]
    pub const fn early(mut self, text: &'static str) -> Self {
        self.early = Some(text);
        self
    }

    /// The gateway has this configuration; such a row is no part of the differential.
    #[must_use]
    pub const fn config(mut self, yaml: &'static str) -> Self {
        self.config = Some(yaml);
        self
    }

    /// Why it is refused though nginx and HAProxy both accept it: the rule, and where it stands.
    #[must_use]
    pub const fn why(mut self, why: &'static str) -> Self {
        self.why = Some(why);
        self
    }

    /// What is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Why it is refused.
    #[must_use]
    pub const fn reason(&self) -> Option<&'static str> {
        self.why
    }

    /// Whether other gateways can be asked the same.
    #[must_use]
    pub const fn is_comparable(&self) -> bool {
        self.config.is_none()
    }

    /// Tries it against a gateway of its own, in one write and, if it is small, byte by byte.
    pub async fn judge(&self) {
        self.judge_in(usize::MAX).await;
        if !self.at_once && self.bytes.len() <= SMALL {
            self.judge_in(1).await;
        }
    }

    /// Tries it in writes of `step` bytes.
    async fn judge_in(&self, step: usize) {
        let upstream = Recorder::start().await;
        let gateway = TestGateway::start_among(
            &[("UP", upstream.address())],
            self.config.unwrap_or(
                "services: { up: { endpoints: ['http://UP'] } }\n\
                 routes: [{ name: all, match: { path: /** }, proxy: { service: up } }]\n",
            ),
        );
        let mut client = gateway.connect().await;
        match self.want {
            Want::Refused(code) => self.is_refused(&mut client, code, step).await,
            Want::Cut => self.is_refused(&mut client, "bad_body", step).await,
            Want::Forwarded(count) => self.is_answered(&mut client, count, step).await,
            Want::Opened => self.is_opened(&mut client, step).await,
        }
        client.reset();
        let (connections, seen) = upstream.settled().await;
        self.judge_seen(connections, seen);
    }

    fn method(&self) -> &[u8] {
        self.bytes.split(|&byte| byte == b' ').next().unwrap_or(&[])
    }

    async fn answer(&self, client: &mut Wire) -> Answer {
        if self.method() == b"HEAD" {
            let head = client.read_head().await;
            return Answer {
                head,
                body: Vec::new(),
                framing: crate::wire::Framing::None,
                trailers: Vec::new(),
            };
        }
        client.read_answer().await
    }

    async fn is_refused(&self, client: &mut Wire, code: &str, step: usize) {
        let mut bytes = self.bytes.clone();
        if self.ends {
            // What stands behind it must not be taken for a request.
            bytes.extend_from_slice(AFTER.as_bytes());
        }
        send(client, &bytes, step).await;
        let answer = self.answer(client).await;
        let (status, _) = problem(code);
        assert_eq!(
            answer.status(),
            status,
            "{:?} {}",
            answer.head,
            answer.text()
        );
        if self.method() != b"HEAD" {
            answer.expect_problem(status);
            let said = format!("\"code\":\"{code}\"");
            assert!(answer.text().contains(&said), "{code}? {}", answer.text());
        }
        self.judge_end(client, &answer.head).await;
    }

    async fn is_answered(&self, client: &mut Wire, count: usize, step: usize) {
        send(client, &self.bytes, step).await;
        for place in 0..count {
            let answer = self.answer(client).await;
            assert_eq!(answer.status(), 200, "{:?} {}", answer.head, answer.text());
            assert!(answer.head.has("X-Mirror"), "{:?}", answer.head);
            if place + 1 == count {
                self.judge_end(client, &answer.head).await;
            }
        }
    }

    /// The connection ends where the row says so, and else serves the next request.
    async fn judge_end(&self, client: &mut Wire, answer: &Head) {
        let says_close = answer.tokens("Connection").contains(&"close".to_owned());
        assert_eq!(says_close, self.ends, "{answer:?}");
        if self.ends {
            client.finish().await;
            assert_eq!(client.expect_end().await, End::Fin);
        } else {
            client.send(AFTER).await;
            let next = client.read_answer().await;
            assert_eq!(next.seen().target(), "/after", "{next:?}");
        }
    }

    async fn is_opened(&self, client: &mut Wire, step: usize) {
        send(client, &self.bytes, step).await;
        let head = client.read_head().await;
        assert_eq!(head.status(), 101, "{head:?}");
        let accept = accept_for(KEY);
        assert_eq!(head.field("Sec-WebSocket-Accept"), Some(&*accept));
        assert!(head.is_upgrade(), "{head:?}");
        if let Some(early) = self.early {
            client.expect(Frame::text(early).bytes()).await;
        }
        let hello = Frame::text("hello");
        client.send_frame(&hello.clone().from_client()).await;
        client.expect(hello.bytes()).await;
    }

    fn judge_seen(&self, connections: usize, mut seen: Vec<Received>) {
        let last = match self.want {
            Want::Refused(_) if self.ends => {
                assert_eq!(connections, 0, "the upstream saw {:?}", shown(&seen));
                return;
            }
            Want::Cut => {
                assert!(seen.iter().all(|one| !one.whole), "{:?}", shown(&seen));
                return;
            }
            _ if self.ends || matches!(self.want, Want::Opened) => None,
            _ => seen.pop(),
        };
        if let Some(last) = last {
            assert!(last.head.starts_with(b"GET /after "), "{:?}", shown(&seen));
        }
        let due = match self.want {
            Want::Forwarded(count) => count,
            Want::Opened => 1,
            _ => 0,
        };
        assert_eq!(seen.len(), due, "the upstream saw {:?}", shown(&seen));
        for one in &seen {
            assert!(one.whole, "{:?}", shown(&seen));
            let head = Head::parse(one.head.clone());
            self.judge_invariants(&head);
        }
        if let Some(first) = seen.first() {
            self.judge_head(first);
        }
    }

    /// What holds for everything that is passed on.
    fn judge_invariants(&self, head: &Head) {
        let lengths = head.fields("Content-Length");
        let codings = head.fields("Transfer-Encoding");
        assert!(lengths.len() + codings.len() < 2, "{head:?}");
        assert!(
            codings.iter().all(|coding| *coding == "chunked"),
            "{head:?}"
        );
        assert_eq!(head.fields("Host").len(), 1, "{head:?}");
        for name in ["HTTP2-Settings", "Keep-Alive", "Proxy-Connection"] {
            assert!(!head.has(name), "{head:?}");
        }
        if matches!(self.want, Want::Opened) {
            assert!(head.is_upgrade(), "{head:?}");
            assert_eq!(head.tokens("Connection"), ["upgrade"], "{head:?}");
            assert_eq!(head.field("Sec-WebSocket-Version"), Some("13"));
            assert_ne!(head.field("Sec-WebSocket-Key"), Some(KEY));
        } else {
            assert!(!head.has("Upgrade"), "{head:?}");
            let named = head.tokens("Connection");
            assert!(named.iter().all(|name| name == "te"), "{head:?}");
        }
        if self.config.is_none() {
            assert_eq!(head.field("X-Forwarded-For"), Some("127.0.0.1"));
            assert_eq!(head.field("X-Real-IP"), Some("127.0.0.1"));
            assert_eq!(head.field("X-Forwarded-Proto"), Some("http"));
            assert_eq!(head.fields("Forwarded").len(), 1, "{head:?}");
        }
        let own = |name: &str| {
            name.replace('_', "-")
                .eq_ignore_ascii_case("x-forwarded-for")
        };
        let tellers = head.fields.iter().filter(|(name, _)| own(name)).count();
        assert_eq!(tellers, 1, "{head:?}");
    }

    fn judge_head(&self, first: &Received) {
        let head = Head::parse(first.head.clone());
        if let Some(exactly) = &self.exactly {
            assert_eq!(&without_tellers(&head), exactly);
        }
        if let Some(target) = self.target {
            assert_eq!(head.target(), target, "{head:?}");
        }
        for (name, value) in &self.fields {
            assert_eq!(head.field(name), *value, "{name} in {head:?}");
        }
        if let Some(body) = &self.body {
            assert_eq!(
                first.body.escape_ascii().to_string(),
                body.escape_ascii().to_string()
            );
        }
    }
}

/// Sends `bytes` in writes of `step`. Whoever is refused may be hung up on within his words.
pub(super) async fn send(client: &mut Wire, bytes: &[u8], step: usize) {
    for piece in bytes.chunks(step.min(bytes.len())) {
        if client.try_send(piece).await.is_err() {
            return;
        }
        // Lets the other tasks of this thread see it, and the gateway's thread read it.
        tokio::task::yield_now().await;
    }
}

/// The head without the lines that tell of the client, and without a handshake's key.
fn without_tellers(head: &Head) -> String {
    let mut text = head.start.clone() + "\r\n";
    for (name, value) in &head.fields {
        let lower = name.to_ascii_lowercase();
        let tells =
            lower.starts_with("x-forwarded-") || lower == "forwarded" || lower == "x-real-ip";
        if !tells && lower != "sec-websocket-key" {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text + "\r\n"
}

fn shown(seen: &[Received]) -> Vec<String> {
    let show = |one: &Received| {
        let cut = if one.whole { "" } else { " (cut)" };
        format!(
            "{} + {} bytes{cut}",
            one.head.escape_ascii(),
            one.body.len()
        )
    };
    seen.iter().map(show).collect()
}
