//! Limits of clients that go to several instances: by Redis one bucket, and without Redis one on each.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use emitter::Hop;
use shortener::config::LimitsConfig;
use shortener::limits::{Calls, Limits};
use shortener::shared::SharedState;
use shortener::shared::redis::RedisState;
use testbed::shared_redis;

use crate::redis::config;
use crate::server::until;

/// So slow that nothing comes back while the test runs.
fn slow(burst: u32) -> LimitsConfig {
    LimitsConfig {
        visits_per_s: 0.001,
        visits_burst: burst,
        write_per_s: 0.001,
        write_burst: burst,
        ..LimitsConfig::default()
    }
}

fn hop(address: &str) -> Hop {
    let hop = Hop::detached();
    hop.client_address(address.parse::<IpAddr>().unwrap());
    hop
}

#[tokio::test]
async fn what_a_client_took_elsewhere_is_gone_here() {
    let Some(redis) = shared_redis() else { return };
    let config = config(redis, "limits");
    let instance = || Limits::start(&slow(320), Arc::new(RedisState::open(&config)), &[7; 32]);
    let (one, two) = (instance(), instance());
    let client = hop("192.0.2.1");
    let granted = |limits: &Limits, tries: u32| (0..tries).filter(|_| limits.visit(&client).is_ok()).count();
    assert_eq!(granted(&one, 300), 300, "decided here, at once");
    // The other one tells of what it gave, and learns before it has given all of its own bucket.
    let mut more = 0;
    until("learnt", || {
        let refused = two.visit(&client).is_err();
        more += u32::from(!refused);
        refused
    })
    .await;
    assert!(more < 320, "{more}");
    assert!(two.visit(&hop("192.0.2.2")).is_ok(), "others are not concerned");
    until("told", || one.visit(&client).is_err()).await;
}

#[tokio::test]
async fn calls_are_taken_from_one_bucket() {
    let Some(redis) = shared_redis() else { return };
    let config = config(redis, "calls");
    let states = [RedisState::open(&config), RedisState::open(&config)];
    for state in &states {
        while state.ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let instances = states.map(|state| Limits::start(&slow(10), Arc::new(state), &[7; 32]));
    let client = hop("192.0.2.1");
    let mut granted = 0;
    for turn in 0..40 {
        let quota = instances[turn % 2].call(&client, "k1", Calls::Write).await.unwrap();
        granted += u32::from(quota.limited().is_none());
    }
    assert_eq!(granted, 10, "exactly");
}

#[tokio::test]
async fn without_redis_an_instance_limits_alone() {
    let nowhere = shortener::config::RedisConfig {
        url: shortener::config::SecretText::new("redis://127.0.0.1:1"),
        ..Default::default()
    };
    let limits = Limits::start(&slow(5), Arc::new(RedisState::open(&nowhere)), &[7; 32]);
    let client = hop("192.0.2.1");
    assert_eq!((0..20).filter(|_| limits.visit(&client).is_ok()).count(), 5);
    let mut granted = 0;
    for _ in 0..20 {
        granted += u32::from(limits.call(&client, "k1", Calls::Write).await.unwrap().limited().is_none());
    }
    assert_eq!(granted, 5);
}
