//! The examples of the library are started, spoken to, and end as they say.

use std::net::SocketAddr;
use std::process::Command;

use tidegate_tests::child::Process;
use tidegate_tests::{Admin, Frame, Request, Wire, tools};

/// An example that runs, with the addresses that it tells.
async fn start(test: &str, name: &str) -> Option<(Process, SocketAddr, Admin)> {
    let program = tools::example(test, name)?;
    let mut process = Process::start(&mut Command::new(program));
    let listens = process.says("listening: ws://").await;
    let (address, _) = listens.split_once('/').unwrap();
    let admin = process.says("admin: http://").await;
    let address = address.parse().unwrap();
    Some((process, address, Admin(admin.parse().unwrap())))
}

/// Ends it as it says.
async fn end(mut process: Process, admin: Admin) {
    let drain = Request::new("POST", "/v1/drain").set("Host", &admin.0.to_string());
    assert_eq!(admin.ask(&drain).await.status(), 202);
    let (status, said) = process.ends().await;
    assert!(status.success(), "{status}: {said}");
}

#[tokio::test]
async fn embed() {
    let Some((process, address, admin)) = start("embed", "embed").await else {
        return;
    };
    let mut guests = Vec::new();
    for room in ["den", "den", "attic"] {
        let mut guest = Wire::connect(address).await;
        let request = Request::handshake(&format!("/chat/{room}"))
            .with("Sec-WebSocket-Protocol", "v2.chat.example, v1.chat.example");
        guest.request(&request).await;
        let head = guest.read_head().await;
        assert_eq!(head.status(), 101, "{head:?}");
        assert_eq!(head.field("X-Room"), Some(room));
        let chosen = head.field("Sec-WebSocket-Protocol");
        assert_eq!(chosen, Some("v1.chat.example"));
        // Who hears himself is in the room.
        guest.send_frame(&Frame::text(room).from_client()).await;
        assert_eq!(guest.read_frame().await, Frame::text(room));
        guests.push(guest);
    }
    assert_eq!(guests[0].read_frame().await, Frame::text("den"));
    guests[1].send_frame(&Frame::text("hi").from_client()).await;
    for guest in &mut guests[..2] {
        assert_eq!(guest.read_frame().await, Frame::text("hi"));
    }
    guests[2].stays_silent().await;
    let ending = async {
        for mut guest in guests {
            assert_eq!(guest.read_close().await, Some(1012));
            guest
                .send_frame(&Frame::close(1012, "").from_client())
                .await;
        }
    };
    tokio::join!(end(process, admin), ending);
}

#[tokio::test]
async fn custom_filter() {
    let Some((process, address, admin)) = start("custom_filter", "custom_filter").await else {
        return;
    };
    let mut client = Wire::connect(address).await;
    let answer = client.ask(&Request::handshake("/echo")).await;
    assert_eq!(
        (answer.status(), answer.head.field("X-Known")),
        (401, Some("no"))
    );
    let mut client = Wire::connect(address).await;
    let request = Request::handshake("/echo").with("X-Key", "bob");
    client.request(&request).await;
    let head = client.read_head().await;
    assert_eq!((head.status(), head.field("X-Known")), (101, Some("yes")));
    assert_eq!(client.read_frame().await, Frame::text("hello, bob"));
    let long = Frame::text(&"x".repeat(900));
    client.send_frame(&long.clone().from_client()).await;
    assert_eq!(client.read_frame().await, long);
    client.send_frame(&long.from_client()).await;
    let told = client.read_frame().await;
    assert_eq!(told.close_code(), Some(1008));
    assert_eq!(&told.payload[2..], b"policy;allowance=spent");
    client
        .send_frame(&Frame::close(1008, "").from_client())
        .await;
    client.expect_end().await;
    end(process, admin).await;
}
