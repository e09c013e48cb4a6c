//! ClickHouse's HTTP interface: what a request asks for, how its body is read, how its answer is written.
//!
//! Nothing here runs SQL; `query` does, and `server` brings the two together.

pub(crate) mod body;
pub(crate) mod encoding;
pub(crate) mod multipart;
pub(crate) mod request;
pub(crate) mod response;
