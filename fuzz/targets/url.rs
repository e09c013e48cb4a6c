//! Whatever text is accepted as a target is safe to redirect to, and stays what it is.
//! What is refused, and why, is the table's beside `target::parse`; here only what must hold for all of them.
#![no_main]

mod seeds;

use std::sync::LazyLock;

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use shortener::config::LinksConfig;
use shortener::target::{self, OwnHosts, TargetPolicy};
use url::Url;

/// The default of `links.url_bytes_max`.
const BYTES_MAX: usize = 2_048;

/// Schemes that are allowed beside those of the web; of the last ones, none can be.
const OTHERS: [&str; 6] = ["mailto", "myapp", "ftp", "javascript", "data", "file"];

static BASE: LazyLock<Url> = LazyLock::new(|| Url::parse("https://own.example").expect("a URL"));

static OWN: LazyLock<OwnHosts> = LazyLock::new(|| OwnHosts::new(&BASE, &links(&[]).own_hosts));

static WEB: LazyLock<TargetPolicy> = LazyLock::new(|| TargetPolicy::new(&BASE, &links(&[])));

static OTHER: LazyLock<TargetPolicy> = LazyLock::new(|| TargetPolicy::new(&BASE, &links(&OTHERS)));

fn links(schemes: &[&str]) -> LinksConfig {
    let schemes = ["http", "https"].iter().chain(schemes).map(|scheme| (*scheme).to_owned()).collect();
    let own_hosts = vec!["other.example".to_owned(), "127.0.0.1:8080".to_owned()];
    LinksConfig { own_hosts, schemes, ..LinksConfig::default() }
}

fuzz_target!(init: seeds::urls("corpus/url"), |text: &str| {
    let web = accepted(text, &WEB);
    if let Some(url) = &web {
        assert!(matches!(url.scheme(), "http" | "https"), "{url}");
        assert!(url.host_str().is_some_and(|host| !host.is_empty()), "{url}");
    }
    let other = accepted(text, &OTHER);
    match &other {
        Some(url) if matches!(url.scheme(), "http" | "https") => assert_eq!(web, other, "the same of the web"),
        Some(url) => assert!(matches!(url.scheme(), "mailto" | "myapp" | "ftp"), "{url}"),
        None => assert_eq!(web, None, "the same of the web"),
    }
});

/// What is accepted, after all was looked at that holds for every target.
fn accepted(text: &str, policy: &TargetPolicy) -> Option<Url> {
    let accepted = target::parse(text, policy).ok()?;
    let serialised = accepted.as_str();
    assert!(serialised.len() <= BYTES_MAX);
    assert!(HeaderValue::from_str(serialised).is_ok(), "no header value: {serialised:?}");
    assert!(serialised.bytes().all(|byte| byte.is_ascii_graphic()), "not visible: {serialised:?}");
    let url = Url::parse(serialised).expect("what is accepted is a URL");
    assert!(url.username().is_empty() && url.password().is_none(), "{serialised}");
    assert!(!url.authority().contains('@'), "{serialised}");
    assert!(!OWN.contains(&url), "leads back: {serialised}");
    let again = target::parse(serialised, policy);
    assert_eq!(again.as_ref(), Ok(&accepted), "not the same when read again");
    Some(url)
}
