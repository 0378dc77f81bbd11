//! What a client sends: envelopes, which are requests, and frames with an `op`.

use std::borrow::Cow;
use std::time::Duration;

use http::Method;
use serde_json::value::RawValue;

use super::members::{Few, MAX_FEW, Members, text};
use super::problem::Problem;

/// The most characters of an id that is a string.
const MAX_ID: usize = 64;
/// The most bytes of `headers`, and the most lines in it: as much as a head may have.
const MAX_HEADERS: usize = 64 * 1024;
const MAX_LINES: usize = 100;
/// The largest number that JavaScript counts to exactly.
const MAX_NUMBER: u64 = 1 << 53;

/// By what a client tells answers apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Id {
    Number(u64),
    Text(Box<str>),
}

impl Id {
    pub(super) fn parse(value: &RawValue) -> Result<Self, Problem> {
        let number = serde_json::from_str::<u64>(value.get()).ok();
        if let Some(number) = number.filter(|number| (1..MAX_NUMBER).contains(number)) {
            return Ok(Self::Number(number));
        }
        match text(value) {
            Some(text) if !text.is_empty() && text.chars().count() <= MAX_ID => {
                Ok(Self::Text(text.into()))
            }
            _ => Err(Problem::malformed(
                "id is an integer from 1 to 2^53-1 or a string of 1 to 64 characters",
            )),
        }
    }

    /// It, as a log has it.
    pub(super) fn to_text(&self) -> Box<str> {
        match self {
            Self::Number(number) => number.to_string().into(),
            Self::Text(text) => text.clone(),
        }
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        match self {
            Self::Number(number) => into.extend_from_slice(number.to_string().as_bytes()),
            Self::Text(text) => super::answer::string(text, into),
        }
    }
}

/// A header field as a client wrote it: its name and its value.
pub(super) type Said<'a> = (Cow<'a, str>, Cow<'a, str>);

/// How a body stands in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encoding {
    #[default]
    Json,
    Text,
    Base64,
}

/// A call that a client asks for.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// Every member, for the echo of answers without an id.
    pub(super) members: Members<'a>,
    pub(super) id: Option<Id>,
    pub(super) method: Method,
    pub(super) base_url: Option<Cow<'a, str>>,
    pub(super) uri: Cow<'a, str>,
    pub(super) headers: Vec<Said<'a>>,
    /// As it was written; `None` for `null` and where there is none.
    pub(super) body: Option<&'a RawValue>,
    pub(super) body_encoding: Encoding,
    /// For the first byte of the answer.
    pub(super) timeout: Option<Duration>,
    /// How the answer's body shall stand; `None`: by its media type.
    pub(super) accept: Option<Encoding>,
    pub(super) stream: bool,
    /// Bytes of a streamed answer that may be sent unasked; `None`: the default. -1 is `Unlimited`.
    pub(super) credit: Option<Credit>,
}

/// What a client grants a streamed answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credit {
    Bytes(u64),
    Unlimited,
}

/// A request that cannot be done, with what is needed to answer it.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    pub(super) members: Members<'a>,
    pub(super) id: Option<Id>,
    pub(super) problem: Problem,
}

/// Reads the members of a text message, or of one element of a batch.
///
/// # Errors
/// When it is no JSON object, has over 256 members, or has one twice.
pub(super) fn members(text: &str) -> Result<Members<'_>, Problem> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Problem::malformed(format!("not an envelope: {error}"))
        }
        _ => Problem::malformed(format!("not JSON: {error}")),
    })
}

