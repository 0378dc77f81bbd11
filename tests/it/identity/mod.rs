//! Who may come through: tokens, what routes ask of users, and where browsers may call from.

mod browsers_call_from_where_they_may;
mod development_keys_open_it;
mod failures_have_a_rate;
mod keys_are_fetched;
mod passwords_are_known;
mod routes_ask_for_more;
mod tickets_are_good_once;
mod tokens_are_verified;
mod tokens_stand_where_they_may;

use tidegate_tests::mint::SECRET;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway};

/// A gateway with `auth` (in flow style) and one route with these filters.
fn gateway(upstream: &ScriptedUpstream, auth: &str, filters: &str) -> TestGateway {
    TestGateway::start(upstream, &yaml(auth, filters))
}

fn yaml(auth: &str, filters: &str) -> String {
    format!(
        "auth: {{ {auth} }}\n\
         services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes: [{{ name: all, match: {{ path: /** }}, filters: [{filters}], proxy: {{ service: up }} }}]\n"
    )
}

/// `jwt` with the secret that tokens are signed with, and these keys besides.
fn by_secret(more: &str) -> String {
    format!("jwt: {{ secret: '{SECRET}', {more} }}")
}

/// A request that bears `token`.
fn bearing(request: Request, token: &str) -> Request {
    request.with("Authorization", &format!("Bearer {token}"))
}
