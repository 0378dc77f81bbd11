//! Where one session too many sends the oldest away, that is one of the same user, or of the same client,
//! where those are limited, however many others have.

use std::net::{IpAddr, Ipv4Addr};

use tidegate_tests::time::eventually;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire};

use super::{Users, house};

async fn from(gateway: &TestGateway, address: u8, handshake: &Request) -> Wire {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, address));
    let mut wire = Wire::connect_from(address, gateway.address()).await;
    wire.request(handshake).await;
    let head = wire.read_head().await;
    assert_eq!(head.status(), 101, "{head:?}");
    wire
}

#[tokio::test]
async fn of_users() {
    let Some(mut users) = Users::open("nobody_goes_for_another") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let limits = "limits: { max_sessions_per_user: 3, over: evict_oldest }";
    let gateway = house(&upstream, limits, "");
    let mut quiet = Vec::new();
    for user in ["a", "b", "c"] {
        quiet.push(users.enter(&gateway, user, "/ws").await);
    }
    let mut loud = Vec::new();
    for _ in 0..20 {
        loud.push(users.enter(&gateway, "loud", "/ws").await);
    }
    let stay = loud.split_off(17);
    for mut wire in loud {
        assert_eq!(wire.read_close().await, Some(4409));
    }
    eventually("six are left", || gateway.sessions() == 6).await;
    for wire in quiet.into_iter().chain(stay) {
        wire.close_session().await;
    }
}

#[tokio::test]
async fn of_clients() {
    let upstream = ScriptedUpstream::mirror().await;
    let limits = "limits: { max_sessions_per_address: 2, over: evict_oldest }";
    let gateway = house(&upstream, limits, "");
    let open = Request::handshake("/open");
    let quiet = from(&gateway, 2, &open).await;
    let mut first = from(&gateway, 3, &open).await;
    let second = from(&gateway, 3, &open).await;
    let third = from(&gateway, 3, &open).await;
    assert_eq!(first.read_close().await, Some(1008));
    drop(first);
    eventually("three are left", || gateway.sessions() == 3).await;
    for wire in [quiet, second, third] {
        wire.close_session().await;
    }
}

#[tokio::test]
async fn but_of_all() {
    let upstream = ScriptedUpstream::mirror().await;
    let limits = "limits: { max_sessions: 2, over: evict_oldest }";
    let gateway = house(&upstream, limits, "");
    let open = Request::handshake("/open");
    let mut first = from(&gateway, 2, &open).await;
    let second = from(&gateway, 3, &open).await;
    let third = from(&gateway, 4, &open).await;
    assert_eq!(first.read_close().await, Some(1008));
    drop(first);
    for wire in [second, third] {
        wire.close_session().await;
    }
}