impl<'a> Request<'a> {
    /// Makes a request of the members of an envelope.
    pub(super) fn parse(members: Members<'a>) -> Result<Self, Box<Refused<'a>>> {
        let id = match members.value("id").map(Id::parse).transpose() {
            Ok(id) => id,
            Err(problem) => {
                return Err(Box::new(Refused {
                    members,
                    id: None,
                    problem,
                }));
            }
        };
        match Self::read(&members) {
            Ok(request) => Ok(Self {
                members,
                id,
                ..request
            }),
            Err(problem) => Err(Box::new(Refused {
                members,
                id,
                problem,
            })),
        }
    }

    fn read(members: &Members<'a>) -> Result<Self, Problem> {
        let string = |name: &'static str| match members.value(name) {
            Some(value) => text(value)
                .map(Some)
                .ok_or_else(|| Problem::malformed(format!("{name} is a string"))),
            None => Ok(None),
        };
        let method = string("type")?.or(string("method")?);
        let encoding = string("bodyEncoding")?;
        let body = members.value("body");
        let (body, body_encoding) = match encoding.as_deref() {
            Some("none") => (None, Encoding::Json),
            Some(name) => (body, Encoding::parse(name)?),
            None => (body, Encoding::Json),
        };
        Ok(Self {
            members: Members::default(),
            id: None,
            method: method.map_or(Ok(Method::GET), |name| parse_method(&name))?,
            // Old clients write what they leave out: an empty one is none (row L2).
            base_url: string("baseUrl")?.filter(|base| !base.is_empty()),
            uri: string("uri")?.or(string("url")?).unwrap_or_default(),
            headers: headers(members)?,
            body,
            body_encoding,
            timeout: timeout(members)?,
            accept: match string("accept")?.as_deref() {
                None | Some("auto") => None,
                Some(name) => Some(Encoding::parse(name)?),
            },
            stream: members
                .value("stream")
                .is_some_and(|value| value.get() == "true"),
            credit: credit(members)?,
        })
    }
}

impl Encoding {
    fn parse(name: &str) -> Result<Self, Problem> {
        match name {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            "base64" => Ok(Self::Base64),
            _ => Err(Problem::unsupported_encoding(
                "the encodings are json, text and base64",
            )),
        }
    }

    /// What an envelope calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Base64 => "base64",
        }
    }
}

/// Those of the old contract, in any case. TRACE would show the caller what the gateway added.
fn parse_method(name: &str) -> Result<Method, Problem> {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let known = |method: &Method| method.as_str().eq_ignore_ascii_case(name);
    KNOWN.into_iter().find(known).ok_or_else(|| {
        Problem::method_not_allowed(
            "the bridge sends GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS",
        )
    })
}

pub(super) fn headers<'a>(members: &Members<'a>) -> Result<Vec<Said<'a>>, Problem> {
    let wrong = || Problem::malformed("headers is an object of strings or lists of strings");
    let Some(value) = members.value("headers") else {
        return Ok(Vec::new());
    };
    if value.get().len() > MAX_HEADERS {
        let detail = format!("headers has more than {MAX_HEADERS} bytes");
        return Err(Problem::malformed(detail));
    }
    let fields: Members<'a> = serde_json::from_str(value.get()).map_err(|_json| wrong())?;
    let mut headers = Vec::new();
    for (name, value) in fields.into_iter() {
        if let Some(text) = text(value) {
            headers.push((name, text));
        } else if value.get() != "null" {
            let is_list = value.get().starts_with('[');
            let Few(lines) = serde_json::from_str(value.get()).map_err(|_json| match is_list {
                // It was read as JSON before, so nothing else can be wrong with one.
                true => Problem::malformed(format!("a header has more than {MAX_FEW} lines")),
                false => wrong(),
            })?;
            for line in lines {
                headers.push((name.clone(), text(line).ok_or_else(wrong)?));
            }
        }
    }
    if headers.len() > MAX_LINES {
        let detail = format!("headers has more than {MAX_LINES} lines");
        return Err(Problem::malformed(detail));
    }
    Ok(headers)
}

