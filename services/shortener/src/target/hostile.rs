//! The table of hostile and odd targets, each with its answer.

use super::TargetError::{self, *};
use super::{TargetPolicy, parse};
use crate::config::LinksConfig;
use url::Url;

/// What a target becomes, or why it is refused.
const TABLE: &[(&str, Result<&str, TargetError>)] = &[
    // Right as they are, or after normalisation.
    ("https://example.com", Ok("https://example.com/")),
    ("HTTP://EXAMPLE.COM/Path", Ok("http://example.com/Path")),
    ("https://example.com:443/a", Ok("https://example.com/a")),
    ("https://example.com/a/../b", Ok("https://example.com/b")),
    ("https://example.com/ä?ö=ü#ß", Ok("https://example.com/%C3%A4?%C3%B6=%C3%BC#%C3%9F")),
    ("https://bücher.example/", Ok("https://xn--bcher-kva.example/")),
    ("https://xn--bcher-kva.example/", Ok("https://xn--bcher-kva.example/")),
    ("https://EXAMPLE。com/", Ok("https://example.com/")),
    ("https://ｅｘａｍｐｌｅ.com/", Ok("https://example.com/")),
    ("https://%65xample.com/", Ok("https://example.com/")),
    ("http://0x7f.1/", Ok("http://127.0.0.1/")),
    ("http://2130706433/", Ok("http://127.0.0.1/")),
    ("http://[2001:DB8:0::1]/", Ok("http://[2001:db8::1]/")),
    ("https://a_b.example.com/", Ok("https://a_b.example.com/")),
    ("https://example.com./", Ok("https://example.com./")),
    ("https://intranet/", Ok("https://intranet/")),
    ("https://example.com/?q=a@b", Ok("https://example.com/?q=a@b")),
    ("https://example.com/%0d%0aSet-Cookie:%20a=b", Ok("https://example.com/%0d%0aSet-Cookie:%20a=b")),
    ("https://example.com/%00", Ok("https://example.com/%00")),
    ("https://example.com/%ff%fe", Ok("https://example.com/%ff%fe")),
    ("https://example.com/%", Ok("https://example.com/%")),
    ("https://example.com/<script>", Ok("https://example.com/%3Cscript%3E")),
    ("https://example.com/\"onload=\"x", Ok("https://example.com/%22onload=%22x")),
    ("https://example.com/'", Ok("https://example.com/'")),
    ("https://example.com/?url=javascript:alert(1)", Ok("https://example.com/?url=javascript:alert(1)")),
    ("https://example.com?x", Ok("https://example.com/?x")),
    ("https://example.com#x", Ok("https://example.com/#x")),
    ("https://\u{1f4a9}.example/", Ok("https://xn--ls8h.example/")),
    ("http://own.example.evil.com/", Ok("http://own.example.evil.com/")),
    ("http://127.0.0.1:9000/", Ok("http://127.0.0.1:9000/")),
    // Empty.
    ("", Err(Empty)),
    // Other schemes, also disguised.
    ("javascript:alert(1)", Err(Scheme)),
    ("JaVaScRiPt://example.com/%0aalert(1)", Err(Scheme)),
    ("data:text/html,<script>alert(1)</script>", Err(Scheme)),
    ("vbscript:msgbox", Err(Scheme)),
    ("file:///etc/passwd", Err(Scheme)),
    ("ftp://example.com/", Err(Scheme)),
    ("blob:https://example.com/1", Err(Scheme)),
    ("about:blank", Err(Scheme)),
    ("mailto:a@example.com", Err(Scheme)),
    ("ws://example.com/", Err(Scheme)),
    ("view-source:https://example.com/", Err(Scheme)),
    ("intent://example.com#Intent;end", Err(Scheme)),
    ("httpx://example.com/", Err(Scheme)),
    ("ｈｔｔｐ://example.com/", Err(Scheme)),
    ("example.com", Err(Scheme)),
    ("/relative", Err(Scheme)),
    ("//example.com/", Err(Scheme)),
    ("://example.com/", Err(Scheme)),
    ("%68ttp://example.com/", Err(Scheme)),
    // White space and controls, which the URL parser would drop.
    (" https://example.com/", Err(Unprintable)),
    ("https://example.com/ ", Err(Unprintable)),
    ("https://example.com/a b", Err(Unprintable)),
    ("java\nscript:alert(1)", Err(Unprintable)),
    ("ht\ttp://example.com/", Err(Unprintable)),
    ("https://example.com/\r\nSet-Cookie: a=b", Err(Unprintable)),
    ("https://example.com/\n", Err(Unprintable)),
    ("https://example.com/\0", Err(Unprintable)),
    ("https://example.com/\u{7f}", Err(Unprintable)),
    ("https://example.com/\u{85}", Err(Unprintable)),
    ("https://example.com/\u{2028}", Err(Unprintable)),
    ("https://example.com/\u{202e}gpj.exe", Err(Unprintable)),
    ("https://exam\u{200b}ple.com/", Err(Unprintable)),
    ("https://exam\u{ad}ple.com/", Err(Unprintable)),
    ("\u{feff}https://example.com/", Err(Unprintable)),
    ("https://example.com/\u{e0041}", Err(Unprintable)),
    // Backslashes.
    ("https:\\\\example.com\\", Err(Backslash)),
    ("https://example.com\\@evil.com/", Err(Backslash)),
    // No host.
    ("http:", Err(NoHost)),
    ("http:/", Err(NoHost)),
    ("http://", Err(NoHost)),
    ("http:example.com", Err(NoHost)),
    ("http:/example.com", Err(NoHost)),
    ("http:///example.com", Err(NoHost)),
    ("http://?x", Err(NoHost)),
    ("http://#x", Err(NoHost)),
    ("http://:80/", Err(NoHost)),
    // Credentials.
    ("https://user:password@example.com/", Err(Credentials)),
    ("https://user@example.com/", Err(Credentials)),
    ("https://@example.com/", Err(Credentials)),
    ("https://:@example.com/", Err(Credentials)),
    ("https://own.example@evil.com/", Err(Credentials)),
    // Hosts that are none.
    ("http://exa<mple.com/", Err(Host)),
    ("http://exa%00mple.com/", Err(Host)),
    ("http://exa%0dmple.com/", Err(Host)),
    ("http://exa%20mple.com/", Err(Host)),
    ("http://a..b/", Err(Host)),
    ("http://.example.com/", Err(Host)),
    ("http://../", Err(Host)),
    ("http://-a.example/", Err(Host)),
    ("http://a-.example/", Err(Host)),
    ("http://256.256.256.256/", Err(Host)),
    ("http://1.2.3.4.5/", Err(Host)),
    ("http://[::1/", Err(Host)),
    ("http://[::g]/", Err(Host)),
    ("http://[fe80::1%25eth0]/", Err(Host)),
    ("http://xn--a/", Err(Host)),
    ("http://a,b/", Err(Host)),
    ("http://a*b/", Err(Host)),
    ("http://$(id).example/", Err(Host)),
    // Ports that are none.
    ("http://example.com:0/", Err(Port)),
    ("http://example.com:65536/", Err(Port)),
    ("http://example.com:-1/", Err(Port)),
    ("http://example.com:8o/", Err(Port)),
    // Back to us.
    ("https://own.example/abc", Err(OwnHost)),
    ("http://OWN.example/abc", Err(OwnHost)),
    ("https://own.example./abc", Err(OwnHost)),
    ("https://own.example:443/abc", Err(OwnHost)),
    ("https://ｏｗｎ.example/abc", Err(OwnHost)),
    ("https://%6fwn.example/abc", Err(OwnHost)),
    ("https://other.example:8443/", Err(OwnHost)),
    ("http://127.0.0.1:8080/", Err(OwnHost)),
    ("http://0x7f000001:8080/", Err(OwnHost)),
    ("http://xn--eigen-kra.example/", Err(OwnHost)),
    ("http://eigenä.example/", Err(OwnHost)),
];

