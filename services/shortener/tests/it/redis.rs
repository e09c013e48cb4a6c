//! Redis as what instances share: entries, messages, buckets, leases; alone, in a cluster, full of garbage, gone.

use std::time::Duration;

use bytes::Bytes;
use shortener::ShortenerConfig;
use shortener::config::{RedisConfig, SecretText};
use shortener::shared::redis::RedisState;
use shortener::shared::{Bucket, Change, Entry, SharedError, SharedState, Version};
use testbed::{Proxy, Redis, RedisOptions, shared_redis};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

/// A prefix of its own for each test, since Redis is shared.
pub(crate) fn config(redis: &Redis, prefix: &str) -> RedisConfig {
    RedisConfig {
        url: SecretText::new(redis.url()),
        prefix: format!("{prefix}:"),
        // The machine is busy with other tests; no test is about this deadline unless it says so.
        call_ms_max: 5_000,
        ..RedisConfig::default()
    }
}

/// An instance that has connected and subscribed.
async fn instance(config: &RedisConfig) -> (RedisState, broadcast::Receiver<Change>) {
    let state = RedisState::open(config);
    let mut changes = state.changes();
    assert_eq!(changes.recv().await.unwrap(), Change::Unknown, "the subscription begins");
    while state.ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (state, changes)
}

fn entry(id: i64, revision: i64, value: &'static str) -> Entry {
    let value = Bytes::from_static(value.as_bytes());
    Entry { version: Version { id, revision }, value, keep: Duration::from_secs(60) }
}

async fn value(state: &RedisState, key: &str) -> Option<String> {
    let entry = state.get(key).await.unwrap()?;
    assert!(entry.keep <= Duration::from_secs(60) && entry.keep > Duration::ZERO);
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn entries_never_go_back(redis: &Redis) {
    let config = config(redis, "entries");
    let ((one, mut heard_by_one), (two, mut heard_by_two)) =
        (instance(&config).await, instance(&config).await);
    for key in ["a", "b", "c", "s.example\0ü", "{x}"] {
        assert_eq!(value(&one, key).await, None);
        one.put(key, entry(1, 1, "first"), None).await.unwrap();
        assert_eq!(value(&two, key).await.unwrap(), "first");
        let change = Change::Link { domain: "s.example".to_owned(), code: key.to_owned() };
        two.put(key, entry(1, 3, "third"), Some(&change)).await.unwrap();
        // What one read before is written after.
        one.put(key, entry(1, 2, "second"), None).await.unwrap();
        one.put(key, Entry { version: Version::NOTHING, ..entry(0, 0, "nothing") }, None).await.unwrap();
        assert_eq!(value(&one, key).await.unwrap(), "third");
        two.put(key, Entry { version: Version::gone(1), ..entry(0, 0, "gone") }, None).await.unwrap();
        one.put(key, entry(1, 3, "third"), None).await.unwrap();
        assert_eq!(value(&one, key).await.unwrap(), "gone");
        one.put(key, entry(2, 1, "another"), None).await.unwrap();
        assert_eq!(value(&two, key).await.unwrap(), "another");
        assert_eq!(heard_by_one.recv().await.unwrap(), change);
    }
    one.announce(&Change::Keys).await.unwrap();
    assert_eq!(heard_by_two.recv().await.unwrap(), Change::Keys, "its own are no news");
    one.announce(&Change::Domains).await.unwrap();
    assert_eq!(heard_by_two.recv().await.unwrap(), Change::Domains);
}

async fn buckets_and_leases_are_exact(redis: &Redis) {
    let config = config(redis, "buckets");
    let (one, _) = instance(&config).await;
    let (two, _) = instance(&config).await;
    let states = [std::sync::Arc::new(one), std::sync::Arc::new(two)];
    // So slow that nothing comes back while the test runs.
    let bucket = Bucket { per_s: 0.001, burst: 50 };
    let mut takes = JoinSet::new();
    for number in 0..200 {
        let state = states[number % 2].clone();
        takes.spawn(async move { state.take("b", bucket, 1).await.unwrap() });
    }
    let taken = takes.join_all().await;
    assert_eq!(taken.iter().filter(|taken| taken.granted).count(), 50);
    let refused = taken.iter().find(|taken| !taken.granted).unwrap();
    assert_eq!(refused.remaining, 0);
    assert!(refused.retry_after > Duration::from_secs(900), "{refused:?}");
    assert!(refused.full_after > Duration::from_secs(49_000), "{refused:?}");
    let other = states[0].take("c", Bucket { per_s: 2.0, burst: 4 }, 3).await.unwrap();
    assert_eq!((other.granted, other.remaining, other.retry_after), (true, 1, Duration::ZERO));
    assert!(!states[0].take("c", Bucket { per_s: 2.0, burst: 4 }, 5).await.unwrap().granted);

    let keep = Duration::from_secs(60);
    assert!(states[0].lease("l", "one", keep).await.unwrap());
    assert!(!states[1].lease("l", "two", keep).await.unwrap());
    assert!(states[0].lease("l", "one", Duration::from_millis(1)).await.unwrap(), "still ours");
    while !states[1].lease("l", "two", keep).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!states[0].lease("l", "one", keep).await.unwrap(), "it has ended and is another's");
}

