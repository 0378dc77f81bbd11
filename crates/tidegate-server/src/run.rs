//! `tidegate run`: the gateway from its start to the signal that ends it.

use std::convert::Infallible;
use std::future::{self, Future};
use std::io;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use tidegate::config::Plan;
use tokio::runtime::Builder;

use crate::cli::RunArgs;
use crate::signals::{Received, Signals};
use crate::{config, log, systemd, version};
use tidegate::Gateway;
use tidegate::limits::descriptors;

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.config)?;
    let plan = config.resolve()?;
    log::start(&args.log, args.log_format)?;
    tracing::info!(file = config.file(), "configuration read");
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    serve(plan, |_gateway| {}, future::pending())
}

/// Runs a gateway until it has drained, or a second signal has come; `beside` runs as long and must
/// not end. `started` is called when it runs.
pub(crate) fn serve(
    mut plan: Plan,
    started: impl FnOnce(&Gateway),
    beside: impl Future<Output = io::Result<Infallible>>,
) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the process cannot have a runtime")?;
    let entered = runtime.enter();
    let mut signals = Signals::catch().context("signals cannot be caught")?;
    drop(entered); // a gateway has runtimes of its own
    // As many as there are already must do where it cannot be raised.
    if let Err(error) = descriptors::raise() {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
    if let Some(surprise) = config::too_many_connections(&plan) {
        tracing::warn!("{surprise}");
    }
    plan.commit = version::COMMIT.map(Into::into);
    let gateway = Gateway::start(plan)?;
    let (descriptors, connections) = (descriptors::allowed(), gateway.max_connections());
    tracing::info!(descriptors, max_connections = connections, "limits");
    for (name, address) in gateway.addresses() {
        tracing::info!(listener = &**name, %address, "listening");
    }
    if let Some(address) = gateway.admin_address() {
        tracing::info!(listener = "admin", %address, "listening");
    }
    started(&gateway);
    systemd::notify(systemd::READY);
    let ended = runtime.block_on(until_it_ends(gateway, &mut signals, beside));
    runtime.shutdown_background(); // a second signal does not wait for the drain
    let signal: Option<Received> = ended?;
    Ok(signal.map_or(ExitCode::SUCCESS, Received::exit_code))
}

/// Waits until something begins the drain, and then for its end; or the signal that cuts it short.
async fn until_it_ends(
    gateway: Gateway,
    signals: &mut Signals,
    beside: impl Future<Output = io::Result<Infallible>>,
) -> anyhow::Result<Option<Received>> {
    let mut beside = pin!(beside);
    let mut is_signalled = tokio::select! {
        _ = signals.next() => true,
        () = gateway.draining() => false,
        ended = &mut beside => return Err(anyhow!("the process ends: {ended:?}")),
    };
    gateway.drain();
    tracing::info!("draining; a second signal ends the process at once");
    systemd::notify(systemd::STOPPING);
    let mut over = pin!(over(gateway));
    loop {
        tokio::select! {
            () = &mut over => return Ok(None),
            signal = signals.next() => {
                // The admin listener's drain is what orchestrators ask for before their signal.
                if std::mem::replace(&mut is_signalled, true) {
                    return Ok(Some(signal));
                }
            }
            ended = &mut beside => return Err(anyhow!("the process ends: {ended:?}")),
        }
    }
}

/// Waits on another thread for the gateway's end, so that signals are heard meanwhile.
async fn over(gateway: Gateway) {
    if let Err(error) = tokio::task::spawn_blocking(move || gateway.wait()).await {
        tracing::error!(%error, "the gateway did not end in order");
    }
}
