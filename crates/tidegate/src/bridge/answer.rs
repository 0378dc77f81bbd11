//! What goes back to a client: one object, with the old echo, the members of version 1, or both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::value::RawValue;

use super::envelope::{Encoding, Id};
use super::members::Members;
use super::problem::Problem;
use crate::headers::Headers;

/// What an answer says itself, so that no echo says it too.
const OWN: [&str; 4] = ["bodyEncoding", "error", "status", "stream"];
/// What of a request does not come back: what is large, and what is secret.
const UNTOLD: [&str; 5] = ["body", "headers", "id", "timeout", "token"];

/// By what a client knows the request that an answer is for.
#[derive(Debug)]
pub(super) struct Correlation {
    pub(super) id: Option<Id>,
    /// The members that come back, written already; empty where the answer has none.
    echo: Vec<u8>,
    /// Members that come back where the answer has none of that name.
    late: Vec<(&'static str, Box<str>)>,
}

impl Correlation {
    /// Of a request with these members. Answers on a connection of version 1 have the echo only
    /// where there is no id.
    pub(super) fn new(members: &Members<'_>, id: Option<Id>, version_1: bool) -> Self {
        let mut echo = Vec::new();
        let mut late = Vec::new();
        if id.is_none() || !version_1 {
            for (name, value) in members.iter() {
                if let Some(own) = OWN.into_iter().find(|own| *own == name) {
                    // Who names an id takes these for ours.
                    if id.is_none() {
                        late.push((own, value.get().into()));
                    }
                } else if !UNTOLD.contains(&name) || (name == "id" && id.is_none()) {
                    member(name, value.get(), &mut echo);
                }
            }
            for (name, default) in [("type", "\"GET\""), ("baseUrl", "\"\""), ("uri", "\"\"")] {
                if !members.iter().any(|(member, _)| member == name) {
                    member(name, default, &mut echo);
                }
            }
        }
        Self { id, echo, late }
    }

