//! Domains that links live on, and where they send visits that name no link.
//! The default domain is the host of `links.base_url`; its name in the store is the empty string.

use url::{Host, Url};

use crate::target::{self, Target};

/// Name of the default domain in the store, the cache and the events.
pub const DEFAULT_DOMAIN: &str = "";

/// Longest name of a domain, in bytes: that of a host, 253, a colon and five digits.
const AUTHORITY_BYTES_MAX: usize = 259;

/// Why a text names no domain. The messages go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It is no host with or without a port.
    #[error("is not a host name with or without a port")]
    Invalid,
    /// It is an address, which nobody can tell from the address of another service.
    #[error("is an IP address")]
    Address,
}

/// The name under which a domain is stored: lower case, international names as punycode, without a dot at the end and
/// without the port of a scheme. Never the default one's.
pub fn parse_authority(text: &str) -> Result<String, AuthorityError> {
    let wrong = |character: char| target::is_unprintable(character) || "/?#@\\%".contains(character);
    // A name may get longer as punycode, but nothing longer than this is a name.
    if text.is_empty() || text.len() > AUTHORITY_BYTES_MAX || text.contains(wrong) {
        return Err(AuthorityError::Invalid);
    }
    let url = Url::parse(&format!("http://{text}/")).map_err(|_| AuthorityError::Invalid)?;
    target::check_host(&url).map_err(|_| AuthorityError::Invalid)?;
    let Some(Host::Domain(name)) = url.host() else { return Err(AuthorityError::Address) };
    let name = name.strip_suffix('.').unwrap_or(name);
    Ok(match url.port() {
        None | Some(443) => name.to_owned(),
        Some(port) => format!("{name}:{port}"),
    })
}

/// A domain as stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domain {
    /// Host and, where it is not the scheme's own, port; lower case. Empty for the default domain.
    pub authority: String,
    /// Where visits go that name no link.
    pub redirects: DomainRedirects,
}

/// Where visits go that name no link; without one, they get a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainRedirects {
    /// Visits of `/`.
    pub base_url: Option<String>,
    /// Visits of a path that can't be a code.
    pub regular_404: Option<String>,
    /// Visits of a code that is unknown, expired or exhausted.
    pub invalid_short_url: Option<String>,
}

/// A change. Outer `None` leaves a field alone, inner `None` clears it.
#[derive(Debug, Clone, Default)]
pub struct DomainRedirectsEdit {
    /// See [`DomainRedirects::base_url`].
    pub base_url: Option<Option<Target>>,
    /// See [`DomainRedirects::regular_404`].
    pub regular_404: Option<Option<Target>>,
    /// See [`DomainRedirects::invalid_short_url`].
    pub invalid_short_url: Option<Option<Target>>,
}

#[cfg(test)]
mod tests {
    use super::AuthorityError::{Address, Invalid};
    use super::*;

    #[test]
    fn domains_are_named_in_one_way() {
        let long = format!("{}.example", "a".repeat(64));
        let cases = [
            ("s.example", Ok("s.example")),
            ("S.Example.", Ok("s.example")),
            ("s.example:80", Ok("s.example")),
            ("s.example:443", Ok("s.example")),
            ("s.example:8080", Ok("s.example:8080")),
            ("localhost", Ok("localhost")),
            ("bücher.example", Ok("xn--bcher-kva.example")),
            ("127.0.0.1", Err(Address)),
            ("0x7f.1:8080", Err(Address)),
            ("[::1]:80", Err(Address)),
            ("", Err(Invalid)),
            (".", Err(Invalid)),
            ("a..b", Err(Invalid)),
            ("-a.example", Err(Invalid)),
            ("s.example:0", Err(Invalid)),
            ("localhost:80000", Err(Invalid)),
            ("s.example/path", Err(Invalid)),
            ("s.example?x", Err(Invalid)),
            ("user@s.example", Err(Invalid)),
            ("s .example", Err(Invalid)),
            ("s.exa\nmple", Err(Invalid)),
            ("s.exa%6dple", Err(Invalid)),
            ("???/&%$&", Err(Invalid)),
            (long.as_str(), Err(Invalid)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_authority(text).as_deref(), expected.as_ref().map(|name| *name), "{text:?}");
        }
    }
}
