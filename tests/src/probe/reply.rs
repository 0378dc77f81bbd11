//! Rows from the upstream's side: what it answers, and what the client hears of it.

use super::recorder::{Recorder, Script, Then};
use super::{AFTER, Wired, problem};
use crate::TestGateway;
use crate::frame::Frame;
use crate::head::Head;
use crate::request::{KEY, Request, accept_for};
use crate::time::eventually;
use crate::wire::{Framing, Wire};

/// What the client asks for.
#[derive(Debug, Clone)]
pub enum Ask {
    /// A GET.
    Get,
    /// A HEAD.
    Head,
    /// A WebSocket, with these lines beside a plain handshake's.
    WebSocket(&'static [(&'static str, &'static str)]),
}

/// What the client must hear.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A problem of the gateway's with this code.
    Problem(&'static str),
    /// The upstream's answer with this status and body.
    Whole(u16, Vec<u8>),
    /// An answer that is visibly cut.
    Cut,
    /// A 101.
    Opened,
}

/// One row: what the upstream answers, what must come of it.
#[derive(Debug, Clone)]
pub struct ReplyRow {
    ask: Ask,
    script: Script,
    want: Heard,
    fields: Vec<(&'static str, Option<&'static str>)>,
    is_last: bool,
    reason: Option<&'static str>,
    trailers: Option<Vec<(&'static str, &'static str)>>,
    why: Option<&'static str>,
}

/// Answers up to this size are tried byte by byte too.
const SMALL: usize = 1024;

impl ReplyRow {
    fn new(answer: impl Wired, want: Heard) -> Self {
        Self {
            ask: Ask::Get,
            script: Script {
                answer: answer.wired(),
                step: usize::MAX,
                then: Then::Keep,
            },
            want,
            fields: Vec::new(),
            is_last: false,
            reason: None,
            trailers: None,
            why: None,
        }
    }

    /// An answer that is refused with the problem `code`.
    pub fn problem(answer: impl Wired, code: &'static str) -> Self {
        Self::new(answer, Heard::Problem(code))
    }

    /// An answer that is passed on.
    pub fn whole(answer: impl Wired, status: u16, body: &str) -> Self {
        Self::new(answer, Heard::Whole(status, body.as_bytes().to_vec()))
    }

    /// An answer that breaks off.
    pub fn cut(answer: impl Wired) -> Self {
        Self::new(answer, Heard::Cut)
    }

    /// An answer that opens a session.
    pub fn opened(answer: impl Wired) -> Self {
        Self::new(answer, Heard::Opened).to(Ask::WebSocket(&[]))
    }

    /// To what it is the answer; a GET unless said.
    #[must_use]
    pub const fn to(mut self, ask: Ask) -> Self {
        self.ask = ask;
        self
    }

    /// What the upstream does behind it; it reads on unless said.
    #[must_use]
    pub const fn then(mut self, then: Then) -> Self {
        self.script.then = then;
        self
    }

    /// The client sees one line `name` with this value.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, Some(value)));
        self
    }

    /// The client sees no line `name`.
    #[must_use]
    pub fn lacks(mut self, name: &'static str) -> Self {
        self.fields.push((name, None));
        self
    }

    /// Its connection to the upstream serves no second request.
    #[must_use]
    pub const fn is_last(mut self) -> Self {
        self.is_last = true;
        self
    }

    /// The client sees this reason phrase.
    #[must_use]
    pub const fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The client sees these trailers, which it said it accepts.
    #[must_use]
    pub fn trailers(mut self, trailers: &[(&'static str, &'static str)]) -> Self {
        self.trailers = Some(trailers.to_vec());
        self
    }

    /// Why it is treated otherwise than by nginx and HAProxy both.
    #[must_use]
    pub const fn why(mut self, why: &'static str) -> Self {
        self.why = Some(why);
        self
    }

