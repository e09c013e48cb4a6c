//! Where objectives of latency can be stated. The histogram that is scraped and the one that is stored both have a bucket
//! that ends at each of these, so that they give the same share of slow requests.

/// Inclusive upper bounds in microseconds, ascending. Redirects from memory take well under a millisecond, and objectives
/// are usually stated at 5 ms to 1 s. They are stored: further ones may be added, and none is ever taken away.
pub const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];
