//! Custom slugs: what a client may choose as an alias.
//! Whether one is taken is the store's to say.

use crate::target::is_unprintable;

/// Aliases that routes of this service have.
const RESERVED: &[&str] = &["rest", "robots.txt", "favicon.ico", ".", "..", ".well-known"];

/// Characters with a meaning in URLs or markup. `+` among them, so that `/{code}+` is always the preview.
const REFUSED: &str = ":/?#[]@!$&'()*+,;=%\"<>\\^`{|}";

/// Why a slug is refused. The messages go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than configured.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A character that can't be in one.
    #[error("holds characters that are reserved in URLs or can't be seen")]
    Characters,
    /// A path of this service.
    #[error("is reserved")]
    Reserved,
}

/// The alias that a chosen slug becomes: as Shlink does, without space around it and with `-` for space in it.
pub fn normalise(text: &str, bytes_max: usize) -> Result<String, SlugError> {
    let slug = text.trim_matches(' ').replace(' ', "-");
    if slug.is_empty() {
        return Err(SlugError::Empty);
    }
    if slug.len() > bytes_max {
        return Err(SlugError::TooLong(bytes_max));
    }
    if RESERVED.iter().any(|reserved| slug.eq_ignore_ascii_case(reserved)) {
        return Err(SlugError::Reserved);
    }
    if is_possible(&slug, bytes_max) { Ok(slug) } else { Err(SlugError::Characters) }
}

/// Whether an alias can exist at all: what can't is unknown without asking anybody.
pub fn is_possible(code: &str, bytes_max: usize) -> bool {
    if code.is_empty() || code.len() > bytes_max {
        return false;
    }
    if code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return true;
    }
    !code.chars().any(|character| REFUSED.contains(character) || is_unprintable(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_normalised_or_refused() {
        let cases: &[(&str, Result<&str, SlugError>)] = &[
            ("promo", Ok("promo")),
            (" my promo ", Ok("my-promo")),
            ("a.b_c~d-e", Ok("a.b_c~d-e")),
            ("grüße", Ok("grüße")),
            ("\u{1f680}", Ok("\u{1f680}")),
            ("restaurant", Ok("restaurant")),
            ("", Err(SlugError::Empty)),
            ("   ", Err(SlugError::Empty)),
            ("a/b", Err(SlugError::Characters)),
            ("a+", Err(SlugError::Characters)),
            ("a%2f", Err(SlugError::Characters)),
            ("<script>", Err(SlugError::Characters)),
            ("a\"b", Err(SlugError::Characters)),
            ("a\nb", Err(SlugError::Characters)),
            ("a\0", Err(SlugError::Characters)),
            ("a\u{202e}b", Err(SlugError::Characters)),
            ("a?b", Err(SlugError::Characters)),
            ("rest", Err(SlugError::Reserved)),
            ("REST", Err(SlugError::Reserved)),
            ("..", Err(SlugError::Reserved)),
            ("robots.txt", Err(SlugError::Reserved)),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Err(SlugError::TooLong(32))),
        ];
        for (text, answer) in cases {
            assert_eq!(normalise(text, 32).as_deref(), answer.as_ref().map(|slug| *slug), "{text:?}");
        }
    }
}
