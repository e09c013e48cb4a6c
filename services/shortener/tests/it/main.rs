//! The shortener over real HTTP, on a real SQLite store, on port 0.

// Clippy takes helpers of an integration test for no tests.
#![allow(clippy::unwrap_used)]

mod api;
mod blocklist;
mod bulk;
mod by_visits;
mod cache;
mod codes;
mod cors;
mod csv;
mod cursors;
mod deleted_visits;
mod docs;
mod documented;
mod domains;
mod doubts;
mod events;
mod faulty;
mod hostile;
mod hosts;
mod housekeeping;
mod idempotency;
mod instances;
mod limited_visits;
mod limits;
mod link_totals;
mod lists;
mod log;
mod malformed;
mod openapi;
mod orphans;
mod overload;
mod preconditions;
mod qr;
mod redirects;
mod redis;
mod roles;
mod rule_visits;
mod rules;
mod segments;
mod server;
mod shared_limits;
mod shorten;
mod shutdown;
mod stages;
mod statistics;
mod statuses;
mod store;
mod tags;
mod tiers;
mod tiers_outage;
mod visitors;
mod visits_scope;
mod wrong_keys;