fn timeout(members: &Members<'_>) -> Result<Option<Duration>, Problem> {
    let Some(value) = members.value("timeout") else {
        return Ok(None);
    };
    let milliseconds = serde_json::from_str::<u64>(value.get()).ok();
    match milliseconds.filter(|&time| time > 0) {
        Some(time) => Ok(Some(Duration::from_millis(time))),
        None => Err(Problem::malformed(
            "timeout is a number of milliseconds from 1",
        )),
    }
}

fn credit(members: &Members<'_>) -> Result<Option<Credit>, Problem> {
    let Some(value) = members.value("credit") else {
        return Ok(None);
    };
    match serde_json::from_str::<i64>(value.get()) {
        Ok(-1) => Ok(Some(Credit::Unlimited)),
        Ok(bytes @ 0..) => Ok(Some(Credit::Bytes(bytes.unsigned_abs()))),
        _ => Err(Problem::malformed("credit is a number of bytes, or -1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Request<'_>, Box<Refused<'_>>> {
        Request::parse(members(text).unwrap())
    }

    #[test]
    fn what_is_missing_has_its_default() {
        let bare = request("{}").unwrap();
        assert_eq!((bare.method, bare.id, &*bare.uri), (Method::GET, None, ""));
        let empty = request(r#"{"baseUrl":""}"#).unwrap();
        assert!(empty.base_url.is_none());
        assert!(bare.base_url.is_none() && bare.body.is_none() && !bare.stream);
        let full = request(
            r#"{"id":7,"type":"post","baseUrl":"a","uri":"b","headers":{"X":"1","y":["2","3"]},
                "body":{"v":1.0},"timeout":5000,"stream":true,"credit":-1,"accept":"text"}"#,
        )
        .unwrap();
        assert_eq!(full.id, Some(Id::Number(7)));
        assert_eq!(full.method, Method::POST);
        assert_eq!(full.body.unwrap().get(), r#"{"v":1.0}"#);
        assert_eq!(full.timeout, Some(Duration::from_secs(5)));
        assert_eq!(full.credit, Some(Credit::Unlimited));
        assert_eq!(full.accept, Some(Encoding::Text));
        let headers: Vec<_> = full
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(headers, [("X", "1"), ("y", "2"), ("y", "3")]);
        assert_eq!(
            request(r#"{"method":"DELETE","url":"/x"}"#).unwrap().uri,
            "/x"
        );
        assert!(request(r#"{"body":null}"#).unwrap().body.is_none());
    }

    #[test]
    fn what_is_wrong_is_told_with_the_id() {
        for (text, code) in [
            (r#"{"id":1,"type":"TRACE"}"#, "method_not_allowed"),
            (r#"{"id":1,"type":"CONNECT"}"#, "method_not_allowed"),
            (r#"{"id":1,"type":7}"#, "malformed_frame"),
            (r#"{"id":1,"uri":{}}"#, "malformed_frame"),
            (r#"{"id":1,"timeout":0}"#, "malformed_frame"),
            (r#"{"id":1,"timeout":-5}"#, "malformed_frame"),
            (r#"{"id":1,"headers":[]}"#, "malformed_frame"),
            (r#"{"id":1,"headers":{"a":1}}"#, "malformed_frame"),
            (r#"{"id":1,"credit":"x"}"#, "malformed_frame"),
            (r#"{"id":1,"bodyEncoding":"cbor"}"#, "unsupported_encoding"),
        ] {
            let refused = request(text).unwrap_err();
            assert_eq!(
                (refused.id, refused.problem.code),
                (Some(Id::Number(1)), code),
                "{text}"
            );
        }
        for bad in ["0", "-1", "1.5", "9007199254740992", "\"\"", "[]", "true"] {
            let text = format!(r#"{{"id":{bad}}}"#);
            assert_eq!(
                request(&text).unwrap_err().problem.code,
                "malformed_frame",
                "{bad}"
            );
        }
        for text in ["42", "[", "", "{\"type\":", "{\"a\":1,\"a\":2}"] {
            assert_eq!(members(text).unwrap_err().code, "malformed_frame", "{text}");
        }
    }
}
