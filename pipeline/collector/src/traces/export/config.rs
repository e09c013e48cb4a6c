//! Where spans are exported to, and what is held for that. Checks everything that can be known without asking the backend.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::Url;
use warehouse::Secret;

/// Where HTTP has it below the base address.
const HTTP_PATH: &str = "/v1/traces";

/// Headers that are the protocol's own.
const OWN_HEADERS: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
];

/// Configuration of the export of spans to a backend such as Jaeger or Tempo.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportConfig {
    /// Base address of the backend's OTLP, `http://tempo:4317` for gRPC or `http://tempo:4318` for HTTP; `https` for TLS, with a
    /// certificate of a public authority. Default empty: nothing is exported.
    pub endpoint: String,
    /// `grpc` or `http`, which is Protobuf to `/v1/traces`. Default `grpc`; `http` where a proxy on the way knows no HTTP/2.
    pub protocol: Protocol,
    /// Headers that each request carries, as OpenTelemetry writes them: `name=value,name=value`, values percent-encoded where
    /// they have a comma or a percent sign. Default none; for the backend's credentials.
    pub headers: Secret,
    /// How long the backend has to answer, milliseconds. Default 10000; raise it for one that is far away.
    pub timeout_ms: u64,
    /// Spans that wait to be sent. Default 20000, some 20 MiB; what does not fit is dropped, and counted.
    pub queue_spans_max: usize,
}

/// How OTLP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// gRPC.
    #[default]
    Grpc,
    /// Protobuf in bodies of HTTP/1.
    Http,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            protocol: Protocol::Grpc,
            headers: Secret::default(),
            timeout_ms: 10_000,
            queue_spans_max: 20_000,
        }
    }
}

/// A backend, as far as it can be known before it is asked.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) protocol: Protocol,
    /// Where requests go; of gRPC the base address.
    pub(super) url: String,
    pub(super) tls: bool,
    /// Marked as sensitive, so that they show themselves to nobody.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Duration,
}

impl ExportConfig {
    /// All that is wrong, as field and reason. Empty: nothing is.
    pub(in crate::traces) fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut add = |field, problem: Option<String>| wrong.extend(problem.map(|problem| (field, problem)));
        add("export.endpoint", self.url().err());
        add("export.headers", self.headers().err());
        let timeout = (100..=60_000).contains(&self.timeout_ms);
        add("export.timeout_ms", (!timeout).then(|| "must be 100 to 60000".to_owned()));
        let queue = (1000..=1_000_000).contains(&self.queue_spans_max);
        add("export.queue_spans_max", (!queue).then(|| "must be 1000 to 1000000".to_owned()));
        wrong
    }

    /// Where spans go, if anywhere. What is wrong with it is found by [`Self::check`].
    pub(super) fn backend(&self) -> Option<Backend> {
        let (url, headers) = (self.url().ok()??, self.headers().ok()?);
        let base = url.as_str().trim_end_matches('/');
        Some(Backend {
            protocol: self.protocol,
            url: match self.protocol {
                Protocol::Grpc => base.to_owned(),
                Protocol::Http => format!("{base}{HTTP_PATH}"),
            },
            tls: url.scheme() == "https",
            headers,
            timeout: Duration::from_millis(self.timeout_ms),
        })
    }

    /// `None`: there is none. What is wrong is said without the address: people put credentials into them.
    fn url(&self) -> Result<Option<Url>, String> {
        if self.endpoint.is_empty() {
            return Ok(None);
        }
        let wrong = |what: &str| Err(what.to_owned());
        let Ok(url) = Url::parse(&self.endpoint) else {
            return wrong("must be a URL such as http://tempo:4317");
        };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return wrong("must begin with http:// or https:// and name a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("must have no credentials: they belong into export.headers");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("must have no query and no fragment");
        }
        let path = url.path().trim_end_matches('/');
        match self.protocol {
            Protocol::Grpc if !path.is_empty() => wrong("must have no path: gRPC has its own"),
            Protocol::Http if path.ends_with(HTTP_PATH) => {
                wrong("must be the base address: /v1/traces is added to it")
            }
            _ => Ok(Some(url)),
        }
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let entries = self.headers.reveal().split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let header = |(number, entry): (usize, &str)| {
            let wrong = |what: &str| format!("entry {} {what}", number + 1);
            let (name, value) = entry.split_once('=').ok_or_else(|| wrong("is not name=value"))?;
            let name: HeaderName = name.trim().parse().map_err(|_| wrong("has no name of a header"))?;
            if OWN_HEADERS.contains(&name)
                || name.as_str().starts_with("grpc-")
                || name.as_str().ends_with("-bin")
            {
                return Err(wrong("has a header that is the protocol's own"));
            }
            let value: Vec<u8> = percent_decode_str(value.trim()).collect();
            let value = HeaderValue::from_bytes(&value).ok().filter(|value| value.to_str().is_ok());
            let mut value = value.ok_or_else(|| wrong("has a value that is no visible ASCII"))?;
            value.set_sensitive(true);
            Ok((name, value))
        };
        entries.enumerate().map(header).collect()
    }
}

