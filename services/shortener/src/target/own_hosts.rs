//! The hosts that lead back to this service.
//! Only names are compared: nothing is resolved.

use url::Url;

use super::host_of;

/// Hosts of our own, normalised the way targets are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnHosts(Vec<(String, Option<u16>)>);

impl OwnHosts {
    /// `base_url` stands for its host at its port; an entry of `others` without a port for every port.
    /// Entries that are no hosts are left out: `ShortenerConfig::check` and the URL parser have the say on them.
    pub fn new(base_url: &Url, others: &[String]) -> Self {
        let base = base_url.host_str().map(|host| (bare(host).to_owned(), base_url.port_or_known_default()));
        let others = others.iter().filter_map(|entry| {
            let url = Url::parse(&format!("http://{entry}/")).ok()?;
            // The parser drops a port that is the scheme's default, so that one is looked for in the text.
            let port = url.port().or_else(|| entry.ends_with(":80").then_some(80));
            Some((bare(url.host_str()?).to_owned(), port))
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
        self.has(&host_of(url), url.port_or_known_default())
    }

    /// Whether an authority leads here: of a serialised target, so with a port where that is not `default_port`.
    pub(crate) fn contains_authority(&self, authority: &str, default_port: u16) -> bool {
        // What follows the last colon of an IPv6 address is no number: it ends in a bracket.
        let split = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = split.unwrap_or((authority, default_port));
        self.has(host, Some(port))
    }

    fn has(&self, host: &str, port: Option<u16>) -> bool {
        let host = bare(host);
        self.0.iter().any(|(own, own_port)| own == host && (own_port.is_none() || *own_port == port))
    }
}

/// `s.example.` is `s.example`.
fn bare(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_told_as_urls_are() {
        let base = Url::parse("https://s.example/").unwrap();
        let own = OwnHosts::new(&base, &["all.example".to_owned(), "[2001:db8::1]:8080".to_owned()]);
        for (url, leads_here) in [
            ("https://s.example/a", true),
            ("http://s.example./a", true),
            ("https://s.example:8443/", false),
            ("http://all.example:81/", true),
            ("https://notall.example/", false),
            ("http://[2001:db8::1]:8080/", true),
            ("http://[2001:db8::1]/", false),
        ] {
            let url = Url::parse(url).unwrap();
            let default_port = if url.scheme() == "https" { 443 } else { 80 };
            assert_eq!(own.contains(&url), leads_here, "{url}");
            assert_eq!(own.contains_authority(url.authority(), default_port), leads_here, "{url}");
        }
    }
}
