//! The product as its users meet it: one binary, started on an empty directory.

mod counts;
mod first_hop;
mod harness;
mod kill;
mod replay;
mod start;
mod traffic;
