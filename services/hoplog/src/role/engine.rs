//! `hoplog engine`: the embedded ClickHouse in a process of its own, so that neither can bring the other down.

use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use super::stop;
use crate::config::Config;

/// Runs until it is told to stop.
///
/// # Errors
/// When the library or the data directory can't be used, or the address can't be bound.
pub(crate) async fn run(config: Config, supervised: bool) -> Result<ExitCode> {
    let stop = stop::listen(supervised).context("can't catch signals")?;
    let address = config.engine.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address} (ClickHouse)"))?;
    engine::serve(config.engine, listener, stop::stopped(stop)).await?;
    Ok(ExitCode::SUCCESS)
}
