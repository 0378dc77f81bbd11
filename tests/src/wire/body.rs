//! Answers with their bodies, read as strictly as RFC 9112 section 6 allows.

use super::{End, Wire};
use crate::head::Head;

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its head.
    pub head: Head,
    /// Its body, without framing.
    pub body: Vec<u8>,
    /// How the body was framed.
    pub framing: Framing,
    /// What came behind the last chunk.
    pub trailers: Vec<(String, String)>,
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By `Transfer-Encoding: chunked`.
    Chunked,
    /// By `Content-Length`.
    Length,
    /// There is no body, whatever the fields say.
    None,
    /// By the end of the connection.
    UntilClose,
}

impl Answer {
    /// Its status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The head of the request that an upstream saw and answered as its body
    /// ([`crate::ScriptedUpstream::mirror`]).
    ///
    /// # Panics
    /// When the answer is no such mirror.
    pub fn seen(&self) -> Head {
        assert_eq!(self.status(), 200, "{:?} {}", self.head, self.text());
        assert!(self.head.has("X-Mirror"), "not a mirror: {:?}", self.head);
        Head::parse(self.body.clone())
    }

    /// The `code` of an answer of the gateway's own.
    ///
    /// # Panics
    /// When it is no such answer.
    #[must_use]
    pub fn code(&self) -> String {
        self.expect_problem(self.status());
        let text = self.text();
        let (_, code) = text.split_once("\"code\":\"").unwrap();
        code.split('"').next().unwrap_or_default().to_owned()
    }

    /// Expects an answer of the gateway's own: `status`, a problem (RFC 9457) with its five
    /// members, and no word of the inside.
    pub fn expect_problem(&self, status: u16) {
        assert_eq!(self.status(), status, "{:?} {}", self.head, self.text());
        let kind = self.head.field("Content-Type");
        assert_eq!(kind, Some("application/problem+json"), "{:?}", self.head);
        let body = self.text();
        let value = |member: &str| {
            let (_, rest) = body
                .split_once(&format!("\"{member}\":"))
                .unwrap_or_else(|| panic!("no {member} in {body}"));
            rest.trim_start().to_owned()
        };
        assert!(value("status").starts_with(&status.to_string()), "{body}");
        assert!(value("title").starts_with('"'), "{body}");
        assert!(value("detail").starts_with('"'), "{body}");
        let code: String = value("code")
            .chars()
            .skip(1)
            .take_while(|c| *c != '"')
            .collect();
        let kind = format!("\"urn:tidegate:problem:{code}\"");
        assert!(
            !code.is_empty() && value("type").starts_with(&kind),
            "{body}"
        );
        let inside = [
            "127.0.0.",
            "[::1]",
            "localhost",
            ".rs",
            "::",
            "panicked",
            "os error",
        ];
        for word in inside {
            assert!(!body.contains(word), "{word} is told to a stranger: {body}");
        }
    }
}

impl Wire {
    /// Reads an answer to anything but HEAD.
    ///
    /// # Panics
    /// When it is cut.
    pub async fn read_answer(&mut self) -> Answer {
        let head = self.read_head().await;
        match self.read_body(&head).await {
            Ok((body, framing, trailers)) => Answer {
                head,
                body,
                framing,
                trailers,
            },
            Err((body, end)) => {
                panic!("{end:?} after {} bytes of the body of {head:?}", body.len())
            }
        }
    }

    /// Reads an answer that ought to be cut within its body: its head, and how it ended.
    ///
    /// # Panics
    /// When it is whole, or looks so.
    pub async fn read_cut_answer(&mut self) -> (Head, Vec<u8>, End) {
        let head = self.read_head().await;
        match self.read_body(&head).await {
            Ok((body, framing, _)) => {
                panic!("{framing:?} made {} bytes look whole: {head:?}", body.len())
            }
            Err((body, end)) => (head, body, end),
        }
    }

    /// Reads the body that belongs to `head` (a request's or an answer's): its bytes, framing and
    /// trailers; or, when it is cut, the bytes before the cut and its kind.
    pub async fn read_body(
        &mut self,
        head: &Head,
    ) -> Result<(Vec<u8>, Framing, Vec<(String, String)>), (Vec<u8>, End)> {
        let mut body = Vec::new();
        match framing(head) {
            Framing::None => Ok((body, Framing::None, Vec::new())),
            Framing::Chunked => match self.read_chunks(&mut body).await {
                Ok(trailers) => Ok((body, Framing::Chunked, trailers)),
                Err(end) => Err((body, end)),
            },
            Framing::Length => {
                let length = head.field("Content-Length").unwrap();
                let length = length.parse().unwrap_or_else(|_| panic!("{head:?}"));
                match self.read_exact_or_end(length).await {
                    Ok(body) => Ok((body, Framing::Length, Vec::new())),
                    Err(end) => Err((std::mem::take(&mut self.buffer), end)),
                }
            }
            Framing::UntilClose => match self.read_to_end().await {
                (body, End::Fin) => Ok((body, Framing::UntilClose, Vec::new())),
                cut => Err(cut),
            },
        }
    }

    async fn read_chunks(&mut self, body: &mut Vec<u8>) -> Result<Vec<(String, String)>, End> {
        while let Some(chunk) = self.read_chunk_or_end().await? {
            body.extend_from_slice(&chunk);
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.read_line_or_end().await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            let (name, value) = line.split_once(':').unwrap();
            trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Reads one chunk; `None` for the last, after which trailers come.
    ///
    /// # Panics
    /// When the connection ends before it.
    pub async fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let chunk = self.read_chunk_or_end().await;
        chunk.unwrap_or_else(|end| panic!("a chunk was due, not {end:?}"))
    }

    async fn read_chunk_or_end(&mut self) -> Result<Option<Vec<u8>>, End> {
        let size = self.read_line_or_end().await?;
        let digits = size.split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{size:?}"));
        if length == 0 {
            return Ok(None);
        }
        let mut chunk = self.read_exact_or_end(length + 2).await?;
        assert!(chunk.ends_with(b"\r\n"), "a chunk without its end");
        chunk.truncate(length);
        Ok(Some(chunk))
    }
}

/// RFC 9112 section 6.3, for a head that is not the answer to a HEAD.
fn framing(head: &Head) -> Framing {
    let is_answer = head.start.starts_with("HTTP/");
    let codings = head.tokens("Transfer-Encoding");
    let has_length = head.field("Content-Length").is_some();
    assert!(
        codings.is_empty() || !has_length,
        "both framings stand in {head:?}"
    );
    if is_answer && matches!(head.status(), 100..200 | 204 | 304) {
        assert!(codings.is_empty(), "{head:?}");
        Framing::None
    } else if !codings.is_empty() {
        assert_eq!(codings, ["chunked"], "{head:?}");
        Framing::Chunked
    } else if has_length {
        Framing::Length
    } else if is_answer {
        Framing::UntilClose
    } else {
        Framing::None
    }
}
