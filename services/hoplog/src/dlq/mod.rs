//! `hoplog dlq`.

mod messages;
mod repair;
