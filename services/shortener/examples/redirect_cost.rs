//! Follows one cached link again and again, without a socket: through a `bare` axum route that redirects, through
//! the shortener's `service`, or through that behind the emitter's layer (`events`). For valgrind: what two runs of
//! different counts differ by is the cost of a request. The publisher has no turn meanwhile, so it is not in it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Router, response::IntoResponse};
use bytes::Bytes;
use emitter::{Emitter, EmitterConfig};
use event_log::{EventLogMetrics, spool::Spool, spool::SpoolConfig};
use http::{Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use shortener::link::NewLink;
use shortener::store::{LinkStore as _, sqlite::SqliteStore};
use shortener::target::{self, TargetPolicy};
use shortener::{Parts, Shortener, ShortenerConfig};
use tower::{Layer as _, Service};
use wide_event::Resource;

const TARGET: &str = "https://example.com/some/where?it=leads";

fn request() -> anyhow::Result<Request<Body>> {
    let mut request = Request::get("/rust")
        .header("host", "hop.example")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("accept", "*/*")
        .header("referer", "https://news.example/item")
        .body(Body::empty())?;
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
    Ok(request)
}

async fn run<S, B>(mut service: S, count: u32) -> anyhow::Result<()>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    for _ in 0..count {
        let response = service.call(request()?).await?;
        anyhow::ensure!(response.status() == StatusCode::FOUND, "{}", response.status());
        response.into_body().collect().await?;
    }
    Ok(())
}

async fn bare() -> impl IntoResponse {
    (StatusCode::FOUND, [(header::LOCATION, TARGET), (header::CACHE_CONTROL, "private, no-store")])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "events".into());
    let count: u32 = arguments.next().map_or(Ok(1_000), |count| count.parse())?;
    let directory = tempfile::tempdir()?;
    let mut config = ShortenerConfig::default();
    config.store.path = directory.path().join("links.db");
    // The client is asked about as any is, and never refused.
    config.limits.visits_per_s = 1e6;
    config.limits.visits_burst = 1_000_000;
    let store = Arc::new(SqliteStore::open(&config.store).await?);
    store.migrate().await?;
    let target = target::parse(TARGET, &TargetPolicy::default())?;
    let link = NewLink::with_alias("rust", target);
    store.create(&[link], None).await?;
    let shortener = Shortener::open(config, Parts::alone(store)).await?;
    let log = Spool::new(SpoolConfig::default()).producer(EventLogMetrics::default());
    let resource = Resource { instance: "cost".into(), ..Resource::default() };
    let (emitter, _publisher) = Emitter::start(EmitterConfig::default(), resource, [0; 32], Arc::new(log))?;
    run(shortener.service(), 1).await?; // from now on the link is cached
    match &*mode {
        "bare" => run(Router::new().route("/{code}", get(bare)), count).await,
        "service" => run(shortener.service(), count).await,
        "events" => run(emitter.layer().layer(shortener.service()), count).await,
        other => anyhow::bail!("{other} is none of bare, service, events"),
    }
}
