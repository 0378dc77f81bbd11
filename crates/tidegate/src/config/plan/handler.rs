//! Handlers: where a route ends at code of the embedder's.

use std::sync::Arc;
use std::time::Duration;

use tidegate_ws::deflate;

use super::super::defaults;
use super::super::error::ConfigError;
use super::KeepAlive;

/// How a route ends at a handler.
#[derive(Debug, Clone)]
pub struct HandlerPlan {
    /// The name under which the embedder registers it.
    pub name: Arc<str>,
    /// What is to be said where nobody has, with the place of the name.
    pub unregistered: Arc<ConfigError>,
    /// What holds for the WebSockets that it handles.
    pub websocket: Arc<HandlerLimits>,
}

/// What holds for WebSockets that a handler handles. Sizes are in bytes; timers are looked at once a
/// second, so each may come up to a second late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerLimits {
    /// The largest message of a client, after inflating; 1 MiB.
    pub max_message: u64,
    /// The largest frame payload of a client, as its header declares it; `None` (the default): as
    /// large as a message.
    pub max_frame: Option<u64>,
    /// How the gateway finds out that the client is gone; 25 s and 10 s. `None`: it does not.
    pub keep_alive: Option<KeepAlive>,
    /// A session in which nothing passes, either way, for so long is ended; 30 min. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// A session is ended at an age between 90 and 100 % of this; `None` (the default): never.
    pub max_age: Option<Duration>,
    /// How long the client may take nothing of what is sent to it; 30 s.
    pub write_timeout: Duration,
    /// How long a closing handshake may take; 5 s.
    pub close_timeout: Duration,
    /// Pings and pongs that the client may send in a second, 100; `None`: any number.
    pub max_control_frames: Option<u32>,
    /// What is agreed to of permessage-deflate; `None` (the default): nothing.
    pub deflate: Option<deflate::Config>,
}

impl Default for HandlerLimits {
    fn default() -> Self {
        Self {
            max_message: defaults::HANDLER_MAX_MESSAGE,
            max_frame: None,
            keep_alive: Some(KeepAlive::default()),
            idle_timeout: Some(defaults::HANDLER_IDLE_TIMEOUT),
            max_age: None,
            write_timeout: defaults::WEBSOCKET_WRITE_TIMEOUT,
            close_timeout: defaults::WEBSOCKET_CLOSE_TIMEOUT,
            max_control_frames: Some(defaults::WEBSOCKET_MAX_CONTROL_FRAMES),
            deflate: None,
        }
    }
}
