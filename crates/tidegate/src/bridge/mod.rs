//! The bridge: calls over HTTP that come as envelopes through one WebSocket, and answers that go back
//! the same way. The wire format stands in `docs/bridge.md`.

mod address;
mod answer;
mod envelope;
mod events;
mod members;
mod problem;
