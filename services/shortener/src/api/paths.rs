//! Paths as Shlink's clients write them: a slug of several segments stands in them as it is, without encoding.
//! What it is encoded to is one segment, which routes can be made of. QR codes of such slugs are asked for likewise.

use http::Uri;
use http::uri::PathAndQuery;

/// What slugs stand below.
const LINKS: &str = "/rest/v3/short-urls/";

/// What stands below slugs. A slug that ends in one of them has to be encoded by the client.
const BELOW: [&str; 4] = ["/redirect-rules", "/visits", "/stats", "/history"];

/// What stands below slugs at the root, where no other route ends so.
const QR_CODE: &str = "/qr-code";

/// The address with the slug in one segment; nothing when it is as it should be, as nearly all are.
pub(crate) fn joined(uri: &Uri) -> Option<Uri> {
    let (above, slug, below) = parts(uri.path())?;
    if !slug.contains('/') {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let joined = format!("{above}{}{below}{query}", slug.replace('/', "%2F"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(joined).ok()?);
    Uri::from_parts(parts).ok()
}

/// A slug with what stands before and behind it.
fn parts(path: &str) -> Option<(&'static str, &str, &'static str)> {
    if let Some(rest) = path.strip_prefix(LINKS) {
        let below = BELOW.into_iter().find(|below| rest.ends_with(below)).unwrap_or_default();
        return Some((LINKS, rest.strip_suffix(below)?, below));
    }
    let slug = path.strip_suffix(QR_CODE)?.strip_prefix('/')?;
    // No slug begins so.
    (!slug.starts_with("rest/")).then_some(("/", slug, QR_CODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_joined_and_nothing_else_is() {
        for (given, expected) in [
            ("/rest/v3/short-urls/a/b", Some("/rest/v3/short-urls/a%2Fb")),
            ("/rest/v3/short-urls/a/b?domain=s.example", Some("/rest/v3/short-urls/a%2Fb?domain=s.example")),
            ("/rest/v3/short-urls/a/b/c/visits?page=2", Some("/rest/v3/short-urls/a%2Fb%2Fc/visits?page=2")),
            ("/rest/v3/short-urls/a/b/redirect-rules", Some("/rest/v3/short-urls/a%2Fb/redirect-rules")),
            ("http://s.example/rest/v3/short-urls/a/b", Some("http://s.example/rest/v3/short-urls/a%2Fb")),
            ("/rest/v3/short-urls/a", None),
            ("/rest/v3/short-urls/a%2Fb", None),
            ("/rest/v3/short-urls/a/visits", None),
            ("/rest/v3/short-urls/a%2Fb/visits", None),
            ("/rest/v3/short-urls", None),
            ("/rest/v3/tags/a/b", None),
            ("/a/b", None),
            ("/a/b/qr-code?size=50", Some("/a%2Fb/qr-code?size=50")),
            ("/a/qr-code", None),
            ("/a%2Fb/qr-code", None),
            ("/qr-code", None),
            ("/rest/v3/qr-code", None),
        ] {
            let found = joined(&given.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{given}");
        }
    }
}
