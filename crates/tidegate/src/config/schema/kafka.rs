//! `bus.kafka`: the brokers that carry events between processes.

use std::sync::Arc;
use std::time::Duration;

use super::super::error::{Fault, Problems};
use super::super::plan::{
    BusFormat, BusTls, CompatHash, EndpointPlan, KafkaBusPlan, RegistryPlan, SaslMechanism,
    SaslPlan,
};
use super::super::secret::Secret;
use super::super::yaml::{Fields, Quoted, Spot};
use super::super::{url, value};
use super::{auth, bus, tls};
use crate::bus::Topics;

const FORMATS: [(&str, BusFormat); 3] = [
    ("avro", BusFormat::Avro),
    ("json", BusFormat::Json),
    ("cloudevents", BusFormat::CloudEvents),
];
const HASHES: [(&str, CompatHash); 1] = [("murmur64", CompatHash::Murmur64)];
const MECHANISMS: [(&str, SaslMechanism); 3] = [
    ("plain", SaslMechanism::Plain),
    ("scram_sha_256", SaslMechanism::ScramSha256),
    ("scram_sha_512", SaslMechanism::ScramSha512),
];
const MOST_QUEUED: u32 = 1_000_000;
const SMALLEST_MESSAGE: u64 = 10_000;
/// As much as is read of a record.
const LARGEST_MESSAGE: u64 = 16_000_000;
/// A publisher over HTTP waits as long.
const LONGEST_PUBLISH: Duration = Duration::from_secs(60);

/// The value of `kafka`; `None` where it cannot be told which brokers are meant.
pub(super) fn read(
    spot: &Spot<'_>,
    topics: &Topics,
    problems: &mut Problems,
) -> Option<KafkaBusPlan> {
    let mut fields = spot.fields(problems)?;
    let mut plan = KafkaBusPlan::new(read_brokers(&mut fields, problems));
    if let Some(spot) = fields.take("format") {
        let format = spot.name_of(problems, "format", &FORMATS);
        plan.format = format.unwrap_or_default();
    }
    let registry = fields.take("schema_registry");
    if registry.is_none() && plan.format == BusFormat::Avro {
        let remedy = "write `schema_registry: { url: http://localhost:8081 }`, or `format: json`";
        let message = "Avro needs a registry of schemas";
        problems.suggest(fields.place(), message, remedy);
    }
    plan.registry = registry.and_then(|spot| read_registry(&spot, problems));
    let tls = fields.take("tls");
    plan.tls = tls.and_then(|spot| read_tls(&spot, problems));
    let sasl = fields.take("sasl");
    if let Some(spot) = &sasl {
        plan.sasl = read_sasl(spot, problems);
        if plan.tls.is_none() && plan.sasl.as_ref().is_some_and(shows_password) {
            let message = "the password goes over the network as it is";
            problems.doubt(
                &spot.place(),
                message,
                "write `tls: {}` beside it, or another mechanism",
            );
        }
    }
    read_bounds(&mut fields, &mut plan, problems);
    if let Some(spot) = fields.take("dead_letter_topic") {
        let topic: Option<Arc<str>> = spot.value(problems, bus::topic);
        if topic
            .as_ref()
            .is_some_and(|topic| topics.all().contains(&topic))
        {
            let message = "records that are no events would be read again and again";
            problems.suggest(
                &spot.place(),
                message,
                "name a topic that is read by others alone",
            );
        }
        plan.dead_letter_topic = topic;
    }
    if let Some(spot) = fields.take("compat_hash") {
        plan.compat_hash = spot.name_of(problems, "hash", &HASHES);
        if plan.format != BusFormat::Avro {
            let message = "only records of Avro have a hash";
            problems.suggest(
                &spot.place(),
                message,
                "leave it out, or write `format: avro`",
            );
        }
    }
    if let Some(spot) = fields.take("wait_at_start") {
        plan.wait_at_start = spot.truth(problems).unwrap_or(plan.wait_at_start);
    }
    fields.finish(problems);
    (!plan.brokers.is_empty()).then_some(plan)
}

