//! `cluster`: where the nodes have their shared memory.

use std::time::Duration;

use super::super::error::{Fault, Problems};
use super::super::plan::{ClusterPlan, RedisMode, RedisPlan, RedisTls, StorePlan};
use super::super::secret::Secret;
use super::super::yaml::{Fields, Located, Quoted, Spot};
use super::super::{defaults, value};
use super::{auth, located, tls};
use crate::authority::Authority;

/// A shorter lease lapses where a node is merely busy.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// Redis has 16 unless told otherwise.
const MOST_DATABASES: u32 = 10_000;

/// The value of `cluster`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<ClusterPlan> {
    let choice = spot.choice(problems)?;
    match choice.name {
        "memory" => {
            choice.no_argument(problems)?;
            Some(ClusterPlan::default())
        }
        "redis" => read_redis(&choice.need_argument(problems)?, problems),
        _ => {
            choice.unknown(problems, "store", ["memory", "redis"]);
            None
        }
    }
}

/// Where one of them is, and whether TLS is spoken there.
type Place = (Authority, bool);

fn read_redis(spot: &Spot<'_>, problems: &mut Problems) -> Option<ClusterPlan> {
    let mut fields = spot.fields(problems)?;
    let mut plan = ClusterPlan::default();
    let urls = fields.need("url", "url: redis://localhost:6379", problems);
    let urls = urls.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let urls = urls.iter();
    let urls: Vec<_> = urls
        .filter_map(|spot| located(spot, problems, url))
        .collect();
    let mode = fields.take("mode");
    let mode = mode.and_then(|spot| read_mode(&spot, problems));
    let mode = mode.unwrap_or_default();
    let is_tls = report_unlike(&urls, &mode, problems);
    let port = match mode {
        RedisMode::Sentinel { .. } => defaults::SENTINEL_PORT,
        _ => defaults::REDIS_PORT,
    };
    let addresses = urls.iter().map(|one| {
        let (authority, _) = &one.value;
        let host = authority.host().trim_matches(['[', ']']);
        (host.into(), authority.port().unwrap_or(port))
    });
    let mut redis = RedisPlan {
        mode,
        ..RedisPlan::new(addresses.collect())
    };
    redis.tls = read_tls(&mut fields, is_tls, problems);
    (redis.username, redis.password) = read_credentials(&mut fields, problems);
    if let Some(spot) = fields.take("database") {
        redis.database = spot.whole(problems, 0..=MOST_DATABASES).unwrap_or_default();
        if redis.database > 0 && matches!(redis.mode, RedisMode::Cluster) {
            problems.suggest(
                &spot.place(),
                "a Redis Cluster has no database but 0",
                "leave the key out, and use `prefix`",
            );
        }
    }
    if let Some(spot) = fields.take("prefix") {
        let prefix = spot.value(problems, |text| value::name(text).map(Box::from));
        redis.prefix = prefix.unwrap_or(redis.prefix);
    }
    let timeout = fields.take("timeout");
    if let Some(spot) = fields.take("lease") {
        let lease = spot.value(problems, lease);
        plan.lease = lease.unwrap_or(plan.lease);
    }
    redis.timeout = read_timeout(timeout.as_ref(), plan.lease, problems)
        .unwrap_or_else(|| redis.timeout.min(plan.lease / 2));
    fields.finish(problems);
    plan.store = StorePlan::Redis(Box::new(redis));
    Some(plan)
}

/// How long an answer may take; one alone must not outlast a lease.
fn read_timeout(
    spot: Option<&Spot<'_>>,
    lease: Duration,
    problems: &mut Problems,
) -> Option<Duration> {
    let spot = spot?;
    let timeout = spot.value(problems, value::duration)?;
    if timeout >= lease {
        problems.suggest(
            &spot.place(),
            "the timeout is not shorter than the lease",
            "one late answer would outlast the lease: write a third of it or less",
        );
    }
    Some(timeout)
}