impl Backend {
    /// The receiver of this process, which takes what an exporter anywhere sends it.
    pub(super) fn own(listen: SocketAddr, answer_after: Duration) -> Self {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ip => ip,
        };
        Self {
            protocol: Protocol::Grpc,
            url: format!("http://{}", SocketAddr::new(ip, listen.port())),
            tls: false,
            headers: Vec::new(),
            // It says by itself that it is late; this is for when it can't.
            timeout: answer_after * 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str, protocol: Protocol, headers: &str) -> ExportConfig {
        let headers = Secret::new(headers);
        ExportConfig { endpoint: endpoint.to_owned(), protocol, headers, ..ExportConfig::default() }
    }

    #[test]
    fn a_backend_is_what_its_address_says() {
        assert!(ExportConfig::default().check().is_empty() && ExportConfig::default().backend().is_none());
        for (endpoint, protocol, expected, tls) in [
            ("http://tempo:4317", Protocol::Grpc, "http://tempo:4317", false),
            ("https://[::1]:4317/", Protocol::Grpc, "https://[::1]:4317", true),
            ("http://tempo:4318/", Protocol::Http, "http://tempo:4318/v1/traces", false),
            ("https://otlp.example/otlp", Protocol::Http, "https://otlp.example/otlp/v1/traces", true),
        ] {
            let config = config(endpoint, protocol, "authorization=Bearer%20a=b, x-scope = 1,");
            assert_eq!(config.check(), []);
            let backend = config.backend().unwrap();
            assert_eq!((&*backend.url, backend.tls), (expected, tls));
            let shown = format!("{config:?}{backend:?}");
            assert!(!shown.contains("Bearer"), "{shown}");
            let headers =
                backend.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            assert_eq!(headers.collect::<Vec<_>>(), [("authorization", "Bearer a=b"), ("x-scope", "1")]);
        }
        let own = |listen: &str| Backend::own(listen.parse().unwrap(), Duration::from_secs(8)).url;
        assert_eq!(own("0.0.0.0:8083"), "http://127.0.0.1:8083");
        assert_eq!(own("[::]:8083"), "http://[::1]:8083");
        assert_eq!(own("10.0.0.5:1"), "http://10.0.0.5:1");
    }

    #[test]
    fn mistakes_are_said_and_nothing_of_a_secret() {
        for (endpoint, protocol, headers, expected) in [
            ("tempo:4317", Protocol::Grpc, "", "begin with http://"),
            ("tempo", Protocol::Grpc, "", "must be a URL"),
            ("http://u:hunter2@tempo", Protocol::Grpc, "", "no credentials"),
            ("http://tempo?key=hunter2", Protocol::Http, "", "no query"),
            ("http://tempo/v1/traces", Protocol::Grpc, "", "no path"),
            ("http://tempo/v1/traces", Protocol::Http, "", "base address"),
            ("http://tempo", Protocol::Http, "a=1,hunter2", "entry 2 is not name=value"),
            ("http://tempo", Protocol::Http, "hunter 2=1", "entry 1 has no name"),
            ("http://tempo", Protocol::Http, "a=hunter2%0a", "no visible ASCII"),
            ("http://tempo", Protocol::Http, "Content-Type=hunter2", "protocol's own"),
        ] {
            let wrong = config(endpoint, protocol, headers).check();
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            assert!(wrong[0].1.contains(expected) && !wrong[0].1.contains("hunter"), "{wrong:?}");
        }
        let config = ExportConfig { timeout_ms: 0, queue_spans_max: 0, ..ExportConfig::default() };
        let fields: Vec<_> = config.check().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["export.timeout_ms", "export.queue_spans_max"]);
    }
}
