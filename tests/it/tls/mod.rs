//! TLS on both legs, one file per promise.

mod admin_speaks_it_too;
mod balancers_speak_before_it;
mod browsers_talk_through;
mod certificates_change_while_it_runs;
mod clients_show_certificates;
mod commands_speak_it;
mod demo_speaks_it;
mod ends_are_told_and_cuts_are_none;
mod foreign_clients_talk_through;
mod handshakes_are_held_to_rules;
mod listeners_do_the_rest;
mod logs_know_of_it;
mod many_connections;
mod upstreams_are_who_they_say;
mod upstreams_speak_what_is_safe;

use std::net::SocketAddr;
use std::path::PathBuf;

use tidegate_tests::certificates::{Authority, Files, Issued};
use tidegate_tests::child::Scratch;
use tidegate_tests::{ScriptedUpstream, TestGateway, Wire, tls};

/// An authority, and a server's certificate of it in files.
struct Kit {
    folder: Scratch,
    authority: Authority,
    ca: PathBuf,
    issued: Issued,
    server: Files,
}

impl Kit {
    fn new() -> Self {
        let folder = Scratch::new();
        let authority = Authority::new("an authority");
        let issued = authority.server(&["localhost", "127.0.0.1"]);
        Self {
            ca: folder.write("ca.pem", authority.pem()),
            server: issued.write(&folder, "server"),
            folder,
            authority,
            issued,
        }
    }

    /// A whole file: a listener with TLS and these keys besides, before `endpoint` with these keys of
    /// the service.
    fn yaml(&self, listener: &str, endpoint: &str, service: &str) -> String {
        format!(
            "version: 1\nworkers: 1\nlisteners:\n  - name: public\n    bind: 127.0.0.1:0\n    \
             tls: {{ certificates: {}, {listener} }}\n\
             services: {{ up: {{ endpoints: ['{endpoint}'], {service} }} }}\n\
             routes: [{{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
            self.server.yaml()
        )
    }

    /// The keys of a service whose endpoints are from the authority.
    fn trusts(&self) -> String {
        format!("tls: {{ ca: '{}' }}", self.ca.display())
    }

    /// TLS on both legs.
    fn gateway(&self, upstream: &ScriptedUpstream) -> TestGateway {
        let endpoint = format!("https://{}", upstream.address());
        TestGateway::from_file(&self.yaml("", &endpoint, &self.trusts()))
    }

    /// An upstream with TLS whose connections the case takes.
    async fn upstream(&self) -> ScriptedUpstream {
        ScriptedUpstream::bind_tls(tls::server(&self.issued)).await
    }

    async fn connect(&self, address: SocketAddr) -> Wire {
        let config = tls::client(&self.authority, None);
        Wire::connect_tls(address, &config, "localhost")
            .await
            .unwrap()
    }

    /// Opens a session with TLS on both legs.
    async fn open(&self, gateway: &TestGateway, upstream: &mut ScriptedUpstream) -> (Wire, Wire) {
        let mut client = self.connect(gateway.address()).await;
        let request = tidegate_tests::Request::handshake("/");
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        peer.accept_handshake().await;
        assert_eq!(client.read_head().await.status(), 101);
        (client, peer)
    }
}
