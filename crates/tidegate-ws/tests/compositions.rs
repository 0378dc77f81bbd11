//! The three compositions of input and output run.

#[path = "../examples/echo_like.rs"]
mod echo_like;
#[path = "../examples/inbound_only.rs"]
mod inbound_only;
#[path = "../examples/independent_streams.rs"]
mod independent_streams;

#[test]
fn echo_like() {
    echo_like::main().unwrap();
}

#[test]
fn inbound_only() {
    inbound_only::main().unwrap();
}

#[test]
fn independent_streams() {
    independent_streams::main().unwrap();
}
