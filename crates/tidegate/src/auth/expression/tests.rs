use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;
use crate::auth::Identity;
use crate::headers::Headers;
use crate::pipeline::testing::exchange;

fn principal(claims: Json) -> Principal {
    let Json::Object(claims) = claims else {
        panic!("claims are an object");
    };
    Principal {
        identity: Arc::new(Identity::without_token("u42")),
        roles: ["user".into(), "editor".into()].into(),
        scopes: ["read".into()].into(),
        claims: claims.into(),
    }
}

fn holds(text: &str) -> bool {
    let claims = json!({
        "tenant": "acme", "level": 3, "groups": ["a", "b"], "deep": { "er": { "est": 1.5 } },
        "owner": null, "ok": true,
    });
    let mut asked = exchange("/tenants/acme/orders");
    asked.query = Some("a=1".into());
    let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    expression.holds(&principal(claims), &asked)
}

/// What rules of the predecessor could say (B-059), and more.
#[test]
fn conditions_over_subject_request_and_environment() {
    for text in [
        "true",
        "subject.user == 'u42'",
        "'editor' in subject.roles && !('admin' in subject.roles)",
        "subject.roles.exists(role, role.startsWith('edit'))",
        "subject.claims.tenant == 'acme' && subject.claims.level >= 3",
        "request.path.startsWith('/tenants/' + subject.claims.tenant + '/')",
        "request.path.matches('^/tenants/[a-z]+/orders$')",
        "request.method in ['GET', 'HEAD']",
        "request.address == '127.0.0.1' && !request.secure && !request.websocket",
        "subject.claims.deep.er.est == 1.5",
        "has(subject.claims.tenant) && !has(subject.claims.none)",
        "subject.claims.owner == null && subject.claims.ok",
        "environment.now > 1700000000 && environment.hour >= 0 && environment.hour < 24",
        "environment.weekday >= 1 && environment.weekday <= 7",
        "environment.date > '2026-01-01' && size(environment.time) == 8",
        "size(subject.claims.groups) == 2 && subject.claims.groups[1] == 'b'",
        "subject.scopes == ['read']",
        "subject.roles.map(a, a + 'x').filter(a, a != 'userx').exists(a, a == 'editorx')",
        "subject.roles.exists(a, a == 'user') && subject.scopes.all(a, a == 'read')",
        "request.path.matches('^/[a-z]+/acme/(orders|bills)/?[0-9]{0,12}$')",
    ] {
        assert!(holds(text), "{text}");
    }
    for text in [
        "false",
        "subject.user == 'u43'",
        "subject.claims.none == 1",
        "subject.claims.level",
        "subject.claims.tenant > 3",
        "subject.claims.groups[9] == 'b'",
        "1 / (subject.claims.level - 3) == 1",
        "request.headers['x-none'] == 'a'",
        "9223372036854775807 + subject.claims.level > 0",
        "int(subject.claims.tenant) == 1",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn what_is_no_condition_is_said_before_a_request_comes() {
    let error = |text: &str| Expression::parse(text).unwrap_err().to_string();
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(2000), close.repeat(2000));
    for (text, said) in [
        ("subject.user ==", "no CEL"),
        ("", "no CEL"),
        ("(", "no CEL"),
        ("user == 'a'", "`user`"),
        ("subject.user.upper() == 'A'", "`upper`"),
        ("request.path.matches(subject.user)", "between quotes"),
        ("request.path.matches('(')", "between quotes"),
        (
            "request.path.matches('((a{500}){500}){500}')",
            "between quotes",
        ),
        ("request.path.matches('a{2000}')", "between quotes"),
        ("[1].all(a, [2].all(b, a == b))", "stand in each other"),
        (
            "size(['a'].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a)) > 0",
            "behind each other",
        ),
        (
            "size([['a'].map(a, a).map(a, a)].map(a, a).filter(a, true)) > 0",
            "behind each other",
        ),
        (&"1 + ".repeat(2000), "more than 4096"),
        (&deep("[", "]")[1990..2010], "no CEL"),
        (
            &format!("{}1{}", "[".repeat(200), "]".repeat(200)),
            "no CEL",
        ),
        (
            &format!("subject{}", ".a".repeat(400)),
            "stand in each other",
        ),
        (
            &format!("1{} > 0", " + 1".repeat(400)),
            "stand in each other",
        ),
    ] {
        let told = error(text);
        assert!(told.contains(said), "{text}: {told}");
    }
}

#[test]
fn headers_are_those_that_an_upstream_sees() {
    let mut asked = exchange("/");
    asked.headers = Headers::of(&[
        ("X-Role", "a"),
        ("x-role", "b"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
        ("Connection", "keep-alive, x-hidden"),
        ("X-Hidden", "c"),
        ("Connection", "authorization"),
        ("Authorization", "d"),
    ]);
    for text in [
        "request.headers['x-role'] == 'a, b'",
        "request.headers['cookie'] == 'a=1; b=2'",
        "!('x-hidden' in request.headers)",
        "request.headers['authorization'] == 'd'",
    ] {
        let expression = Expression::parse(text).unwrap();
        assert!(expression.holds(&principal(json!({})), &asked), "{text}");
    }
}

#[test]
fn claims_without_end_are_given_to_nobody() {
    let expression = Expression::parse("size(subject.claims.a) > 0").unwrap();
    let many = |count: usize| principal(json!({ "a": vec![1; count] }));
    assert!(expression.holds(&many(900), &exchange("/")));
    assert!(!expression.holds(&many(1100), &exchange("/")));
}

#[test]
fn days_have_names() {
    let weekday = |days: u64| {
        let Value::Map(members) = now_of(UNIX_EPOCH + Duration::from_secs(days * 86_400)) else {
            panic!("no map");
        };
        members.map[&cel::objects::Key::from("weekday".to_owned())].clone()
    };
    assert_eq!(weekday(0), Value::Int(4));
    assert_eq!(weekday(4), Value::Int(1));
    assert_eq!(weekday(3), Value::Int(7));
}

#[test]
fn members_that_are_not_there_are_refused() {
    for (text, name) in [
        ("subject.rolez == []", "rolez"),
        ("subject['claim'].x == 1", "claim"),
        ("has(request.header)", "header"),
        ("subject.roles.exists(r, r == request.user)", "user"),
        ("environment.now.x > 1 || environment.year > 1", "year"),
    ] {
        let refused = Expression::parse(text).unwrap_err();
        let ExpressionError::Member { name: told, .. } = &refused else {
            panic!("{text}: {refused}");
        };
        assert_eq!(told, name, "{text}");
    }
    assert!(holds(
        "subject.claims.rolez == 1 || subject['user'] == 'u42'"
    ));
}

/// As where origins are compared.
#[test]
fn a_trusted_proxy_is_believed_that_it_is_secure() {
    for (trusted, proto, expected) in [
        (true, "https", true),
        (true, "wss", true),
        (true, "http", false),
        (true, "", false),
        (false, "https", false),
    ] {
        let mut asked = exchange("/");
        Arc::get_mut(&mut asked.downstream).unwrap().trusted = trusted;
        if !proto.is_empty() {
            asked.headers = Headers::of(&[("X-Forwarded-Proto", proto)]);
        }
        let expression = Expression::parse("request.secure").unwrap();
        let told = expression.holds(&principal(json!({})), &asked);
        assert_eq!(told, expected, "{trusted} {proto}");
    }
}
