//! What the design says of the workspace's structure, checked against what is there.

#![expect(clippy::unwrap_used, reason = "the lint exempts test functions and not what they call")]

mod dependencies;
mod deploy;
mod files;
mod nginx;
