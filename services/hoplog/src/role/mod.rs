//! The roles: each opens what it needs, runs one library, and ends in good order. The work is in the libraries.

pub mod collect;
pub mod engine;
pub mod migrate;
pub mod serve;
pub mod stop;
