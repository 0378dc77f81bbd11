//! `tidegate dev` has a page of tabs of two users, with tokens that open them: it shows pushes, who is online,
//! a kick, a room, and a tab that comes back; and it tries calls.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;
use tidegate_tests::browser::Driven;
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{Request, Wire, eventually, tools};

use super::Client;

/// A demo, and where it listens; `None` where there is no binary.
async fn demo(test: &str) -> Option<(Process, SocketAddr)> {
    let binary = tools::tidegate(test)?;
    let any = "127.0.0.1:0";
    let options = ["dev", "--bind", any, "--admin", any];
    let mut demo = Process::start(Command::new(&binary).args(options));
    demo.listens().await;
    eventually("it prints its commands", || {
        demo.output().contains("Ctrl-C")
    })
    .await;
    let output = demo.output();
    let (before, _) = output.split_once("/_tidegate/demo").unwrap();
    let address = before.rsplit("http://").next().unwrap().parse().unwrap();
    Some((demo, address))
}

#[tokio::test]
async fn the_page_has_what_it_needs() {
    let Some((demo, address)) = demo("demo_shows_it").await else {
        return;
    };
    let output = demo.output();
    let answer = Wire::connect(address)
        .await
        .ask(&Request::get("/_tidegate/demo"))
        .await;
    assert_eq!(answer.status(), 200);
    let page = String::from_utf8(answer.body).unwrap();
    let token = page
        .split("\"demo\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    // The one that is printed, too.
    assert!(
        output.contains(&format!("-s tidegate.v1.json -s tidegate.bearer.{token}")),
        "{output}"
    );
    let policy = answer.head.field("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for (target, status) in [
        ("/_tidegate/demo/page.css", 200),
        ("/_tidegate/demo/tab.js", 200),
        // Whoever has no token pushes nothing, and ends nobody's sessions.
        ("/_tidegate/demo/online", 401),
        ("/_tidegate/demo/push", 401),
        ("/_tidegate/demo/kick", 401),
    ] {
        let mut wire = Wire::connect(address).await;
        let answer = wire.ask(&Request::get(target)).await;
        assert_eq!(answer.status(), status, "{target}");
    }
    for (offer, status) in [
        ("tidegate.v1.json".to_owned(), 401),
        (format!("tidegate.v1.json, tidegate.bearer.{token}x"), 401),
        (format!("tidegate.v1.json, tidegate.bearer.{token}"), 101),
    ] {
        let mut wire = Wire::connect(address).await;
        let handshake = Request::handshake("/ws").with("Sec-WebSocket-Protocol", &offer);
        wire.request(&handshake).await;
        assert_eq!(wire.read_head().await.status(), status);
        if status != 101 {
            continue;
        }
        let mut client = Client(wire);
        assert_eq!(client.receive().await["user"], "demo");
        for (envelope, status) in [
            (json!({"id": 1, "baseUrl": "demo", "uri": "customers"}), 200),
            (json!({"id": 2, "uri": "/customers"}), 200),
            (json!({"id": 3, "baseUrl": "http://169.254.169.254"}), 403),
        ] {
            assert_eq!(client.ask(&envelope).await["status"], status, "{envelope}");
        }
        let told = client
            .ask(&json!({"id": 4, "baseUrl": "demo", "uri": "me"}))
            .await;
        assert_eq!(told["body"]["claims"]["sub"], "demo");
        client
            .send(&json!({"id": 5, "uri": "/sse", "stream": true}))
            .await;
        assert_eq!(client.receive().await["stream"], true);
        assert_eq!(client.receive().await["event"]["data"], "event 1");
    }
}

/// Cards of the page that show `kind` lines with `text`, as a script.
fn told(user: &str, kind: &str, text: &str) -> String {
    format!(
        "[...document.querySelectorAll('article.{user}')].filter((card) => \
         [...card.querySelectorAll('li.{kind}')].some((line) => line.textContent.includes('{text}'))).length"
    )
}

/// Whether the page counts so many users online, and tabs of demo and of guest.
fn counts(users: u32, demo: u32, guest: u32) -> String {
    format!(
        "['users', 'of-demo', 'of-guest'].map((id) => document.getElementById(id).textContent).join() \
         === '{users},{demo},{guest}'"
    )
}

fn push(text: &str) -> String {
    format!("byId('text').value = '{text}'; document.querySelector('#push button').click()")
}

/// Presses `button` of the card at this place.
fn press(card: usize, button: &str) -> String {
    format!("document.querySelectorAll('article')[{card}].querySelector('{button}').click()")
}

#[tokio::test]
async fn tabs_of_a_user_are_pushed_to_counted_and_kicked() {
    let test = "tabs_of_a_user_are_pushed_to_counted_and_kicked";
    if tools::program(test, "chromium").is_none() {
        return;
    }
    let Some((_demo, address)) = demo(test).await else {
        return;
    };
    let home = Scratch::new();
    let mut browser = Driven::start(home.path()).await;
    let url = format!("http://{address}/_tidegate/demo");
    let first = browser.open(&url).await;
    browser.until(&first, &counts(1, 2, 0)).await;
    let second = browser.open(&url).await;
    browser.until(&first, &counts(1, 4, 0)).await;

    browser.run(&first, &push("to all")).await;
    for page in [&first, &second] {
        let all = told("demo", "push", "order: to all") + " === 2";
        browser.until(page, &all).await;
    }
    let arrived = "byId('told').textContent === \
                   'Pushed to 4 tabs; 4 tabs said that it has arrived.'";
    browser.until(&first, arrived).await;
    browser.close(second).await;
    browser.until(&first, &counts(1, 2, 0)).await;

    browser.run(&first, "byId('more-guest').click()").await;
    browser.until(&first, &counts(2, 2, 1)).await;
    for card in 0..3 {
        browser.run(&first, &press(card, ".join")).await;
    }
    let here = "[...document.querySelectorAll('.room')].every((room) => \
                room.textContent.includes('demo × 2') && room.textContent.includes('guest'))";
    browser.until(&first, here).await;
    browser.run(&first, &press(2, ".say button")).await;
    for (user, cards) in [("demo", 2), ("guest", 1)] {
        let said = told(user, "push", "guest in lobby: hello, room");
        browser.until(&first, &format!("{said} === {cards}")).await;
    }

    browser.run(&first, &press(1, ".network")).await;
    browser.until(&first, &counts(2, 1, 1)).await;
    browser.run(&first, &push("to one")).await;
    let one = told("demo", "push", "to one") + " === 1";
    browser.until(&first, &one).await;
    browser.run(&first, &press(1, ".network")).await;
    let back = told("demo", "note", "back, and nothing is lost") + " === 1";
    browser.until(&first, &back).await;
    let missed = told("demo", "missed", "to one") + " === 1";
    browser.until(&first, &missed).await;
    browser.until(&first, &counts(2, 2, 1)).await;

    browser.run(&first, "byId('kick-button').click()").await;
    let kicked = told("demo", "bad", "closed: 4440 admin") + " === 2";
    browser.until(&first, &kicked).await;
    browser.until(&first, &counts(1, 0, 1)).await;
    let all = "document.querySelectorAll('article').length";
    assert_eq!(browser.run(&first, all).await, 3);
}
