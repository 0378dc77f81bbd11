//! `tidegate run`: the gateway from its start to the signal that ends it.

use std::convert::Infallible;
use std::future::{self, Future};
use std::io;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use tidegate::config::Plan;
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::cli::RunArgs;
use crate::signals::{self, Received, Signals};
use crate::{assemble, config, log, systemd, version};
use tidegate::Gateway;
use tidegate::limits::descriptors;
use tidegate::logs::Control;
use tidegate::tls::Reload;

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.config)?;
    let plan = config.resolve()?;
    log::start(&args.log, args.log_format)?;
    tracing::info!(file = config.file(), "configuration read");
    raise_descriptors();
    let warnings = config.warnings().into_iter();
    for warning in warnings.chain(config.too_many_connections(&plan)) {
        tracing::warn!("{warning}");
    }
    serve(plan, |_gateway| {}, future::pending())
}

/// As many as there are already must do where there cannot be more.
pub(crate) fn raise_descriptors() {
    if let Err(error) = descriptors::raise() {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
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
    let mut requests = signals::Requests::catch().context("signals cannot be caught")?;
    drop(entered); // a gateway has runtimes of its own
    plan.commit = version::COMMIT.map(Into::into);
    plan.other_logs.extend(log::control());
    if let Some(missing) = assemble::missing(&plan) {
        bail!(missing);
    }
    let bus = assemble::bus(&plan)?;
    let cluster = assemble::cluster(&plan);
    let mut builder = Gateway::builder(plan);
    if let Some(bus) = bus {
        builder = builder.bus(bus);
    }
    if let Some(store) = cluster {
        builder = builder.cluster(store);
    }
    let gateway = builder.start()?;
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
    let access_log = gateway.access_log();
    let certificates = gateway.certificates();
    let answering = requests.each(
        || access_log.iter().for_each(Control::reopen),
        || certificates.iter().for_each(Reload::ask),
    );
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = until_it_ends(gateway, &mut signals, beside) => ended,
            never = answering => match never {},
        }
    });
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
    let begun = Instant::now();
    let mut over = pin!(over(gateway));
    let (cut, signal) = loop {
        tokio::select! {
            cut = &mut over => break (cut, None),
            signal = signals.next() => {
                // The admin listener's drain is what orchestrators ask for before their signal.
                if std::mem::replace(&mut is_signalled, true) {
                    break (None, Some(signal));
                }
            }
            ended = &mut beside => return Err(anyhow!("the process ends: {ended:?}")),
        }
    };
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    match cut {
        Some(cut) => tracing::info!(milliseconds, cut, "ended"),
        None => tracing::warn!(milliseconds, "ended before all was over"),
    }
    Ok(signal)
}

/// Waits on another thread for the gateway's end, so that signals are heard meanwhile; tells how much
/// was cut.
async fn over(gateway: Gateway) -> Option<usize> {
    let ended = tokio::task::spawn_blocking(move || gateway.wait()).await;
    ended
        .inspect_err(|error| tracing::error!(%error, "the gateway did not end in order"))
        .ok()
}
