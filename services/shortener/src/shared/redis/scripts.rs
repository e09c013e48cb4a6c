//! What Redis does in one step: scripts that run inside it, each on one key, so that a cluster can place it.
//! Times are Redis' own: the clocks of instances differ.

use std::sync::LazyLock;

use redis::aio::ConnectionLike;
use redis::{ErrorKind, FromRedisValue, RedisResult, Script, ServerErrorKind, cmd};

/// The entry under a key with how many milliseconds it has left. What is too long to be an entry, or of another type,
/// is none.
pub(super) static GET: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local length = redis.pcall('STRLEN', KEYS[1])
        if type(length) ~= 'number' or length == 0 or length > tonumber(ARGV[1]) then return false end
        return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}",
    )
});

/// Keeps an entry unless a later one is kept, publishes, and returns whether it kept it. A value that never ends is none of ours. Where Redis is
/// full, nothing is kept rather than what is older, and the message goes out all the same.
pub(super) static PUT: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"local kept, later = redis.pcall('GETRANGE', KEYS[1], 0, 16), false
        if type(kept) == 'string' and #kept == 17 and kept:byte(1) == 1 and redis.call('PTTL', KEYS[1]) > 0 then
            local id, revision = struct.unpack('>I8I8', kept, 2)
            local new_id, new_revision = struct.unpack('>I8I8', ARGV[1], 2)
            later = id > new_id or (id == new_id and revision > new_revision)
        end
        if not later then
            local set = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
            if type(set) == 'table' and set.err then redis.call('DEL', KEYS[1]) end
        end
        if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
        return later and 0 or 1",
    )
});

/// Takes tokens out of a bucket: the generic cell rate algorithm (ITU-T I.371), which needs of a bucket only the time, in
/// microseconds, at which it will be full. Arguments: microseconds a token, burst, tokens.
pub(super) static TAKE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local each, room = tonumber(ARGV[1]), ARGV[1] * ARGV[2]
        local kept = redis.pcall('GET', KEYS[1])
        local full_at = type(kept) == 'string' and tonumber(kept) or now
        if not (full_at >= now) then full_at = now end
        if full_at > now + room then full_at = now + room end
        local after = full_at + each * ARGV[3]
        local granted, retry = 0, 0
        if after <= now + room then
            granted, full_at = 1, after
            if after > now then
                redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
            end
        else
            retry = after - now - room
        end
        return {granted, math.floor((room - full_at + now) / each), math.ceil(retry), math.ceil(full_at - now)}",
    )
});

/// Whether a holder has a lease from now on, for some milliseconds.
pub(super) static LEASE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
        if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});

/// A script, known to Redis by its hash once it has run.
pub(super) struct Lua {
    text: &'static str,
    script: Script,
}

impl Lua {
    fn new(text: &'static str) -> Self {
        Self { text, script: Script::new(text) }
    }

    /// Runs it by its hash, and by its text where Redis does not know it yet. Not as the library does it, by loading it:
    /// in a cluster that asks every node, and fails while one is down.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        key: &str,
        arguments: &[&[u8]],
    ) -> RedisResult<T> {
        let call = |name, script: &str| {
            let mut call = cmd(name);
            call.arg(script).arg(1).arg(key).arg(arguments);
            call
        };
        match call("EVALSHA", self.script.get_hash()).query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", self.text).query_async(connection).await
            }
            answer => answer,
        }
    }
}
