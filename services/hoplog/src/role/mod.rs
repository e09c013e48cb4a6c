//! The roles: each opens what it needs, runs one library, and ends in good order. The work is in the libraries.

pub(crate) mod collect;
pub(crate) mod engine;
pub(crate) mod migrate;
pub(crate) mod opening;
pub(crate) mod serve;
pub(crate) mod stop;
