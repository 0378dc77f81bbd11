//! A filter of your own: it lets in who has a key, marks the answers, and bounds what clients say.
//!
//! ```console
//! cargo run -p tidegate --example custom_filter
//! ```
//!
//! It prints what to try.

#![expect(clippy::print_stdout, reason = "it tells what to try")]

use http::{HeaderValue, StatusCode};
use tidegate::Gateway;
use tidegate::body::Body;
use tidegate::config::Config;
use tidegate::exchange::{Answer, Exchange};
use tidegate::handler::{Attributes, BoxError, WebSocketSession};
use tidegate::headers::FieldName;
use tidegate::pipeline::{
    Direction, ExchangeFacts, Filter, FrameFacts, FrameFilter, FrameRefusal, Moment, ResponseHead,
    SessionOpening, Step,
};

const CONFIG: &str = r#"
version: 1
listeners: [{ name: public, bind: "127.0.0.1:0" }]
admin: { bind: "127.0.0.1:0" }
drain: { delay: none, spread: none }
access_log: none
routes:
  - { name: guarded, match: { path: /echo }, handler: echo }
"#;

/// Who may come in. One filter serves all requests of its route at once.
#[derive(Debug)]
struct Keys(&'static [&'static str]);

/// What one filter leaves for others and for the response.
#[derive(Debug, Clone, Copy)]
struct Owner(&'static str);

impl Filter for Keys {
    /// Before the target is asked. It may answer itself, and it may wait: for a database, say.
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        Moment::waits(async {
            let key = exchange.headers.get("X-Key").map(HeaderValue::as_bytes);
            let known = self.0.iter().find(|known| key == Some(known.as_bytes()));
            let Some(owner) = known else {
                let mut answer = Answer::new(StatusCode::UNAUTHORIZED);
                answer.body = Body::full("which key?\n");
                return Ok(Step::Answer(answer));
            };
            exchange.extensions.insert(Owner(owner));
            // For the handler, which is given what it wants by name.
            let attributes: &mut Attributes = exchange.extensions.get_or_insert_default();
            attributes.insert("owner", Owner(owner));
            Ok(Step::Continue)
        })
    }

    /// Before any answer of the route goes out, the 101 too.
    fn on_response(&self, facts: &ExchangeFacts<'_>, head: &mut ResponseHead<'_>) {
        let is_known = facts.extensions.get::<Owner>().is_some();
        let value = HeaderValue::from_static(if is_known { "yes" } else { "no" });
        head.headers_mut()
            .set(FieldName::from_static("X-Known"), value);
    }

    /// When a WebSocket opens: who is returned sees each frame's header.
    fn on_session(&self, _opening: &SessionOpening<'_>) -> Option<Box<dyn FrameFilter>> {
        Some(Box::new(Allowance(1000)))
    }
}

/// How many bytes a client may still say.
struct Allowance(u64);

impl FrameFilter for Allowance {
    fn on_frame(&mut self, to: Direction, frame: &FrameFacts) -> Result<(), FrameRefusal> {
        if to == Direction::ToUpstream && !frame.is_control() {
            // The session ends with 1008 and these words, and the frame goes nowhere.
            let spent = || FrameRefusal::new("policy;allowance=spent");
            self.0 = self.0.checked_sub(frame.length).ok_or_else(spent)?;
        }
        Ok(())
    }
}

/// Greets whom the filter has found, then echoes.
async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
    let handshake = session.take_handshake().unwrap_or_default();
    let attributes = handshake.attributes.get::<Attributes>();
    let owner = attributes.and_then(|attributes| attributes.get("owner"));
    let Owner(name) = owner.ok_or("the filter has let in whom it does not know")?;
    session.send(format!("hello, {name}")).await?;
    while let Some(message) = session.receive().await {
        session.send(message?).await?;
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let plan = Config::from_yaml("custom_filter.yaml", CONFIG)?.resolve()?;
    let gateway = Gateway::builder(plan)
        .handler("echo", echo)
        .attributes("echo", |name| name == "owner")
        .filter("guarded", Keys(&["alice", "bob"]))
        .start()?;
    for (_, address) in gateway.addresses() {
        println!("listening: ws://{address}/echo");
        println!("try: curl -i http://{address}/echo");
        println!("try: npx wscat -H 'X-Key: alice' -c ws://{address}/echo");
    }
    if let Some(admin) = gateway.admin_address() {
        println!("admin: http://{admin}");
        println!("to end it: curl -X POST http://{admin}/v1/drain");
    }
    gateway.wait();
    Ok(())
}
