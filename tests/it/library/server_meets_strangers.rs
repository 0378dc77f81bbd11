//! Clients that we did not write talk with a server on the library.

use std::process::Command;

use futures_util::{SinkExt as _, StreamExt as _};
use tidegate_tests::child::{self, Process};
use tidegate_tests::{tools, within};
use tokio_tungstenite::tungstenite::{Error, Message};

async fn converse(mut command: Command) {
    let address = super::server().await;
    // A close is answered with its code alone.
    command.args([&format!("ws://{address}"), ""]);
    let (status, output) = Process::start(&mut command).ends().await;
    assert!(
        status.success() && output.contains("ok"),
        "{status}: {output}"
    );
}

#[tokio::test]
async fn node() {
    if let Some(folder) = tools::node_tools("library: node calls") {
        converse(child::node(&folder, "node-ws-client.mjs", &[])).await;
    }
}

#[tokio::test]
async fn python() {
    if let Some(program) = tools::python("library: python calls") {
        let mut command = Command::new(program);
        command.arg(tools::script("python-ws-client.py"));
        converse(command).await;
    }
}

#[tokio::test]
async fn tungstenite() {
    let address = super::server().await;
    let url = format!("ws://{address}/open");
    let connecting = tokio_tungstenite::connect_async(url);
    let (mut socket, response) = within("a session", connecting).await.unwrap();
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    for message in [
        Message::text("héllo"),
        Message::text(""),
        Message::binary(vec![7; 200_000]),
    ] {
        socket.send(message.clone()).await.unwrap();
        let heard = within("an echo", socket.next()).await.unwrap().unwrap();
        assert!(heard == message, "an echo differs");
    }
    socket.close(None).await.unwrap();
    while let Some(heard) = within("the end", socket.next()).await {
        heard.unwrap();
    }

    let refused = tokio_tungstenite::connect_async(format!("ws://{address}/refuse")).await;
    let Err(Error::Http(response)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(response.status(), 401);
}
