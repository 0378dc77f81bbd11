//! A user stays online as long as one session is open, and an order ends all of them wherever they are.

use tidegate_tests::time::eventually;
use tidegate_tests::{Request, ScriptedUpstream};

use super::{Users, entered, house, json, kick, next};

#[tokio::test]
async fn two_tabs_one_closes_and_the_user_stays_online() {
    let Some(mut users) = Users::open("two_tabs") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(&upstream, "", "");
    let admin = gateway.admin();
    let mut events = gateway.events();
    let first = users.enter(&gateway, "u42", "/ws").await;
    let second = users.enter(&gateway, "u42", "/talk").await;
    let nobody = entered(&gateway, &Request::handshake("/open")).await;
    for expected in [
        "opened u42 bridge",
        "online u42 [\"user\"]",
        "opened u42 talk",
        "opened - open",
    ] {
        assert_eq!(next(&mut events).await, expected);
    }
    assert_eq!((gateway.users(), gateway.sessions()), (1, 3));
    admin.counts("tidegate_users_online", 1.0).await;
    first.close_session().await;
    assert_eq!(
        next(&mut events).await,
        "closed u42 bridge 1000 client_close"
    );
    assert_eq!(gateway.users(), 1);
    let one = json(admin, "/v1/users/u42").await;
    assert_eq!(
        (&one["session_count"], &one["sessions"][0]["route"]),
        (&1.into(), &"talk".into())
    );
    second.close_session().await;
    assert_eq!(next(&mut events).await, "closed u42 talk 1000 client_close");
    assert_eq!(next(&mut events).await, "offline u42 false");
    assert_eq!(gateway.users(), 0);
    admin.counts("tidegate_users_online", 0.0).await;
    admin.get("/v1/users/u42").await.expect_problem(404);
    nobody.close_session().await;
    assert_eq!(next(&mut events).await, "closed - open 1000 client_close");
    let again = users.enter(&gateway, "u42", "/ws").await;
    assert_eq!(next(&mut events).await, "opened u42 bridge");
    assert_eq!(next(&mut events).await, "online u42 [\"user\"]");
    drop(again);
    assert_eq!(
        next(&mut events).await,
        "closed u42 bridge 1006 client_lost"
    );
    assert_eq!(next(&mut events).await, "offline u42 false");
}

#[tokio::test]
async fn a_user_who_went_silent_last_is_told_to_have() {
    let Some(mut users) = Users::open("a_user_who_went_silent") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(&upstream, "", "");
    let yaml = super::house_yaml("", "").replace(
        "bridge: { services: up }",
        "bridge: { services: up, websocket: { idle_timeout: 1s, close_timeout: 1s } }",
    );
    drop(gateway);
    let gateway = tidegate_tests::TestGateway::start(&upstream, &yaml);
    let mut events = gateway.events();
    let stays = users.enter(&gateway, "u1", "/talk").await;
    let mut silent = users.enter(&gateway, "u1", "/ws").await;
    let mut alone = users.enter(&gateway, "u2", "/ws").await;
    assert_eq!(silent.read_close().await, Some(1001));
    assert_eq!(alone.read_close().await, Some(1001));
    drop((silent, alone));
    let mut seen = Vec::new();
    while seen.len() < 8 {
        seen.push(next(&mut events).await);
    }
    assert!(seen.contains(&"offline u2 true".to_owned()), "{seen:?}");
    stays.close_session().await;
    assert_eq!(next(&mut events).await, "closed u1 talk 1000 client_close");
    // One of its sessions ended by idleness, but not the last.
    assert_eq!(next(&mut events).await, "offline u1 false");
}

#[tokio::test]
async fn a_kick_ends_all_sessions_of_one_user_and_of_nobody_else() {
    let Some(mut users) = Users::open("a_kick_ends_all") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(&upstream, "", "");
    let admin = gateway.admin();
    let mut bridged = users.enter(&gateway, "u42", "/ws").await;
    let mut proxied = users.enter(&gateway, "u42", "/talk").await;
    let other = users.enter(&gateway, "u43", "/ws").await;
    assert_eq!(kick(admin, "u42", "").await["sessions"], 2);
    assert_eq!(bridged.read_close().await, Some(4440));
    assert_eq!(proxied.read_close().await, Some(1008));
    drop((bridged, proxied));
    eventually("u42 is offline", || gateway.users() == 1).await;
    assert_eq!(json(admin, "/v1/users").await["users"][0]["user"], "u43");
    assert_eq!(kick(admin, "u42", "").await["sessions"], 0);
    // It may come again, and be told something else.
    let mut again = users.enter(&gateway, "u42", "/talk").await;
    kick(admin, "u42", r#"{"code":4001,"reason":"bye"}"#).await;
    let told = again.read_frame().await;
    assert_eq!(
        (told.close_code(), &told.payload[2..]),
        (Some(4001), &b"bye"[..])
    );
    let wrong = Request::new("DELETE", "/v1/users/u43/sessions").set("Host", "localhost");
    admin.ask(&wrong.body("x")).await.expect_problem(400);
    other.close_session().await;
}

#[tokio::test]
async fn users_are_seen_page_by_page_whatever_they_are_called() {
    let Some(mut users) = Users::open("users_are_seen_page_by_page") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = house(&upstream, "", "");
    let admin = gateway.admin();
    let names = ["a b", "a/b", "anna", "käthe", "u?x=1&y", "zoë"];
    let mut open = Vec::new();
    for name in names {
        open.push(users.enter(&gateway, name, "/ws").await);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = json(admin, &format!("/v1/users?limit=4{cursor}")).await;
        assert_eq!(page["users_online"], 6);
        for user in page["users"].as_array().unwrap() {
            assert_eq!(user["sessions"], 1);
            seen.push(user["user"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, names);
    let one = json(admin, "/v1/users/k%C3%A4the").await;
    assert_eq!(one["user"], "käthe");
    let target = "a%2Fb";
    assert_eq!(kick(admin, target, "").await["sessions"], 1);
    for wrong in ["?limit=0", "?cursor=%00", "?x=1"] {
        admin
            .get(&format!("/v1/users{wrong}"))
            .await
            .expect_problem(400);
    }
}
