//! Sends redirects through a service: for `valgrind --tool=callgrind`, whose instructions of two runs differ by what
//! logging costs. `cost MODE COUNT`, where the mode is `none` (without the layer), `off` (`enabled = false`), `on`
//! (all that the request path does) or `publish` (that, and the publisher's work, with a log that forgets).

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use emitter::{Emitter, EmitterConfig, Hop, PeerAddr};
use event_log::{AppendError, Message, Producer};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, service_fn};
use wide_event::{Cache, Resource};

/// As a browser and a server make it.
fn request() -> Request<Empty<Bytes>> {
    Request::get("/rust")
        .header("host", "hop.example")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("referer", "https://news.example/item")
        .extension(PeerAddr(SocketAddr::from(([203, 0, 113, 9], 4711))))
        .body(Empty::new())
        .unwrap_or_default()
}

/// As the shortener answers, and what it tells the hop.
async fn answer<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(hop) = request.extensions().get::<Hop>() {
        hop.code("rust");
        hop.link(42, 3);
        hop.target_host("www.rust-lang.org");
        hop.click();
        hop.cache(Cache::L1);
    }
    let mut response = Response::new(Full::new(Bytes::from_static(b"x")));
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static("https://www.rust-lang.org/learn"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

struct Forgets;

#[async_trait::async_trait]
impl Producer for Forgets {
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        drop(messages);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "on".into());
    let count: u32 = arguments.next().map_or(Ok(10_000), |count| count.parse())?;
    // The publisher has no turn before the end, since nothing below waits: its work is in the figure of `publish` only.
    let config = EmitterConfig { enabled: mode != "off", ..EmitterConfig::default() };
    let resource = Resource {
        service: "shortener".into(),
        version: "0.1.0".into(),
        instance: "cost".into(),
        environment: "production".into(),
        ..Resource::default()
    };
    let (emitter, publisher) = Emitter::start(config, resource, [0; 32], Arc::new(Forgets))?;
    let mut with = emitter.layer().layer(service_fn(answer));
    let mut without = service_fn(answer);
    for _ in 0..count {
        if mode == "none" {
            without.call(request()).await?.into_body().collect().await?;
        } else {
            with.call(request()).await?.into_body().collect().await?;
        }
    }
    if mode == "publish" {
        let flushed = publisher.shutdown(Duration::from_secs(600)).await?;
        anyhow::ensure!(flushed.announced && emitter.metrics().published() == u64::from(count));
    }
    // At once: what lies in the queue is the publisher's to free.
    std::process::exit(0)
}
