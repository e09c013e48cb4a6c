//! Host names: bare, bounded, and found in what is around them in a URL. No look-up and no judgement of a name.

use std::borrow::Cow;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use super::Text;

/// The longest name that DNS allows, in bytes.
pub const HOST_BYTES_MAX: usize = 253;

/// A host name without anything that surrounds it in a URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host<'a>(Text<'a, HOST_BYTES_MAX>);

impl<'a> Host<'a> {
    /// Takes a bare host name or address. What has a path, a query, credentials, spaces or control characters in
    /// it is no host, and yields `None`.
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Option<Self> {
        let text = text.into();
        is_host(&text, classes(&text)).then(|| Self(Text::new(text)))
    }

    /// The same, in lower case.
    pub(crate) fn parse_lower(text: &'a str) -> Option<Self> {
        Self::lower(text, classes(text))
    }

    /// The host of the part of a URL that names one, in lower case, without credentials and port. What names none
    /// yields `None` or an empty one.
    pub fn of_authority(authority: &'a str) -> Option<Self> {
        // Mostly there is nothing around it, and one look is enough.
        let classes = classes(authority);
        if classes & AROUND_HOST == 0 {
            Self::lower(authority, classes)
        } else {
            Self::parse_lower(bare(authority))
        }
    }

    fn lower(text: &'a str, classes: u8) -> Option<Self> {
        let lower = || if classes & UPPER == 0 { text.into() } else { Cow::from(text.to_ascii_lowercase()) };
        is_host(text, classes).then(|| Self(Text::new(lower())))
    }

    /// The host name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The host in an authority, as it is written there.
pub(crate) fn bare(authority: &str) -> &str {
    if classes(authority) & AROUND_HOST == 0 {
        return authority;
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_credentials, host)| host);
    match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or("", |(address, _port)| address),
        None => host.split_once(':').map_or(host, |(host, _port)| host),
    }
}

/// Classes of bytes: what no host has, what is not in lower case, what separates a host from what is around it.
const NO_HOST: u8 = 1;
const UPPER: u8 = 2;
const AROUND_HOST: u8 = 4;

/// The classes of each byte.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0u8;
    while byte < u8::MAX {
        classes[byte as usize] = match byte {
            b'/' | b'?' | b'#' | b'\\' | 0..=b' ' | 127 => NO_HOST,
            b'@' => NO_HOST | AROUND_HOST,
            b'[' | b':' => AROUND_HOST,
            b'A'..=b'Z' => UPPER,
            _ => 0,
        };
        byte += 1;
    }
    // The last byte, as all above ASCII, is of none.
    classes
};

/// The classes of all bytes together. All are looked at, which is quicker than stopping at the first that matters.
fn classes(text: &str) -> u8 {
    text.as_bytes().iter().fold(0, |classes, byte| classes | CLASSES[usize::from(*byte)])
}

fn is_host(text: &str, classes: u8) -> bool {
    text.len() <= HOST_BYTES_MAX && classes & NO_HOST == 0
}

impl Serialize for Host<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Host<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::<'a, { HOST_BYTES_MAX + 1 }>::deserialize(deserializer)?;
        Self::parse(text.0).ok_or_else(|| de::Error::custom("invalid value, expected a host name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_bare() {
        let cases = [
            ("Example.ORG", "example.org"),
            ("example.org:8080", "example.org"),
            ("user:pw@example.org:1", "example.org"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("", ""),
            ("a b", ""),
            ("x/y?z", ""),
            ("[broken", ""),
        ];
        for (authority, expected) in cases {
            let host = Host::of_authority(authority);
            assert_eq!(host.unwrap_or_default().as_str(), expected);
        }
        for byte in 0..128u8 {
            let text = format!("a{}b", char::from(byte));
            let hostlike = !matches!(byte, b'/' | b'?' | b'#' | b'@' | b'\\' | 0..=b' ' | 127);
            assert_eq!(Host::parse(text.as_str()).is_some(), hostlike, "{text:?}");
        }
    }
}
