//! A user who is known is not let through everywhere: routes ask for roles, scopes and claims, and who
//! lacks one is told 403 before an upstream hears of it.

use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{
    LogFile, Mint, Request, ScriptedUpstream, TestGateway, Token, Wire, eventually, tools,
};

use super::{bearing, by_secret, gateway};

const TEST: &str = "routes_ask_for_more";

/// What a route asks for, and what comes of it: `200`, or the code of the refusal.
const REQUIREMENTS: &[(&str, &str)] = &[
    ("require", "200"),
    ("{ require: {} }", "200"),
    ("{ require: { roles: user } }", "200"),
    ("{ require: { roles: [admin, editor] } }", "200"),
    ("{ require: { roles: admin } }", "forbidden"),
    ("{ require: { roles: User } }", "forbidden"),
    ("{ require: { scopes: [read, write] } }", "200"),
    (
        "{ require: { scopes: [read, delete] } }",
        "insufficient_scope",
    ),
    ("{ require: { claims: { tenant: acme } } }", "200"),
    ("{ require: { claims: { tenant: [x, acme] } } }", "200"),
    ("{ require: { claims: { tenant: other } } }", "forbidden"),
    ("{ require: { claims: { none: x } } }", "forbidden"),
    ("{ require: { claims: { level: 3 } } }", "200"),
    ("{ require: { claims: { level: 4 } } }", "forbidden"),
    ("{ require: { claims: { groups: b } } }", "200"),
    ("{ require: { claims: { groups: c } } }", "forbidden"),
    (
        "{ require: { claims: { realm_access.roles: ops } } }",
        "200",
    ),
    (
        "{ require: { claims: { 'https://example.com/kind': person } } }",
        "200",
    ),
    (
        "{ require: { claims: { tenant: acme, level: 4 } } }",
        "forbidden",
    ),
    (
        "{ require: { roles: user, scopes: none } }",
        "insufficient_scope",
    ),
];

#[tokio::test]
async fn roles_scopes_and_claims() {
    let Some(mint) = Mint::open(TEST) else { return };
    let token = || {
        Token::secret()
            .claim("roles", json!(["user", "editor"]))
            .claim("scope", "read write")
            .claim("tenant", "acme")
            .claim("level", 3)
            .claim("groups", json!(["a", "b"]))
            .claim("realm_access", json!({ "roles": ["ops"] }))
            .claim("https://example.com/kind", "person")
    };
    let signed = mint.sign(&token());
    for &(require, expected) in REQUIREMENTS {
        let upstream = ScriptedUpstream::mirror().await;
        let gateway = gateway(&upstream, &by_secret(""), require);
        for request in [Request::get("/"), Request::handshake("/")] {
            let is_handshake = request.bytes().windows(7).any(|word| word == b"Upgrade");
            let mut client = gateway.connect().await;
            client.request(&bearing(request, &signed)).await;
            if expected == "200" {
                let wanted = if is_handshake { 101 } else { 200 };
                assert_eq!(client.read_head().await.status(), wanted, "{require}");
                continue;
            }
            let answer = client.read_answer().await;
            answer.expect_problem(403);
            assert_eq!(answer.code(), expected, "{require}");
            let challenges = answer.head.fields("WWW-Authenticate");
            assert_eq!(
                challenges.len(),
                usize::from(expected == "insufficient_scope")
            );
        }
        if expected != "200" {
            upstream.was_left_alone().await;
        }
    }
}

