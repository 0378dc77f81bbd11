//! MQTT over WebSockets: MQTT.js before Mosquitto.

use std::process::Command;

use tidegate_tests::child::{Process, Scratch, spare_port};
use tidegate_tests::tools;

use super::{before, converse};

#[tokio::test]
async fn mqtt_js_with_mosquitto() {
    let test = "mqtt_js_with_mosquitto";
    let Some(folder) = tools::node_package(test, "mqtt") else {
        return;
    };
    let Some(program) = tools::program(test, "mosquitto") else {
        return;
    };
    let scratch = Scratch::new();
    let (port, plain) = (spare_port(), spare_port());
    // With listeners for WebSockets alone, version 2.0.11 ends at once.
    let file = scratch.write(
        "mosquitto.conf",
        &format!(
            "listener {plain} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\n\
             allow_anonymous true\npersistence false\nlog_dest stderr\n"
        ),
    );
    let mut broker = Process::start(Command::new(program).arg("-c").arg(file));
    broker.listens_at(port).await;
    let gateway = before(
        ([127, 0, 0, 1], port).into(),
        "  - name: mqtt\n    match: { path: /mqtt, upgrade: websocket }\n    \
             proxy: { service: up, websocket: { subprotocols: [mqtt] } }\n",
    );
    converse(&folder, "mqtt-client.mjs", &gateway).await;
}
