//! Targets in private networks or on this machine, told by name or address alone: nothing is resolved, so a public
//! name that leads to a private address is not seen.

use std::net::IpAddr;

use url::{Host, Url};

use super::host_of;

/// Whether a target is, by its name or address alone, in a private network or on this machine.
pub(crate) fn is_private(url: &Url) -> bool {
    match Host::parse(&host_of(url)) {
        Ok(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(&name);
            let last = name.rsplit('.').next().unwrap_or_default();
            // In the URL of an app, a name without a dot says what it shall do: `app://open/…`.
            (last == name && url.is_special())
                || matches!(last, "localhost" | "local" | "internal")
                || name.ends_with(".home.arpa")
        }
        Ok(Host::Ipv4(address)) => is_private_address(IpAddr::V4(address)),
        Ok(Host::Ipv6(address)) => is_private_address(IpAddr::V6(address).to_canonical()),
        Err(_) => false,
    }
}

fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            first == 0
                || is_shared
                || address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_targets_are_told_apart() {
        for (url, private) in [
            ("http://127.0.0.1/", true),
            ("http://0x7f.1/", true),
            ("http://10.1.2.3:8080/", true),
            ("http://169.254.169.254/latest/meta-data", true),
            ("http://100.64.0.1/", true),
            ("http://0.0.0.0/", true),
            ("http://[::1]/", true),
            ("http://[::ffff:10.0.0.1]/", true),
            ("http://[fd00::1]/", true),
            ("http://[fe80::1]/", true),
            ("http://localhost/", true),
            ("http://intranet/", true),
            ("http://printer.local/", true),
            ("http://metadata.google.internal./", true),
            ("http://router.home.arpa/", true),
            ("http://192.0.2.1/", false),
            ("http://100.128.0.1/", false),
            ("http://[2001:db8::1]/", false),
            ("http://local.example/", false),
            ("https://example.com/", false),
            ("ftp://intranet/", true),
            ("ssh://0x7f.1/", true),
            ("ssh://[::1]:22/", true),
            ("ssh://LocalHost/", true),
            ("ssh://printer.%6cocal/", true),
            ("app://open/x", false),
            ("mailto:root@localhost", false),
        ] {
            assert_eq!(is_private(&Url::parse(url).unwrap()), private, "{url}");
        }
    }
}
