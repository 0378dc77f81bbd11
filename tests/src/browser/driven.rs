//! A browser that does what it is told, by its DevTools protocol.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Browser, PATIENCE};
use crate::frame::Frame;
use crate::request::Request;
use crate::time::eventually_within;
use crate::wire::Wire;

/// A browser whose pages run scripts for a case.
#[derive(Debug)]
pub struct Driven {
    browser: Browser,
    wire: Wire,
    last: u64,
}

/// A tab of it, by the name that the protocol has for it and for talking with it.
#[derive(Debug)]
pub struct Page {
    target: String,
    session: String,
}

impl Driven {
    /// Starts one. Its profile is below `home`.
    pub async fn start(home: &Path) -> Self {
        let browser = Browser::start(home, &["--remote-debugging-port=0", "about:blank"]);
        let mut found = None;
        eventually_within(PATIENCE, "the browser can be driven", || {
            let output = browser.output();
            let line = output.split_once("DevTools listening on ws://");
            let whole = line.and_then(|(_, rest)| rest.split_once('\n'));
            found = whole.map(|(address, _)| address.trim().to_owned());
            found.is_some()
        })
        .await;
        let found = found.unwrap();
        let (address, path) = found.split_once('/').unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut wire = Wire::new(stream).patient(PATIENCE);
        let handshake = Request::handshake(&format!("/{path}")).host(&address.to_string());
        wire.request(&handshake).await;
        assert_eq!(wire.read_head().await.status(), 101);
        Self {
            browser,
            wire,
            last: 0,
        }
    }

    /// Opens a tab, and waits until it has loaded `url`.
    pub async fn open(&mut self, url: &str) -> Page {
        let made = self
            .ask("Target.createTarget", json!({ "url": "about:blank" }), None)
            .await;
        let target = made["targetId"].as_str().unwrap().to_owned();
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = self.ask("Target.attachToTarget", attach, None).await;
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let page = Page { target, session };
        self.ask("Page.enable", json!({}), Some(&page)).await;
        self.ask("Page.navigate", json!({ "url": url }), Some(&page))
            .await;
        self.until(&page, &format!("location.href === {}", json!(url)))
            .await;
        self.until(&page, "document.readyState === 'complete'")
            .await;
        page
    }

    /// Runs a script in a tab, and returns what it comes to.
    ///
    /// # Panics
    /// When it throws.
    pub async fn run(&mut self, page: &Page, script: &str) -> Value {
        let done = self.evaluate(page, script).await;
        assert!(done["exceptionDetails"].is_null(), "{script}: {done}");
        done["result"]["value"].clone()
    }

    /// Waits until a script comes to `true`.
    pub async fn until(&mut self, page: &Page, script: &str) {
        let begun = std::time::Instant::now();
        loop {
            // While a page is being left, scripts of the old one may be cut.
            let done = self.evaluate(page, script).await;
            if done["result"]["value"] == true {
                return;
            }
            if begun.elapsed() > PATIENCE {
                let text = self.run(page, "document.body.innerText").await;
                panic!("never {script}: {done}; the page shows {text}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Closes a tab.
    pub async fn close(&mut self, page: Page) {
        let close = json!({ "targetId": page.target });
        self.ask("Target.closeTarget", close, None).await;
    }

    async fn evaluate(&mut self, page: &Page, script: &str) -> Value {
        let script = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        self.ask("Runtime.evaluate", script, Some(page)).await
    }

    /// What a method of the protocol returns; events are passed over.
    async fn ask(&mut self, method: &str, parameters: Value, page: Option<&Page>) -> Value {
        self.last += 1;
        let mut asked = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(page) = page {
            asked["sessionId"] = page.session.as_str().into();
        }
        let frame = Frame::text(&asked.to_string()).from_client();
        self.wire.send_frame(&frame).await;
        loop {
            let frame = self.wire.read_frame().await;
            let told: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
            if told["id"] == self.last {
                return told["result"].clone();
            }
        }
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        self.browser.output()
    }
}