    /// Of a frame that could not be read: nothing comes back of it.
    pub(super) const fn none() -> Self {
        Self {
            id: None,
            echo: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Begins an answer: everything that says which request is meant.
    fn begin(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.echo.len() + 256);
        out.push(b'{');
        if let Some(id) = &self.id {
            key("id", &mut out);
            id.write(&mut out);
        }
        if !self.echo.is_empty() {
            separate(&mut out);
            out.extend_from_slice(&self.echo);
        }
        out
    }

    fn finish(&self, mut out: Vec<u8>, said: &[&str]) -> String {
        for (name, value) in &self.late {
            if !said.contains(name) {
                member(name, value, &mut out);
            }
        }
        out.push(b'}');
        // All of it came from strings, or was checked to be UTF-8.
        String::from_utf8(out).unwrap_or_default()
    }

    /// The answer of a service.
    pub(super) fn answer(&self, answer: &Answered<'_>) -> String {
        let mut out = self.begin();
        let mut said = Vec::new();
        if self.id.is_some() || !answer.status.is_success() {
            said.push("status");
            key("status", &mut out);
            out.extend_from_slice(answer.status.as_str().as_bytes());
        }
        if self.id.is_some() {
            key("headers", &mut out);
            fields(answer.headers, &mut out);
        }
        key("body", &mut out);
        let encoding = body(answer, &mut out);
        let is_told = match encoding {
            Encoding::Json => false,
            // Old clients know strings, and nothing of how else a body may stand.
            Encoding::Text => self.id.is_some(),
            Encoding::Base64 => true,
        };
        if is_told {
            said.push("bodyEncoding");
            key("bodyEncoding", &mut out);
            string(encoding.name(), &mut out);
        }
        self.finish(out, &said)
    }

    /// The answer of the gateway where there is none of a service. Those without an id have the
    /// problem for a body, too, because that is where old clients look.
    pub(super) fn refusal(&self, problem: &Problem, route: Option<&str>) -> String {
        let mut out = self.begin();
        key("status", &mut out);
        out.extend_from_slice(problem.status.as_str().as_bytes());
        key("error", &mut out);
        let begin = out.len();
        problem.write(route, &mut out);
        let told = out[begin..].to_vec();
        key("body", &mut out);
        if self.id.is_none() && !self.echo.is_empty() {
            out.extend_from_slice(&told);
        } else {
            out.extend_from_slice(b"null");
        }
        self.finish(out, &["status", "error"])
    }

    /// The terminal frame of a request that was taken back before it had an answer.
    pub(super) fn end(&self, problem: &Problem) -> Option<String> {
        let mut out = b"{\"op\":\"end\",\"id\":".to_vec();
        self.id.as_ref()?.write(&mut out);
        out.extend_from_slice(b",\"error\":");
        problem.write(None, &mut out);
        out.push(b'}');
        String::from_utf8(out).ok()
    }

    /// The head of an answer whose body follows in chunks.
    pub(super) fn streamed(&self, status: StatusCode, headers: &Headers) -> String {
        let mut out = self.begin();
        key("status", &mut out);
        out.extend_from_slice(status.as_str().as_bytes());
        key("headers", &mut out);
        fields(headers, &mut out);
        key("stream", &mut out);
        out.extend_from_slice(b"true");
        self.finish(out, &["status", "stream"])
    }
}

/// What a service answered, with its whole body.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    pub(super) status: StatusCode,
    /// Those that the client may see.
    pub(super) headers: &'a Headers,
    /// The value of `Content-Type`.
    pub(super) media_type: Option<&'a str>,
    pub(super) body: &'a [u8],
    /// How the client wants the body; `None`: by its media type.
    pub(super) accept: Option<Encoding>,
}

/// Writes the body in the encoding asked for, or in the one that fits: what says that it is JSON and
/// is, as it came; text as a string; anything else in base64.
fn body(answer: &Answered<'_>, into: &mut Vec<u8>) -> Encoding {
    if answer.body.is_empty() {
        into.extend_from_slice(b"null");
        return Encoding::Json;
    }
    let media_type = MediaType::parse(answer.media_type.unwrap_or_default());
    let wants = |encoding| answer.accept.is_none_or(|accept| accept == encoding);
    if wants(Encoding::Json)
        && (media_type.is_json() || answer.accept.is_some())
        && let Ok(json) = serde_json::from_slice::<&RawValue>(answer.body)
    {
        into.extend_from_slice(json.get().as_bytes());
        return Encoding::Json;
    }
    let textual = media_type.is_textual() || answer.accept.is_some();
    if answer.accept != Some(Encoding::Base64)
        && textual
        && let Some(text) = media_type.decode(answer.body)
    {
        string(&text, into);
        return Encoding::Text;
    }
    base64(answer.body, into);
    Encoding::Base64
}

/// Writes bytes as a string in base64.
pub(super) fn base64(bytes: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    into.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    into.push(b'"');
}

/// A media type as far as it decides how a body stands (RFC 9110 section 8.3.1).
#[derive(Debug)]
pub(super) struct MediaType {
    essence: String,
    charset: Option<String>,
}

impl MediaType {
    pub(super) fn parse(value: &str) -> Self {
        let mut parts = value.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let charset = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let is_charset = name.trim().eq_ignore_ascii_case("charset");
            is_charset.then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        });
        Self { essence, charset }
    }

    /// JSON, problem+json and its like.
    pub(super) fn is_json(&self) -> bool {
        self.essence == "application/json"
            || self.essence.ends_with("+json")
            || self.essence == "text/json"
    }

    pub(super) fn is(&self, essence: &str) -> bool {
        self.essence == essence
    }

    /// Text whose pieces can be told as they come.
    pub(super) fn is_utf8_text(&self) -> bool {
        self.is_textual()
            && matches!(
                self.charset.as_deref(),
                None | Some("utf-8" | "utf8" | "us-ascii")
            )
    }

    fn is_textual(&self) -> bool {
        self.essence.starts_with("text/")
            || self.is_json()
            || self.essence.ends_with("+xml")
            || [
                "application/javascript",
                "application/x-ndjson",
                "application/x-www-form-urlencoded",
                "application/xml",
                "application/yaml",
            ]
            .contains(&&*self.essence)
    }

    /// The text that `bytes` are; `None` where they are none in a charset that is known.
    fn decode(&self, bytes: &[u8]) -> Option<String> {
        match self.charset.as_deref() {
            None | Some("utf-8" | "utf8" | "us-ascii") => {
                std::str::from_utf8(bytes).ok().map(str::to_owned)
            }
            Some("iso-8859-1" | "latin1") => Some(bytes.iter().copied().map(char::from).collect()),
            Some(_) => None,
        }
    }
}

/// Writes header fields as an object with names in lower case, repeated ones as a list.
fn fields(headers: &Headers, into: &mut Vec<u8>) {
    let mut object = serde_json::Map::new();
    for field in headers.iter() {
        let name = field.name.as_str().to_ascii_lowercase();
        let value = String::from_utf8_lossy(field.value.as_bytes()).into_owned();
        match object.get_mut(&name) {
            None => {
                object.insert(name, value.into());
            }
            Some(serde_json::Value::Array(lines)) => lines.push(value.into()),
            Some(first) => *first = vec![first.take(), value.into()].into(),
        }
    }
    into.extend_from_slice(serde_json::Value::Object(object).to_string().as_bytes());
}

/// Writes `text` as a JSON string.
pub(super) fn string(text: &str, into: &mut Vec<u8>) {
    // Writing a string into memory does not fail.
    let _ = serde_json::to_writer(into, text);
}

fn member(name: &str, value: &str, into: &mut Vec<u8>) {
    key(name, into);
    into.extend_from_slice(value.as_bytes());
}

fn key(name: &str, into: &mut Vec<u8>) {
    separate(into);
    string(name, into);
    into.push(b':');
}

