//! CPU seconds that the collector spends on a million events, without the event log and without ClickHouse: decode, roll
//! up, sample and encode, everything on. `cargo run --release -p collector --example cost`
