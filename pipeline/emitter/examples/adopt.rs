//! An axum service that leaves one event a request, in a spool under `./spool`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{Router, extract::Path, routing::get};
use emitter::{Emitter, EmitterConfig, Hop};
use event_log::{EventLogMetrics, spool::Spool, spool::SpoolConfig};
use wide_event::Resource;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = PathBuf::from("spool");
    let log = Spool::new(SpoolConfig { path, ..SpoolConfig::default() }).producer(EventLogMetrics::default());
    let config = EmitterConfig { sequence_dir: Some("boots".into()), ..EmitterConfig::default() };
    let deadline = config.flush_deadline();
    let resource = Resource { service: "hello".into(), instance: "hello-1".into(), ..Resource::default() };
    let (emitter, publisher) =
        Emitter::start(config, resource, *b"a secret of 32 bytes, kept safe.", Arc::new(log))?;

    let router = Router::new().route("/hello/{name}", get(hello)).layer(emitter.layer()); // the last layer is outermost
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    axum::serve(listener, service).with_graceful_shutdown(stop).await?;
    publisher.shutdown(deadline).await?;
    Ok(())
}

async fn hello(hop: Hop, Path(name): Path<String>) -> String {
    hop.code(&name);
    format!("hello, {name}\n")
}
