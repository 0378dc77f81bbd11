//! Who fetches the keys of an issuer: a thread of its own, so that no worker waits for it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::jwks::{JwksPlan, Keys};
use crate::body::{Body, Part};
use crate::http1::Limits;
use crate::http1::client::UpstreamIo;
use crate::http1::head::Framing;
use crate::task::Panics;
use crate::tls::client::ClientTls;
use crate::upstream::{Purpose, Service, dial};

/// The most bytes of a key set.
const LARGEST: usize = 512 * 1024;
/// How long after the first failure it is tried again; twice as long after each other one, up to the most.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Fetches, until it is dropped.
#[derive(Debug)]
pub(crate) struct Refresher {
    thread: Option<JoinHandle<()>>,
    ended: CancellationToken,
}

impl Refresher {
    /// Starts it; `None` where there is nothing to fetch.
    pub(crate) fn start(
        keys: Arc<Keys>,
        tls: Option<&Arc<ClientTls>>,
        panics: &Arc<Panics>,
    ) -> io::Result<Option<Self>> {
        let Some(plan) = keys.plan.clone() else {
            return Ok(None);
        };
        let service = Service::new(Arc::clone(&plan.service), 0, 0, tls, panics);
        let ended = CancellationToken::new();
        let end = ended.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = end.cancelled() => {}
                    () = refresh(&keys, &plan, &service) => {}
                }
            });
            // A name look-up cannot be cancelled, and nobody waits for it any more.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("tidegate-keys".into());
        Ok(Some(Self {
            thread: Some(thread.spawn(run)?),
            ended,
        }))
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.ended.cancel();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

async fn refresh(keys: &Keys, plan: &JwksPlan, service: &Service) {
    let mut retry = RETRY;
    loop {
        keys.begin();
        let fetched = timeout(plan.timeout, fetch(plan, service)).await;
        let fetched = fetched.unwrap_or_else(|_elapsed| Err("no answer in time".into()));
        let result = match fetched {
            Ok(text) => keys.end(Some(text)).map_err(|error| error.to_string()),
            Err(error) => {
                let _none = keys.end(None);
                Err(error)
            }
        };
        let pause = match result {
            Ok(()) => {
                retry = RETRY;
                // Many gateways shall not ask at the same moment.
                plan.refresh.mul_f64(0.9 + 0.1 * fastrand::f64())
            }
            Err(error) => {
                tracing::warn!(error, "the keys of the issuer of tokens cannot be fetched");
                let pause = retry.min(plan.refresh);
                retry = (2 * retry).min(LONGEST_RETRY);
                pause
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = keys.asked.notified() => {}
        }
    }
}

/// What the issuer publishes, or why it could not be had.
async fn fetch(plan: &JwksPlan, service: &Service) -> Result<Vec<u8>, String> {
    let lease = service.lease(Purpose::Call, &mut Vec::new());
    let lease = lease.ok().flatten().ok_or("there is no endpoint")?;
    let endpoint = lease.endpoint();
    let dialled = dial::dial(service, &endpoint).await;
    let (transport, trust) = dialled.map_err(|error| error.to_string())?;
    let head = request_head(plan, &endpoint.plan.authority.to_string());
    let io = UpstreamIo::new(transport, trust);
    let mut call = io.call(Method::GET, head, Framing::Length(0), Body::empty(), false);
    let answered = poll_fn(|cx| call.poll_answer(&Limits::default(), cx)).await;
    let head = answered.map_err(|failure| format!("{failure:?}"))?;
    if head.status.as_u16() != 200 {
        // A redirect is one too: where keys come from is for the configuration to say.
        return Err(format!("the answer is {}", head.status.as_u16()));
    }
    let mut body = call.into_body(&head, |_done| {});
    let mut text = Vec::new();
    while let Some(part) = poll_fn(|cx| body.poll_part(cx)).await {
        if let Part::Data(data) = part.map_err(|error| error.to_string())? {
            if text.len() + data.len() > LARGEST {
                return Err(format!("the answer has more than {LARGEST} bytes"));
            }
            text.extend_from_slice(&data);
        }
    }
    Ok(text)
}

fn request_head(plan: &JwksPlan, host: &str) -> BytesMut {
    let path = &plan.path;
    let version = env!("CARGO_PKG_VERSION");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\
         User-Agent: tidegate/{version}\r\nConnection: close\r\n\r\n"
    );
    BytesMut::from(head.as_str())
}
