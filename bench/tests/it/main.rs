//! The generator against a service of its own, on a free port.
#![expect(clippy::unwrap_used, reason = "the lint exempts test functions and not what they call")]

mod load;
mod replay;
mod service;
