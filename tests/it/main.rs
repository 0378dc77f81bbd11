//! The black-box cases: one module per promise.
