//! Whatever text is accepted as a target is safe to redirect to, and stays what it is.
//! What is refused, and why, is the table's beside `target::parse`; here only what must hold for all of them.
#![no_main]

mod seeds;

use std::sync::LazyLock;

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use shortener::target::{self, OwnHosts};
use url::Url;

/// The default of `links.url_bytes_max`.
const BYTES_MAX: usize = 2_048;

static OWN: LazyLock<OwnHosts> = LazyLock::new(|| {
    let base = Url::parse("https://own.example").expect("a URL");
    OwnHosts::new(&base, &["other.example".to_owned(), "127.0.0.1:8080".to_owned()])
});

fuzz_target!(init: seeds::urls("corpus/url"), |text: &str| {
    let Ok(accepted) = target::parse(text, BYTES_MAX, &OWN) else { return };
    let serialised = accepted.as_str();
    assert!(serialised.len() <= BYTES_MAX);
    assert!(HeaderValue::from_str(serialised).is_ok(), "no header value: {serialised:?}");
    assert!(serialised.bytes().all(|byte| byte.is_ascii_graphic()), "not visible: {serialised:?}");
    let url = Url::parse(serialised).expect("what is accepted is a URL");
    assert!(matches!(url.scheme(), "http" | "https"), "{serialised}");
    assert!(url.host_str().is_some_and(|host| !host.is_empty()), "{serialised}");
    assert!(url.username().is_empty() && url.password().is_none(), "{serialised}");
    assert!(!url.authority().contains('@'), "{serialised}");
    assert!(!OWN.contains(&url), "leads back: {serialised}");
    let again = target::parse(serialised, BYTES_MAX, &OWN);
    assert_eq!(again.as_ref(), Ok(&accepted), "not the same when read again");
});
