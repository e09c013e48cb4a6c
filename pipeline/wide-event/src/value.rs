//! The types of the event's values. Each is bounded and redacted by construction: there is no way to put a whole
//! address, a whole URL or an endless string into one.
//!
//! Conversions from what a request carries are in [`crate::redact`]; nothing here parses a header.

mod host;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::de::{self, Deserialize, Deserializer, Visitor as SerdeVisitor};
use serde::{Serialize, Serializer};

pub(crate) use host::bare;
pub use host::{HOST_BYTES_MAX, Host};

/// A string of at most `MAX` bytes; what is longer is cut at a character's end.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a, const MAX: usize>(Cow<'a, str>);

impl<'a, const MAX: usize> Text<'a, MAX> {
    /// Takes the string over, cut to `MAX` bytes.
    pub fn new(text: impl Into<Cow<'a, str>>) -> Self {
        match text.into() {
            Cow::Borrowed(text) => Self(Cow::Borrowed(cut(text, MAX))),
            Cow::Owned(mut text) => {
                text.truncate(cut(&text, MAX).len());
                Self(Cow::Owned(text))
            }
        }
    }

    /// The string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same text, free of what it was borrowed from.
    #[must_use]
    pub fn into_owned(self) -> Text<'static, MAX> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

/// The longest prefix of `text` that has at most `max` bytes and ends where a character ends.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

impl<const MAX: usize> Serialize for Text<'_, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Text<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow<const MAX: usize>;
        impl<'de, const MAX: usize> SerdeVisitor<'de> for Borrow<MAX> {
            type Value = Text<'de, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text::new(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text::new(cut(text, MAX).to_owned()))
            }
        }
        deserializer.deserialize_str(Borrow::<MAX>)
    }
}

/// Reads a string and hands it to `parse`, without a copy where the input allows.
pub(crate) fn parse_str<'de, D, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct Parse<T>(&'static str, fn(&str) -> Option<T>);
    impl<T> SerdeVisitor<'_> for Parse<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            // The text itself stays out of the message: it may be what redaction exists to remove.
            (self.1)(text).ok_or_else(|| E::custom(format_args!("invalid value, expected {}", self.0)))
        }
    }
    deserializer.deserialize_str(Parse(expected, parse))
}

/// Implements serde for a type that is a string in JSON.
macro_rules! as_string {
    ($type:ty, $expected:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parse_str(deserializer, $expected, <$type>::parse)
            }
        }
    };
}
pub(crate) use as_string;

/// What a lower-case hex digit stands for; 255 for what is none.
const HEX: [u8; 256] = {
    let mut table = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    table
};

/// Reads `N` bytes from exactly `2 N` lower-case hex digits.
fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    // Looked at once, at the end, which spares a branch a digit.
    let mut all = 0;
    let bytes = pairs.map(|pair| {
        let [high, low] = pair.map(|digit| HEX[usize::from(digit)]);
        all |= high | low;
        high << 4 | low
    });
    (rest.is_empty() && all < 16).then_some(bytes)
}

/// Declares an identifier that is a number inside and lower-case hex of full width outside; 0 means none.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident($number:ty), $width:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub $number);

        impl $name {
            /// Reads the hex form, exactly as wide as it is written.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                from_hex(text).map(|bytes| Self(<$number>::from_be_bytes(bytes)))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $width, "x}"), self.0)
            }
        }
        as_string!($name, $expected);
    };
}

hex_id! {
    /// A W3C trace id.
    TraceId(u128), "32", "32 lower-case hex digits"
}
hex_id! {
    /// A W3C span id.
    SpanId(u64), "16", "16 lower-case hex digits"
}
hex_id! {
    /// Tells visitors apart within one day; see [`crate::redact::Redactor`].
    Visitor(u64), "16", "16 lower-case hex digits"
}

/// A client's network: the /24 of an IPv4 address, the /48 of an IPv6 address. The rest is not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// The address is not known.
    #[default]
    Unknown,
    /// The first three bytes of an IPv4 address.
    V4([u8; 3]),
    /// The first six bytes of an IPv6 address.
    V6([u8; 6]),
}

impl Network {
    /// The network of an address; an IPv4 address in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }

    /// Reads `203.0.113.0/24` or `2001:db8:1::/48`. Any other prefix length, and any address with bits behind
    /// the prefix, is refused: it would be more than a network.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Unknown);
        }
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let network = Self::of(address);
        let whole = match (network, address, length) {
            (Self::V4([a, b, c]), IpAddr::V4(v4), "24") => v4 == Ipv4Addr::new(a, b, c, 0),
            (Self::V6(_), IpAddr::V6(v6), "48") => v6.octets()[6..].iter().all(|&byte| byte == 0),
            _ => false,
        };
        whole.then_some(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::V4([a, b, c]) => write!(f, "{a}.{b}.{c}.0/24"),
            Self::V6([a, b, c, d, e, g]) => {
                let address = Ipv6Addr::from([*a, *b, *c, *d, *e, *g, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                write!(f, "{address}/48")
            }
        }
    }
}
as_string!(Network, "an IPv4 /24 or an IPv6 /48");

