//! `redirect`: a listener that sends every request elsewhere.

use http::StatusCode;

use super::super::defaults;
use super::super::error::{Fault, Place, Problems};
use super::super::url;
use super::super::yaml::{Located, Quoted, Spot};
use super::matcher::texts;
use crate::authority::Authority;

/// The value of `redirect`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Redirect {
    pub(in crate::config) place: Place,
    pub(in crate::config) status: StatusCode,
    pub(in crate::config) port: u16,
    pub(in crate::config) host: Option<Authority>,
    /// Patterns of hosts.
    pub(in crate::config) hosts: Vec<Located<String>>,
    /// Patterns of paths.
    pub(in crate::config) except: Vec<Located<String>>,
}

/// Where to; a word, so that there is room for others.
const TARGETS: [(&str, ()); 1] = [("https", ())];
const STATUSES: [(&str, StatusCode); 4] = [
    ("301", StatusCode::MOVED_PERMANENTLY),
    ("302", StatusCode::FOUND),
    ("307", StatusCode::TEMPORARY_REDIRECT),
    ("308", StatusCode::PERMANENT_REDIRECT),
];

impl Redirect {
    /// `https`, or a map with it as `to`.
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let mut redirect = Self {
            place: spot.place(),
            status: StatusCode::PERMANENT_REDIRECT,
            port: defaults::HTTPS_PORT,
            host: None,
            hosts: Vec::new(),
            except: Vec::new(),
        };
        if !spot.is_map() {
            spot.name_of(problems, "target", &TARGETS)?;
            return Some(redirect);
        }
        let mut fields = spot.fields(problems)?;
        if let Some(to) = fields.need("to", "to: https", problems) {
            to.name_of(problems, "target", &TARGETS);
        }
        if let Some(status) = fields.take("status") {
            let status = status.name_of(problems, "status", &STATUSES);
            redirect.status = status.unwrap_or(redirect.status);
        }
        if let Some(port) = fields.take("port") {
            let port = port.whole(problems, 1..=u32::from(u16::MAX));
            let port = port.and_then(|port| u16::try_from(port).ok());
            redirect.port = port.unwrap_or(redirect.port);
        }
        let (host, hosts) = (fields.take("host"), fields.take("hosts"));
        if let (Some(host), Some(_)) = (&host, &hosts) {
            let message =
                "`host` is the one host that requests are sent to, so `hosts` says nothing";
            problems.suggest(&host.place(), message, "leave one of them out");
        }
        redirect.host = host.and_then(|spot| spot.value(problems, literal));
        redirect.hosts = texts(hosts, problems);
        redirect.except = texts(fields.take("except"), problems);
        fields.finish(problems);
        Some(redirect)
    }
}

/// A host without a port.
fn literal(text: &str) -> Result<Authority, Fault> {
    let host = url::host(text).map_err(|fault| fault.suggest("write `app.example`"))?;
    match host.port() {
        None => Ok(host),
        Some(port) => Err(Fault::new(format!("{} has a port", Quoted(text)))
            .suggest(format!("write `host: {}, port: {port}`", host.host()))),
    }
}
