//! Takes whole addresses and queries out of free texts: messages of errors, paths that reached no link, attributes of spans.
//!
//! Works by form: what reads as an IP address becomes `<ip>`, what follows `?` in a URL or path becomes `?…`, and
//! credentials and fragments in a URL go. What has no such form can't be recognised here: who writes the text must not put it there.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The text without what must not be stored.
#[must_use]
pub fn scrub(message: &str) -> Cow<'_, str> {
    // All that is looked for has one of these in it.
    if !message.contains(['.', ':', '?', '@']) {
        return Cow::Borrowed(message);
    }
    let mut clean = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        scrub_word(word, &mut clean);
        let next = behind.chars().next().map_or(0, char::len_utf8);
        clean.push_str(&behind[..next]);
        rest = &behind[next..];
    }
    Cow::Owned(clean)
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | '<' | '>' | ',' | ';' | '{' | '}' | '|')
}

fn scrub_word(word: &str, clean: &mut String) {
    let (before, query) = word.split_once('?').map_or((word, None), |(before, query)| (before, Some(query)));
    match before.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_credentials, host)| host);
            scrub_address(scheme, clean);
            clean.push_str("://");
            scrub_address(host, clean);
            scrub_address(path.split('#').next().unwrap_or_default(), clean);
        }
        None => scrub_address(before, clean),
    }
    match query {
        Some("") => clean.push('?'),
        Some(_) => clean.push_str("?…"),
        None => {}
    }
}

/// Copies text, with every address in it replaced. An escape is copied with the letter that belongs to it, as in `\n203.0.113.9`.
/// It ends no query and no credentials: `\u0026` is how some write `&`.
fn scrub_address(text: &str, clean: &mut String) {
    let mut parts = text.split('\\');
    scrub_part(parts.next().unwrap_or_default(), clean);
    for part in parts {
        let (letter, rest) = part.split_at(escape_bytes(part));
        clean.push('\\');
        clean.push_str(letter);
        scrub_part(rest, clean);
    }
}

fn escape_bytes(text: &str) -> usize {
    match text.as_bytes() {
        [b'u', code @ ..] if code.len() >= 4 && code[..4].iter().all(u8::is_ascii_hexdigit) => 5,
        [b'b' | b'f' | b'n' | b'r' | b't', ..] => 1,
        _ => 0,
    }
}

/// Addresses may have brackets, a port, `=` or `/` around them.
fn scrub_part(text: &str, clean: &mut String) {
    for piece in text.split_inclusive(['=', '/', '[', ']', '@']) {
        let core = piece.trim_end_matches(['=', '/', '[', ']', '@']);
        let tail = &piece[core.len()..];
        let trimmed = core.trim_matches(['.', ':']);
        if is_address(core) || is_address(trimmed) || is_v4_with_port(core) {
            clean.push_str("<ip>");
        } else {
            scrub_between_colons(core, clean);
        }
        clean.push_str(tail);
    }
}

/// As in `ipv4:203.0.113.9:443` and `ipv6:2001:db8::17`.
fn scrub_between_colons(text: &str, clean: &mut String) {
    if let Some((scheme, rest)) = text.split_once(':')
        && is_address(rest)
    {
        clean.push_str(scheme);
        clean.push_str(":<ip>");
        return;
    }
    for piece in text.split_inclusive(':') {
        let core = piece.strip_suffix(':').unwrap_or(piece);
        let is_v4 = core.parse::<Ipv4Addr>().is_ok();
        clean.push_str(if is_v4 { "<ip>" } else { core });
        clean.push_str(&piece[core.len()..]);
    }
}

fn is_address(text: &str) -> bool {
    // `::` is an address, and the separator of Rust's paths.
    text.parse::<IpAddr>().is_ok_and(|address| address != IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

fn is_v4_with_port(text: &str) -> bool {
    text.split_once(':').is_some_and(|(address, _)| address.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_queries_go_and_words_stay() {
        let cases = [
            ("link store: database is locked", "link store: database is locked"),
            ("connect to 10.1.2.3:5432 failed", "connect to <ip> failed"),
            ("from 2001:db8::17, again", "from <ip>, again"),
            ("peer [2001:db8::17]:443: reset", "peer [<ip>]:443: reset"),
            ("client=203.0.113.9.", "client=<ip>"),
            ("bad url https://user:pw@example.org/a?token=1 here", "bad url https://example.org/a?… here"),
            ("bad url http://192.0.2.1:80/a", "bad url http://<ip>/a"),
            ("path /x?secret=1&b=2", "path /x?…"),
            ("https://example.org/a#access_token=1", "https://example.org/a"),
            ("really?", "really?"),
            ("/wp-login.php", "/wp-login.php"),
            ("/whois/203.0.113.9/x", "/whois/<ip>/x"),
            ("/http://a:b@198.51.100.7:80/x", "/http://<ip>/x"),
            ("std::io::Error at 12:30:05", "std::io::Error at 12:30:05"),
            ("version 1.2.3", "version 1.2.3"),
            ("ipv4:203.0.113.77:443", "ipv4:<ip>:443"),
            ("ipv4:203.0.113.77", "ipv4:<ip>"),
            ("ipv6:2001:db8::17", "ipv6:<ip>"),
            ("ipv6:[2001:db8::17]:443", "ipv6:[<ip>]:443"),
            ("a:b:203.0.113.77:c", "a:b:<ip>:c"),
            (r#"{"a":"\"203.0.113.77\""}"#, r#"{"a":"\"<ip>\""}"#),
            (r"a\n203.0.113.77\r\u000a203.0.113.78", r"a\n<ip>\r\u000a<ip>"),
            (r"C:\new\file.txt", r"C:\new\file.txt"),
            (r"/x?a=b\u0026token=1 y", "/x?… y"),
            (r"https://u:p\w@example.org/\n203.0.113.77", r"https://example.org/\n<ip>"),
            ("203.0.113.77=https://example.org/whois/203.0.113.9", "<ip>=https://example.org/whois/<ip>"),
            ("ünïcode 10.0.0.1", "ünïcode <ip>"),
        ];
        for (message, expected) in cases {
            assert_eq!(scrub(message), expected);
        }
    }
}