#[tokio::test]
async fn conditions_say_the_rest() {
    let Some(mint) = Mint::open(TEST) else { return };
    let signed = mint.sign(&Token::secret().claim("tenant", "acme"));
    for (condition, target, expected) in [
        ("subject.user == 'u42' && 'user' in subject.roles", "/", 200),
        (
            "request.path.startsWith('/' + subject.claims.tenant + '/')",
            "/acme/x",
            200,
        ),
        (
            "request.path.startsWith('/' + subject.claims.tenant + '/')",
            "/other/x",
            403,
        ),
        (
            "request.path.startsWith('/' + subject.claims.tenant + '/')",
            "/acme/../other/x",
            403,
        ),
        (
            "request.method == 'GET' && request.query == 'a=1'",
            "/?a=1",
            200,
        ),
        ("request.headers['x-level'] == '3'", "/", 200),
        ("request.headers['x-none'] == '3'", "/", 403),
        ("request.address == '127.0.0.1'", "/", 200),
        (
            "environment.now > 1790000000 && environment.date < '2999'",
            "/",
            200,
        ),
        ("subject.claims.missing > 1", "/", 403),
        ("subject.user", "/", 403),
    ] {
        let upstream = ScriptedUpstream::mirror().await;
        let condition = serde_json::to_string(condition).unwrap();
        let filters = format!("{{ require: {{ expr: {condition} }} }}");
        let gateway = gateway(&upstream, &by_secret(""), &filters);
        let request = bearing(Request::get(target), &signed).with("X-Level", "3");
        assert_eq!(
            gateway.ask(&request).await.status(),
            expected,
            "{condition} {target}"
        );
    }
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = super::yaml(&by_secret(""), "{ require: { expr: 'user == 1' } }");
    let error = TestGateway::try_start(&upstream, &yaml).unwrap_err();
    assert!(error.contains("there is no `user`"), "{error}");
}