    /// Why it is treated so.
    #[must_use]
    pub const fn treated_because(&self) -> Option<&'static str> {
        self.why
    }

    /// What the upstream does.
    #[must_use]
    pub fn script(&self) -> Script {
        self.script.clone()
    }

    /// The request whose answer it is.
    #[must_use]
    pub fn request(&self) -> Request {
        match &self.ask {
            Ask::Get => Request::get("/").with("TE", "trailers"),
            Ask::Head => Request::new("HEAD", "/"),
            Ask::WebSocket(lines) => lines
                .iter()
                .fold(Request::handshake("/"), |request, (name, value)| {
                    request.with(name, value)
                }),
        }
    }

    /// Tries it against a gateway of its own, in one write and, if it is small, byte by byte. What
    /// stands behind a whole answer comes with it: later, nobody could tell it from the next.
    pub async fn judge(&self) {
        self.judge_in(usize::MAX).await;
        if !matches!(self.want, Heard::Whole(..)) && self.script.answer.len() <= SMALL {
            self.judge_in(1).await;
        }
    }

    async fn judge_in(&self, step: usize) {
        let upstream = Recorder::start().await;
        let gateway = TestGateway::start_among(
            &[("UP", upstream.address())],
            "services: { up: { endpoints: ['http://UP'] } }\n\
             routes: [{ name: all, match: { path: /** }, proxy: { service: up } }]\n",
        );
        upstream.script(Script {
            step,
            ..self.script()
        });
        let mut client = gateway.connect().await;
        client.request(&self.request()).await;
        match &self.want {
            Heard::Problem(code) => {
                let answer = if matches!(self.ask, Ask::Head) {
                    let head = client.read_head().await;
                    assert_eq!(head.status(), problem(code).0, "{head:?}");
                    head
                } else {
                    let answer = client.read_answer().await;
                    answer.expect_problem(problem(code).0);
                    let said = format!("\"code\":\"{code}\"");
                    assert!(answer.text().contains(&said), "{code}? {}", answer.text());
                    answer.head
                };
                assert!(!answer.has("X-Up"), "{answer:?}");
                eventually("the upstream connection is dropped", || {
                    gateway.upstream_idle() == 0
                })
                .await;
                assert_eq!(gateway.sessions(), 0);
                next_is_right(&mut client).await;
            }
            Heard::Whole(status, body) => self.is_whole(&mut client, *status, body).await,
            Heard::Cut => {
                let head = client.read_head().await;
                // A reset takes with it what was not read yet, which may be the head.
                if self.script.then == Then::Reset && head.status() == 502 {
                    assert!(!head.has("X-Up"), "{head:?}");
                } else {
                    self.judge_head(&head);
                    let read = client.read_body(&head).await;
                    assert!(read.is_err(), "{read:?} looks whole: {head:?}");
                }
                assert_eq!(gateway.upstream_idle(), 0);
            }
            Heard::Opened => self.is_open(&mut client).await,
        }
        client.reset();
        if self.is_last || matches!(self.want, Heard::Problem(_)) {
            let (connections, _) = upstream.settled().await;
            assert_eq!(
                connections, 2,
                "the connection of the answer was used again"
            );
        }
    }

    async fn is_whole(&self, client: &mut Wire, status: u16, body: &[u8]) {
        let head = client.read_head().await;
        assert_eq!(head.status(), status, "{head:?}");
        self.judge_head(&head);
        if !matches!(self.ask, Ask::Head) {
            let read = client.read_body(&head).await;
            let (read, framing, trailers) = read.unwrap_or_else(|cut| panic!("{cut:?} {head:?}"));
            assert_eq!(
                read.escape_ascii().to_string(),
                body.escape_ascii().to_string()
            );
            if let Some(due) = &self.trailers {
                let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                assert_eq!(trailers, due.iter().map(own).collect::<Vec<_>>());
            }
            if framing == Framing::UntilClose {
                return;
            }
        }
        if head.tokens("Connection").contains(&"close".to_owned()) {
            client.expect_end().await;
        } else {
            next_is_right(client).await;
        }
    }

    fn judge_head(&self, head: &Head) {
        for (name, value) in &self.fields {
            assert_eq!(head.field(name), *value, "{name} in {head:?}");
        }
        if let Some(reason) = self.reason {
            assert_eq!(head.reason(), reason, "{head:?}");
        }
        for name in ["Upgrade", "Keep-Alive", "Proxy-Connection"] {
            let is_switch = head.status() == 101;
            assert!(is_switch || !head.has(name), "{head:?}");
        }
    }

    async fn is_open(&self, client: &mut Wire) {
        let head = client.read_head().await;
        assert_eq!(head.status(), 101, "{head:?}");
        assert_eq!(head.field("Sec-WebSocket-Accept"), Some(&*accept_for(KEY)));
        for name in ["Content-Length", "Transfer-Encoding"] {
            assert!(!head.has(name), "{head:?}");
        }
        assert!(head.is_upgrade(), "{head:?}");
        self.judge_head(&head);
        let hello = Frame::text("hello");
        client.send_frame(&hello.clone().from_client()).await;
        client.expect(hello.bytes()).await;
    }
}

/// The next request on the same connection gets the answer that is its own.
async fn next_is_right(client: &mut Wire) {
    client.send(AFTER).await;
    let next = client.read_answer().await;
    assert_eq!(next.seen().target(), "/after", "{next:?}");
}
