//! What may be printed of a client, and of what a server answered to it.

use std::fmt;

use super::{Connected, Executed, WebSocketClient};
use crate::names::{Head, Names};

impl fmt::Debug for WebSocketClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WebSocketClient");
        shown
            .field("headers", &Names(&self.headers))
            .field("subprotocols", &self.subprotocols)
            .field("session", &self.session)
            .field("timeout", &self.timeout)
            .field("max_head", &self.max_head)
            .field("max_body", &self.max_body);
        #[cfg(feature = "tls")]
        shown.field("tls", &self.tls);
        shown.finish()
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("session", &self.session)
            .field("response", &Head(&self.response))
            .finish()
    }
}

impl fmt::Debug for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executed")
            .field("ending", &self.ending)
            .field("response", &Head(&self.response))
            .finish()
    }
}
