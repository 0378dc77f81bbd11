//! The decisions: on a handshake, on a request, on a preflight.

use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LANGUAGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{Cors, CorsError, List, MissingOrigin, Origin, OriginPattern, Own, WebOrigin};

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// What decides on origins. It keeps no state: one serves any number of requests.
#[derive(Debug, Clone)]
pub struct CorsPolicy {
    origins: Vec<OriginPattern>,
    methods: List<Method>,
    headers: List<HeaderName>,
    credentials: bool,
    missing_origin: MissingOrigin,
    /// The lists as fields; `None` for methods when what is asked for is repeated.
    allow_methods: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
}

/// The fields that an answer carries, in place of any CORS fields that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsFields {
    fields: Vec<(HeaderName, HeaderValue)>,
    vary: &'static [&'static str],
}

/// Why a request is refused. The answer to it is always [`CorsRefusal::STATUS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorsRefusal {
    /// A cookie, or another credential that browsers send unasked, with a request of another origin.
    #[error("a page of another origin may not send credentials")]
    CredentialsNotAllowed,
    /// A header that pages of other origins may not send.
    #[error("a page of another origin may not send this header")]
    HeaderNotAllowed,
    /// A method that pages of other origins may not use.
    #[error("a page of another origin may not use this method")]
    MethodNotAllowed,
    /// `Origin` is empty, no origin, or stands more than once.
    #[error("Origin is not one origin")]
    OriginMalformed,
    /// A handshake without `Origin`, where one is demanded.
    #[error("Origin is missing")]
    OriginMissing,
    /// An origin that is not allowed.
    #[error("the origin is not allowed")]
    OriginNotAllowed,
    /// `Origin: null`.
    #[error("the origin null is not allowed")]
    OriginNull,
}

/// Who asks, once it may.
#[derive(Debug, Clone, Copy)]
enum Asker<'a> {
    /// A program, or a page of the same origin.
    Own,
    Other(WebOrigin<'a>),
}

impl CorsPolicy {
    /// Only the same origin, and programs that are no browsers: the policy of [`Cors::new`].
    #[must_use]
    pub fn same_origin() -> Self {
        Self {
            origins: Vec::new(),
            methods: List::Of(vec![Method::GET, Method::HEAD, Method::POST]),
            headers: List::Of(Vec::new()),
            credentials: false,
            missing_origin: MissingOrigin::Allow,
            allow_methods: Some(HeaderValue::from_static("GET, HEAD, POST")),
            expose: None,
            max_age: HeaderValue::from(DEFAULT_MAX_AGE.as_secs()),
        }
    }

    pub(super) fn new(settings: &Cors) -> Result<Self, CorsError> {
        let mut policy = Self::same_origin();
        let is_any = |origin: &&OriginPattern| origin.is_any();
        let origins = settings.origins.as_deref().unwrap_or_default();
        policy.origins = match origins.iter().find(is_any) {
            Some(any) => vec![any.clone()],
            None => origins.to_vec(),
        };
        policy.credentials = settings.credentials.unwrap_or_default();
        policy.missing_origin = settings.missing_origin.unwrap_or_default();
        if let Some(methods) = &settings.methods {
            policy.methods = methods.clone();
            policy.allow_methods = match methods {
                List::Any => None,
                List::Of(methods) => joined(methods.iter().map(Method::as_str)),
            };
        }
        if let Some(headers) = &settings.headers {
            policy.headers = headers.clone();
        }
        policy.expose = match &settings.exposed {
            None => None,
            Some(List::Any) if policy.credentials => {
                return Err(CorsError::CredentialsWithAnyExposed);
            }
            Some(List::Any) => Some(HeaderValue::from_static("*")),
            Some(List::Of(names)) => joined(names.iter().map(HeaderName::as_str)),
        };
        if let Some(age) = settings.max_age {
            policy.max_age = HeaderValue::from(age.as_secs());
        }
        if policy.credentials && policy.is_any() {
            return Err(CorsError::CredentialsForAnyOrigin);
        }
        Ok(policy)
    }

