//! Custom slugs: what a client may choose as an alias.
//! Whether one is taken is the store's to say.

use crate::target::is_unprintable;

/// Aliases, and first segments of them, that routes of this service have.
const RESERVED: &[&str] = &["rest", "robots.txt", "favicon.ico", ".", "..", ".well-known"];

/// Last segment of the path of a QR code.
const QR_CODE: &str = "qr-code";

/// Characters with a meaning in URLs or markup. `+` among them, so that `/{code}+` is always the preview.
const REFUSED: &str = ":?#[]@!$&'()*+,;=%\"<>\\^`{|}";

/// Why a slug is refused. The messages go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than configured.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A character that can't be in one, or a segment.
    #[error("holds characters that are reserved in URLs or can't be seen, or an empty segment")]
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
    let first = slug.split('/').next().unwrap_or_default();
    let hides_image = slug.rsplit_once('/').is_some_and(|(_, last)| last.eq_ignore_ascii_case(QR_CODE));
    if hides_image || RESERVED.iter().any(|reserved| first.eq_ignore_ascii_case(reserved)) {
        return Err(SlugError::Reserved);
    }
    if is_possible(&slug, bytes_max) { Ok(slug) } else { Err(SlugError::Characters) }
}

/// The prefix of generated aliases that a chosen one becomes; it may be empty, and end a segment.
pub fn normalise_prefix(text: &str, bytes_max: usize) -> Result<String, SlugError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let prefix = text.trim_start_matches(' ').replace(' ', "-");
    if prefix.len() > bytes_max {
        return Err(SlugError::TooLong(bytes_max));
    }
    // What any code makes of it.
    let alias = normalise(&format!("{prefix}0"), usize::MAX)?;
    Ok(alias[..alias.len() - 1].to_owned())
}

/// Whether an alias can exist at all: what can't is unknown without asking anybody. One may have several segments, but
/// none that is empty or that clients resolve.
pub fn is_possible(code: &str, bytes_max: usize) -> bool {
    if code.is_empty() || code.len() > bytes_max {
        return false;
    }
    if code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return true;
    }
    !code.chars().any(|character| REFUSED.contains(character) || is_unprintable(character))
        && !code.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_normalised_or_refused() {
        let cases: &[(&str, Result<&str, SlugError>)] = &[
            ("", Ok("")),
            ("foo", Ok("foo")),
            ("foo/", Ok("foo/")),
            ("foo/b  ar-baz", Ok("foo/b--ar-baz")),
            ("rest", Ok("rest")),
            ("rest/", Err(SlugError::Reserved)),
            ("/foo", Err(SlugError::Characters)),
            ("foo//", Err(SlugError::Characters)),
            ("../", Err(SlugError::Reserved)),
            ("a?", Err(SlugError::Characters)),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Err(SlugError::TooLong(32))),
        ];
        for (text, answer) in cases {
            assert_eq!(normalise_prefix(text, 32).as_deref(), answer.as_ref().map(|slug| *slug), "{text:?}");
        }
    }

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
            ("a/b", Ok("a/b")),
            ("a/b.c/d", Ok("a/b.c/d")),
            ("a/rest", Ok("a/rest")),
            ("/a", Err(SlugError::Characters)),
            ("a/", Err(SlugError::Characters)),
            ("a//b", Err(SlugError::Characters)),
            ("a/../b", Err(SlugError::Characters)),
            ("rest/v3", Err(SlugError::Reserved)),
            ("Rest/v3", Err(SlugError::Reserved)),
            ("a/qr-code", Err(SlugError::Reserved)),
            ("qr-code", Ok("qr-code")),
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
