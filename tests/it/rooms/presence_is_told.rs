//! Members are told who comes and goes, user by user, and whoever may can ask who is there.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_tests::mint::SECRET;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::{Setting, ask, go, join};
use crate::bridge::Client;

const RULES: &str = "{ match: 'chat:*', subscribe: all, presence: all }, \
    { match: 'desk:*', subscribe: all, presence: { roles: staff } }, \
    { match: 'quiet:*', subscribe: all }";

/// The next change that the client is told of the room: who comes, and who goes.
async fn change(client: &mut Client, room: &str) -> (Vec<Value>, Vec<Value>) {
    let change = client.receive().await;
    assert_eq!(
        (&change["op"], &change["room"]),
        (&json!("presence"), &json!(room)),
        "{change}"
    );
    assert!(
        change["n"].is_u64() && change.get("seq").is_none(),
        "{change}"
    );
    let list = |key: &str| change[key].as_array().unwrap().clone();
    (list("join"), list("leave"))
}

#[tokio::test]
async fn a_user_comes_once_and_goes_once() {
    let Some(setting) = Setting::new("a_user_comes_once_and_goes_once", RULES).await else {
        return;
    };
    let (mut one, welcome) = setting.welcomed("u1", &json!({})).await;
    assert!(
        welcome["features"]
            .as_array()
            .unwrap()
            .contains(&json!("presence")),
        "{welcome}"
    );
    join(&mut one, "chat:1").await;
    let me = json!({"user": "u1", "conns": 1});
    assert_eq!(change(&mut one, "chat:1").await, (vec![me], vec![]));
    let (mut tab, mut other_tab) = (setting.session("u2").await, setting.session("u2").await);
    join(&mut tab, "chat:1").await;
    let (joined, left) = change(&mut one, "chat:1").await;
    assert_eq!(
        (&joined[0]["user"], joined.len(), left.len()),
        (&json!("u2"), 1, 0)
    );
    join(&mut other_tab, "chat:1").await;
    go(tab).await;
    tidegate_tests::eventually_does("the tab is gone", async || {
        setting.look("/v1/rooms/chat:1").await.1["members"] == 2
    })
    .await;
    let users = setting.look("/v1/rooms/chat:1").await.1["users"].take();
    assert_eq!(
        users,
        json!([{"user": "u1", "sessions": 1}, {"user": "u2", "sessions": 1}])
    );
    ask(&mut other_tab, "unsub", "chat:1").await;
    // The next that is told is the end: of the second tab nothing was.
    let gone = vec![json!({"user": "u2"})];
    assert_eq!(change(&mut one, "chat:1").await, (vec![], gone));
}

#[tokio::test]
async fn who_was_lost_fades_and_is_seen_again() {
    let test = "who_was_lost_fades_and_is_seen_again";
    let grace = "rooms: { presence_grace: 1s }";
    let Some(setting) = Setting::with(test, RULES, grace, "").await else {
        return;
    };
    let mut stays = setting.session("u1").await;
    join(&mut stays, "chat:1").await;
    change(&mut stays, "chat:1").await;
    let (mut lost, welcome) = setting.welcomed("u2", &json!({})).await;
    join(&mut lost, "chat:1").await;
    assert_eq!(change(&mut stays, "chat:1").await.0[0]["user"], "u2");
    lost.0.reset();
    // First it is lost, and then it is not seen; but it is a member still.
    let gone = vec![json!({"user": "u2"})];
    assert_eq!(change(&mut stays, "chat:1").await, (vec![], gone));
    let room = setting.look("/v1/rooms/chat:1").await.1;
    assert_eq!(
        (&room["members"], room["users"].as_array().map(Vec::len)),
        (&json!(2), Some(1))
    );
    setting.push("chat:1", &json!(1)).await;
    assert_eq!(stays.receive().await["data"], 1);
    // Somebody came whom it was not told of.
    let mut third = setting.session("u3").await;
    join(&mut third, "chat:1").await;
    assert_eq!(change(&mut stays, "chat:1").await.0[0]["user"], "u3");

    let (mut back, welcome) = setting.resumed("u2", &welcome).await;
    assert_eq!(
        (
            &welcome["resume"]["continued"],
            &welcome["resume"]["recovered"]
        ),
        (&json!(true), &json!(true)),
        "{welcome}"
    );
    let (mut told, mut pushed) = (None, None);
    while told.is_none() || pushed.is_none() {
        let frame = back.receive().await;
        match frame["op"].as_str() {
            Some("push") => pushed = Some(frame["data"].clone()),
            _ if frame.get("users").is_some() => told = Some(frame),
            other => assert_eq!(other, Some("presence"), "{frame}"),
        }
    }
    assert_eq!(pushed, Some(json!(1)));
    let told = told.unwrap();
    let there = ["u1", "u2", "u3"].map(|user| json!({"user": user, "conns": 1}));
    assert_eq!(
        (&told["op"], &told["room"], &told["users"]),
        (&json!("presence"), &json!("chat:1"), &json!(there)),
        "{told}"
    );
    assert!(told["n"].is_u64(), "{told}");
    assert_eq!(change(&mut stays, "chat:1").await.0[0]["user"], "u2");
}

