//! What the fuzz target calls.
#![expect(clippy::unwrap_used, reason = "a panic is the finding")]

use http::StatusCode;
use serde_json::{Map, Value};

use super::address::{Base, target};
use super::answer::{Answered, Correlation};
use super::envelope::{self, Request};
use super::headers;
use super::problem::Problem;
use crate::headers::Headers;
use crate::router::Path;

/// An envelope: whatever it says, its answer is one JSON object that echoes what it must, and it reaches
/// no other path than one below its base.
pub(crate) fn envelope(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(members) = envelope::members(text) else {
        return;
    };
    // One that is nested too deeply for a tree is still an envelope.
    let tree: Option<Map<String, Value>> = serde_json::from_str(text).ok();
    let (members, id, problem) = match Request::parse(members) {
        Ok(request) => {
            address(&request);
            let mut fields = Headers::new();
            if headers::add_from_client(&mut fields, &[], &request.headers).is_ok() {
                let theirs = ["host", "authorization", "content-length", "x-forwarded-for"];
                assert!(theirs.iter().all(|name| !fields.contains(name)));
            }
            (request.members, request.id, None)
        }
        Err(refused) => (refused.members, refused.id, Some(refused.problem)),
    };
    for version_1 in [false, true] {
        let to = Correlation::new(&members, id.clone(), version_1);
        let told = match &problem {
            Some(problem) => to.refusal(problem, None),
            None => to.answer(&Answered {
                status: StatusCode::OK,
                headers: &Headers::new(),
                media_type: Some("application/json"),
                body: b"[1]",
                accept: None,
            }),
        };
        let Ok(told) = serde_json::from_str::<Map<String, Value>>(&told) else {
            assert!(tree.is_none(), "{told}");
            continue;
        };
        let Some(tree) = &tree else { continue };
        assert_eq!(
            told.get("error").is_some(),
            problem.is_some() || (id.is_none() && tree.contains_key("error"))
        );
        if id.is_none() {
            let echoed = tree.iter().filter(|(name, _)| {
                ![
                    "body",
                    "headers",
                    "timeout",
                    "token",
                    "status",
                    "error",
                    "bodyEncoding",
                ]
                .contains(&&***name)
            });
            for (name, value) in echoed {
                assert_eq!(told.get(name), Some(value), "{name}");
            }
        }
    }
}

fn address(request: &Request<'_>) {
    let joined = match request.base_url.as_deref().map(Base::parse) {
        Some(Ok(base)) => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert!(base.service.bytes().all(is_name));
            base.target(&request.uri)
        }
        Some(Err(Problem { code, .. })) => {
            assert!(matches!(code, "service_not_allowed" | "invalid_uri"));
            return;
        }
        None => target("", &request.uri),
    };
    let Ok(joined) = joined else { return };
    assert_eq!(
        Path::normalise(joined.path.as_str().as_bytes()).unwrap(),
        joined.path
    );
    let is_legal = |byte: &u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(byte);
    assert!(joined.path.as_str().as_bytes().iter().all(is_legal));
    assert!(joined.query.iter().flatten().all(is_legal));
}
