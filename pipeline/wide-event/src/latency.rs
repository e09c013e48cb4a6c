//! What is slow, and where objectives of latency can be stated. The histogram that is scraped and the one that is stored both have a bucket
//! that ends at each of these, so that they give the same share of slow requests.

/// Inclusive upper bounds in microseconds, ascending. Redirects from memory take well under a millisecond, and objectives
/// are usually stated at 5 ms to 1 s. They are stored: further ones may be added, and none is ever taken away.
pub const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Routes, and from how many microseconds on an answer of theirs is slow. The first one counts that fits; `*` is any. Slow
/// answers are kept by the collector's built-in sampling policy, which a test holds to this, and so their traces can be
/// pointed to before it decides.
pub const SLOW_US: [(&str, u64); 3] = [("/{code}", 100_000), ("/{*code}", 100_000), ("*", 500_000)];

/// From how many microseconds on an answer of a route is slow.
#[must_use]
pub fn slow_us(route: &str) -> u64 {
    let rule = SLOW_US.iter().find(|(known, _)| *known == "*" || *known == route);
    rule.map_or(u64::MAX, |(_, us)| *us)
}
