//! What people run when one machine is outgrown: Apache Kafka, several collectors in a group, and a ClickHouse behind a
//! network that fails. Real parts, all of them; the faults come from [`faults`], the traffic from [`traffic`].

mod deployment;
mod faults;
mod outage;
mod scale;
mod traffic;
