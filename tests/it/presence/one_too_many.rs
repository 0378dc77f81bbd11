//! One session too many is refused before anything is dialled, or sends the oldest away.

use tidegate_tests::time::eventually;
use tidegate_tests::{Request, ScriptedUpstream};

use super::{Users, entered, house, next};

#[tokio::test]
async fn a_user_has_so_many_and_no_more() {
    let Some(mut users) = Users::open("a_user_has_so_many") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(
        &upstream,
        "limits: { max_sessions_per_user: 3 }",
        "limits: { max_sessions_per_user: 2 },",
    );
    let one = users.enter(&gateway, "u1", "/ws").await;
    let _two = users.enter(&gateway, "u1", "/ws").await;
    let refused = gateway.ask(&users.handshake("u1", "/ws")).await;
    refused.expect_problem(429);
    assert_eq!(refused.code(), "too_many_sessions");
    assert!(refused.head.field("Retry-After").is_some());
    // On another route it is the gateway's limit that counts.
    let _three = users.enter(&gateway, "u1", "/talk").await;
    let refused = gateway.ask(&users.handshake("u1", "/talk")).await;
    assert_eq!(
        (refused.status(), refused.code().as_str()),
        (429, "too_many_sessions")
    );
    let _other = users.enter(&gateway, "u2", "/ws").await;
    one.close_session().await;
    eventually("one has gone", || gateway.sessions() == 3).await;
    let _again = users.enter(&gateway, "u1", "/ws").await;
    let series = "tidegate_refused_total{code=\"too_many_sessions\"}";
    gateway.admin().counts(series, 2.0).await;
}

#[tokio::test]
async fn a_handshake_that_fails_takes_nothing() {
    let Some(mut users) = Users::open("a_handshake_that_fails") else {
        return;
    };
    let upstream =
        ScriptedUpstream::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = house(
        &upstream,
        "limits: { max_sessions: 1, max_sessions_per_user: 1, max_sessions_per_address: 1 }",
        "",
    );
    for _ in 0..5 {
        let refused = gateway.ask(&users.handshake("u1", "/talk")).await;
        assert_eq!(refused.status(), 403);
    }
    let _one = users.enter(&gateway, "u1", "/ws").await;
}

#[tokio::test]
async fn all_and_each_client_have_so_many_and_no_more() {
    let upstream = ScriptedUpstream::mirror().await;
    let open = Request::handshake("/open");
    for (limits, status, code) in [
        ("limits: { max_sessions: 2 }", 503, "sessions_full"),
        (
            "limits: { max_sessions_per_address: 2 }",
            429,
            "too_many_sessions",
        ),
    ] {
        let gateway = house(&upstream, limits, "");
        let one = entered(&gateway, &open).await;
        let _two = entered(&gateway, &open).await;
        let refused = gateway.ask(&open).await;
        refused.expect_problem(status);
        assert_eq!(refused.code(), code);
        one.close_session().await;
        eventually("one has gone", || gateway.sessions() == 1).await;
        let _again = entered(&gateway, &open).await;
    }
}

#[tokio::test]
async fn the_oldest_of_a_user_goes_for_the_newest() {
    let Some(mut users) = Users::open("the_oldest_of_a_user_goes") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(
        &upstream,
        "limits: { max_sessions_per_user: 2, over: evict_oldest }",
        "",
    );
    let mut events = gateway.events();
    let mut bridged = users.enter(&gateway, "u1", "/ws").await;
    let mut proxied = users.enter(&gateway, "u1", "/talk").await;
    let _other = users.enter(&gateway, "u2", "/ws").await;
    let third = users.enter(&gateway, "u1", "/ws").await;
    let told = bridged.read_frame().await;
    assert_eq!(
        (told.close_code(), &told.payload[2..]),
        (Some(4409), &b"replaced"[..])
    );
    let _fourth = users.enter(&gateway, "u1", "/ws").await;
    let told = proxied.read_frame().await;
    assert_eq!(
        (told.close_code(), &told.payload[2..]),
        (Some(1008), &b"replaced"[..])
    );
    drop((bridged, proxied));
    eventually("two of one and one of the other are left", || {
        gateway.sessions() == 3
    })
    .await;
    // What goes by itself makes room.
    third.close_session().await;
    eventually("one has gone", || gateway.sessions() == 2).await;
    let _fifth = users.enter(&gateway, "u1", "/ws").await;
    assert_eq!((gateway.sessions(), gateway.users()), (3, 2));
    let mut replaced = Vec::new();
    for _ in 0..11 {
        let event = next(&mut events).await;
        assert!(!event.starts_with("offline"), "{event}");
        if event.ends_with("replaced") {
            replaced.push(event);
        }
    }
    replaced.sort();
    assert_eq!(
        replaced,
        [
            "closed u1 bridge 4409 replaced",
            "closed u1 talk 1008 replaced"
        ]
    );
    let series = "tidegate_ws_connections_closed_total{route=\"bridge\",code=\"4xxx\",cause=\"replaced\",initiator=\"gateway\"}";
    gateway.admin().counts(series, 1.0).await;
}

#[tokio::test]
async fn the_oldest_of_all_on_a_route_goes_for_the_newest() {
    let Some(mut users) = Users::open("the_oldest_of_all") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(
        &upstream,
        "",
        "limits: { max_sessions: 2, over: evict_oldest },",
    );
    let elsewhere = users.enter(&gateway, "u0", "/talk").await;
    let mut first = users.enter(&gateway, "u1", "/ws").await;
    let _second = users.enter(&gateway, "u2", "/ws").await;
    let _third = users.enter(&gateway, "u3", "/ws").await;
    assert_eq!(first.read_close().await, Some(4409));
    elsewhere.close_session().await;
}