#[tokio::test]
async fn one_redis() {
    let Some(redis) = shared_redis() else { return };
    entries_never_go_back(redis).await;
    buckets_and_leases_are_exact(redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_and_what_becomes_of_it_when_it_is_killed() {
    let Some(redis) = Redis::start(RedisOptions { cluster: true, ..RedisOptions::default() }) else { return };
    entries_never_go_back(&redis).await;
    buckets_and_leases_are_exact(&redis).await;
    let (state, mut changes) = instance(&config(&redis, "outage")).await;
    redis.kill();
    assert!(state.get("a").await.is_err());
    redis.restart();
    assert_eq!(changes.recv().await.unwrap(), Change::Unknown);
    for key in ["a", "b", "c"] {
        while state.put(key, entry(1, 1, "again"), None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(value(&state, key).await.unwrap(), "again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_only_a_redis_that_the_authority_knows_is_spoken_to() {
    let Some(redis) = Redis::start(RedisOptions { tls: true, ..RedisOptions::default() }) else { return };
    let known = RedisConfig { ca_file: Some(redis.authority()), ..config(&redis, "tls") };
    assert!(known.url.expose().starts_with("rediss://"));
    let ((one, _), (two, mut heard)) = (instance(&known).await, instance(&known).await);
    let change = Change::Link { domain: String::new(), code: "a".to_owned() };
    one.put("a", entry(1, 1, "first"), Some(&change)).await.unwrap();
    assert_eq!((value(&two, "a").await.unwrap().as_str(), heard.recv().await.unwrap()), ("first", change));
    let configured = ShortenerConfig { redis: known.clone(), ..ShortenerConfig::default() };
    assert_eq!(configured.check(), []);
    // Whom the system trusts has not signed it.
    is_refused(&redis, &RedisConfig { ca_file: None, ..known.clone() }, "unknown ca").await;
    // The certificate is for 127.0.0.1, and not for another address that leads to the same server.
    let other = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let url = SecretText::new(format!("rediss://{}", other.local_addr().unwrap()));
    let server = known.url.expose().trim_start_matches("rediss://").to_owned();
    let relay = tokio::spawn(async move {
        while let Ok((mut client, _)) = other.accept().await {
            let mut server = TcpStream::connect(&server).await.unwrap();
            // However it ends: the client has hung up.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    });
    is_refused(&redis, &RedisConfig { url, ..known }, "bad certificate").await;
    relay.abort();
}

/// Waits until Redis has logged that a client turned away, and why. It answers that client nothing.
async fn is_refused(redis: &Redis, config: &RedisConfig, why: &str) {
    let state = RedisState::open(config);
    let refused = async {
        while !redis.log().to_lowercase().contains(why) {
            assert!(state.ping().await.is_err());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let is_logged = tokio::time::timeout(Duration::from_secs(60), refused).await.is_ok();
    assert!(is_logged, "never: {why}\n{}", redis.log());
    assert!(state.ping().await.is_err());
}

#[tokio::test]
async fn garbage_is_no_entry_and_is_replaced() {
    let Some(redis) = shared_redis() else { return };
    let config = config(redis, "garbage");
    let (state, _) = instance(&config).await;
    let garbage: [&[&str]; 8] = [
        &["SET", "garbage:entry:k", ""],
        &["SET", "garbage:entry:k", "{}"],
        // Longer than any of ours.
        &[
            "EVAL",
            "redis.call('SET', KEYS[1], string.rep('x', 1048576), 'PX', 60000)",
            "1",
            "garbage:entry:k",
        ],
        // The mark of an entry, later than any, that would never end.
        &["EVAL", "redis.call('SET', KEYS[1], '\\1' .. string.rep('\\127', 40))", "1", "garbage:entry:k"],
        &["SET", "garbage:entry:k", "\u{1}short", "EX", "60"],
        &["RPUSH", "garbage:entry:k", "a"],
        &["HSET", "garbage:entry:k", "a", "b"],
        &["XADD", "garbage:entry:k", "*", "a", "b"],
    ];
    for command in garbage {
        redis.command(&["DEL", "garbage:entry:k"]);
        redis.command(command);
        assert_eq!(state.get("k").await.unwrap(), None, "{command:?}");
        state.put("k", entry(1, 1, "right"), None).await.unwrap();
        assert_eq!(value(&state, "k").await.unwrap(), "right", "{command:?}");
    }
    let bucket = Bucket { per_s: 1.0, burst: 1 };
    for garbage in ["nan", "inf", "-inf", "1e999", "x", ""] {
        redis.command(&["SET", "garbage:bucket:b", garbage]);
        let taken = state.take("b", bucket, 1).await.unwrap();
        assert!(taken.full_after <= Duration::from_secs(1), "{garbage}: {taken:?}");
    }
    redis.command(&["PUBLISH", "garbage:changes", "\u{1}\u{2}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_calls_fail_at_once_and_its_return_is_told() {
    let Some(redis) = Redis::start(RedisOptions::default()) else { return };
    let (state, mut changes) = instance(&config(&redis, "gone")).await;
    redis.kill();
    assert!(matches!(state.get("a").await, Err(SharedError::Unavailable(_))));
    redis.restart();
    assert_eq!(changes.recv().await.unwrap(), Change::Unknown, "messages may have been lost");
    while state.ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Halted: connections stay, nothing answers, the deadline ends the call.
    let hasty = RedisConfig { call_ms_max: 20, ..config(&redis, "gone") };
    let (hasty, _) = instance(&hasty).await;
    redis.pause();
    assert!(matches!(hasty.get("a").await, Err(SharedError::Timeout { ms: 20 })));
    redis.resume();
    while hasty.get("a").await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_demoted_is_left_for_the_one_behind_its_address() {
    let Some(old) = Redis::start(RedisOptions::default()) else { return };
    let Some(new) = Redis::start(RedisOptions::default()) else { return };
    let address = |redis: &Redis| redis.url().trim_start_matches("redis://").to_owned();
    let proxy = Proxy::start(&address(&old));
    let url = SecretText::new(format!("redis://{}", proxy.address()));
    let config = RedisConfig { url, ..config(&old, "demoted") };
    let ((one, mut heard_by_one), (two, mut heard_by_two)) =
        (instance(&config).await, instance(&config).await);
    one.put("a", entry(1, 1, "first"), None).await.unwrap();
    // Connections stay, and PING is answered.
    let new_address = address(&new);
    let (host, port) = new_address.split_once(':').unwrap();
    old.command(&["REPLICAOF", host, port]);
    let why = one.put("a", entry(1, 2, "second"), None).await.unwrap_err();
    assert!(format!("{why:?}").contains("ReadOnly"), "{why:?}");
    // For a moment the address still leads to it.
    while !matches!(one.ping().await, Err(SharedError::Unavailable(_))) {
        let _ = one.put("a", entry(1, 2, "second"), None).await;
    }
    proxy.set_upstream(&new_address);
    for state in [&one, &two] {
        while state.put("a", entry(1, 2, "second"), None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert_eq!(value(&two, "a").await.unwrap(), "second");
    assert_eq!(new.command(&["EXISTS", "demoted:entry:a"]).trim(), "1");
    // Messages may have been lost, and others are told where the node is that passes them on.
    assert_eq!(heard_by_one.recv().await.unwrap(), Change::Unknown);
    assert_eq!(heard_by_two.recv().await.unwrap(), Change::Unknown);
    one.announce(&Change::Domains).await.unwrap();
    assert_eq!(heard_by_two.recv().await.unwrap(), Change::Domains);
}

#[tokio::test]
async fn nothing_waits_for_a_redis_that_is_not_there() {
    let config = RedisConfig {
        url: SecretText::new(format!("redis://127.0.0.1:{}", testbed::free_port())),
        ..RedisConfig::default()
    };
    let state = shortener::shared::open(&config);
    assert_eq!(state.kind(), "redis");
    assert!(matches!(state.ping().await, Err(SharedError::Unavailable(_))));
}