fn read_brokers(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<Box<str>> {
    let brokers = fields.need("brokers", "brokers: localhost:9092", problems);
    let brokers = brokers.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let mut named: Vec<Box<str>> = Vec::new();
    for spot in &brokers {
        let Some(broker) = spot.value(problems, broker) else {
            continue;
        };
        if named.contains(&broker) {
            let message = format!("the broker {} is there twice", Quoted(&broker));
            problems.suggest(&spot.place(), message, "leave one of the two out");
            continue;
        }
        named.push(broker);
    }
    named
}

fn shows_password(sasl: &SaslPlan) -> bool {
    sasl.mechanism == SaslMechanism::Plain
}

fn read_bounds(fields: &mut Fields<'_>, plan: &mut KafkaBusPlan, problems: &mut Problems) {
    if let Some(spot) = fields.take("publish_timeout") {
        let timeout = spot.value(problems, publish_timeout);
        plan.publish_timeout = timeout.unwrap_or(plan.publish_timeout);
    }
    if let Some(spot) = fields.take("max_queued") {
        let most = spot.whole(problems, 1..=MOST_QUEUED);
        plan.max_queued = most.unwrap_or(plan.max_queued);
    }
    if let Some(spot) = fields.take("max_message_size") {
        let most = spot.value(problems, message_size);
        plan.max_message_size = most.unwrap_or(plan.max_message_size);
    }
    if let Some(spot) = fields.take("history_memory") {
        let most = spot.value(problems, value::bounded_size);
        plan.history_memory = most.unwrap_or(plan.history_memory);
    }
    if let Some(spot) = fields.take("topic_refresh") {
        let refresh = spot.value(problems, value::duration);
        plan.topic_refresh = refresh.unwrap_or(plan.topic_refresh);
    }
}

fn publish_timeout(text: &str) -> Result<Duration, Fault> {
    let timeout = value::duration(text)?;
    if timeout > LONGEST_PUBLISH {
        return Err(Fault::new(format!("{} is longer than 60s", Quoted(text))));
    }
    Ok(timeout)
}

fn message_size(text: &str) -> Result<u32, Fault> {
    let size = value::size(text)?;
    let size = Some(size).filter(|size| (SMALLEST_MESSAGE..=LARGEST_MESSAGE).contains(size));
    let size = size.and_then(|size| size.try_into().ok());
    size.ok_or_else(|| Fault::new(format!("{} is not from 10KB to 16MB", Quoted(text))))
}

/// `host:port`, as brokers are written everywhere.
fn broker(text: &str) -> Result<Box<str>, Fault> {
    let fault = || {
        let fault = Fault::new(format!("{} is no broker", Quoted(text)));
        fault.suggest("write a host and a port, such as `localhost:9092`")
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/,\"".contains(&byte))
        && (is_bracketed || !host.contains(':'));
    if is_port && is_host {
        return Ok(text.into());
    }
    Err(fault())
}

fn read_registry(spot: &Spot<'_>, problems: &mut Problems) -> Option<RegistryPlan> {
    let mut fields = spot.fields(problems)?;
    let url = fields.need("url", "url: http://localhost:8081", problems);
    let endpoint = url.and_then(|spot| spot.value(problems, url::endpoint));
    let user = fields.take("user");
    let password = fields.take("password");
    if user.is_some() != password.is_some() {
        let message = "a user and a password go together";
        problems.suggest(fields.place(), message, "write both keys, or none");
    }
    let user = user.and_then(|spot| spot.value(problems, auth::text));
    let password = password.and_then(|spot| read_password(&spot, problems));
    let tls = fields.take("tls");
    if let (Some(spot), Some(endpoint)) = (&tls, &endpoint)
        && !endpoint.is_tls
    {
        let message = "TLS is not spoken at an `http://` URL";
        problems.suggest(&spot.place(), message, "write `https://`");
    }
    let tls = tls.and_then(|spot| read_tls(&spot, problems));
    let register = fields.take("register");
    let register = register.and_then(|spot| spot.truth(problems));
    fields.finish(problems);
    let endpoint = endpoint?;
    Some(RegistryPlan {
        endpoint: EndpointPlan {
            authority: endpoint.authority,
            path: endpoint.path,
            is_tls: endpoint.is_tls,
            weight: 1,
        },
        user: user.zip(password),
        tls: tls.unwrap_or_default(),
        register: register.unwrap_or(true),
    })
}

fn read_tls(spot: &Spot<'_>, problems: &mut Problems) -> Option<BusTls> {
    let mut fields = spot.fields(problems)?;
    let ca = fields.take("ca");
    let certificate = fields.take("certificate");
    fields.finish(problems);
    Some(BusTls {
        ca: ca.and_then(|spot| tls::path(&spot, problems)),
        certificate: certificate.and_then(|spot| tls::certificate(&spot, problems)),
    })
}

fn read_sasl(spot: &Spot<'_>, problems: &mut Problems) -> Option<SaslPlan> {
    let mut fields = spot.fields(problems)?;
    let mechanism = fields.need("mechanism", "mechanism: scram_sha_512", problems);
    let mechanism = mechanism.and_then(|spot| spot.name_of(problems, "mechanism", &MECHANISMS));
    let user = fields.need("user", "user: tidegate", problems);
    let user = user.and_then(|spot| spot.value(problems, auth::text));
    let password = fields.need("password", "password: file:/run/secrets/kafka", problems);
    let password = password.and_then(|spot| read_password(&spot, problems));
    fields.finish(problems);
    Some(SaslPlan {
        mechanism: mechanism?,
        user: user?,
        password: password?,
    })
}

fn read_password(spot: &Spot<'_>, problems: &mut Problems) -> Option<Secret> {
    spot.value(problems, |text| {
        let text = auth::secret(text, "password")?;
        match text.is_empty() {
            true => Err(Fault::new("the password is empty")),
            false => Ok(Secret::new(&text)),
        }
    })
}
