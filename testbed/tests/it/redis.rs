//! A Redis that answers, forgets when it is killed, and is a cluster on request.

use testbed::{Redis, RedisOptions};

#[test]
fn it_serves_and_comes_back_empty() {
    let Some(redis) = Redis::start(RedisOptions::default()) else { return };
    redis.command(&["SET", "a", "1"]);
    assert_eq!(redis.command(&["GET", "a"]).trim(), "1");
    redis.kill();
    redis.restart();
    assert_eq!(redis.command(&["GET", "a"]).trim(), "");
}

#[test]
fn three_nodes_share_the_slots() {
    let Some(redis) = Redis::start(RedisOptions { cluster: true, ..RedisOptions::default() }) else { return };
    assert_eq!(redis.url().split(',').count(), 3);
    // These three keys are in different thirds of the slots.
    for key in ["a", "b", "c"] {
        redis.command(&["SET", key, key]);
        assert_eq!(redis.command(&["GET", key]).trim(), key);
    }
    redis.kill_node(1);
    redis.restart();
    assert!(redis.command(&["CLUSTER", "INFO"]).contains("cluster_slots_ok:16384"));
}