/// The same where other schemes are allowed, too.
const OTHER_SCHEMES: &[(&str, Result<&str, TargetError>)] = &[
    ("mailto:a@example.com", Ok("mailto:a@example.com")),
    ("MailTo:A@Example.com?subject=x%20y&body=ä", Ok("mailto:A@Example.com?subject=x%20y&body=%C3%A4")),
    ("mailto:?to=a@example.com", Ok("mailto:?to=a@example.com")),
    ("mailto:\"><script>alert(1)</script>", Ok("mailto:\"><script>alert(1)</script>")),
    ("mailto:a@own.example", Ok("mailto:a@own.example")),
    ("myapp://open/x?y=1", Ok("myapp://open/x?y=1")),
    ("myapp://Open/X/../Z#f", Ok("myapp://Open/Z#f")),
    ("myapp:///x", Ok("myapp:///x")),
    ("myapp:/x", Ok("myapp:/x")),
    ("myapp:x", Ok("myapp:x")),
    ("myapp:javascript:alert(1)", Ok("myapp:javascript:alert(1)")),
    ("ftp://Example.com:21/a", Ok("ftp://example.com/a")),
    ("https://example.com", Ok("https://example.com/")),
    // As before.
    ("javascript:alert(1)", Err(Scheme)),
    ("data:text/html,x", Err(Scheme)),
    ("file:///etc/passwd", Err(Scheme)),
    ("view-source:https://example.com/", Err(Scheme)),
    ("intent://example.com#Intent;S.browser_fallback_url=https://evil.example;end", Err(Scheme)),
    ("myappx://open/", Err(Scheme)),
    ("x-myapp://open/", Err(Scheme)),
    ("mailto", Err(Scheme)),
    ("mailto:a b", Err(Unprintable)),
    ("mailto:a\r\nBcc:b", Err(Unprintable)),
    ("my\tapp://open/", Err(Unprintable)),
    ("myapp:x\u{202e}y", Err(Unprintable)),
    ("myapp:\\\\example.com", Err(Backslash)),
    ("mailto:", Err(Invalid)),
    ("myapp://user@open/x", Err(Credentials)),
    ("myapp://user:password@open/x", Err(Credentials)),
    ("ftp://anonymous@example.com/", Err(Credentials)),
    ("myapp://@/x", Err(Credentials)),
    ("ftp:example.com", Err(NoHost)),
    ("ftp:///example.com", Err(NoHost)),
    ("myapp://:80/", Err(NoHost)),
    ("myapp://open:0/", Err(Port)),
    ("myapp://open:99999/", Err(Port)),
    ("myapp://a..b/", Err(Host)),
    ("myapp://a%20b/", Err(Host)),
    ("myapp://$(id)/", Err(Host)),
    ("myapp://[::g]/", Err(Host)),
    // Ours, however it is written.
    ("ftp://other.example/", Err(OwnHost)),
    ("myapp://other.example/x", Err(OwnHost)),
    ("myapp://OTHER.example./x", Err(OwnHost)),
    ("myapp://%6fther.example/x", Err(OwnHost)),
    ("myapp://0x7f.1:8080/", Err(OwnHost)),
];

