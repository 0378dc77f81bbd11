//! When its token ends a session is closed, with the code of its kind, and not before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tidegate_tests::mint::from_now;
use tidegate_tests::time::SLACK;
use tidegate_tests::{Mint, Request, Token};

use super::{Client, bearing, ending, gateway, in_time, renewed, told, upstream, version_1};

const TEST: &str = "tokens_end_sessions";

#[tokio::test]
async fn each_kind_is_closed_with_its_code() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "", "");
    let (end, [mut proxied, mut handled, mut legacy, mut version_1]) = in_time(async |lifetime| {
        let end = from_now(lifetime);
        let token = mint.sign(&Token::secret().claim("exp", end));
        let open =
            async |handshake: Request| Client::open_at(gateway.connect().await, &handshake).await;
        let clients = [
            open(bearing("/proxied", &token)).await?,
            open(bearing("/handled", &token)).await?,
            open(bearing("/bridged", &token)).await?,
            open(version_1(&token)).await?,
        ];
        Some((end, clients))
    })
    .await;
    // One whose token lives on, and one that nobody was asked for.
    let long = mint.sign(&Token::secret());
    let mut other = Client::open(&gateway, &bearing("/proxied", &long)).await;
    let mut open = Client::open(&gateway, &Request::handshake("/open")).await;
    let (proxied, handled, legacy, bridged) =
        tokio::join!(proxied.closed(), handled.closed(), legacy.closed(), async {
            let welcome = version_1.receive().await;
            assert_eq!(
                (&welcome["op"], &welcome["exp"]),
                (&json!("welcome"), &json!(end))
            );
            let warned = version_1.receive().await;
            assert_eq!(
                (&warned["op"], &warned["exp"]),
                (&json!("auth-expiring"), &json!(end))
            );
            assert!(warned["in"].as_u64().unwrap() <= 60, "{warned}");
            let goaway = version_1.receive().await;
            assert_eq!(goaway, json!({"op": "goaway", "cause": "token_expired"}));
            version_1.closed().await
        });
    assert_eq!(proxied, told(1008, "token_expired"));
    for close in [handled, legacy, bridged] {
        assert_eq!(close, told(4401, "token_expired"));
    }
    let end = UNIX_EPOCH + Duration::from_secs(end.unsigned_abs());
    let late = SystemTime::now().duration_since(end);
    // Two seconds are promised.
    let late = late.expect("none is closed before its end");
    assert!(late < Duration::from_secs(2) + SLACK, "{late:?}");
    other.echoes().await;
    open.echoes().await;
    gateway
        .admin()
        .counts("tidegate_ws_connections_closed_total{route=\"handled\",code=\"4xxx\",cause=\"token_expired\",initiator=\"gateway\"}", 1.0)
        .await;
}

#[tokio::test]
async fn the_upstream_is_told_too() {
    let Some(mint) = Mint::open(TEST) else { return };
    let mut upstream = tidegate_tests::ScriptedUpstream::bind().await;
    let gateway = gateway(&upstream, "", "", "");
    let token = mint.sign(&Token::secret());
    let mut wire = gateway.connect().await;
    wire.request(&bearing("/proxied", &token)).await;
    let mut peer = upstream.accept().await;
    // What the upstream says of a session of its own does not reach the client.
    peer.accept_handshake_with(&["X-Tidegate-Session: s_theirs"])
        .await;
    let head = wire.read_head().await;
    let ids = head.fields("X-Tidegate-Session");
    assert_eq!((head.status(), ids.len()), (101, 1), "{head:?}");
    assert!(ids[0].starts_with("s_") && ids[0].len() == 18, "{ids:?}");
    in_time(async |lifetime| {
        let answer = renewed(&gateway, ids[0], &ending(&mint, lifetime)).await;
        (answer.status() == 200).then_some(())
    })
    .await;
    let close = peer.read_frame().await;
    assert_eq!(close.close_code(), Some(1001));
    assert_eq!(&close.payload[2..], b"token_expired");
}

#[tokio::test]
async fn sessions_are_kept_where_the_route_says_so() {
    let Some(mint) = Mint::open(TEST) else { return };
    let upstream = upstream().await;
    let gateway = gateway(&upstream, "", "on_expiry: keep", "");
    let [mut proxied, mut handled, mut bridged] = in_time(async |lifetime| {
        let token = ending(&mint, lifetime);
        let open =
            async |handshake: Request| Client::open_at(gateway.connect().await, &handshake).await;
        Some([
            open(bearing("/proxied", &token)).await?,
            open(bearing("/handled", &token)).await?,
            open(version_1(&token)).await?,
        ])
    })
    .await;
    for op in ["welcome", "auth-expiring"] {
        assert_eq!(bridged.receive().await["op"], op);
    }
    // Its end shows in that nobody is called any more.
    let call = json!({"id": 1, "baseUrl": "up", "uri": "/a"});
    let last = loop {
        let told = bridged.ask(&call).await;
        if told["status"] != 200 {
            break told;
        }
    };
    assert_eq!(last["error"]["code"], "token_expired", "{last}");
    // Two looks of the worker later they are still there.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    proxied.echoes().await;
    handled.echoes().await;
    // A newer token makes it of use again.
    let newer = mint.sign(&Token::secret());
    let answer = bridged
        .ask(&json!({"op": "auth", "id": 2, "token": newer}))
        .await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(bridged.ask(&call).await["status"], 200);
}
