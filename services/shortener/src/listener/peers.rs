//! How many connections each client has, so that none takes the places of all others. Who counts as one client, and
//! whom no limit holds for, is as with the limits of requests; trusted proxies come for many, and are not counted.
//! Looked at when a connection begins and ends, and never in between.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client_addr::{Network, Prefixes};
use crate::config::ShortenerConfig;

/// The connections of all clients.
pub(super) struct Peers {
    each_max: usize,
    prefixes: Prefixes,
    /// Networks that are not counted.
    exempt: Vec<Network>,
    /// Of each client that has any: never more than there are connections.
    open: Mutex<HashMap<u128, usize>>,
}

/// A place of a client's, given back when dropped.
pub(super) struct PeerPlace(Option<(Arc<Peers>, u128)>);

impl Peers {
    pub(super) fn new(config: &ShortenerConfig) -> Arc<Self> {
        let (limits, http) = (&config.limits, &config.http);
        Arc::new(Self {
            each_max: http.connections_per_client_max,
            prefixes: Prefixes::new(limits.ipv4_prefix, limits.ipv6_prefix),
            exempt: [&*http.trusted_proxies, &*limits.allow].concat(),
            open: Mutex::default(),
        })
    }

    /// A place for a connection of a peer, unless it has as many as it may.
    pub(super) fn admit(this: &Arc<Self>, peer: IpAddr) -> Option<PeerPlace> {
        if this.exempt.iter().any(|network| network.contains(peer)) {
            return Some(PeerPlace(None));
        }
        let client = this.prefixes.client(peer);
        let mut all = this.open();
        let open = all.entry(client).or_default();
        // Never the first: the limit is positive.
        if *open >= this.each_max {
            return None;
        }
        *open += 1;
        Some(PeerPlace(Some((Arc::clone(this), client))))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u128, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let Some((peers, client)) = &self.0 else { return };
        let mut all = peers.open();
        if let Some(open) = all.get_mut(client) {
            *open -= 1;
            if *open == 0 {
                all.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_so_many_and_proxies_have_all() {
        let mut config = ShortenerConfig::default();
        config.http.connections_per_client_max = 2;
        config.http.trusted_proxies = vec!["203.0.113.0/24".parse().unwrap()];
        let peers = Peers::new(&config);
        let mut places = Vec::new();
        for (peer, admitted) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::1", true),
            ("203.0.113.7", true),
            ("203.0.113.7", true),
            ("203.0.113.7", true),
            ("127.0.0.1", true),
            ("127.0.0.1", true),
            ("127.0.0.1", true),
        ] {
            let place = Peers::admit(&peers, peer.parse().unwrap());
            assert_eq!(place.is_some(), admitted, "{peer}");
            places.extend(place);
        }
        assert_eq!(peers.open().len(), 4);
        places.clear();
        assert!(peers.open().is_empty(), "nobody is remembered");
        assert!(Peers::admit(&peers, "192.0.2.1".parse().unwrap()).is_some());
    }
}