fn policy() -> TargetPolicy {
    configured(|_| {})
}

fn with_schemes(schemes: &[&str]) -> TargetPolicy {
    configured(|links| links.schemes = schemes.iter().map(|scheme| (*scheme).to_owned()).collect())
}

fn configured(change: impl FnOnce(&mut LinksConfig)) -> TargetPolicy {
    let own_hosts = ["other.example", "127.0.0.1:8080", "eigenä.example"].map(str::to_owned).to_vec();
    let mut links = LinksConfig { own_hosts, ..LinksConfig::default() };
    change(&mut links);
    TargetPolicy::new(&Url::parse("https://own.example").unwrap(), &links)
}

/// What of a table is not answered as it says.
fn wrong(table: &[(&str, Result<&str, TargetError>)], policy: &TargetPolicy) -> String {
    let mut wrong = String::new();
    for (text, answer) in table {
        let found = parse(text, policy);
        if found.as_ref().map(|target| target.as_str()) != answer.as_ref().map(|text| *text) {
            wrong += &format!("{text:?}: {found:?} instead of {answer:?}\n");
        }
        if let Ok(target) = &found {
            assert_eq!(parse(target.as_str(), policy).as_ref(), Ok(target), "it stays the same");
        }
    }
    wrong
}

#[test]
fn each_target_has_its_answer() {
    let wrong = wrong(TABLE, &policy());
    assert!(wrong.is_empty(), "{wrong}");
    assert!(TABLE.len() >= 100);
}

