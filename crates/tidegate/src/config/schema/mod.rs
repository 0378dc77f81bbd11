//! The language of the file, area by area: which keys there are, what types they have, and what
//! holds without them. Each area reads itself as far as it can and reports the rest; names are
//! linked one room up, in `link`.

mod access_log;
mod admin;
mod auth;
mod bind;
mod bridge;
mod bus;
mod cluster;
mod cors;
mod drain;
mod filter;
mod handler;
mod jwks;
mod kafka;
mod limits;
mod matcher;
mod proxy;
mod proxy_protocol;
mod push;
mod redirect;
mod require;
mod rooms;
mod route;
mod service;
mod tls;
mod websocket;

use ipnet::IpNet;

use super::error::{Place, Problems};
use super::plan::{
    AccessLogPlan, AuthPlan, Bind, BusPlan, ClusterPlan, DrainPlan, ForwardedHeader,
    ListenerLimits, ListenerTls, ProxyProtocolPlan, RoomsPlan,
};
use super::value;
use super::yaml::{Located, Quoted, Spot};

pub(super) use admin::Admin;
pub(super) use bridge::Bridge;
pub(super) use cors::Cors;
pub(super) use filter::{Filter, Line, Side};
pub(super) use handler::Handler;
pub(super) use matcher::{CertificateTest, HeaderTest, Match, TextTest};
pub(super) use proxy::Proxy;
pub(super) use redirect::Redirect;
pub(super) use route::{Route, Target};
pub(super) use service::Service;

/// The version of the language.
const VERSION: u32 = 1;
/// More threads than any machine has cores.
const MOST_WORKERS: u32 = 1024;

/// The whole file.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) workers: Option<u32>,
    pub(super) limits: limits::Gateway,
    pub(super) listeners: Vec<Listener>,
    pub(super) admin: Option<Admin>,
    pub(super) drain: DrainPlan,
    pub(super) access_log: Option<AccessLogPlan>,
    pub(super) trusted_proxies: Vec<Located<IpNet>>,
    pub(super) forwarded_header: ForwardedHeader,
    pub(super) auth: Option<AuthPlan>,
    pub(super) cors: Option<Cors>,
    pub(super) bus: BusPlan,
    pub(super) cluster: ClusterPlan,
    pub(super) rooms: RoomsPlan,
    pub(super) services: Vec<Service>,
    pub(super) routes: Vec<Route>,
    /// Where the file begins, for what concerns all of it.
    pub(super) place: Place,
}

/// One item of `listeners`.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) name: Option<Located<String>>,
    pub(super) bind: Option<Located<Bind>>,
    pub(super) tls: Option<ListenerTls>,
    pub(super) limits: ListenerLimits,
    pub(super) proxy_protocol: Option<ProxyProtocolPlan>,
    pub(super) redirect: Option<Redirect>,
}

impl Root {
    /// Reads the file. `None`: it is not even a map.
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = spot.fields(problems)?;
        if let Some(version) = fields.need("version", "version: 1", problems) {
            read_version(&version, problems);
        }
        let workers = fields.take("workers");
        let workers = workers.and_then(|spot| spot.whole(problems, 1..=MOST_WORKERS));
        let limits = fields.take("limits");
        let limits = limits.and_then(|spot| limits::gateway(&spot, problems));
        let listeners = fields.need("listeners", LISTENER_EXAMPLE, problems);
        let listeners = listeners.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
        let admin = fields.take("admin");
        let drain = fields.take("drain");
        let access_log = fields.take("access_log");
        let trusted = fields.take("trusted_proxies");
        let trusted = trusted.map_or_else(Vec::new, |spot| spot.any_number());
        let forwarded_header = fields.take("forwarded_header");
        let forwarded_header =
            forwarded_header.and_then(|spot| spot.name_of(problems, "header", &FORWARDED_HEADERS));
        let auth = fields.take("auth");
        let cors = fields.take("cors");
        let bus = fields.take("bus");
        let cluster = fields.take("cluster");
        let cluster = cluster.and_then(|spot| cluster::read(&spot, problems));
        let rooms = fields.take("rooms");
        let rooms = rooms.map(|spot| rooms::read(&spot, problems));
        let services = fields.take("services");
        let services = services.map_or_else(Vec::new, |spot| spot.entries(problems));
        let routes = fields.take("routes");
        let routes = routes.map_or_else(Vec::new, |spot| spot.any_number());
        let root = Self {
            workers,
            limits: limits.unwrap_or_default(),
            listeners: listeners
                .iter()
                .filter_map(|spot| Listener::read(spot, problems))
                .collect(),
            admin: admin.and_then(|spot| Admin::read(&spot, problems)),
            drain: drain
                .and_then(|spot| drain::read(&spot, problems))
                .unwrap_or_default(),
            access_log: access_log.map_or_else(
                || Some(AccessLogPlan::default()),
                |spot| access_log::read(&spot, problems),
            ),
            trusted_proxies: trusted
                .iter()
                .filter_map(|spot| located(spot, problems, value::network))
                .collect(),
            forwarded_header: forwarded_header.unwrap_or_default(),
            cors: cors.and_then(|spot| Cors::read(&spot, problems)),
            bus: bus
                .and_then(|spot| bus::read(&spot, problems))
                .unwrap_or_default(),
            cluster: cluster.unwrap_or_default(),
            rooms: rooms.unwrap_or_default(),
            auth: auth.and_then(|spot| auth::read(&spot, problems)),
            services: services
                .iter()
                .map(|(name, spot)| Service::read(name, spot, problems))
                .collect(),
            routes: routes
                .iter()
                .filter_map(|spot| Route::read(spot, problems))
                .collect(),
            place: fields.place().clone(),
        };
        fields.finish(problems);
        Some(root)
    }
}

