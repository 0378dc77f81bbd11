//! The test kit: a gateway, scripted upstreams and raw clients over real sockets.