fn separate(into: &mut Vec<u8>) {
    if !matches!(into.last(), None | Some(b'{')) {
        into.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::envelope::{Request, members};
    use super::*;

    fn correlation(text: &str, version_1: bool) -> Correlation {
        let request = Request::parse(members(text).unwrap()).unwrap();
        Correlation::new(&request.members, request.id, version_1)
    }

    fn answered<'a>(
        status: u16,
        media_type: &'a str,
        body: &'a [u8],
        headers: &'a Headers,
    ) -> Answered<'a> {
        Answered {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            media_type: Some(media_type),
            body,
            accept: None,
        }
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_old_echo() {
        let asked = r#"{"baseUrl":"http://a","uri":"x","username":"bro","tag":1.50,"headers":{"a":"b"},
                        "token":"t","timeout":5,"status":"open","body":{"q":1}}"#;
        let to = correlation(asked, false);
        let none = Headers::new();
        let text = to.answer(&answered(200, "application/json", b"[{\"id\":2}]", &none));
        assert!(text.contains("\"tag\":1.50"), "{text}");
        assert_eq!(
            parsed(&text),
            json!({"type":"GET","baseUrl":"http://a","uri":"x","username":"bro","tag":1.5,"status":"open",
                   "body":[{"id":2}]})
        );
        let missing = parsed(&to.answer(&answered(404, "text/plain", b"no", &none)));
        assert_eq!(
            (&missing["status"], &missing["body"]),
            (&json!(404), &json!("no"))
        );
        assert!(missing.get("bodyEncoding").is_none());
        let refused = parsed(&to.refusal(&Problem::service_not_allowed("no"), Some("bridge")));
        assert_eq!(refused["error"], refused["body"]);
        assert_eq!(refused["error"]["code"], "service_not_allowed");
        assert_eq!(refused["error"]["route"], "bridge");
    }

    #[test]
    fn members_of_version_1() {
        let asked = r#"{"id":"k","baseUrl":"a","uri":"x"}"#;
        let mut headers = Headers::new();
        for (name, value) in [("X-One", "1"), ("Link", "a"), ("link", "b")] {
            headers.append(
                crate::headers::FieldName::parse(name).unwrap(),
                http::HeaderValue::from_static(value),
            );
        }
        let answer = answered(201, "text/plain", b"hi", &headers);
        assert_eq!(
            parsed(&correlation(asked, true).answer(&answer)),
            json!({"id":"k","status":201,"headers":{"x-one":"1","link":["a","b"]},"body":"hi","bodyEncoding":"text"})
        );
        let both = parsed(&correlation(asked, false).answer(&answer));
        assert_eq!(
            (&both["baseUrl"], &both["status"]),
            (&json!("a"), &json!(201))
        );
        let own = correlation(r#"{"id":1,"error":{},"status":"open"}"#, false);
        let own = parsed(&own.answer(&answer));
        assert_eq!((own.get("error"), &own["status"]), (None, &json!(201)));
        let refused = parsed(&correlation(asked, true).refusal(&Problem::invalid_uri("no"), None));
        assert_eq!(
            (&refused["body"], &refused["id"]),
            (&Value::Null, &json!("k"))
        );
        let unread = parsed(&Correlation::none().refusal(&Problem::malformed("no"), None));
        assert_eq!(
            (&unread["body"], &unread["status"]),
            (&Value::Null, &json!(400))
        );
    }

    #[test]
    fn bodies_stand_as_their_media_type_says() {
        let none = Headers::new();
        let to = correlation(r#"{"id":1}"#, true);
        /// A media type and a body; what is asked for; the body told, and its encoding.
        type Case = (
            &'static str,
            &'static [u8],
            Option<Encoding>,
            Value,
            Option<&'static str>,
        );
        let cases: [Case; 10] = [
            (
                "application/problem+json; charset=utf-8",
                b"{\"a\": 1.0}",
                None,
                json!({"a":1.0}),
                None,
            ),
            (
                "application/json",
                b"{broken",
                None,
                json!("{broken"),
                Some("text"),
            ),
            ("application/json", b"", None, Value::Null, None),
            (
                "application/json",
                b"[1]",
                Some(Encoding::Text),
                json!("[1]"),
                Some("text"),
            ),
            (
                "application/json",
                b"[1]",
                Some(Encoding::Base64),
                json!("WzFd"),
                Some("base64"),
            ),
            ("text/plain", b"[1]", Some(Encoding::Json), json!([1]), None),
            (
                "text/html; charset=ISO-8859-1",
                b"\xe9",
                None,
                json!("é"),
                Some("text"),
            ),
            ("text/plain", b"\xe9", None, json!("6Q=="), Some("base64")),
            (
                "image/png",
                b"\x89PNG",
                None,
                json!("iVBORw=="),
                Some("base64"),
            ),
            ("", b"x", None, json!("eA=="), Some("base64")),
        ];
        for (media_type, body, accept, wanted, encoding) in cases {
            let answer = Answered {
                accept,
                ..answered(200, media_type, body, &none)
            };
            let told = parsed(&to.answer(&answer));
            assert_eq!(told["body"], wanted, "{media_type}");
            assert_eq!(
                told.get("bodyEncoding").and_then(Value::as_str),
                encoding,
                "{media_type}"
            );
        }
    }
}