#[tokio::test]
async fn who_comes_back_at_once_was_never_gone() {
    let Some(setting) = Setting::new("who_comes_back_at_once_was_never_gone", RULES).await else {
        return;
    };
    let mut stays = setting.session("u1").await;
    join(&mut stays, "chat:1").await;
    change(&mut stays, "chat:1").await;
    let (mut lost, welcome) = setting.welcomed("u2", &json!({})).await;
    join(&mut lost, "chat:1").await;
    assert_eq!(change(&mut stays, "chat:1").await.0[0]["user"], "u2");
    lost.0.reset();
    let (_back, welcome) = setting.resumed("u2", &welcome).await;
    assert_eq!(welcome["resume"]["continued"], true, "{welcome}");
    // What is told next is of a third.
    let mut third = setting.session("u3").await;
    join(&mut third, "chat:1").await;
    let third = vec![json!({"user": "u3", "conns": 1})];
    assert_eq!(change(&mut stays, "chat:1").await, (third, vec![]));
}

/// More than may wait at once, so it is told bit by bit.
#[tokio::test]
async fn who_comes_back_to_many_rooms_is_told_of_all() {
    const ROOMS: usize = 60;
    let test = "who_comes_back_to_many_rooms_is_told_of_all";
    let Some(setting) = Setting::with(test, RULES, "", "push: { outbox: 4KiB }").await else {
        return;
    };
    let user = "u".repeat(200);
    let (mut there, mut lost) = (Vec::new(), None);
    for _ in 0..4 {
        let (mut client, welcome) = setting.welcomed(&user, &json!({})).await;
        for room in 0..ROOMS {
            client
                .send(&json!({"op": "sub", "id": room + 1, "room": format!("chat:{room}")}))
                .await;
        }
        let mut answers = 0;
        while answers < ROOMS {
            answers += usize::from(client.receive().await.get("status").is_some());
        }
        match lost {
            None => lost = Some((client, welcome)),
            Some(_) => there.push(client),
        }
    }
    let (client, welcome) = lost.unwrap();
    client.0.reset();
    let (mut back, welcome) = setting.resumed(&user, &welcome).await;
    assert_eq!(welcome["resume"]["continued"], true, "{welcome}");
    let mut told = BTreeSet::new();
    while told.len() < ROOMS {
        let frame = back.receive().await;
        if frame.get("users").is_some() {
            told.insert(frame["room"].as_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn a_crowd_is_told_in_few_frames() {
    let Some(setting) = Setting::new("a_crowd_is_told_in_few_frames", RULES).await else {
        return;
    };
    let begun = std::time::Instant::now();
    let mut first = setting.session("u0").await;
    join(&mut first, "chat:1").await;
    let mut others = Vec::new();
    for user in 1..=60 {
        let mut other = setting.session(&format!("u{user}")).await;
        other
            .send(&json!({"op": "sub", "id": 1, "room": "chat:1"}))
            .await;
        others.push(other);
    }
    let (mut seen, mut frames) = (BTreeSet::new(), 0);
    while seen.len() < 61 {
        let (joined, left) = change(&mut first, "chat:1").await;
        frames += 1;
        assert_eq!(left, Vec::<Value>::new());
        for one in joined {
            assert!(seen.insert(one["user"].to_string()), "{one} came twice");
        }
    }
    // Two in a second at most, however long it took here; one more for where it began.
    let most = begun.elapsed().as_millis() / 500 + 2;
    assert!(frames <= most, "{frames} frames, {most} at most");
}

#[tokio::test]
async fn to_those_who_may_see_it() {
    let Some(setting) = Setting::new("to_those_who_may_see_it", RULES).await else {
        return;
    };
    let (mut staff, _) = setting.welcomed("s", &json!({"roles": ["staff"]})).await;
    let mut guest = setting.session("g").await;
    let mut nobody = setting.anybody().await;
    for client in [&mut staff, &mut guest, &mut nobody] {
        join(client, "desk:1").await;
        join(client, "quiet:1").await;
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let (joined, _) = change(&mut staff, "desk:1").await;
        seen.extend(joined.iter().map(|one| one["user"].to_string()));
    }
    let snapshot = json!({"id": 1, "uri": "/_tidegate/presence/desk:1"});
    let answer = staff.ask(&snapshot).await;
    assert_eq!(answer["status"], 200, "{answer}");
    let users = json!([{"user": "g", "conns": 1}, {"user": "s", "conns": 1}]);
    let body = &answer["body"];
    assert_eq!(
        (&body["room"], &body["members"], &body["users"]),
        (&json!("desk:1"), &json!(3), &users)
    );
    assert!(body["n"].is_u64(), "{body}");
    for client in [&mut guest, &mut nobody] {
        // The answer is the next that they get: nothing was told to them.
        let answer = client.ask(&snapshot).await;
        assert_eq!(
            (&answer["status"], &answer["error"]["code"]),
            (&json!(403), &json!("forbidden"))
        );
    }
    for room in ["quiet:1", "talk:1", "desk:1%2F", ""] {
        let uri = format!("/_tidegate/presence/{room}");
        let answer = guest.ask(&json!({"id": 1, "uri": uri})).await;
        assert_eq!(answer["status"], 403, "{room}: {answer}");
    }
    let empty = staff
        .ask(&json!({"id": 1, "uri": "/_tidegate/presence/chat%3A1"}))
        .await;
    assert_eq!(
        empty["body"],
        json!({"room": "chat:1", "n": 0, "members": 0, "users": []})
    );
    let posted = staff
        .ask(&json!({"id": 1, "type": "POST", "uri": "/_tidegate/presence/a"}))
        .await;
    assert_eq!(posted["status"], 405, "{posted}");
    let state = setting.look("/v1/rooms/quiet:1").await.1;
    assert_eq!(state["user_count"], 0);
    assert_eq!(
        (&state["members"], &state["users"]),
        (&json!(3), &json!([]))
    );
}

#[tokio::test]
async fn over_http_no_more_than_through_a_bridge() {
    let test = "over_http_no_more_than_through_a_bridge";
    let Some(setting) = Setting::new(test, RULES).await else {
        return;
    };
    let mut member = setting.session("u1").await;
    join(&mut member, "desk:1").await;
    join(&mut member, "chat:1").await;
    let target = |room: &str| Request::get(&format!("/_tidegate/presence/{room}"));
    let bearer = |user: &str, roles: Value| {
        let token = Token::secret().claim("sub", user).claim("roles", roles);
        format!("Bearer {}", setting.mint.sign(&token))
    };
    let (staff, guest) = (bearer("s", json!(["staff"])), bearer("g", json!([])));
    for (room, token, status) in [
        ("desk:1", Some(&staff), 200),
        ("desk%3A1", Some(&staff), 200),
        ("desk:1", Some(&guest), 403),
        // Whoever opens a session at /open may see it, known or not.
        ("chat:1", Some(&guest), 200),
        ("chat:1", None, 200),
        ("desk:1", None, 401),
        ("quiet:1", Some(&staff), 403),
    ] {
        let mut request = target(room);
        if let Some(token) = token {
            request = request.with("Authorization", token);
        }
        let answer = setting.gateway.ask(&request).await;
        assert_eq!(
            answer.status(),
            status,
            "{room} {token:?}: {}",
            answer.text()
        );
        if status == 200 {
            let body: Value = serde_json::from_str(&answer.text()).unwrap();
            assert_eq!(body["users"], json!([{"user": "u1", "conns": 1}]));
            assert_eq!(answer.head.field("Cache-Control"), Some("no-store"));
        }
    }
    let wrong = target("desk:1").with("Authorization", "Bearer x");
    assert_eq!(setting.gateway.ask(&wrong).await.status(), 401);
    let posted = Request::new("POST", "/_tidegate/presence/desk:1").with("Authorization", &staff);
    assert_eq!(setting.gateway.ask(&posted.body("")).await.status(), 405);
}

#[tokio::test]
async fn over_http_nothing_of_a_bridge_behind_more_than_an_address() {
    let test = "over_http_nothing_of_a_bridge_behind_more_than_an_address";
    let Some(mint) = Mint::open(test) else { return };
    let upstream = ScriptedUpstream::bind().await;
    let yaml = format!(
        "auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
         services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes:\n\
         - {{ name: door, match: {{ path: /ws, headers: {{ x-door: sesame }} }}, \
             bridge: {{ services: up, rooms: [{{ match: 'secret:*', subscribe: all, presence: all }}] }} }}\n\
         - {{ name: open, match: {{ path: /open, upgrade: websocket }}, \
             bridge: {{ services: up, rooms: [{{ match: 'known:*', presence: all }}] }} }}\n"
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let bearer = format!("Bearer {}", mint.sign(&Token::secret()));
    let target = |room: &str| Request::get(&format!("/_tidegate/presence/{room}"));
    for request in [
        target("secret:1"),
        target("secret:1").with("X-Door", "sesame"),
    ] {
        assert_eq!(gateway.ask(&request).await.status(), 401);
        let known = request.with("Authorization", &bearer);
        assert_eq!(gateway.ask(&known).await.status(), 403);
    }
    assert_eq!(gateway.ask(&target("known:1")).await.status(), 200);
    // Whoever comes through the door sees it there.
    let handshake = Request::handshake("/ws").with("X-Door", "sesame");
    let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut client = Client::open(&gateway, &handshake).await;
    let welcome = client.receive().await;
    assert_eq!(welcome["op"], "welcome", "{welcome}");
    let uri = "/_tidegate/presence/secret:1";
    let answer = client.ask(&json!({"id": 1, "uri": uri})).await;
    assert_eq!(answer["status"], 200, "{answer}");
}

#[tokio::test]
async fn what_a_bridge_asks_is_asked_over_http_too() {
    let test = "what_a_bridge_asks_is_asked_over_http_too";
    let Some(mint) = Mint::open(test) else { return };
    let upstream = ScriptedUpstream::bind().await;
    let yaml = format!(
        "auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
         services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes:\n\
         - {{ name: staff, match: {{ path: /ws }}, filters: [{{ require: {{ roles: staff }} }}], \
             bridge: {{ services: up, rooms: [{{ match: '**', presence: all }}] }} }}\n"
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    for (roles, status) in [(json!(["staff"]), 200), (json!(["guest"]), 403)] {
        let token = mint.sign(&Token::secret().claim("roles", roles));
        let request = Request::get("/_tidegate/presence/a");
        let request = request.with("Authorization", &format!("Bearer {token}"));
        assert_eq!(gateway.ask(&request).await.status(), status);
    }
    assert_eq!(
        gateway
            .ask(&Request::get("/_tidegate/presence/a"))
            .await
            .status(),
        401
    );
}