    /// Whether a WebSocket handshake may go on. A 101 needs no fields of CORS.
    ///
    /// # Errors
    /// When the origin is not allowed, `null`, no origin, or missing where it is demanded.
    pub fn handshake(&self, origin: &Origin<'_>, own: Own<'_>) -> Result<(), CorsRefusal> {
        if *origin == Origin::Missing && self.missing_origin == MissingOrigin::Refuse {
            return Err(CorsRefusal::OriginMissing);
        }
        self.asker(origin, own).map(|_asker| ())
    }

    /// Whether a request that is no preflight may count with a credential that browsers send unasked, such
    /// as a cookie: from a page of another origin, where credentials are allowed to it. Handshakes
    /// carry them whatever is configured, so [`handshake`](Self::handshake) is all that is asked of them.
    ///
    /// # Errors
    /// When the origin is not allowed, `null`, or no origin; when it is another one and may not send
    /// credentials.
    pub fn ambient(&self, origin: &Origin<'_>, own: Own<'_>) -> Result<(), CorsRefusal> {
        match self.asker(origin, own)? {
            Asker::Other(_) if !self.credentials => Err(CorsRefusal::CredentialsNotAllowed),
            _ => Ok(()),
        }
    }

    /// Whether a request that is no preflight may go on, and the fields for its answer.
    ///
    /// # Errors
    /// When the origin is not allowed, `null`, or no origin; when a page of another origin uses a
    /// method that is not allowed.
    pub fn request(
        &self,
        origin: &Origin<'_>,
        own: Own<'_>,
        method: &Method,
    ) -> Result<CorsFields, CorsRefusal> {
        let asker = self.asker(origin, own)?;
        if matches!(asker, Asker::Other(_)) && !self.methods.has(method) {
            return Err(CorsRefusal::MethodNotAllowed);
        }
        let mut answer = CorsFields {
            fields: self.origin_fields(asker),
            vary: if self.is_any() { &[] } else { &["Origin"] },
        };
        if !answer.fields.is_empty() {
            answer.add(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        }
        Ok(answer)
    }

    /// Whether the request that a preflight asks for may come, and the fields of its answer, which
    /// has no body (204). `method` is the value of `Access-Control-Request-Method`, `headers` are
    /// the lines of `Access-Control-Request-Headers`; [`is_preflight`] tells preflights apart.
    ///
    /// # Errors
    /// When the origin, the method or one of the headers is not allowed.
    pub fn preflight<'a>(
        &self,
        origin: &Origin<'_>,
        own: Own<'_>,
        method: &[u8],
        headers: impl Iterator<Item = &'a [u8]>,
    ) -> Result<CorsFields, CorsRefusal> {
        let asker = self.asker(origin, own)?;
        let asked = Method::from_bytes(method)
            .ok()
            .filter(|method| self.methods.has(method))
            .ok_or(CorsRefusal::MethodNotAllowed)?;
        let names = self.asked_headers(headers)?;
        let mut answer = CorsFields {
            fields: self.origin_fields(asker),
            vary: &[
                "Origin",
                "Access-Control-Request-Method",
                "Access-Control-Request-Headers",
            ],
        };
        let methods = self
            .allow_methods
            .clone()
            .or_else(|| joined([asked.as_str()].into_iter()));
        answer.add(ACCESS_CONTROL_ALLOW_METHODS, methods);
        let names = joined(names.iter().map(HeaderName::as_str));
        answer.add(ACCESS_CONTROL_ALLOW_HEADERS, names);
        answer.add(ACCESS_CONTROL_MAX_AGE, Some(self.max_age.clone()));
        Ok(answer)
    }

    fn is_any(&self) -> bool {
        self.origins.iter().any(OriginPattern::is_any)
    }

