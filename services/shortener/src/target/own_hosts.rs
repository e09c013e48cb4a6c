//! The hosts that lead back to this service.
//! Only names are compared: nothing is resolved.

use url::Url;

/// Hosts of our own, normalised the way targets are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnHosts(Vec<(String, Option<u16>)>);

impl OwnHosts {
    /// `base_url` stands for its host at its port; an entry of `others` without a port for every port.
    /// Entries that are no hosts are left out: `ShortenerConfig::check` and the URL parser have the say on them.
    pub fn new(base_url: &Url, others: &[String]) -> Self {
        let base = base_url.host_str().map(|host| (bare(host), base_url.port_or_known_default()));
        let others = others.iter().filter_map(|entry| {
            let url = Url::parse(&format!("http://{entry}/")).ok()?;
            // The parser drops a port that is the scheme's default, so that one is looked for in the text.
            let port = url.port().or_else(|| entry.ends_with(":80").then_some(80));
            Some((bare(url.host_str()?), port))
        });
        let mut hosts: Vec<_> = base.into_iter().chain(others).collect();
        // A public base URL on a default port is reached by both schemes; behind a proxy either loops.
        if let Some((host, Some(80 | 443))) = hosts.first().cloned() {
            hosts.extend([(host.clone(), Some(80)), (host, Some(443))]);
        }
        Self(hosts)
    }

    /// Whether `url` leads here.
    pub fn contains(&self, url: &Url) -> bool {
        let Some(host) = url.host_str().map(bare) else { return false };
        let port = url.port_or_known_default();
        self.0.iter().any(|(own, own_port)| *own == host && (own_port.is_none() || *own_port == port))
    }
}

/// `s.example.` is `s.example`.
fn bare(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_owned()
}