#[tokio::test]
async fn claims_may_have_other_names() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = ScriptedUpstream::mirror().await;
    let auth = by_secret("user_claim: uid, roles_claim: realm_access.roles, scopes_claim: scp");
    let filters = "{ require: { roles: ops, scopes: [a, b] } }";
    let gateway = gateway(&upstream, &auth, filters);
    let token = Token::secret()
        .without("sub")
        .without("roles")
        .claim("uid", 7)
        .claim("realm_access", json!({ "roles": "ops" }))
        .claim("scp", json!(["a", "b"]));
    let answer = gateway
        .ask(&bearing(Request::get("/"), &mint.sign(&token)))
        .await;
    assert_eq!(answer.status(), 200);
    let token = token.claim("realm_access", json!("ops"));
    let answer = gateway
        .ask(&bearing(Request::get("/"), &mint.sign(&token)))
        .await;
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn the_user_is_told_to_those_who_operate_it() {
    let Some(mint) = Mint::open(TEST) else { return };
    let log = LogFile::new();
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = format!(
        "admin: {{ bind: 127.0.0.1:0 }}\n{}{}",
        log.yaml(""),
        super::yaml(&by_secret(""), "{ require: { roles: user } }")
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let (known, other) = (
        mint.sign(&Token::secret()),
        mint.sign(&Token::secret().claim("sub", "u\"7").claim("roles", "guest")),
    );
    assert_eq!(
        gateway
            .ask(&bearing(Request::get("/a"), &known))
            .await
            .status(),
        200
    );
    assert_eq!(
        gateway
            .ask(&bearing(Request::get("/b"), &other))
            .await
            .status(),
        403
    );
    assert_eq!(gateway.ask(&Request::get("/c")).await.status(), 401);
    let mut client = gateway.connect().await;
    client
        .request(&bearing(Request::handshake("/d"), &known))
        .await;
    assert_eq!(client.read_head().await.status(), 101);
    let lines = log
        .lines_until("four lines", |lines| lines.len() == 4)
        .await;
    let told = |path: &str| {
        let line = lines.iter().find(|line| line["path"] == path).unwrap();
        (line["user"].clone(), line["code"].clone())
    };
    assert_eq!(told("/a"), (json!("u42"), Value::Null));
    assert_eq!(told("/b"), (json!("u\"7"), json!("forbidden")));
    assert_eq!(told("/c"), (Value::Null, json!("unauthenticated")));
    assert_eq!(told("/d"), (json!("u42"), Value::Null));
    let sessions = |query: &str| {
        let target = format!("/v1/sessions?{query}");
        let admin = gateway.admin();
        async move {
            let answer = admin.get(&target).await;
            let page: Value = serde_json::from_slice(&answer.body).unwrap();
            page["sessions"].as_array().unwrap().clone()
        }
    };
    let all = sessions("").await;
    assert_eq!((all.len(), &all[0]["user"]), (1, &json!("u42")));
    assert_eq!(sessions("user=u42").await.len(), 1);
    assert_eq!(sessions("user=u43").await.len(), 0);
    let admin = gateway.admin();
    admin
        .counts("tidegate_auth_refused_total{code=\"forbidden\"}", 1.0)
        .await;
    admin
        .counts("tidegate_auth_refused_total{code=\"unauthenticated\"}", 1.0)
        .await;
    admin
        .counts("tidegate_token_cache_total{result=\"miss\"}", 2.0)
        .await;
    admin
        .counts("tidegate_token_cache_total{result=\"hit\"}", 1.0)
        .await;
}

#[tokio::test]
async fn without_users_there_is_nobody_to_require() {
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = "services: { up: { endpoints: [http://UP] } }\n\
        routes: [{ name: r, match: { path: /** }, filters: [require], proxy: { service: up } }]\n";
    let error = TestGateway::try_start(&upstream, yaml).unwrap_err();
    assert!(error.contains("there is no `auth`"), "{error}");
}

#[tokio::test]
async fn what_a_condition_names_is_there() {
    let upstream = ScriptedUpstream::mirror().await;
    for (expr, said) in [
        (
            "subject.rolez == []",
            "there is no `rolez` in `subject`; there are `user`, `roles`",
        ),
        ("has(request.header)", "there is no `header` in `request`"),
        (
            "environment.year > 2000",
            "there is no `year` in `environment`",
        ),
    ] {
        let filters = format!("{{ require: {{ expr: '{expr}' }} }}");
        let yaml = super::yaml(&by_secret(""), &filters);
        let error = TestGateway::try_start(&upstream, &yaml).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

/// Its sender is told that it may not, and whoever operates the gateway, why.
#[tokio::test]
async fn the_log_says_why_where_it_is_asked() {
    let test = "the_log_says_why_where_it_is_asked";
    let (Some(mint), Some(binary)) = (Mint::open(test), tools::tidegate(test)) else {
        return;
    };
    let upstream = ScriptedUpstream::bind().await;
    let conditions = [
        ("roles: admin", "the user has none of these roles"),
        ("scopes: write", "the user lacks one of these scopes"),
        ("claims: { tenant.of: acme }", "tenant.of"),
        ("expr: 'subject.user == \"x\"'", "it does not hold"),
        ("expr: 'subject.claims.none == 1'", "it cannot be told"),
        ("expr: 'subject.user'", "it is no truth value"),
    ];
    let routes: String = (conditions.iter().enumerate())
        .map(|(at, (condition, _))| {
            format!(
                "- {{ name: r{at}, match: {{ path: /{at} }}, filters: [require: {{ {condition} }}], \
                 proxy: {{ service: up }} }}\n"
            )
        })
        .collect();
    let yaml = format!(
        "version: 1\nlisteners: {{ name: web, bind: '127.0.0.1:0' }}\nauth: {{ {} }}\n\
         services: {{ up: {{ endpoints: 'http://{}' }} }}\nroutes:\n{routes}",
        by_secret(""),
        upstream.address()
    );
    let scratch = Scratch::new();
    let mut command = Command::new(binary);
    command.args(["run", "--log-level", "debug", "--config"]);
    let mut gateway = Process::start(command.arg(scratch.write("tidegate.yaml", &yaml)));
    let address = gateway.listens().await;
    let token = mint.sign(&Token::secret());
    for (at, (condition, why)) in conditions.iter().enumerate() {
        let mut client = Wire::connect(address).await;
        let answer = client
            .ask(&bearing(Request::get(&format!("/{at}")), &token))
            .await;
        assert_eq!(answer.status(), 403, "{condition}");
        eventually("the log says why", || gateway.output().contains(why)).await;
    }
    upstream.was_left_alone().await;
}