fn read_mode(spot: &Spot<'_>, problems: &mut Problems) -> Option<RedisMode> {
    let choice = spot.choice(problems)?;
    match choice.name {
        "standalone" => choice.no_argument(problems).map(|()| RedisMode::Standalone),
        "cluster" => choice.no_argument(problems).map(|()| RedisMode::Cluster),
        "sentinel" => {
            let spot = choice.need_argument(problems)?;
            let mut fields = spot.fields(problems)?;
            let master = fields.need("master", "master: mymaster", problems);
            let master = master.and_then(|spot| spot.value(problems, auth::text));
            let (username, password) = read_credentials(&mut fields, problems);
            fields.finish(problems);
            Some(RedisMode::Sentinel {
                master: master?,
                username,
                password,
            })
        }
        _ => {
            choice.unknown(problems, "mode", ["standalone", "sentinel", "cluster"]);
            None
        }
    }
}

fn read_credentials(
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> (Option<Box<str>>, Option<Secret>) {
    let username = fields.take("username");
    let password = fields.take("password");
    let is_nameless = username.is_some() && password.is_none();
    if let Some(spot) = username.as_ref().filter(|_| is_nameless) {
        let message = "a user without a password";
        problems.suggest(
            &spot.place(),
            message,
            "write `password: file:/run/secrets/redis`",
        );
    }
    let username = username.and_then(|spot| spot.value(problems, auth::text));
    let password = password.and_then(|spot| {
        spot.value(problems, |text| {
            let text = auth::secret(text, "password")?;
            match text.is_empty() {
                true => Err(Fault::new("the password is empty")),
                false => Ok(Secret::new(&text)),
            }
        })
    });
    (username, password)
}

fn read_tls(fields: &mut Fields<'_>, is_spoken: bool, problems: &mut Problems) -> Option<RedisTls> {
    let spot = fields.take("tls");
    if let Some(spot) = spot.as_ref().filter(|_| !is_spoken) {
        let message = "TLS is not spoken at a `redis://` URL";
        problems.suggest(&spot.place(), message, "write `rediss://`");
    }
    let mut plan = RedisTls::default();
    if let Some(mut fields) = spot.and_then(|spot| spot.fields(problems)) {
        plan.ca = fields
            .take("ca")
            .and_then(|spot| tls::path(&spot, problems));
        if let Some(spot) = fields.take("certificate") {
            plan.certificate = tls::certificate(&spot, problems);
        }
        fields.finish(problems);
    }
    is_spoken.then_some(plan)
}

/// Reports URLs that do not go together; whether TLS is spoken at them.
fn report_unlike(urls: &[Located<Place>], mode: &RedisMode, problems: &mut Problems) -> bool {
    let is_tls = urls.first().is_some_and(|one| one.value.1);
    if let Some(other) = urls.iter().find(|one| one.value.1 != is_tls) {
        let message = "TLS is spoken at some of the URLs, and not at others";
        problems.add(&other.place, message);
    }
    if let (RedisMode::Standalone, [_, second, ..]) = (mode, urls) {
        problems.suggest(
            &second.place,
            "one Redis has one URL",
            "write `mode: cluster` or `mode: { sentinel: { master: mymaster } }`",
        );
    }
    is_tls
}

fn url(text: &str) -> Result<Place, Fault> {
    let fault = |what: &str| Fault::new(format!("{} is no URL of a Redis: {what}", Quoted(text)));
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| fault("it has no scheme").suggest("write `redis://localhost:6379`"))?;
    let is_tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => {
            let fault = fault("its scheme is not one of ours");
            return Err(fault.suggest("write `redis://`, or `rediss://` for TLS"));
        }
    };
    if rest.contains('@') {
        // It is not repeated: there may be a password in it.
        let fault = Fault::new("the URL of the Redis has a user");
        return Err(fault.suggest("write `username` and `password: file:/run/secrets/redis`"));
    }
    if rest.contains(['/', '?', '#']) {
        let fault = fault("there is something behind its port");
        return Err(fault.suggest("write the number of a database as `database`"));
    }
    let authority = Authority::parse(rest.as_bytes())
        .map_err(|error| fault(&format!("{} is {error}", Quoted(rest))))?;
    if authority.port() == Some(0) {
        return Err(fault("nothing listens at port 0").suggest("write `redis://localhost:6379`"));
    }
    Ok((authority, is_tls))
}

fn lease(text: &str) -> Result<Duration, Fault> {
    let lease = value::duration(text)?;
    if lease < SHORTEST_LEASE {
        let fault = Fault::new(format!("the lease {} is shorter than 1s", Quoted(text)));
        return Err(fault.suggest("a node that is merely busy would be taken to be gone"));
    }
    Ok(lease)
}
