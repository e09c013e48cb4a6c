//! What every request passes before it is routed, whatever becomes of it: a request that HTTP/1.1 forbids is refused,
//! the hop learns from trusted proxies who the client is, and from a token that it is our own probe; a link that is in memory is served without the router.
//! It neither admits nor limits: that needs the route, so that what is refused counts for the right one.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::ConnectInfo;
use axum::response::Response;
use emitter::Hop;
use futures_util::future::Either;
use http::header::HOST;
use http::{HeaderValue, Request, Version};
use tower::Service;

use crate::api::{self, Problem};
use crate::client_addr;
use crate::probe;
use crate::redirect;
use crate::service::App;

/// A service with the shortener's entrance before it. Costs a request no allocation.
#[derive(Clone)]
pub struct Entrance<S> {
    inner: S,
    app: Arc<App>,
}

impl<S> Entrance<S> {
    pub(crate) fn new(inner: S, app: Arc<App>) -> Self {
        Self { inner, app }
    }
}

impl<S, B> Service<Request<B>> for Entrance<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let extensions = request.extensions();
        let hop = extensions.get::<Hop>();
        let probes = probe::is_probe(request.headers(), &self.app.config.http);
        if let Some(hop) = hop
            && probes
        {
            hop.synthetic();
            // Somebody waits for the event.
            hop.forced();
        }
        if let (Some(hop), Some(ConnectInfo(peer))) = (hop, extensions.get::<ConnectInfo<SocketAddr>>()) {
            client_addr::tell(hop, peer.ip(), request.headers(), &self.app.config.http);
        }
        if let Err((kind, detail)) = check_host(&request) {
            if let Some(hop) = hop {
                hop.error_type(kind);
            }
            return Either::Right(ready(Ok(Problem::host(kind, detail))));
        }
        if let Some(answer) = hop.and_then(|hop| redirect::at_once(&self.app, hop, &request, probes)) {
            return Either::Right(ready(Ok(answer)));
        }
        if let Some(joined) = api::joined(request.uri()) {
            *request.uri_mut() = joined;
        }
        Either::Left(self.inner.call(request))
    }
}

/// RFC 9112, 3.2: one valid Host, which only HTTP/1.0 may leave out. hyper does not look.
fn check_host<B>(request: &Request<B>) -> Result<(), (&'static str, &'static str)> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => Err(("host_invalid", "The Host header names no host.")),
        (Some(_), Some(_)) => Err(("host_repeated", "There is more than one Host header.")),
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        (None, _) => Err(("host_missing", "There is no Host header.")),
    }
}

/// Whether all bytes are such as hosts and ports are written with, non-ASCII ones apart, which occur percent-encoded.
/// Empty is what the grammar allows.
fn is_host(host: &HeaderValue) -> bool {
    host.as_bytes().iter().all(|byte| IN_HOSTS[usize::from(*byte)])
}

/// The bytes that hosts and ports are written with.
static IN_HOSTS: [bool; 256] = {
    let mut bytes = [false; 256];
    let others = b"-._~!$&'()*+,;=:%[]";
    let mut at = 0;
    while at < others.len() {
        bytes[others[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0u8;
    while byte.is_ascii() {
        bytes[byte as usize] |= byte.is_ascii_alphanumeric();
        byte += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_checked() {
        let cases: &[(Version, &[&str], Option<&str>)] = &[
            (Version::HTTP_11, &["h.example"], None),
            (Version::HTTP_11, &["h.example:8080"], None),
            (Version::HTTP_11, &["[2001:db8::1]:80"], None),
            (Version::HTTP_11, &["xn--grn-ioa_1.example"], None),
            (Version::HTTP_11, &[""], None),
            (Version::HTTP_10, &[], None),
            (Version::HTTP_11, &[], Some("host_missing")),
            (Version::HTTP_11, &["a", "a"], Some("host_repeated")),
            (Version::HTTP_10, &["a", "b"], Some("host_repeated")),
            (Version::HTTP_11, &["a b"], Some("host_invalid")),
            (Version::HTTP_11, &["a/b"], Some("host_invalid")),
            (Version::HTTP_11, &["user@a"], Some("host_invalid")),
            (Version::HTTP_11, &["<script>"], Some("host_invalid")),
            (Version::HTTP_11, &["ä.example"], Some("host_invalid")),
        ];
        for (version, hosts, expected) in cases {
            let mut request = Request::new(());
            *request.version_mut() = *version;
            for host in *hosts {
                request.headers_mut().append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
            }
            assert_eq!(check_host(&request).err().map(|(kind, _)| kind), *expected, "{version:?} {hosts:?}");
        }
    }
}
