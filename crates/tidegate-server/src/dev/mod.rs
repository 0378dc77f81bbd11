//! `tidegate dev`: the gateway with built-in upstreams, all on loopback, to try and to show it.

mod certificate;
mod page;
mod service;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, anyhow};
use tidegate::config::{Config, ConfigErrors, Environment, Plan, defaults};
use tidegate::{Gateway, StartError};

use self::certificate::Development;
use self::page::{Page, Visitors};
use crate::cli::DevArgs;
use crate::reachable::reachable;
use crate::run::{raise_descriptors, serve};
use crate::{log, out};

/// What `--print-config` shows is what the demo runs, with its variables set.
const CONFIG: &str = include_str!("demo.yaml");

pub(crate) fn dev(args: &DevArgs) -> anyhow::Result<ExitCode> {
    if args.print_config {
        out::line(CONFIG.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    log::start(&args.log, args.log_format)?;
    raise_descriptors();
    let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .context("the built-in upstream cannot bind a port on 127.0.0.1")?;
    upstream.set_nonblocking(true)?;
    let upstream_address = upstream.local_addr()?;
    let admin = args.admin.unwrap_or_else(|| free_admin_address(args.bind));
    let visitors = Visitors::make()?;
    let mut plan = plan(args.bind, admin, upstream_address, &visitors.key).map_err(of_options)?;
    let development = args.tls.then(|| Development::make(args.bind.ip()));
    let development = development.transpose()?;
    for listener in &mut plan.listeners {
        listener.tls = development.as_ref().map(|one| Arc::new(one.tls()));
    }
    let authority = development.as_ref().map(Development::authority);
    let page = Page {
        visitors,
        admin: Arc::new(OnceLock::new()),
    };
    let started = |gateway: &Gateway| {
        let bound = gateway.addresses().first();
        let bound = bound.and_then(|(_, bound)| bound.address());
        let (bound, admin) = (bound.zip(gateway.admin_address())).unwrap_or((args.bind, admin));
        // It is said once.
        let _ = page.admin.set(admin);
        let text = match &authority {
            Some(authority) => introduction_to_tls(bound, admin, authority),
            None => introduction(bound, admin, upstream_address, &page.visitors.demo),
        };
        out::line(text);
    };
    serve(plan, started, upstream::serve(upstream, page.clone())).map_err(named)
}

/// The error with the option that helps.
fn named(error: anyhow::Error) -> anyhow::Error {
    let Some(StartError::Bind { name, address, .. }) = error.downcast_ref() else {
        return error.context("the demo cannot run");
    };
    let option = option(&**name == "admin");
    let text = format!("the demo cannot run on {address} (choose another address with {option})");
    error.context(text)
}

/// What is wrong with the demo's configuration are the addresses that were put into it.
fn of_options(errors: ConfigErrors) -> anyhow::Error {
    let Some(error) = errors.iter().next() else {
        return errors.into();
    };
    let option = option(error.path.starts_with("admin"));
    anyhow!(
        "the demo cannot run: {} (choose another address with {option})",
        error.message
    )
}

const fn option(is_admin: bool) -> &'static str {
    if is_admin { "--admin" } else { "--bind" }
}

/// The usual address; where somebody has it already, for instance another demo, a free port.
fn free_admin_address(bind: SocketAddr) -> SocketAddr {
    let usual = defaults::ADMIN_BIND;
    match TcpListener::bind(usual) {
        Ok(_free) if bind.port() != usual.port() => usual,
        _ => SocketAddr::new(usual.ip(), 0),
    }
}

fn plan(
    bind: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    key: &str,
) -> Result<Plan, ConfigErrors> {
    let environment = Environment::from_iter([
        ("BIND", bind.to_string()),
        ("ADMIN", admin.to_string()),
        ("UPSTREAM", format!("http://{upstream}")),
        ("KEY", key.to_owned()),
    ]);
    Config::from_yaml_with("demo.yaml", CONFIG, &environment)?.resolve()
}

/// What was started, and commands to paste.
fn introduction(
    gateway: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    token: &str,
) -> String {
    let (gateway, admin) = (reachable(gateway), reachable(admin));
    format!(
        "
The gateway listens on http://{gateway}, its upstream on http://{upstream}.
Its configuration: tidegate dev --print-config

An HTTP request:
  curl -i http://{gateway}/customers
A WebSocket that echoes what you type:
  npx wscat -c ws://{gateway}/hello
A WebSocket that the upstream refuses: its 401 comes through, headers and all
  npx wscat -c ws://{gateway}/refuse
  curl -i -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \\
    -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' http://{gateway}/refuse
An event each second:
  curl -N http://{gateway}/sse
In a browser, with tokens that are there already: tabs of one user, pushes, who is online, a room, many calls
over one WebSocket
  http://{gateway}/_tidegate/demo
A session of the same user by hand; then type {{\"id\":1,\"uri\":\"/customers\"}}
  npx wscat -c ws://{gateway}/ws -s tidegate.v1.json -s tidegate.bearer.{token}
{}
Ctrl-C ends it.
",
        asked_of_admin(admin)
    )
}

/// What the admin listener is asked.
fn asked_of_admin(admin: SocketAddr) -> String {
    format!(
        "\
How the gateway is, and what it has counted:
  curl http://{admin}/v1/info
  curl http://{admin}/metrics
Something is pushed to that user, in every tab; who is online; all of that user's sessions end:
  curl -X POST http://{admin}/v1/users/demo/push -d '{{\"event\":\"cash-out\",\"data\":{{\"value\":-100}}}}'
  curl http://{admin}/v1/users
  curl -X DELETE http://{admin}/v1/users/demo/sessions
"
    )
}

/// The same over TLS: first of all, whom to trust.
fn introduction_to_tls(gateway: SocketAddr, admin: SocketAddr, authority: &Path) -> String {
    let (port, admin) = (gateway.port(), reachable(admin));
    let host = match reachable(gateway).ip() {
        ip if ip.is_loopback() => "localhost".to_owned(),
        ip => SocketAddr::new(ip, 0)
            .to_string()
            .trim_end_matches(":0")
            .to_owned(),
    };
    let ca = authority.display();
    format!(
        "
The gateway listens on https://{host}:{port}.
Its certificate is from an authority that was made for this demo and goes with it:
  {ca}
curl and Node trust it for one command, as below. A browser warns of the certificate; go on, or import
the file among its authorities and remove it afterwards.

An HTTP request:
  curl --cacert {ca} -i https://{host}:{port}/customers
A WebSocket that echoes what you type:
  NODE_EXTRA_CA_CERTS={ca} npx wscat -c wss://{host}:{port}/hello
In a browser, with tokens that are there already: tabs of one user, pushes, who is online, a room, many calls
over one WebSocket
  https://{host}:{port}/_tidegate/demo
What was agreed upon:
  openssl s_client -brief -CAfile {ca} -connect {host}:{port} </dev/null
{}
Ctrl-C ends it.
",
        asked_of_admin(admin)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_configuration_is_valid_with_its_variables_and_without() {
        let bind: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let key = Visitors::make().unwrap().key;
        let upstream = "127.0.0.1:9".parse().unwrap();
        let plan = plan(bind, bind, upstream, &key).unwrap();
        assert_eq!(plan.admin.unwrap().bind(), bind);
        assert_eq!(plan.listeners[0].bind, bind.into());
        let endpoint = &plan.services[0].endpoints[0];
        assert_eq!(endpoint.authority.to_string(), "127.0.0.1:9");
        // Whoever copies it brings a key: one for everybody would be nobody's.
        let environment = Environment::from_iter([("KEY", key)]);
        let config = Config::from_yaml_with("demo.yaml", CONFIG, &environment).unwrap();
        config.resolve().unwrap();
        assert_eq!(config.warnings(), []);
    }

    #[test]
    fn the_commands_name_an_address_that_can_be_reached() {
        let any = |port| SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        let text = introduction(any(81), any(82), any(9), "x.y.z");
        assert!(text.contains("curl -i http://[::1]:81/customers"));
        assert!(text.contains("curl http://[::1]:82/metrics"));
        assert!(text.contains(" http://[::1]:81/_tidegate/demo"));
        assert!(text.contains("curl -X DELETE http://[::1]:82/v1/users/demo/sessions"));
        assert!(text.contains("ws://[::1]:81/ws -s tidegate.v1.json -s tidegate.bearer.x.y.z"));
    }
}
