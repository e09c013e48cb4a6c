//! `forwardQuery`: the query of a visit added to that of the target.
//! As in Shlink, a parameter of the visit replaces those of its name in the target. A target without a hierarchy gets none:
//! in `mailto:` it would be who else gets the mail, and no part of a number in `tel:`.

use http::HeaderValue;
use url::Url;

/// Longest query that is forwarded, in bytes; campaign parameters are a few hundred. A longer one is left out whole:
/// half a parameter would be worse.
const FORWARDED_BYTES_MAX: usize = 1_024;

/// The target with the query added. Nothing when the target takes none, or the query, or the result, is too long to be
/// forwarded.
pub(super) fn merge(location: &HeaderValue, query: &str, bytes_max: usize) -> Option<HeaderValue> {
    if query.len() > FORWARDED_BYTES_MAX {
        return None;
    }
    let mut url = Url::parse(location.to_str().ok()?).ok()?;
    if url.cannot_be_a_base() {
        return None;
    }
    let kept = url.query().unwrap_or_default();
    let mut merged = String::with_capacity(kept.len() + query.len() + 1);
    let replaced = |name: &str| pairs(query).any(|pair| name_of(pair) == name);
    for pair in pairs(kept).filter(|pair| !replaced(name_of(pair))).chain(pairs(query)) {
        if !merged.is_empty() {
            merged.push('&');
        }
        merged.push_str(pair);
    }
    if merged.is_empty() {
        return None;
    }
    // Encodes what must not stand in a query, so that the result is a header value.
    url.set_query(Some(&merged));
    let location = String::from(url);
    (location.len() <= bytes_max).then(|| HeaderValue::from_str(&location).ok()).flatten()
}

fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

fn name_of(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_merged() {
        let cases = [
            ("https://e.example/", "a=1", Some("https://e.example/?a=1")),
            ("https://e.example/?a=1", "b=2", Some("https://e.example/?a=1&b=2")),
            ("https://e.example/?a=1&b=0&a=3", "a=2", Some("https://e.example/?b=0&a=2")),
            ("https://e.example/?a=1#frag", "b=2", Some("https://e.example/?a=1&b=2#frag")),
            ("https://e.example/?a=%20x", "b=\"<>'", Some("https://e.example/?a=%20x&b=%22%3C%3E%27")),
            ("https://e.example/", "b=%0d%0aSet-Cookie:x", Some("https://e.example/?b=%0d%0aSet-Cookie:x")),
            ("https://e.example/", "ä=ö", Some("https://e.example/?%C3%A4=%C3%B6")),
            ("https://e.example/", "b#c", Some("https://e.example/?b%23c")),
            ("https://e.example/?a", "&&", Some("https://e.example/?a")),
            ("https://e.example/", "&", None),
            ("app://open/x?y=1", "a=\"'", Some("app://open/x?y=1&a=%22'")),
            ("app:/x", "a=1", Some("app:/x?a=1")),
            ("mailto:a@e.example?subject=x", "bcc=b@e.example", None),
            ("tel:+15550100", "utm_source=x", None),
        ];
        for (target, query, expected) in cases {
            let location = HeaderValue::from_static(target);
            let merged = merge(&location, query, 2_048);
            assert_eq!(merged.as_ref().map(|value| value.to_str().unwrap()), expected, "{target} {query}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_forwarded() {
        let location = HeaderValue::from_static("https://e.example/");
        assert_eq!(merge(&location, &"a".repeat(1_025), 4_096), None);
        assert_eq!(merge(&location, &"a".repeat(1_000), 1_000), None);
        // Bytes that grow threefold when encoded count as what they become.
        assert_eq!(merge(&location, &"\"".repeat(1_000), 2_048), None);
    }
}
