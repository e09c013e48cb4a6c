//! Where a link may lead: an absolute URL of http, https or another scheme that is allowed, normalised, that is no way to
//! attack who follows it.
//! Nothing is fetched and no name resolved; what a `Target` holds is safe in a `Location` header.

pub mod blocklist;
#[cfg(test)]
mod hostile;
mod own_hosts;
mod policy;
mod private;
mod scheme;

pub use own_hosts::OwnHosts;
pub use policy::TargetPolicy;
use private::is_private;
pub(crate) use scheme::check_scheme;

use std::borrow::Cow;

use http::HeaderValue;
use url::{Host, Url};

/// A target that was accepted. Its text is visible ASCII, at most the configured length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    /// The serialised URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// First 16 bytes of the hash that finds equal targets.
    pub fn hash(&self) -> [u8; 16] {
        target_hash(&self.0)
    }
}

/// First 16 bytes of the hash of a target: 2^64 links before two are likely to share it, and the text decides.
pub fn target_hash(target: &str) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(target.as_bytes()).as_bytes()[..16]);
    hash
}

/// Why a target is refused. The messages go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than configured, as given or as serialised.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// Spaces, line breaks, control and invisible formatting characters.
    #[error("holds white space or control characters, which must be percent-encoded")]
    Unprintable,
    /// `\`, which browsers take for `/`.
    #[error("holds a backslash, which must be percent-encoded")]
    Backslash,
    /// Of no scheme that is allowed.
    #[error("has none of the schemes that are allowed here: http and https, unless configured otherwise")]
    Scheme,
    /// No host, or no `//`, where the scheme wants one.
    #[error("has no host")]
    NoHost,
    /// A user name or password.
    #[error("holds credentials")]
    Credentials,
    /// A host that is none.
    #[error("has an invalid host")]
    Host,
    /// A port that is none.
    #[error("has an invalid port")]
    Port,
    /// It leads back here.
    #[error("leads to this service itself")]
    OwnHost,
    /// It leads into a private network, which is configured to be refused.
    #[error("leads into a private network")]
    Private,
    /// It leads to a host on a blocklist.
    #[error("leads to a host that is blocked here")]
    Blocked,
    /// Anything else.
    #[error("is not a valid URL")]
    Invalid,
}

/// Checks and normalises a target. Its length is bounded as it comes in and as it goes out.
pub fn parse(text: &str, policy: &TargetPolicy) -> Result<Target, TargetError> {
    if text.is_empty() {
        return Err(TargetError::Empty);
    }
    let bytes_max = policy.bytes_max;
    if text.len() > bytes_max {
        return Err(TargetError::TooLong(bytes_max));
    }
    // The URL parser strips these silently, so that "java\nscript:" becomes a scheme: they are refused before it.
    if text.chars().any(is_unprintable) {
        return Err(TargetError::Unprintable);
    }
    if text.contains('\\') {
        return Err(TargetError::Backslash);
    }
    if authority(text, policy)?.contains('@') {
        return Err(TargetError::Credentials);
    }
    let serialised = String::from(read(text)?);
    // It is the serialised one that everybody will read: a path must not have become a host.
    let url = read(&serialised)?;
    if url.is_special() || url.has_authority() && !url.authority().is_empty() {
        check_host(&url)?;
    }
    if policy.own_hosts.contains(&url) {
        return Err(TargetError::OwnHost);
    }
    if serialised.len() > bytes_max {
        return Err(TargetError::TooLong(bytes_max));
    }
    // Serialised URLs are ASCII without controls; should that ever not hold, no such link comes to be.
    let is_visible = serialised.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_visible || url.as_str() != serialised || HeaderValue::from_str(&serialised).is_err() {
        return Err(TargetError::Invalid);
    }
    if !policy.reaches(&url) {
        return Err(TargetError::Private);
    }
    Ok(Target(serialised))
}

/// The host of a URL as the web writes it, and so as blocklists have it; empty where there is none. Of schemes that are not
/// the web's, the parser leaves case, escapes and numbers as they are, since it can't know what they mean there.
pub(crate) fn host_of(url: &Url) -> Cow<'_, str> {
    let host = url.host_str().unwrap_or_default();
    if url.is_special() {
        return Cow::Borrowed(host);
    }
    Host::parse(host).map_or(Cow::Borrowed(host), |host| Cow::Owned(host.to_string()))
}

fn read(text: &str) -> Result<Url, TargetError> {
    Url::parse(text).map_err(|error| match error {
        url::ParseError::EmptyHost => TargetError::NoHost,
        url::ParseError::InvalidPort => TargetError::Port,
        url::ParseError::IdnaError
        | url::ParseError::InvalidIpv4Address
        | url::ParseError::InvalidIpv6Address
        | url::ParseError::InvalidDomainCharacter => TargetError::Host,
        _ => TargetError::Invalid,
    })
}

/// What stands between `//` and the path; empty where a scheme that needs no host has no `//`, or nothing there. Of those that
/// need one the parser itself would repair `http:host` and `http:///host`.
fn authority<'a>(text: &'a str, policy: &TargetPolicy) -> Result<&'a str, TargetError> {
    let (scheme, rest) =
        text.split_once(':').filter(|(scheme, _)| policy.allows(scheme)).ok_or(TargetError::Scheme)?;
    let needs_host =
        ["http", "https", "ws", "wss", "ftp"].iter().any(|name| scheme.eq_ignore_ascii_case(name));
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next());
    match authority.unwrap_or_default() {
        "" if needs_host => Err(TargetError::NoHost),
        "" if rest.is_empty() => Err(TargetError::Invalid),
        authority if authority.starts_with(':') && !authority.contains('@') => Err(TargetError::NoHost),
        authority => Ok(authority),
    }
}

/// Whether the host of a URL can be one.
pub(crate) fn check_host(url: &Url) -> Result<(), TargetError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Credentials);
    }
    if url.port() == Some(0) {
        return Err(TargetError::Port);
    }
    if !url.has_host() {
        return Err(TargetError::NoHost);
    }
    match Host::parse(&host_of(url)).map_err(|_| TargetError::Host)? {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(&name);
            let right = name.len() <= 253 && name.split('.').all(is_label);
            if right { Ok(()) } else { Err(TargetError::Host) }
        }
        Host::Ipv4(_) | Host::Ipv6(_) => Ok(()),
    }
}

/// A DNS label as it occurs on the web: letters, digits, hyphens inside, and the underscore that some hosts have.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// White space, controls, and the invisible characters that make a URL look like another one.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}
