//! What of foreign spans is not stored: no secret, no whole address of a client, no query of a URL, whoever sent it. Attributes
//! that hold such things by their nature are dropped, all other texts are cut by their form. The README has the list.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wide_event::Network;
use wide_event::scrub::scrub;

/// Attributes that are dropped with all below them: headers, bodies and parameters are the caller's, users are persons.
const DROPPED_BELOW: [&str; 11] = [
    "http.request.header.",
    "http.response.header.",
    "http.request.body.",
    "http.response.body.",
    "rpc.request.metadata.",
    "rpc.response.metadata.",
    "rpc.grpc.request.metadata.",
    "rpc.grpc.response.metadata.",
    "db.query.parameter.",
    "enduser.",
    "user.",
];

/// Attributes that are dropped: queries of URLs, statements with the values in them, command lines. What only says how much
/// (`http.request.body.size`) goes with what it is about.
const DROPPED: [&str; 14] = [
    "url.query",
    "url.fragment",
    "http.request.body",
    "http.response.body",
    "db.statement",
    "db.query.text",
    "db.connection_string",
    "db.user",
    "graphql.document",
    "messaging.message.body",
    "process.command_line",
    "process.command_args",
    "enduser",
    "user",
];

/// Words of an attribute's name that say that it is a secret.
const SECRET_WORDS: [&str; 12] = [
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "passwd",
    "password",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "jwt",
];

/// The same in two words.
const SECRET_PAIRS: [[&str; 2]; 3] = [["api", "key"], ["access", "key"], ["private", "key"]];

/// Addresses of the operator's own machines, which say where to look, and of no client.
const OWN_ADDRESSES: [&str; 8] = [
    "server.address",
    "server.socket.address",
    "host.ip",
    "net.host.ip",
    "net.sock.host.addr",
    "network.local.address",
    "destination.address",
    "k8s.pod.ip",
];

/// Whether something of an attribute may be stored.
pub(super) fn may_be_stored(key: &str) -> bool {
    let apart = words_apart(key);
    let words: Vec<&str> = apart.split(['.', '_', '-']).collect();
    let secret = words.iter().any(|word| SECRET_WORDS.contains(word))
        || words.array_windows().any(|pair| SECRET_PAIRS.contains(pair));
    let key = key.to_ascii_lowercase();
    !(secret || DROPPED.contains(&&*key) || DROPPED_BELOW.iter().any(|above| key.starts_with(above)))
}

/// A value without whole addresses, credentials in URLs, and queries.
pub(super) fn cut(key: &str, value: String) -> String {
    if OWN_ADDRESSES.contains(&key) {
        return value;
    }
    if key.ends_with(".version") {
        return cut_version(value);
    }
    if let Some(address) = address(&value) {
        return Network::of(address).to_string();
    }
    cut_text(value)
}

/// The same for a text without a name of its own.
pub(super) fn cut_text(text: String) -> String {
    match scrub(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(clean) => clean,
    }
}

/// The same for a version, which may have four numbers, and is no address then.
pub(super) fn cut_version(text: String) -> String {
    if text.parse::<Ipv4Addr>().is_ok() { text } else { cut_text(text) }
}

/// In lower case, with the words of `accessToken` and `APIKey` apart.
fn words_apart(key: &str) -> String {
    let mut apart = String::with_capacity(key.len() + 4);
    let mut before = None;
    let mut letters = key.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins = letter.is_ascii_uppercase()
            && before.is_some_and(|before: char| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || before.is_ascii_uppercase() && letters.peek().is_some_and(char::is_ascii_lowercase)
            });
        if begins {
            apart.push('_');
        }
        apart.push(letter.to_ascii_lowercase());
        before = Some(letter);
    }
    apart
}

/// The address that a value is, with or without a port.
fn address(value: &str) -> Option<IpAddr> {
    let bare = value.trim().trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| value.trim().parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_by_its_name_is_dropped() {
        for key in [
            "http.request.header.authorization",
            "http.request.header.x-forwarded-for",
            "http.response.header.set-cookie",
            "rpc.grpc.request.metadata.x-api-key",
            "url.query",
            "db.statement",
            "db.query.text",
            "db.query.parameter.0",
            "enduser.id",
            "user.email",
            "process.command_args",
            "app.access_token",
            "Password",
            "my.api_key",
            "session-cookie",
            "oauth.accessToken",
            "clientSecret",
            "refreshToken",
            "oauth2Token",
            "app.APIKey",
            "JWTToken",
            "privateKey",
        ] {
            assert!(!may_be_stored(key), "{key}");
        }
        for key in [
            "http.request.method",
            "http.route",
            "user_agent.original",
            "db.query.summary",
            "db.operation.name",
            "gen_ai.usage.input_tokens",
            "code.keystone",
            "inputTokens",
            "monkeyPatched",
            "url.full",
            "client.address",
        ] {
            assert!(may_be_stored(key), "{key}");
        }
    }

    #[test]
    fn addresses_and_queries_are_cut_in_whatever_attribute() {
        for (key, value, expected) in [
            ("client.address", "203.0.113.77", "203.0.113.0/24"),
            ("net.peer.ip", "2001:db8:1:2::3", "2001:db8:1::/48"),
            ("made.up", "203.0.113.77:4711", "203.0.113.0/24"),
            ("made.up", "[2001:db8:1:2::3]:443", "2001:db8:1::/48"),
            ("server.address", "10.0.0.5", "10.0.0.5"),
            ("service.version", "1.2.3.4", "1.2.3.4"),
            ("service.version", "https://example.org/?token=1", "https://example.org/?…"),
            ("rpc.peer", "ipv4:203.0.113.77:443", "ipv4:<ip>:443"),
            ("body", r#"{"a":"\n203.0.113.77"}"#, r#"{"a":"\n<ip>"}"#),
            ("url.full", "https://u:p@example.org/a?token=1#x", "https://example.org/a?…"),
            ("http.target", "/a?token=1", "/a?…"),
            ("exception.message", "connect to 203.0.113.77:80: refused", "connect to <ip> refused"),
            ("list", r#"["203.0.113.77","b"]"#, r#"["<ip>","b"]"#),
            ("http.route", "/{code}", "/{code}"),
        ] {
            assert_eq!(cut(key, value.to_owned()), expected, "{key}");
        }
    }
}
