//! `admin`: the listener for those who operate the gateway.

use std::net::SocketAddr;
use std::path::Path;

use super::super::defaults;
use super::super::error::{Fault, Problems};
use super::super::load;
use super::super::plan::{AdminAlias, AdminPlan, KafkaPlan, ListenerTls};
use super::super::secret::Secret;
use super::super::value;
use super::super::yaml::{Located, Spot};
use super::{auth, bus, located, tls};

/// The value of `admin`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Admin {
    /// Where it is bound; the place is that of `admin` where nothing is written.
    pub(in crate::config) bind: Located<SocketAddr>,
    pub(in crate::config) token: Option<Located<Secret>>,
    pub(in crate::config) aliases: Vec<AdminAlias>,
    pub(in crate::config) kafka: Option<Located<KafkaPlan>>,
    pub(in crate::config) tls: Option<ListenerTls>,
}

const ALIASES: [(&str, AdminAlias); 2] = [
    ("actuator_websocket", AdminAlias::ActuatorWebsocket),
    ("application_websockets", AdminAlias::ApplicationWebsockets),
];

/// The longest token; a field of a head could not hold much more.
const LONGEST_TOKEN: usize = 4096;

impl Admin {
    /// `None` where it cannot be told what is meant.
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = spot.fields(problems)?;
        let written = fields.take("bind");
        let token = fields.take("token");
        let aliases = fields.take("aliases");
        let aliases = aliases.map_or_else(Vec::new, |spot| spot.any_number());
        let aliases = aliases.iter();
        let aliases = aliases
            .filter_map(|spot| spot.name_of(problems, "alias", &ALIASES))
            .collect();
        let kafka = fields.take("kafka");
        let kafka = kafka.and_then(|spot| read_kafka(&spot, problems));
        let tls = fields.take("tls");
        let tls = tls.and_then(|spot| tls::listener(&spot, problems));
        fields.finish(problems);
        let bind = match written {
            Some(spot) => located(&spot, problems, value::bind)?,
            None => Located {
                value: defaults::ADMIN_BIND,
                place: spot.place(),
            },
        };
        // A token that cannot be read is a token: nothing more is said about the bind.
        let token = match token {
            Some(spot) => Some(located(&spot, problems, read_token)?),
            None => None,
        };
        if token.is_none() && !AdminPlan::is_loopback(bind.value) {
            let message = format!(
                "{} can be reached from other machines, and the admin listener has no token",
                bind.value
            );
            let suggestion = format!(
                "write `token: file:/path/to/token`, or `bind: 127.0.0.1:{}`",
                bind.value.port()
            );
            problems.suggest(&bind.place, message, suggestion);
        }
        Some(Self {
            bind,
            token,
            aliases,
            kafka,
            tls,
        })
    }
}

fn read_kafka(spot: &Spot<'_>, problems: &mut Problems) -> Option<Located<KafkaPlan>> {
    let mut fields = spot.fields(problems)?;
    let roles = fields.need("roles", "roles: ROLE_ADMIN", problems);
    let roles = roles.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let roles = roles.iter();
    let roles = roles.filter_map(|spot| spot.value(problems, auth::text));
    let mut plan = KafkaPlan::new(roles.collect());
    let topics = fields.take("topics");
    let topics = topics.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let topics = topics.iter();
    let topics = topics.filter_map(|spot| spot.value(problems, bus::topic));
    plan.topics = topics.map(|topic| (&*topic).into()).collect();
    if let Some(spot) = fields.take("parse_string_body") {
        let parses = spot.truth(problems);
        plan.parse_string_body = parses.unwrap_or(plan.parse_string_body);
    }
    fields.finish(problems);
    let place = spot.place();
    Some(Located { value: plan, place })
}

/// A token as it is written, or the path of the file that holds it. No fault repeats it.
fn read_token(text: &str) -> Result<Secret, Fault> {
    let Some(path) = text.strip_prefix("file:") else {
        return token(text).map_err(|what| Fault::new(format!("the token {what}")));
    };
    let path = Path::new(path);
    if !path.is_absolute() {
        let fault = Fault::new("the path of the token's file is not absolute");
        return Err(fault.suggest("write it from the root on, such as `file:/run/secrets/token`"));
    }
    let text = load::read_secret(path)?;
    token(text.trim_ascii_end())
        .map_err(|what| Fault::new(format!("the token in {} {what}", path.display())))
}

/// A token, or what is wrong with it.
fn token(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    if text.len() > LONGEST_TOKEN {
        return Err(format!("has more than {LONGEST_TOKEN} characters"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds what no header can carry: white space, or what is not ASCII".into());
    }
    Ok(Secret::new(text))
}
