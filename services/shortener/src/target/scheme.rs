//! Schemes that targets may have beside those of the web, where whoever runs the service allows them, and those that
//! nobody can allow. What an allowed one does at its visitors' is not known here.

/// Schemes that stay refused whatever is configured: following such a link, or showing it, is an attack or useless to all but
/// attackers. They are the known ones: every program that is installed may bring more, so nobody should allow a scheme whose
/// handler he would not trust with any URL.
const NEVER: &[&str] = &[
    // The URL is itself a program, or a page with one, which runs as part of who shows the link.
    "data",
    "javascript",
    "livescript",
    "mhtml",
    "mocha",
    "vbscript",
    // They name what is on the visitor's machine, or pages of the browser itself.
    "about",
    "blob",
    "brave",
    "chrome",
    "chrome-extension",
    "chrome-search",
    "chrome-untrusted",
    "content",
    "devtools",
    "edge",
    "file",
    "filesystem",
    "moz-extension",
    "opera",
    "res",
    "resource",
    "safari-web-extension",
    "vivaldi",
    // There is another URL in them, which nobody has checked: an `intent:` has its `browser_fallback_url`, those of browsers
    // and of Office the page or the document that is to be opened.
    "android-app",
    "feed",
    "firefox",
    "firefox-focus",
    "googlechrome",
    "googlechromes",
    "intent",
    "itms-services",
    "jar",
    "microsoft-edge",
    "ms-access",
    "ms-excel",
    "ms-infopath",
    "ms-powerpoint",
    "ms-project",
    "ms-publisher",
    "ms-spd",
    "ms-visio",
    "ms-word",
    "view-source",
    "wyciwyg",
    "x-safari-http",
    "x-safari-https",
    // Tools of an operating system, or macros of an office program, that links have made run commands.
    "hcp",
    "its",
    "mk",
    "ms-appinstaller",
    "ms-its",
    "ms-msdt",
    "ms-officecmd",
    "search",
    "search-ms",
    "shell",
    "vnd.libreoffice.command",
    "vnd.sun.star.script",
];

/// Why a scheme can't be allowed. The messages go to whoever configures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SchemeError {
    /// It is none, or not in lower case.
    #[error("is no scheme in lower case: a letter, then letters, digits, `+`, `-` and `.`")]
    Invalid,
    /// It is one of those that are always refused.
    #[error("runs code, reaches the visitor's own machine or hides another URL, and is never allowed")]
    Never,
}

/// Whether targets may be allowed to have this scheme, in the form of RFC 3986 (3.1) and in lower case.
pub(crate) fn check_scheme(scheme: &str) -> Result<(), SchemeError> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(is_part) {
        return Err(SchemeError::Invalid);
    }
    if NEVER.contains(&scheme) { Err(SchemeError::Never) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_have_a_form_and_some_are_never_allowed() {
        for scheme in ["http", "https", "ftp", "mailto", "tel", "web+x", "com.example.my-app", "h323", "x"] {
            assert_eq!(check_scheme(scheme), Ok(()), "{scheme}");
        }
        for scheme in
            ["", "Mailto", "1x", "+x", ".x", "my app", "mailto:", "my_app", "https://", "ｆｔｐ", "ä", "*"]
        {
            assert_eq!(check_scheme(scheme), Err(SchemeError::Invalid), "{scheme}");
        }
        let told =
            ["chrome-untrusted", "firefox", "itms-services", "ms-word", "search", "vnd.sun.star.script"];
        for scheme in NEVER.iter().chain(&told) {
            assert_eq!(check_scheme(scheme), Err(SchemeError::Never), "{scheme}");
        }
    }
}