/// Declares an enum whose values are symbols on the wire.
macro_rules! symbols {
    ($(#[$doc:meta])* $name:ident, $expected:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All values, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads the name on the wire.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        as_string!($name, $expected);
    };
}

symbols! {
    /// How a hop ended.
    Outcome, "an outcome" {
        /// Answered as the caller hoped: 1xx, 2xx, 3xx.
        #[default]
        Ok = "ok",
        /// The request was at fault: 4xx.
        ClientError = "client_error",
        /// The service was at fault: 5xx.
        ServerError = "server_error",
        /// Refused because the caller asks too often.
        RateLimited = "rate_limited",
        /// Refused because the service has too much to do.
        Shed = "shed",
        /// The client hung up before the answer was complete.
        Cancelled = "cancelled",
        /// The handler panicked; the client got a 500.
        Panic = "panic",
    }
}

impl Outcome {
    /// Whether on-call would want to see this very request: the service failed its caller. What a caller did
    /// wrong, or too often, is no failure of the service.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::ServerError | Self::Shed | Self::Cancelled | Self::Panic)
    }
}

symbols! {
    /// Which tier answered the look-up of a link.
    Cache, "a cache tier" {
        /// No link was looked up.
        #[default]
        None = "none",
        /// The process's own memory.
        L1 = "l1",
        /// The shared cache.
        Redis = "redis",
        /// The link store.
        Store = "store",
        /// An entry past its time, since the store could not be asked.
        Stale = "stale",
        /// Remembered as not there.
        Negative = "negative",
    }
}

symbols! {
    /// What a visit asked for that reached no link.
    Orphan, "a kind of orphan visit" {
        /// The hop is no such visit.
        #[default]
        None = "",
        /// The domain itself.
        BaseUrl = "base_url",
        /// A code that is unknown, or whose link may not be followed now.
        InvalidShortUrl = "invalid_short_url",
        /// A path that can't be a code.
        Regular404 = "regular_404",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_a_character_ends() {
        for (text, cut) in [("abcd", "abcd"), ("abcde", "abcd"), ("abcé", "abc"), ("ab€", "ab"), ("", "")]
        {
            assert_eq!(Text::<4>::new(text).as_str(), cut);
            assert_eq!(Text::<4>::new(text.to_owned()).as_str(), cut);
            assert_eq!(
                serde_json::from_str::<Text<'_, 4>>(&serde_json::to_string(text).unwrap()).unwrap().as_str(),
                cut
            );
        }
    }

    #[test]
    fn a_network_is_never_more_than_a_network() {
        let cases = [
            ("203.0.113.0/24", Some(Network::V4([203, 0, 113]))),
            ("2001:db8:1::/48", Some(Network::V6([0x20, 1, 0xd, 0xb8, 0, 1]))),
            ("", Some(Network::Unknown)),
            ("203.0.113.9/24", None),
            ("203.0.113.9", None),
            ("203.0.113.0/32", None),
            ("2001:db8:1::1/48", None),
            ("2001:db8:1::/128", None),
            ("::ffff:203.0.113.0/120", None),
            ("nonsense/24", None),
        ];
        for (text, network) in cases {
            assert_eq!(Network::parse(text), network, "{text}");
            if let Some(network) = network {
                assert_eq!(network.to_string(), text);
            }
        }
        assert_eq!(Network::of("::ffff:203.0.113.9".parse().unwrap()), Network::V4([203, 0, 113]));
    }

    #[test]
    fn ids_have_one_form() {
        assert_eq!(SpanId::parse("00f067aa0ba902b7"), Some(SpanId(0x00f0_67aa_0ba9_02b7)));
        assert_eq!(SpanId(1).to_string(), "0000000000000001");
        for bad in ["00F067AA0BA902B7", "f067aa0ba902b7", "00f067aa0ba902b7a", "+0f067aa0ba902b7", ""] {
            assert_eq!(SpanId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn symbols_have_one_name_each() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(*outcome));
        }
        for cache in Cache::ALL {
            assert_eq!(Cache::parse(cache.as_str()), Some(*cache));
        }
        for orphan in Orphan::ALL {
            assert_eq!(Orphan::parse(orphan.as_str()), Some(*orphan));
        }
    }
}
