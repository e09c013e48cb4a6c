//! The page to try the API: there, and allowed to do nothing but that.

use std::collections::BTreeMap;

use crate::server::Server;

#[tokio::test]
async fn page_style_and_script_are_served_and_confined() {
    let server = Server::start().await;
    for (path, kind, part) in [
        ("/rest/v3/docs", "text/html; charset=utf-8", "<main id=\"operations\""),
        ("/rest/v3/docs/style.css", "text/css; charset=utf-8", "prefers-color-scheme: dark"),
        ("/rest/v3/docs/script.js", "text/javascript; charset=utf-8", "fetch(\"/rest/v3/openapi.json\")"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{path}");
        assert!(answer.text().contains(part), "{path}");
        assert_eq!(server.event().await.route.as_str(), path);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
        let policy = answer.header("content-security-policy").to_owned();
        let policy: BTreeMap<_, _> =
            policy.split(';').filter_map(|rule| rule.trim().split_once(' ')).collect();
        for (name, value) in [
            ("default-src", "'none'"),
            ("script-src", "'self'"),
            ("style-src", "'self'"),
            ("connect-src", "'self'"),
            ("frame-ancestors", "'none'"),
            ("base-uri", "'none'"),
            ("form-action", "'none'"),
        ] {
            assert_eq!(policy.get(name), Some(&value), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn nothing_is_loaded_from_elsewhere_and_nothing_becomes_markup() {
    let server = Server::start().await;
    for path in ["/rest/v3/docs", "/rest/v3/docs/style.css", "/rest/v3/docs/script.js"] {
        let text = server.get(path).await.text();
        for forbidden in [
            "http:",
            "https:",
            "//cdn",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "localStorage",
            "sessionStorage",
            "document.cookie",
            "onclick",
            " style=",
        ] {
            assert!(!text.contains(forbidden), "{path} has {forbidden}");
        }
    }
}