#[test]
fn other_schemes_are_those_that_are_allowed_and_never_some() {
    let asked = ["https", "ftp", "mailto", "myapp", "javascript", "data", "file", "view-source", "intent"];
    let wrong = wrong(OTHER_SCHEMES, &with_schemes(&asked));
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(parse("http://example.com/", &with_schemes(&asked)), Err(Scheme), "the list is all there is");
    assert_eq!(parse("mailto:a@example.com", &TargetPolicy::default()), Err(Scheme));
    let path = parse("myapp:/a/..//evil.example/", &with_schemes(&asked));
    let path = path.map(|target| Url::parse(target.as_str()).unwrap());
    assert!(!path.is_ok_and(|url| url.has_host()), "a path that becomes a host");
}

#[test]
fn long_targets_are_refused_before_and_after_they_grow() {
    let line = format!("https://example.com/{}", "a".repeat(8_192));
    assert_eq!(parse(&line, &policy()), Err(TooLong(2_048)));
    // Each of these letters is 2 bytes as given and 6 as serialised.
    let growing = format!("https://example.com/{}", "ä".repeat(500));
    assert_eq!(parse(&growing, &policy()), Err(TooLong(2_048)));
    assert!(parse(&growing, &configured(|links| links.url_bytes_max = 8_192)).is_ok());
    let label = format!("https://{}.example/", "a".repeat(64));
    assert_eq!(parse(&label, &policy()), Err(Host));
    let name = format!("https://{}example/", "abcdefg.".repeat(32));
    assert_eq!(parse(&name, &policy()), Err(Host));
}

proptest::proptest! {
    #[test]
    fn whatever_is_accepted_is_a_location_and_stays_the_same(text in "(https?://)?[a-z@:/?#\\\\\\.\\[\\]% \u{0}-\u{ff}]{0,40}") {
        if let Ok(target) = parse(&text, &policy()) {
            proptest::prop_assert!(http::HeaderValue::from_str(target.as_str()).is_ok());
            proptest::prop_assert!(target.as_str().starts_with("http"));
            let again = parse(target.as_str(), &policy());
            proptest::prop_assert_eq!(again.as_ref(), Ok(&target));
        }
    }

    #[test]
    fn so_is_what_is_accepted_of_another_scheme(text in "(myapp|mailto|ftp):/{0,3}[A-Za-z@:/?#\\\\\\.\\[\\]%26 \u{80}-\u{ff}]{0,40}") {
        let policy = with_schemes(&["mailto", "myapp", "ftp"]);
        if let Ok(target) = parse(&text, &policy) {
            proptest::prop_assert!(http::HeaderValue::from_str(target.as_str()).is_ok());
            let url = Url::parse(target.as_str()).unwrap();
            proptest::prop_assert!(!url.authority().contains('@'));
            proptest::prop_assert!(matches!(url.scheme(), "myapp" | "mailto" | "ftp"));
            let again = parse(target.as_str(), &policy);
            proptest::prop_assert_eq!(again.as_ref(), Ok(&target));
        }
    }
}
