//! STUB of `tidegate::Gateway`, to be deleted when it is there: it binds the listeners and serves
//! nothing. Used in `run.rs` alone.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, Result};
use tidegate::config::Plan;

pub(crate) struct Gateway {
    _listeners: Vec<TcpListener>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
}

impl Gateway {
    pub(crate) fn start(plan: Plan) -> Result<Self> {
        let mut gateway = Self {
            _listeners: Vec::new(),
            addresses: Vec::new(),
        };
        for listener in plan.listeners {
            let (name, bind) = (listener.name, listener.bind);
            let (socket, address) = TcpListener::bind(bind)
                .and_then(|socket| io::Result::Ok((socket.local_addr()?, socket)))
                .map(|(address, socket)| (socket, address))
                .with_context(|| format!("the listener `{name}` cannot bind {bind}"))?;
            gateway._listeners.push(socket);
            gateway.addresses.push((name, address));
        }
        Ok(gateway)
    }

    pub(crate) fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    pub(crate) fn stop(self) {
        drop(self);
    }
}
