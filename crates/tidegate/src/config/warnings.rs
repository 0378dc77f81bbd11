//! What is allowed, but hardly meant.

use std::collections::{HashMap, HashSet};

use http::Method;

use super::error::Problems;
use super::schema::{CertificateTest, HeaderTest, Match, Root, Route, Target, TextTest};
use super::yaml::Quoted;

/// Tokens with fewer characters can be tried out.
const SHORT_TOKEN: usize = 16;

/// Collects all warnings about `root`.
pub(super) fn collect(root: &Root, problems: &mut Problems) {
    let mut listeners = root.listeners.iter();
    if root.routes.is_empty() && !listeners.all(|listener| listener.redirect.is_some()) {
        problems.suggest(
            &root.place,
            "there is no route, so every request is answered with 404",
            "write `routes: ...`",
        );
    }
    warn_of_unused_services(root, problems);
    warn_of_shadowed_routes(&root.routes, problems);
    for network in &root.trusted_proxies {
        if network.value.prefix_len() == 0 {
            let message = "every peer is trusted to name the client's address";
            problems.suggest(&network.place, message, "name the proxies' networks");
        }
    }
    if let Some(token) = root.admin.as_ref().and_then(|admin| admin.token.as_ref())
        && token.value.len() < SHORT_TOKEN
    {
        let message = "the token is so short that it can be guessed";
        problems.suggest(&token.place, message, "make one: openssl rand -hex 32");
    }
    warn_of_topics(root, problems);
    let matchers = root
        .routes
        .iter()
        .filter_map(|route| route.matcher.as_ref());
    for matcher in matchers.filter(|matcher| matcher.upgrade) {
        let methods = &matcher.methods;
        let has_get = methods.iter().any(|method| method.value == Method::GET);
        if !has_get && !methods.is_empty() {
            let message = "nothing can match: an upgrade to a WebSocket is a GET";
            problems.suggest(&matcher.place, message, "leave `methods` out");
        }
    }
}

/// What publishers may name is for pushes, or for others.
fn warn_of_topics(root: &Root, problems: &mut Problems) {
    let Some(kafka) = root.admin.as_ref().and_then(|admin| admin.kafka.as_ref()) else {
        return;
    };
    let topics = &root.bus.topics;
    for name in [
        &topics.user_connect,
        &topics.user_disconnect,
        &topics.sessions,
    ] {
        if kafka.value.topics.iter().any(|one| **one == **name) {
            let message = format!(
                "a push in the topic {} is no event for whoever reads it",
                Quoted(name)
            );
            problems.suggest(&kafka.place, message, "leave it out of `topics`");
        }
    }
}

fn warn_of_unused_services(root: &Root, problems: &mut Problems) {
    let named = root.routes.iter().flat_map(|route| match &route.target {
        Some(Target::Bridge(bridge)) => &*bridge.services,
        Some(Target::Proxy(proxy)) => proxy.service.as_slice(),
        Some(Target::Handler(_)) | None => &[],
    });
    let used: HashSet<_> = named.map(|service| service.value.as_str()).collect();
    for service in &root.services {
        if !used.contains(service.name.value.as_str()) {
            let message = format!("no route uses the service {}", Quoted(&service.name.value));
            problems.add(&service.name.place, message);
        }
    }
}

/// A route whose matcher an earlier one has is never reached.
fn warn_of_shadowed_routes(routes: &[Route], problems: &mut Problems) {
    let mut seen: HashMap<String, &Route> = HashMap::new();
    for route in routes {
        let Some(matcher) = &route.matcher else {
            continue;
        };
        let fingerprint = fingerprint(matcher);
        let Some(earlier) = seen.get(&fingerprint) else {
            seen.insert(fingerprint, route);
            continue;
        };
        let name = earlier.name.as_ref().map_or("", |name| &name.value);
        let message = format!(
            "this route is never reached: {} matches the same before it",
            Quoted(name)
        );
        let suggestion = "change or remove one of them; the order of the list is that of matching";
        problems.suggest(&route.place, message, suggestion);
    }
}

fn certificate_fingerprint(test: Option<&CertificateTest>) -> String {
    let text = |test: &Option<TextTest>| match test {
        None => String::new(),
        Some(TextTest::Exact(text)) => format!("is {text:?}"),
        Some(TextTest::Regex(regex)) => format!("like {:?}", regex.value),
    };
    match test {
        None => String::new(),
        Some(CertificateTest::Absent) => "no certificate".to_owned(),
        Some(CertificateTest::Present { subject, san }) => {
            format!("certificate {} {}", text(subject), text(san))
        }
    }
}

/// A text that is equal for matchers that are written alike, whatever the order of their items.
fn fingerprint(matcher: &Match) -> String {
    fn sorted(items: impl Iterator<Item = String>) -> Vec<String> {
        let mut items: Vec<_> = items.collect();
        items.sort_unstable();
        items.dedup();
        items
    }
    let paths = sorted(matcher.paths.iter().map(|path| path.value.clone()));
    let hosts = matcher.hosts.iter();
    let hosts = sorted(hosts.map(|host| host.value.to_ascii_lowercase()));
    let methods = matcher.methods.iter();
    let methods = sorted(methods.map(|method| method.value.to_string()));
    let headers = sorted(matcher.headers.iter().map(|(name, test)| {
        let name = name.as_str().to_ascii_lowercase();
        match test {
            HeaderTest::Absent => format!("{name} absent"),
            HeaderTest::Exact(value) => format!("{name} is {value:?}"),
            HeaderTest::Present => format!("{name} present"),
            HeaderTest::Regex(regex) => format!("{name} like {:?}", regex.value),
        }
    }));
    format!(
        "{paths:?} {hosts:?} {methods:?} {headers:?} {} {}",
        certificate_fingerprint(matcher.certificate.as_ref()),
        matcher.upgrade
    )
}
