//! A session lives no longer than the token that it goes on by: not when that ends, nor when it is taken
//! back, on whatever kind of route.

mod clocks_may_be_set;
mod hello_says_who_it_is;
mod newer_tokens_extend;
mod revoked_tokens_open_nothing;
mod tokens_end_sessions;

use serde_json::{Value, json};
use tidegate_tests::frame::TEXT;
use tidegate_tests::mint::{SECRET, from_now};
use tidegate_tests::{
    Admin, Answer, Frame, Mint, Request, ScriptedUpstream, TestGateway, Token, Wire,
};

/// A gateway with a proxied route, a handler and a bridge, which all require a user, an open route, and
/// an admin listener; with these keys of `auth.jwt`, of each of the routes and of the bridge.
fn gateway(upstream: &ScriptedUpstream, jwt: &str, route: &str, bridge: &str) -> TestGateway {
    let leeway = match jwt.contains("leeway") {
        true => "",
        false => "leeway: none,",
    };
    let yaml = format!(
        "admin: {{ bind: '127.0.0.1:0' }}\n\
         auth: {{ jwt: {{ secret: '{SECRET}', {leeway} {jwt} }} }}\n\
         services: {{ up: {{ endpoints: [http://{}] }} }}\n\
         routes:\n\
         - {{ name: proxied, match: {{ path: /proxied }}, filters: [require], proxy: {{ service: up, websocket: {{ close_timeout: 2s }} }}, {route} }}\n\
         - {{ name: handled, match: {{ path: /handled }}, filters: [require], handler: {{ name: code, websocket: {{ close_timeout: 2s }} }}, {route} }}\n\
         - {{ name: bridged, match: {{ path: /bridged }}, filters: [require: {{ roles: user }}], bridge: {{ services: up, {bridge} }}, {route} }}\n\
         - {{ name: open, match: {{ path: /** }}, proxy: {{ service: up }} }}\n",
        upstream.address()
    );
    TestGateway::handling(&yaml, |builder| {
        builder.handler(
            "code",
            |mut session: tidegate::handler::WebSocketSession| async move {
                while let Some(message) = session.receive().await {
                    session.send(message?).await?;
                }
                Ok(())
            },
        )
    })
}

/// An upstream that agrees to every handshake, answers frames with the same, and requests with what it
/// saw of them.
async fn upstream() -> ScriptedUpstream {
    ScriptedUpstream::mirror().await
}

/// A handshake that bears `token`.
fn bearing(path: &str, token: &str) -> Request {
    Request::handshake(path).with("Authorization", &format!("Bearer {token}"))
}

/// The same in version 1 of the bridge.
fn version_1(token: &str) -> Request {
    bearing("/bridged", token).with("Sec-WebSocket-Protocol", "tidegate.v1.json")
}

/// An open session, and the id that its 101 told.
struct Client {
    wire: Wire,
    id: String,
}

/// Tries with tokens that live for more and more seconds, until one lives as long as this machine needs for
/// what is tried with it.
async fn in_time<T>(attempt: impl AsyncFn(i64) -> Option<T>) -> T {
    let mut lifetime = 2;
    loop {
        if let Some(done) = attempt(lifetime).await {
            return done;
        }
        lifetime *= 2;
        assert!(lifetime < 100, "no token lives long enough");
    }
}

impl Client {
    async fn open(gateway: &TestGateway, handshake: &Request) -> Self {
        let opened = Self::open_at(gateway.connect().await, handshake).await;
        opened.expect("the token is alive")
    }

    /// The same with a token that may have ended meanwhile; `None`: it has.
    async fn open_at(mut wire: Wire, handshake: &Request) -> Option<Self> {
        wire.request(handshake).await;
        let head = wire.read_head().await;
        if head.status() == 401 {
            return None;
        }
        assert_eq!(head.status(), 101, "{head:?}");
        let id = head.field("X-Tidegate-Session").unwrap_or_default();
        Some(Self {
            id: id.to_owned(),
            wire,
        })
    }

    async fn send(&mut self, envelope: &Value) {
        let frame = Frame::text(&envelope.to_string()).from_client();
        self.wire.send_frame(&frame).await;
    }

    /// The next frame but pings: an envelope, or the code and the reason of a close.
    async fn next(&mut self) -> Result<Value, (u16, String)> {
        loop {
            let frame = self.wire.read_frame().await;
            match frame.opcode {
                9 => {}
                TEXT => return Ok(serde_json::from_slice(&frame.payload).unwrap()),
                _ => {
                    let code = frame.close_code();
                    let code = code.unwrap_or_else(|| panic!("{frame:?}"));
                    let reason = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
                    let answer = Frame::close(code, "").from_client().bytes();
                    self.wire.try_send(answer).await.ok();
                    return Err((code, reason));
                }
            }
        }
    }

    async fn receive(&mut self) -> Value {
        self.next()
            .await
            .unwrap_or_else(|close| panic!("{close:?}"))
    }

    async fn ask(&mut self, envelope: &Value) -> Value {
        self.send(envelope).await;
        self.receive().await
    }

    /// How it is closed, whatever came before.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Err(close) = self.next().await {
                return close;
            }
        }
    }

    /// Says something on a route that echoes, and hears it.
    async fn echoes(&mut self) {
        assert_eq!(self.ask(&json!("hello")).await, "hello");
    }
}

fn told(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

/// A token of `u42` that ends in so many seconds.
fn ending(mint: &Mint, seconds: i64) -> String {
    mint.sign(&Token::secret().claim("exp", from_now(seconds)))
}

async fn revoke(admin: Admin, body: &Value) -> Answer {
    let request = Request::new("POST", "/v1/tokens/revoke").set("Host", &admin.0.to_string());
    admin.ask(&request.body(body.to_string())).await
}

/// Revokes, and tells how many sessions were ended.
async fn revoked(admin: Admin, body: &Value) -> u64 {
    let answer = revoke(admin, body).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    said["sessions"].as_u64().unwrap()
}

/// Shows a session a newer token by HTTP.
async fn renewed(gateway: &TestGateway, id: &str, token: &str) -> Answer {
    let path = format!("/_tidegate/sessions/{id}/token");
    let request = Request::new("PUT", &path).with("Authorization", &format!("Bearer {token}"));
    gateway.ask(&request.body("")).await
}
