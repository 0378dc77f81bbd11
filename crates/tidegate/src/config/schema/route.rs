//! `routes`: which requests go through which filters to where.

use super::super::defaults;
use super::super::error::{Place, Problems};
use super::super::plan::{OnExpiry, RevokeOnDisconnect, RouteLimits};
use super::super::yaml::{Fields, Located, Spot};
use super::{Bridge, Cors, Filter, Handler, Match, Proxy, auth, limits, name};

/// One item of `routes`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Route {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) matcher: Option<Match>,
    pub(in crate::config) filters: Vec<Located<Filter>>,
    pub(in crate::config) cors: Option<Cors>,
    pub(in crate::config) limits: RouteLimits,
    /// Where limits are said to hold on all nodes together.
    pub(in crate::config) cluster_wide: Vec<Place>,
    pub(in crate::config) on_expiry: OnExpiry,
    pub(in crate::config) revoke_on_disconnect: RevokeOnDisconnect,
    pub(in crate::config) session_cookie: Option<Box<str>>,
    pub(in crate::config) target: Option<Target>,
    pub(in crate::config) place: Place,
}

/// Where a route ends.
#[derive(Debug, Clone)]
pub(in crate::config) enum Target {
    Bridge(Box<Bridge>),
    Handler(Handler),
    Proxy(Proxy),
}

const ON_EXPIRY: [(&str, OnExpiry); 2] = [("close", OnExpiry::Close), ("keep", OnExpiry::Keep)];
const REVOKE: [(&str, RevokeOnDisconnect); 3] = [
    ("never", RevokeOnDisconnect::Never),
    ("timeout", RevokeOnDisconnect::Timeout),
    ("always", RevokeOnDisconnect::Always),
];

impl Route {
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = spot.fields(problems)?;
        let name = fields
            .need("name", "name: chat", problems)
            .and_then(|spot| name(&spot, problems));
        let matcher = fields
            .need("match", "match: { path: /** }", problems)
            .and_then(|spot| Match::read(&spot, problems));
        let filters = fields.take("filters");
        let filters = filters.map_or_else(Vec::new, |spot| spot.any_number());
        let filters = filters.iter();
        let filters = filters
            .filter_map(|spot| Filter::read(spot, problems))
            .collect();
        let cors = fields.take("cors");
        let cors = cors.and_then(|spot| Cors::read(&spot, problems));
        let limits = fields.take("limits");
        let on_expiry = fields.take("on_expiry");
        let on_expiry =
            on_expiry.and_then(|spot| spot.name_of(problems, "way with a token's end", &ON_EXPIRY));
        let revoke = fields.take("revoke_on_disconnect");
        let revoke =
            revoke.and_then(|spot| spot.name_of(problems, "way with a session's end", &REVOKE));
        let cookie = fields.take("session_cookie");
        let cookie = cookie.and_then(|spot| spot.value(problems, auth::token_name));
        let target = Target::read(&mut fields, problems);
        let is_bridge = matches!(target, Some(Target::Bridge(_)));
        let max_sessions = is_bridge.then_some(defaults::BRIDGE_MAX_SESSIONS);
        let limits = limits.and_then(|spot| limits::route(&spot, max_sessions, problems));
        let mut unlimited = RouteLimits::default();
        unlimited.sessions.most = max_sessions;
        let (limits, cluster_wide) = limits.unwrap_or((unlimited, Vec::new()));
        let place = fields.place().clone();
        fields.finish(problems);
        Some(Self {
            name,
            matcher,
            filters,
            cors,
            limits,
            cluster_wide,
            on_expiry: on_expiry.unwrap_or_default(),
            revoke_on_disconnect: revoke.unwrap_or_default(),
            session_cookie: cookie,
            target,
            place,
        })
    }
}

/// The keys under which a target is written.
const KEYS: [&str; 3] = ["bridge", "handler", "proxy"];

impl Target {
    /// Reads the one of them that is written.
    fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let written = KEYS.map(|key| Some((key, fields.take(key)?)));
        let mut written = written.into_iter().flatten();
        let Some((key, spot)) = written.next() else {
            // Said as the one that most routes mean.
            fields.need("proxy", "proxy: { service: chat }", problems)?;
            return None;
        };
        if let Some((other, _)) = written.next() {
            let message = format!("a route ends at one target, and `{other}` is another");
            problems.suggest(&spot.place(), message, "remove one of them");
        }
        match key {
            "bridge" => Bridge::read(&spot, problems).map(|bridge| Self::Bridge(Box::new(bridge))),
            "handler" => Handler::read(&spot, problems).map(Self::Handler),
            _ => Proxy::read(&spot, problems).map(Self::Proxy),
        }
    }
}
