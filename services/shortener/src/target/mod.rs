//! Where a link may lead: an absolute http or https URL, normalised, that is no way to attack who follows it.
//! Nothing is fetched and no name resolved; what a `Target` holds is safe in a `Location` header.

pub mod blocklist;
#[cfg(test)]
mod hostile;
mod own_hosts;
mod private;

pub use own_hosts::OwnHosts;
pub(crate) use private::is_private;

use http::HeaderValue;
use url::Url;

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
    /// Not http or https.
    #[error("is not an http or https URL")]
    Scheme,
    /// No host, or no `//`.
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

/// Checks and normalises a target. `bytes_max` bounds what comes in and what comes out.
pub fn parse(text: &str, bytes_max: usize, own_hosts: &OwnHosts) -> Result<Target, TargetError> {
    if text.is_empty() {
        return Err(TargetError::Empty);
    }
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
    let authority = authority(text)?;
    if authority.contains('@') {
        return Err(TargetError::Credentials);
    }
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::EmptyHost => TargetError::NoHost,
        url::ParseError::InvalidPort => TargetError::Port,
        url::ParseError::IdnaError
        | url::ParseError::InvalidIpv4Address
        | url::ParseError::InvalidIpv6Address
        | url::ParseError::InvalidDomainCharacter => TargetError::Host,
        _ => TargetError::Invalid,
    })?;
    check_host(&url)?;
    if own_hosts.contains(&url) {
        return Err(TargetError::OwnHost);
    }
    let serialised = String::from(url);
    if serialised.len() > bytes_max {
        return Err(TargetError::TooLong(bytes_max));
    }
    // Serialised URLs are ASCII without controls; should that ever not hold, no such link comes to be.
    if !serialised.bytes().all(|byte| byte.is_ascii_graphic()) || HeaderValue::from_str(&serialised).is_err()
    {
        return Err(TargetError::Invalid);
    }
    Ok(Target(serialised))
}

/// What stands between `//` and the path. The parser itself would repair `http:host` and `http:///host`.
fn authority(text: &str) -> Result<&str, TargetError> {
    let (scheme, rest) = text.split_once(':').ok_or(TargetError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(TargetError::Scheme);
    }
    let rest = rest.strip_prefix("//").ok_or(TargetError::NoHost)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || (authority.starts_with(':') && !authority.contains('@')) {
        Err(TargetError::NoHost)
    } else {
        Ok(authority)
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
    match url.host() {
        None => Err(TargetError::NoHost),
        Some(url::Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            let right = name.len() <= 253 && name.split('.').all(is_label);
            if right { Ok(()) } else { Err(TargetError::Host) }
        }
        Some(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => Ok(()),
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
