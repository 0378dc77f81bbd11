//! The library's client over TLS: whom it believes, and what it shows.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::DnType;
use rustls::ServerConfig;
use tidegate_tests::certificates::{Authority, Flaw, self_signed};
use tidegate_tests::{tls, within};
use tidegate_ws::client::{ClientError, Tls, WebSocketClient};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::client_meets_strangers::converse;

async fn server(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            tokio::spawn(async move {
                if let Ok(io) = acceptor.accept(io).await {
                    super::serve(io).await;
                }
            });
        }
    });
    address
}

fn trusting(authority: &Authority) -> WebSocketClient {
    let tls = Tls::trusting(authority.pem().as_bytes()).unwrap();
    WebSocketClient::new()
        .subprotocol("second")
        .session(super::config())
        .tls(tls)
}

async fn is_not_believed(client: &WebSocketClient, url: &str) {
    let connected = within("a refusal", client.connect(url)).await;
    assert!(
        matches!(connected, Err(ClientError::Tls(_))),
        "{connected:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_known() {
    let authority = Authority::new("ours");
    let issued = authority.server(&["localhost", "127.0.0.1"]);
    let address = server(tls::server(&issued)).await;
    let client = trusting(&authority);
    for host in ["localhost", "127.0.0.1"] {
        converse(&client, &format!("wss://{host}:{}/open", address.port())).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not() {
    let authority = Authority::new("ours");
    let client = trusting(&authority);
    for issued in [
        authority.server(&["elsewhere"]),
        authority.flawed_server(&["localhost"], Flaw::Expired),
        Authority::new("theirs").server(&["localhost"]),
        self_signed(&["localhost"]),
    ] {
        let address = server(tls::server(&issued)).await;
        is_not_believed(&client, &format!("wss://localhost:{}/", address.port())).await;
    }
    // The authorities of the system know nothing of ours.
    let address = server(tls::server(&authority.server(&["localhost"]))).await;
    let url = format!("wss://localhost:{}/", address.port());
    is_not_believed(&WebSocketClient::new(), &url).await;
}

#[tokio::test]
async fn a_plain_server() {
    let authority = Authority::new("ours");
    let address = super::server().await;
    let url = format!("wss://localhost:{}/", address.port());
    is_not_believed(&trusting(&authority), &url).await;
}

#[tokio::test]
async fn a_server_that_asks_who_we_are() {
    let authority = Authority::new("ours");
    let clients = Authority::new("clients");
    let address = server(tls::asking_server(
        &authority.server(&["localhost"]),
        &clients,
    ))
    .await;
    let url = format!("wss://localhost:{}/open", address.port());

    let own = clients.client(&[(DnType::CommonName, "ada")], &[]);
    let tls = Tls::trusting(authority.pem().as_bytes()).unwrap();
    let shown = tls
        .clone()
        .identity(own.cert.as_bytes(), own.key.as_bytes());
    converse(&trusting(&authority).tls(shown.unwrap()), &url).await;

    let connected = within("a refusal", trusting(&authority).connect(&url)).await;
    assert!(
        matches!(connected, Err(ClientError::Tls(_) | ClientError::Lost(_))),
        "{connected:?}"
    );
    let other = clients.client(&[(DnType::CommonName, "eve")], &[]);
    assert!(
        tls.clone()
            .identity(own.cert.as_bytes(), other.key.as_bytes())
            .is_err()
    );
    assert!(tls.identity(b"nothing", own.key.as_bytes()).is_err());
    assert!(Tls::trusting(b"nothing").is_err());
}
