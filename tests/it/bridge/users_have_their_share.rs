//! A user has so many calls under way and no more, however many sessions it opens.

use serde_json::json;
use tidegate_tests::mint::SECRET;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::{Client, asked};

#[tokio::test]
async fn over_all_of_its_sessions() {
    let Some(mint) = Mint::open("users_have_their_share") else {
        return;
    };
    let mut upstream = ScriptedUpstream::bind().await;
    let yaml = format!(
        "auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
         services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes: {{ name: bridge, match: {{ path: /ws }}, filters: require, \
         bridge: {{ services: up, max_in_flight_per_user: 2, timeout: 120s }} }}\n"
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let token = mint.sign(&Token::secret());
    let open = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let handshake = Request::handshake("/ws").with("Authorization", &bearer);
        Client::open(&gateway, &handshake).await
    };
    let (mut one, mut two, mut three) =
        (open(&token).await, open(&token).await, open(&token).await);
    one.send(&json!({"id": 1, "baseUrl": "up"})).await;
    let mut first = upstream.accept().await;
    asked(&mut first).await;
    two.send(&json!({"id": 2, "baseUrl": "up"})).await;
    let mut second = upstream.accept().await;
    asked(&mut second).await;
    let told = three.ask(&json!({"id": 3, "baseUrl": "up"})).await;
    assert_eq!(told["error"]["code"], "too_many_in_flight", "{told}");
    assert_eq!(
        (&told["status"], &told["error"]["retry_after"]),
        (&json!(429), &json!(1))
    );
    // Somebody else has a share of its own.
    let mut other = open(&mint.sign(&Token::secret().claim("sub", "u43"))).await;
    other.send(&json!({"id": 4, "baseUrl": "up"})).await;
    asked(&mut upstream.accept().await).await;
    // An answer makes room, and so does a session that goes with its call.
    let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    first.send(answer).await;
    assert_eq!(one.receive().await["status"], 204);
    three.send(&json!({"id": 5, "baseUrl": "up"})).await;
    let mut third = upstream.accept().await;
    asked(&mut third).await;
    drop(two);
    second.expect_end().await;
    loop {
        one.send(&json!({"id": 6, "baseUrl": "up"})).await;
        tokio::select! {
            mut fourth = upstream.accept() => {
                asked(&mut fourth).await;
                break;
            }
            told = one.receive() => assert_eq!(told["status"], 429),
        }
    }
}
