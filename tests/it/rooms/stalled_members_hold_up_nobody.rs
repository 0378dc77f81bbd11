//! Some of many members of a room read nothing. The others are told at once, and the gateway holds no more
//! than it may.

use serde_json::{Value, json};
use tidegate_tests::Token;
use tidegate_tests::child::Process;
use tidegate_tests::frame::CLOSE;
use tidegate_tests::mint::SECRET;
use tidegate_tests::wire::Wire;
use tidegate_tests::{Admin, Mint, Request, tools};

const MEMBERS: usize = 1000;
const STALLED: usize = 10;
/// Batches, each with so many pushes of so many bytes for those who read nothing: more than any system
/// holds for a socket.
const ROUNDS: usize = 200;
const OF_STALLED: usize = 12;
const SIZE: usize = 16 << 10;
/// MiB that all of that may take.
const MOST: u64 = 96;

fn said(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap()
}

async fn member(mut wire: Wire, mint: &Mint, user: &str) -> Wire {
    let token = mint.sign(&Token::secret().claim("sub", user));
    let handshake = Request::handshake("/ws")
        .with("Authorization", &format!("Bearer {token}"))
        .with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    wire.request(&handshake).await;
    assert_eq!(wire.read_head().await.status(), 101);
    assert_eq!(said(&wire.read_frame().await.payload)["op"], "welcome");
    let sub = json!({"op": "sub", "id": 1, "room": "all"}).to_string();
    let sub = tidegate_tests::Frame::text(&sub).from_client();
    wire.send_frame(&sub).await;
    assert_eq!(said(&wire.read_frame().await.payload)["status"], 200);
    wire
}

#[tokio::test]
async fn and_are_let_go() {
    let test = "stalled_members";
    let (Some(mint), Some(binary)) = (Mint::open(test), tools::tidegate(test)) else {
        return;
    };
    let yaml = format!(
        "version: 1\nworkers: 2\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         admin: {{ bind: 127.0.0.1:0 }}\n\
         access_log: none\n\
         auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
         routes:\n\
         - {{ name: ws, match: {{ path: /ws }}, filters: require, bridge: {{ \
             resume: {{ ttl: none }}, rooms: [{{ match: '**', subscribe: all }}] }} }}\n"
    );
    let (mut process, _, _files) = Process::gateway(&binary, &yaml).await;
    let address = process.address_of("public").await;
    let admin = Admin(process.address_of("admin").await);
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        let wire = Wire::connect_narrow(address).await;
        stalled.push(member(wire, &mint, &format!("stalled{number}")).await);
    }
    let mut others = Vec::new();
    for _ in STALLED..MEMBERS {
        let wire = Wire::connect(address).await;
        others.push(member(wire, &mint, "crowd").await);
    }
    let before = process.peak_memory();
    let users: Vec<_> = (0..STALLED)
        .map(|number| format!("stalled{number}"))
        .collect();
    let large = json!({"user": users, "event": "large", "data": "x".repeat(SIZE)});
    let mut batch = vec![large; OF_STALLED];
    batch.push(json!({"room": "all", "event": "n"}));
    let request = Request::new("POST", "/v1/push").set("Host", &admin.0.to_string());
    let request = request.body(json!(batch).to_string());
    let series = "tidegate_push_messages_total{source=\"api\",result=\"overflowed\"}";
    let mut round = 0;
    while admin.metrics().await.get(series) < Some(STALLED as f64) {
        assert!(
            round < ROUNDS,
            "{ROUNDS} batches wait for those who do not read"
        );
        round += 1;
        let answer = admin.ask(&request).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        // All others have it before the next is made.
        for wire in &mut others {
            let push = said(&wire.read_frame().await.payload);
            assert_eq!((&push["seq"], &push["event"]), (&json!(round), &json!("n")));
        }
    }
    let grown = process.peak_memory() - before;
    assert!(grown < MOST, "{grown} MiB for {STALLED}, {round} batches");
    for mut wire in stalled {
        let mut seq = 0;
        let close = loop {
            let frame = wire.read_frame().await;
            if frame.opcode == CLOSE {
                break frame.close_code();
            }
            seq += 1;
            assert_eq!(said(&frame.payload)["seq"], seq);
        };
        assert_eq!(close, Some(1013));
    }
}
