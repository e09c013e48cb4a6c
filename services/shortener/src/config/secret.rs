//! Settings that never show themselves.

use std::fmt;

use serde::Deserialize;

/// A 256-bit key that never shows itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Makes a key of its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

impl TryFrom<String> for SecretKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // blake3::Hash is 32 bytes with a strict hexadecimal parser: no second one is needed here.
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| "not 64 hexadecimal digits")
    }
}

/// A text with a password in it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Makes one of its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "SecretText(empty)" } else { "SecretText(redacted)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_parsed_and_never_shown() {
        let key = SecretKey::try_from("ab".repeat(32)).unwrap();
        assert_eq!(key.expose(), &[0xab; 32]);
        assert_eq!(format!("{key:?}"), "SecretKey(redacted)");
        assert!(SecretKey::try_from("ab".repeat(31)).is_err());
        assert_eq!(format!("{:?}", SecretText::new("postgres://a:b@c/d")), "SecretText(redacted)");
    }
}
