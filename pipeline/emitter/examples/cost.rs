//! Sends requests through a service, with the layer on (default), off, or `none` at all: for `valgrind
//! --tool=callgrind`, whose instructions of two runs differ by what the layer costs on the request path.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use emitter::{Emitter, EmitterConfig};
use event_log::{EventLogMetrics, spool::Spool, spool::SpoolConfig};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, service_fn};
use wide_event::Resource;

fn request() -> Request<Empty<Bytes>> {
    Request::get("/rust")
        .header("host", "hop.example")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("referer", "https://news.example/item")
        .body(Empty::new())
        .unwrap_or_default()
}

async fn answer<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"x"))))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "on".into());
    let count: u32 = arguments.next().map_or(Ok(10_000), |count| count.parse())?;
    // The publisher has no turn before the end: nothing below waits. So its work is not in the figure.
    let log = Spool::new(SpoolConfig::default()).producer(EventLogMetrics::default());
    let config = EmitterConfig { enabled: mode == "on", ..EmitterConfig::default() };
    let resource = Resource { instance: "cost".into(), ..Resource::default() };
    let (emitter, _publisher) = Emitter::start(config, resource, [0; 32], Arc::new(log))?;
    let mut with = emitter.layer().layer(service_fn(answer));
    let mut without = service_fn(answer);
    for _ in 0..count {
        if mode == "none" {
            without.call(request()).await?.into_body().collect().await?;
        } else {
            with.call(request()).await?.into_body().collect().await?;
        }
    }
    Ok(())
}
