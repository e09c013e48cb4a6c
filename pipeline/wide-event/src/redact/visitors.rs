//! Visitors: who came, as a hash that tells two apart within one day and says nothing else.
//!
//! Remembers the visitors seen last, since hashing one anew costs ten times as much as finding it. So some whole addresses are
//! kept here, in memory only, as they are in every queue before this; nothing here shows them.

use std::hash::{BuildHasher as _, BuildHasherDefault};
use std::net::IpAddr;

use rustc_hash::FxHasher;

use crate::agent::LOOKED_AT_BYTES;
use crate::recent::Recent;
use crate::value::Visitor;

/// Visitors that are remembered. Who comes again at once (a program, a preview, a page of many links, a probe) comes
/// within the next thousand, and so many fit into a processor's cache.
const REMEMBERED_MAX: usize = 1_024;

/// Hashes visitors under a secret.
pub(super) struct Visitors {
    secret: [u8; 32],
    recent: Recent<(Key, Visitor)>,
    /// What is hashed; kept for its memory.
    hashed: Vec<u8>,
}

/// Day, address, and the number of the user agent.
type Key = (i64, IpAddr, u64);

impl Visitors {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, recent: Recent::new(REMEMBERED_MAX), hashed: Vec::new() }
    }

    /// The visitor of a day. The number stands for the user agent, as far as that is looked at.
    pub(super) fn visitor(&mut self, day: i64, address: IpAddr, user_agent: &[u8], number: u64) -> Visitor {
        let Self { secret, recent, hashed } = self;
        if user_agent.len() > LOOKED_AT_BYTES {
            return hash(secret, day, address, user_agent, hashed);
        }
        let key = (day, address.to_canonical(), number);
        let place = BuildHasherDefault::<FxHasher>::default().hash_one(key);
        recent
            .get(place, |(known, _)| *known == key, || (key, hash(secret, day, address, user_agent, hashed)))
            .1
    }
}

/// Keyed BLAKE3 of the day, the address and the user agent. Without the secret it can't be turned back, and
/// with the day inside it, two days of one visitor have nothing in common.
fn hash(secret: &[u8; 32], day: i64, address: IpAddr, user_agent: &[u8], hashed: &mut Vec<u8>) -> Visitor {
    // At one stroke: a hasher that is fed piece by piece costs several times as much for so few bytes.
    hashed.clear();
    hashed.extend_from_slice(&day.to_le_bytes());
    match address.to_canonical() {
        IpAddr::V4(v4) => hashed.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => hashed.extend_from_slice(&v6.octets()),
    }
    hashed.push(0); // keeps address and agent apart
    hashed.extend_from_slice(user_agent);
    let hash = blake3::keyed_hash(secret, hashed);
    let (first, _) = hash.as_bytes().as_chunks::<8>();
    Visitor(u64::from_le_bytes(first[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Agents;
    use crate::timestamp::Timestamp;
    use proptest::prelude::*;

    /// A redactor's part, with the user agents' numbers as it gives them out.
    struct All(Visitors, Agents);

    impl All {
        fn new(secret: u8) -> Self {
            Self(Visitors::new([secret; 32]), Agents::default())
        }

        fn visitor(&mut self, ts: Timestamp, address: IpAddr, user_agent: &[u8]) -> Visitor {
            let number = self.1.see(user_agent).number;
            self.0.visitor(ts.day(), address, user_agent, number)
        }
    }

    #[test]
    fn visitors_differ_by_address_agent_day_and_secret_and_by_nothing_else() {
        let visitor = |secret: u8, us: i64, address: &str, user_agent: &str| {
            let address = address.parse().unwrap();
            All::new(secret).visitor(Timestamp(us), address, user_agent.as_bytes())
        };
        const DAY: i64 = 86_400_000_000;
        let one = visitor(1, 5, "203.0.113.9", "a");
        assert_eq!(one, visitor(1, DAY - 1, "203.0.113.9", "a"), "the same day");
        assert_eq!(one, visitor(1, 5, "::ffff:203.0.113.9", "a"), "IPv4 in IPv6 clothes");
        for other in [
            visitor(1, DAY, "203.0.113.9", "a"),
            visitor(1, 5, "203.0.113.8", "a"),
            visitor(1, 5, "203.0.113.9", "b"),
            visitor(2, 5, "203.0.113.9", "a"),
        ] {
            assert_ne!(one, other);
        }
    }

    /// A visitor counts once a day, also on the day when hoplog is upgraded: what is hashed, and how, is fixed.
    #[test]
    fn the_hash_of_a_visitor_never_changes() {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let cases = [
            (1, 0, "203.0.113.9", String::new(), "a860bc33c86cb43a"),
            (7, 1_763_764_620_000_000, "203.0.113.9", agent.to_owned(), "3d145da90a6e5c9f"),
            (7, 1_763_764_620_000_000, "2001:db8:1:2:3:4:5:6", agent.to_owned(), "6d6e69e548422acd"),
            // More than a block of BLAKE3, and more than a chunk.
            (9, -1, "::1", "a".repeat(100), "e81b389526f5ac9a"),
            (9, 1 << 50, "198.51.100.77", "é".repeat(3000), "1ca82d3bcc732e3d"),
        ];
        for (secret, us, address, agent, expected) in cases {
            let mut all = All::new(secret);
            for _ in 0..2 {
                let visitor = all.visitor(Timestamp(us), address.parse().unwrap(), agent.as_bytes());
                assert_eq!(visitor.to_string(), expected, "{address}");
            }
        }
    }

    proptest! {
        /// More of them than are remembered, some again and again, and long user agents that differ only at their ends.
        #[test]
        fn who_is_remembered_has_the_same_hash(
            visits in prop::collection::vec((0..3i64, 0..40u32, 0..50u16, prop::bool::weighted(0.1)), 1..3000),
        ) {
            let mut all = All::new(3);
            for (day, address, agent, is_long) in visits {
                let address = IpAddr::from(address.to_be_bytes());
                let agent = format!("{:w$}{agent}", "agent", w = if is_long { LOOKED_AT_BYTES } else { 10 });
                let visitor = all.visitor(Timestamp(day * 86_400_000_000), address, agent.as_bytes());
                let expected = hash(&[3; 32], day, address, agent.as_bytes(), &mut Vec::new());
                prop_assert_eq!(visitor, expected);
            }
        }
    }
}
