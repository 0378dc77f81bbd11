//! What the tests of this room ask the router.

use http::{HeaderValue, Method};

use super::{HeaderExpect, HeaderRule, Matcher, Path, PathPattern, RequestView};
use crate::authority::Authority;
use crate::headers::{FieldName, Headers};

/// A request to hold against matchers.
pub(super) struct Request {
    method: Method,
    path: Path,
    authority: Option<Authority>,
    pub(super) headers: Headers,
    upgrade: bool,
}

impl Request {
    pub(super) fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: Path::normalise(path.as_bytes()).unwrap(),
            authority: None,
            headers: Headers::new(),
            upgrade: false,
        }
    }

    pub(super) fn method(self, method: &str) -> Self {
        let method = method.parse().unwrap();
        Self { method, ..self }
    }

    pub(super) fn host(self, host: &str) -> Self {
        let authority = Authority::parse(host.as_bytes()).ok();
        Self { authority, ..self }
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        let value = HeaderValue::from_static(value);
        self.headers.append(FieldName::from_static(name), value);
        self
    }

    pub(super) fn upgrade(self) -> Self {
        let upgrade = true;
        Self { upgrade, ..self }
    }

    pub(super) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            path: &self.path,
            authority: self.authority.as_ref(),
            headers: &self.headers,
            upgrade: self.upgrade,
            secure: false,
            certificate: None,
        }
    }
}

/// A matcher that asks for a path alone.
pub(super) fn matcher(pattern: &str) -> Matcher {
    Matcher {
        paths: vec![PathPattern::parse(pattern).unwrap()],
        ..Matcher::default()
    }
}

pub(super) fn header(name: &'static str, expect: HeaderExpect) -> HeaderRule {
    let name = FieldName::from_static(name);
    HeaderRule { name, expect }
}