    fn asker<'a>(&self, origin: &Origin<'a>, own: Own<'_>) -> Result<Asker<'a>, CorsRefusal> {
        match origin {
            Origin::Missing => Ok(Asker::Own),
            Origin::Null => Err(CorsRefusal::OriginNull),
            Origin::Malformed => Err(CorsRefusal::OriginMalformed),
            Origin::Of(origin) if origin.is_same(own) => Ok(Asker::Own),
            Origin::Of(origin) if self.origins.iter().any(|pattern| pattern.matches(origin)) => {
                Ok(Asker::Other(*origin))
            }
            Origin::Of(_) => Err(CorsRefusal::OriginNotAllowed),
        }
    }

    /// The fields that let a page read the answer. With `*` they are the same for everybody, so
    /// that a shared cache can keep one answer.
    fn origin_fields(&self, asker: Asker<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let value = match asker {
            _ if self.is_any() => Some(HeaderValue::from_static("*")),
            Asker::Own => None,
            Asker::Other(origin) => HeaderValue::from_str(origin.as_str()).ok(),
        };
        let Some(value) = value else {
            return Vec::new();
        };
        let mut fields = vec![(ACCESS_CONTROL_ALLOW_ORIGIN, value)];
        if self.credentials {
            let value = HeaderValue::from_static("true");
            fields.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, value));
        }
        fields
    }

    fn asked_headers<'a>(
        &self,
        lines: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<HeaderName>, CorsRefusal> {
        lines
            .flat_map(|line| line.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
            .map(|name| {
                HeaderName::from_bytes(name)
                    .ok()
                    .filter(|name| is_simple(name) || self.headers.has(name))
                    .ok_or(CorsRefusal::HeaderNotAllowed)
            })
            .collect()
    }
}

impl Default for CorsPolicy {
    fn default() -> Self {
        Self::same_origin()
    }
}

impl CorsRefusal {
    /// 403, for each of them.
    pub const STATUS: StatusCode = StatusCode::FORBIDDEN;
}

impl CorsFields {
    /// The fields but for `Vary`, each once.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.fields.iter().map(|(name, value)| (name, value))
    }

    /// The names that `Vary` must have.
    #[must_use]
    pub const fn vary(&self) -> &'static [&'static str] {
        self.vary
    }

    /// Puts them into an answer in place of the CORS fields that it has, which an upstream may have
    /// added: a browser refuses an answer that has one twice.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let theirs: Vec<_> = headers
            .keys()
            .filter(|name| is_cors_field(name.as_str()))
            .cloned()
            .collect();
        for name in theirs {
            headers.remove(name);
        }
        for (name, value) in &self.fields {
            headers.insert(name.clone(), value.clone());
        }
        for name in self.vary {
            if !varies(headers, name) {
                headers.append(VARY, HeaderValue::from_static(name));
            }
        }
    }

    fn add(&mut self, name: HeaderName, value: Option<HeaderValue>) {
        self.fields.extend(value.map(|value| (name, value)));
    }
}

/// Whether a response field is one of CORS, which [`CorsFields`] replace.
#[must_use]
pub fn is_cors_field(name: &str) -> bool {
    const PREFIX: &str = "access-control-";
    name.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether a request asks what another one may do: `OPTIONS` with `Origin` and
/// `Access-Control-Request-Method`.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether every page may send it (the Fetch standard, "CORS-safelisted request-header"). `Content-Type` is
/// none of these here: browsers ask for it only where its value is none that every page may send.
fn is_simple(name: &HeaderName) -> bool {
    [ACCEPT, ACCEPT_LANGUAGE, CONTENT_LANGUAGE].contains(name)
}

fn varies(headers: &HeaderMap, name: &str) -> bool {
    headers
        .get_all(VARY)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name.as_bytes()))
}

/// `None` of an empty list.
fn joined<'a>(names: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let text = names.collect::<Vec<_>>().join(", ");
    // Names are tokens, so only an empty one can fail.
    HeaderValue::from_str(&text)
        .ok()
        .filter(|text| !text.is_empty())
}
