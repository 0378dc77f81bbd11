//! By what a call is known in everybody's logs: `X-Request-Id`, and `traceparent` (W3C Trace Context
//! section 3.2). Both are the client's where they are valid, and drawn otherwise.

use http::HeaderValue;

use crate::access_log::trace_id;
use crate::headers::{FieldName, Headers};

const REQUEST_ID: &str = "X-Request-Id";
const TRACEPARENT: &str = "traceparent";
/// The most letters of an id that a client chooses.
const LONGEST: usize = 128;

/// Sees to it that a call can be followed; returns the id of its trace.
pub(super) fn settle(headers: &mut Headers) -> Box<str> {
    if only(headers, REQUEST_ID).filter(|id| is_id(id)).is_none() {
        set(headers, REQUEST_ID, &format!("{:032x}", some()));
    }
    if let Some(trace) = only(headers, TRACEPARENT).and_then(|text| trace_id(text.as_bytes())) {
        return trace.into();
    }
    // It goes with the trace that is not continued (section 3.3).
    headers.remove("tracestate");
    let (trace, parent) = (format!("{:032x}", some()), some() as u64 | 1);
    // Whether it is recorded is for those behind us to decide.
    set(
        headers,
        TRACEPARENT,
        &format!("00-{trace}-{parent:016x}-00"),
    );
    trace.into()
}

/// Anything but 0, which names nothing.
fn some() -> u128 {
    fastrand::u128(1..)
}

/// The value of a field that is there once.
fn only<'h>(headers: &'h Headers, name: &'h str) -> Option<&'h str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:~+/=@".contains(&byte);
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_letter)
}

fn set(headers: &mut Headers, name: &'static str, value: &str) {
    // Digits and hyphens.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.set(FieldName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn settled(lines: &[(&'static str, &'static str)]) -> (Headers, Box<str>) {
        let mut headers = Headers::of(lines);
        let trace = settle(&mut headers);
        (headers, trace)
    }

    #[test]
    fn what_is_valid_stays() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let lines = [
            ("x-request-id", "a-1.B"),
            ("traceparent", parent),
            ("tracestate", "a=b"),
        ];
        let (headers, trace) = settled(&lines);
        assert_eq!(headers, Headers::of(&lines));
        assert_eq!(&*trace, TRACE);
    }

    #[test]
    fn what_is_missing_or_wrong_is_drawn() {
        let (first, _) = settled(&[]);
        for lines in [
            &[][..],
            &[
                ("X-Request-Id", "a b"),
                ("traceparent", "00-1-2-3"),
                ("tracestate", "a=b"),
            ],
            &[("X-Request-Id", ""), ("traceparent", "")],
            &[("X-Request-Id", "a"), ("x-request-id", "b")],
        ] {
            let (headers, trace) = settled(lines);
            let parent = only(&headers, "traceparent").unwrap();
            assert_eq!(trace_id(parent.as_bytes()), Some(&*trace), "{lines:?}");
            assert!(parent.ends_with("-00"), "{parent}");
            let id = only(&headers, "x-request-id").unwrap();
            assert!(id.len() == 32 && is_id(id), "{id}");
            assert_ne!(only(&first, "x-request-id"), Some(id));
            assert!(!headers.contains("tracestate"));
        }
        assert!(!is_id(&"a".repeat(129)) && is_id(&"a".repeat(128)));
    }
}
