//! Which pages may talk to us: the origin policy of WebSocket handshakes (RFC 6455 section 10.2),
//! and CORS (the Fetch standard, section "CORS protocol") for requests beside them.
//!
//! A browser sends cookies with a handshake to any host that a page names, and no preflight comes
//! first, so a server that does not look at `Origin` lends its users' sessions to every page. What
//! is not allowed here is therefore refused: without any setting only pages of the same origin get
//! in.
//!
//! [`Cors`] is what is configured at one place: for a handler, for a path pattern, for a route, for
//! a whole gateway. Two of them are joined by [`Cors::combine`]; [`Cors::build`] makes the
//! [`CorsPolicy`] that decides. All of it is pure: what goes in are header lines, what comes out are
//! header fields or a [`CorsRefusal`].
//!
//! ```
//! use http::Method;
//! use tidegate_ws::cors::{Cors, Origin, Own};
//!
//! let policy = Cors::new()
//!     .allow_origin("https://app.example.com".parse()?)
//!     .allow_origin("https://*.example.org".parse()?)
//!     .build()?;
//!
//! let own = Own { scheme: Some("https"), authority: Some("api.example.com") };
//! let of = |line: &'static str| Origin::parse([line.as_bytes()].into_iter());
//! assert!(policy.handshake(&of("https://app.example.com"), own).is_ok());
//! assert!(policy.handshake(&of("https://api.example.com"), own).is_ok(), "the same origin");
//! assert!(policy.handshake(&of("https://example.org.evil.net"), own).is_err());
//! assert!(policy.request(&of("https://a.b.example.org"), own, &Method::GET).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod origin;
mod policy;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{HeaderName, Method};

pub use origin::{MalformedOrigin, Origin, OriginPattern, Own, WebOrigin};
pub use policy::{CorsFields, CorsPolicy, CorsRefusal, is_cors_field, is_preflight};

/// What is configured about origins and CORS at one place. What is not set there is left to the
/// other place in [`combine`](Self::combine), and to the default in [`build`](Self::build).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    origins: Option<Vec<OriginPattern>>,
    methods: Option<List<Method>>,
    headers: Option<List<HeaderName>>,
    exposed: Option<List<HeaderName>>,
    credentials: Option<bool>,
    max_age: Option<Duration>,
    missing_origin: Option<MissingOrigin>,
}

/// Some, or all there are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum List<T> {
    Any,
    Of(Vec<T>),
}

/// What becomes of a handshake without `Origin`. Every browser sends one, so what comes without is
/// no page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingOrigin {
    /// It may open a session: programs that are no browsers send none. The default.
    #[default]
    Allow,
    /// It is refused.
    Refuse,
}

/// Why a policy cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorsError {
    /// Credentials for every origin: each page on the web could act in its visitors' names.
    #[error("credentials cannot be allowed together with the origin \"*\": list the origins")]
    CredentialsForAnyOrigin,
    /// With credentials, browsers read `Access-Control-Expose-Headers: *` as the name of a field.
    #[error("with credentials the exposed headers cannot be \"*\": list them")]
    CredentialsWithAnyExposed,
}

impl Cors {
    /// Nothing set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an origin to those that are allowed. The same origin always is. Default: no other.
    #[must_use]
    pub fn allow_origin(mut self, origin: OriginPattern) -> Self {
        add(self.origins.get_or_insert_default(), origin);
        self
    }

    /// Adds a method that a page of another origin may use. Default: `GET`, `HEAD` and `POST`,
    /// which a browser sends without asking. Of no meaning for handshakes.
    #[must_use]
    pub fn allow_method(mut self, method: Method) -> Self {
        add_to(&mut self.methods, method);
        self
    }

    /// Allows every method.
    #[must_use]
    pub fn allow_any_method(mut self) -> Self {
        self.methods = Some(List::Any);
        self
    }

    /// Adds a request header that a page of another origin may send. Default: none but those that
    /// a browser sends without asking. Of no meaning for handshakes.
    #[must_use]
    pub fn allow_header(mut self, name: HeaderName) -> Self {
        add_to(&mut self.headers, name);
        self
    }

    /// Allows every request header.
    #[must_use]
    pub fn allow_any_header(mut self) -> Self {
        self.headers = Some(List::Any);
        self
    }

    /// Adds a response header that a page of another origin may read. Default: none but those that
    /// every page may.
    #[must_use]
    pub fn expose_header(mut self, name: HeaderName) -> Self {
        add_to(&mut self.exposed, name);
        self
    }

    /// Lets pages of other origins read every response header.
    #[must_use]
    pub fn expose_any_header(mut self) -> Self {
        self.exposed = Some(List::Any);
        self
    }

    /// Whether pages of other origins may send requests with cookies and read what is answered.
    /// Default: no. It needs a list of origins. Handshakes carry cookies whatever is said here.
    #[must_use]
    pub const fn allow_credentials(mut self, allowed: bool) -> Self {
        self.credentials = Some(allowed);
        self
    }

    /// How long a browser may remember a preflight, in whole seconds. Default: 30 minutes.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// What becomes of a handshake without `Origin`. Default: it may pass.
    #[must_use]
    pub const fn missing_origin(mut self, missing: MissingOrigin) -> Self {
        self.missing_origin = Some(missing);
        self
    }

    /// This place's settings joined with those of a more general one: a handler's with a pattern's,
    /// a route's with the gateway's. Lists are united, and `*` absorbs them; of what is one value,
    /// ours wins (row D-011).
    #[must_use]
    pub fn combine(&self, general: &Self) -> Self {
        Self {
            origins: united(&self.origins, &general.origins, |ours, theirs| {
                theirs.iter().fold(ours.clone(), |mut all, origin| {
                    add(&mut all, origin.clone());
                    all
                })
            }),
            methods: united(&self.methods, &general.methods, List::united),
            headers: united(&self.headers, &general.headers, List::united),
            exposed: united(&self.exposed, &general.exposed, List::united),
            credentials: self.credentials.or(general.credentials),
            max_age: self.max_age.or(general.max_age),
            missing_origin: self.missing_origin.or(general.missing_origin),
        }
    }

    /// The policy of these settings.
    ///
    /// # Errors
    /// When credentials are allowed together with the origin `*`, or with every response header.
    pub fn build(&self) -> Result<CorsPolicy, CorsError> {
        CorsPolicy::new(self)
    }
}

impl<T: Clone + PartialEq> List<T> {
    fn united(ours: &Self, theirs: &Self) -> Self {
        let (Self::Of(ours), Self::Of(theirs)) = (ours, theirs) else {
            return Self::Any;
        };
        let mut all = ours.clone();
        for item in theirs {
            add(&mut all, item.clone());
        }
        Self::Of(all)
    }
}

impl<T: PartialEq> List<T> {
    fn has(&self, item: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Of(items) => items.contains(item),
        }
    }
}

fn united<T: Clone>(
    ours: &Option<T>,
    theirs: &Option<T>,
    unite: impl FnOnce(&T, &T) -> T,
) -> Option<T> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(unite(ours, theirs)),
        (one, other) => one.as_ref().or(other.as_ref()).cloned(),
    }
}

fn add_to<T: PartialEq>(list: &mut Option<List<T>>, item: T) {
    match list {
        Some(List::Any) => {}
        Some(List::Of(items)) => add(items, item),
        None => *list = Some(List::Of(vec![item])),
    }
}

fn add<T: PartialEq>(items: &mut Vec<T>, item: T) {
    if !items.contains(&item) {
        items.push(item);
    }
}