/// The name of the listener that the key `admin` makes.
const ADMIN: &str = "admin";

const FORWARDED_HEADERS: [(&str, ForwardedHeader); 2] = [
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
    ("forwarded", ForwardedHeader::Forwarded),
];
const LISTENER_EXAMPLE: &str = "listeners: [{ name: public, bind: 127.0.0.1:8080 }]";

fn read_version(spot: &Spot<'_>, problems: &mut Problems) {
    let Some(version) = spot.whole(problems, 0..=u32::MAX) else {
        return;
    };
    if version != VERSION {
        let message = format!("this program reads version {VERSION}, not {version}");
        problems.suggest(
            &spot.place(),
            message,
            format!("write `version: {VERSION}`"),
        );
    }
}

impl Listener {
    fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = spot.fields(problems)?;
        let listener = Self {
            name: fields
                .need("name", "name: public", problems)
                .and_then(|spot| listener_name(&spot, problems)),
            bind: fields
                .need("bind", "bind: 127.0.0.1:8080", problems)
                .and_then(|spot| bind::read(&spot, problems)),
            tls: fields
                .take("tls")
                .and_then(|spot| tls::listener(&spot, problems)),
            limits: fields
                .take("limits")
                .and_then(|spot| limits::listener(&spot, problems))
                .unwrap_or_default(),
            proxy_protocol: fields
                .take("proxy_protocol")
                .and_then(|spot| proxy_protocol::read(&spot, problems)),
            redirect: fields
                .take("redirect")
                .and_then(|spot| Redirect::read(&spot, problems)),
        };
        fields.finish(problems);
        Some(listener)
    }
}

/// The admin listener goes by a name of its own in logs and errors.
fn listener_name(spot: &Spot<'_>, problems: &mut Problems) -> Option<Located<String>> {
    let name = name(spot, problems)?;
    if name.value == ADMIN {
        let message = "that is the name of the admin listener";
        problems.suggest(&name.place, message, "choose another name");
    }
    Some(name)
}

/// A name of ours, with its place.
fn name(spot: &Spot<'_>, problems: &mut Problems) -> Option<Located<String>> {
    located(spot, problems, |text| value::name(text).map(str::to_owned))
}

/// What `parse` makes of a text, with its place.
fn located<T>(
    spot: &Spot<'_>,
    problems: &mut Problems,
    parse: impl FnOnce(&str) -> Result<T, super::error::Fault>,
) -> Option<Located<T>> {
    let value = spot.value(problems, parse)?;
    let place = spot.place();
    Some(Located { value, place })
}

/// Reports each name that stood there before.
pub(super) fn report_duplicates<'a>(
    what: &str,
    names: impl Iterator<Item = &'a Located<String>>,
    problems: &mut Problems,
) {
    let mut seen: std::collections::HashMap<&str, &Place> = std::collections::HashMap::new();
    for Located { value, place } in names {
        let Some(first) = seen.get(value.as_str()) else {
            seen.insert(value, place);
            continue;
        };
        let message = format!("another {what} is named {} already", Quoted(value));
        let line = first.position.map_or(0, |position| position.line);
        let suggestion = format!("it stands in line {line}; names are unique");
        problems.suggest(place, message, suggestion);
    }
}
