//! The registry: every field of the event, declared once.
//!
//! The table below makes the struct [`Event`], its JSON and the short way to read that, the list [`FIELDS`] and
//! [`Event::values`]. What the parts of a declaration mean is in [`crate::registry`]. Nothing here decides what a
//! field's value is.

use serde::{Deserialize, Serialize};

use crate::canonical::Line;
use crate::json::{Encoder, Json as _};
use crate::registry::{Field, Kind, Privacy};
use crate::stages::TEXT_BYTES_MAX;
use crate::timestamp::Timestamp;
use crate::value::{Cache, Host, Network, Orphan, Outcome, SpanId, Text, TraceId, Visitor};

/// A string with few distinct values.
pub type Symbol<'a> = Text<'a, 128>;

/// A field's value, seen without its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'e> {
    /// Microseconds since 1970-01-01 UTC.
    Time(i64),
    /// A number, or a 64-bit hash.
    U64(u64),
    /// A number.
    U32(u32),
    /// A number.
    U16(u16),
    /// A number.
    U8(u8),
    /// True or false.
    Flag(bool),
    /// A string.
    Text(&'e str),
    /// A trace id; written as hex.
    Trace(TraceId),
    /// A span id; written as hex.
    Span(SpanId),
    /// A network; written as a prefix.
    Network(Network),
}

/// What turns a field of the struct into a [`Value`].
trait AsValue {
    fn value(&self) -> Value<'_>;
}

macro_rules! as_value {
    ($($type:ty: $self:ident => $value:expr;)*) => {
        $(impl AsValue for $type { fn value(&self) -> Value<'_> { let $self = self; $value } })*
    };
}
as_value! {
    Timestamp: it => Value::Time(it.0);
    u64: it => Value::U64(*it);
    u32: it => Value::U32(*it);
    u16: it => Value::U16(*it);
    u8: it => Value::U8(*it);
    bool: it => Value::Flag(*it);
    Visitor: it => Value::U64(it.0);
    TraceId: it => Value::Trace(*it);
    SpanId: it => Value::Span(*it);
    Network: it => Value::Network(*it);
    Host<'_>: it => Value::Text(it.as_str());
    Outcome: it => Value::Text(it.as_str());
    Cache: it => Value::Text(it.as_str());
    Orphan: it => Value::Text(it.as_str());
}
impl<const MAX: usize> AsValue for Text<'_, MAX> {
    fn value(&self) -> Value<'_> {
        Value::Text(self.as_str())
    }
}

/// A value that need not be written, because a reader fills it in.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A field is `doc, name: Rust type, kind, unit, privacy class, OpenTelemetry name`.
macro_rules! registry {
    (
        required { $($(#[doc = $rdoc:literal])+ $(#[serde($($serde:tt)*)])? $rname:ident: $rtype:ty, $rkind:ident, $runit:literal, $rprivacy:ident, $rotel:literal;)* }
        optional { $($(#[doc = $doc:literal])+ $name:ident: $type:ty, $kind:ident, $unit:literal, $privacy:ident, $otel:literal;)* }
    ) => {
        /// What one hop leaves. Absent fields have their type's default: empty, 0, false.
        ///
        /// Borrows its strings from the message it was read from, or owns them (`Event<'static>`).
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct Event<'a> {
            $($(#[doc = $rdoc])+ $(#[serde($($serde)*)])? pub $rname: $rtype,)*
            $($(#[doc = $doc])+ #[serde(default, skip_serializing_if = "is_default")] pub $name: $type,)*
        }

        /// Every field, in the order of the JSON and of the columns.
        pub const FIELDS: &[Field] = &[
            $(Field {
                name: stringify!($rname), kind: Kind::$rkind, required: true, unit: $runit,
                privacy: Privacy::$rprivacy, otel: $rotel, doc: concat!($($rdoc),+).trim_ascii(),
            },)*
            $(Field {
                name: stringify!($name), kind: Kind::$kind, required: false, unit: $unit,
                privacy: Privacy::$privacy, otel: $otel, doc: concat!($($doc),+).trim_ascii(),
            },)*
        ];

        impl<'a> Event<'a> {
            /// Reads a line in the form that our encoders write; `None` for every other, right or wrong.
            pub(crate) fn from_canonical(line: &'a str) -> Option<Self> {
                let mut line = Line::new(line)?;
                let event = Self {
                    $($rname: line.has(concat!("\"", stringify!($rname), "\":")).then(|| line.value())??,)*
                    $($name: if line.has(concat!("\"", stringify!($name), "\":")) {
                        line.value()?
                    } else {
                        Default::default()
                    },)*
                };
                line.is_at_end().then_some(event)
            }
        }

        impl Event<'_> {
            /// Writes what need not be filled in by a reader, each field with a comma before it.
            pub(crate) fn write(&self, encoder: &mut Encoder) {
                $(encoder.field(concat!(",\"", stringify!($rname), "\":"), &self.$rname);)*
                $(if !self.$name.is_default() {
                    encoder.field(concat!(",\"", stringify!($name), "\":"), &self.$name);
                })*
            }

            /// The values, in the order of [`FIELDS`].
            #[must_use]
            pub fn values(&self) -> [Value<'_>; FIELDS.len()] {
                [$(self.$rname.value(),)* $(self.$name.value(),)*]
            }
        }
    };
}

registry! {
    required {
        /// When the request's head had been read. Wall clock of the instance, UTC.
        ts: Timestamp, Time, "", Public, "timestamp";
        /// The process's name among those of its service, kept over restarts.
        #[serde(borrow)] // one field has to say so for the whole struct to borrow
        instance: Symbol<'a>, Symbol, "", Public, "service.instance.id";
        /// One life of the process: a UUIDv7 made at start.
        boot_id: Symbol<'a>, Symbol, "", Public, "hoplog.boot.id";
        /// Number of the event within its boot, from 1, without gaps: what is missing was lost.
        seq: u64, U64, "1", Public, "hoplog.event.sequence";
        /// HTTP status of the answer; 499 where the client hung up before there was one.
        status: u16, U16, "1", Public, "http.response.status_code";
        /// How the hop ended: ok, client_error, server_error, rate_limited, shed, cancelled, panic.
        outcome: Outcome, Symbol, "", Public, "hoplog.outcome";
    }
    optional {
        /// From the request's head to the last byte of the answer's body handed to the connection. Monotonic clock.
        duration_us: u64, U64, "us", Public, "hoplog.duration";
        /// The caller's X-Request-Id where it was valid, else one made here; returned with the answer.
        request_id: Text<'a, 128>, Text, "", Public, "http.request.header.x-request-id";
        /// W3C trace id, continued from the caller's traceparent or made here.
        trace_id: TraceId, Trace, "", Public, "trace_id";
        /// W3C span id of this hop.
        span_id: SpanId, Span, "", Public, "span_id";
        /// W3C span id of the caller, from its traceparent; none where it sent none that is valid.
        parent_span_id: SpanId, Span, "", Public, "parent_span_id";
        /// The service that answered.
        service: Symbol<'a>, Symbol, "", Public, "service.name";
        /// Its version.
        version: Symbol<'a>, Symbol, "", Public, "service.version";
        /// Where it runs: production, staging, ….
        environment: Symbol<'a>, Symbol, "", Public, "deployment.environment.name";
        /// Request method; OTHER for one that HTTP does not define.
        method: Symbol<'a>, Symbol, "", Public, "http.request.method";
        /// The matched route's template, unmatched or malformed; never the path itself.
        route: Symbol<'a>, Symbol, "", Public, "http.route";
        /// http or https.
        scheme: Symbol<'a>, Symbol, "", Public, "url.scheme";
        /// Host that the request named.
        host: Host<'a>, Symbol, "", Public, "server.address";
        /// Class of what went wrong, in snake case; empty where nothing did.
        error_type: Symbol<'a>, Symbol, "", Public, "error.type";
        /// The error with its causes, for people.
        error_message: Text<'a, 1024>, Text, "", Free, "exception.message";
        /// Domain that the request was looked up under: one of the configured ones, empty for the default one.
        domain: Text<'a, 260>, Symbol, "", Public, "hoplog.link.domain";
        /// Short code that was asked for, known or not; as long as a slug may be.
        code: Text<'a, 255>, Text, "", Public, "hoplog.link.code";
        /// Identifier of the link that the code names; 0 where there is none.
        link_id: u64, U64, "1", Public, "hoplog.link.id";
        /// Version of the link's destination that was served, from 1.
        link_version: u32, U32, "1", Public, "hoplog.link.version";
        /// Place of the redirect rule that chose the destination, from 1; 0 where none did.
        rule: u8, U8, "1", Public, "hoplog.link.rule";
        /// Host of the destination; the rest of the URL is not kept.
        target_host: Host<'a>, Symbol, "", Public, "hoplog.link.target.host";
        /// Whether the hop counts as a click: a GET that was redirected.
        click: bool, Flag, "", Public, "hoplog.click";
        /// Visit that reached no link: base_url, invalid_short_url, regular_404; empty for every other hop.
        orphan: Orphan, Symbol, "", Public, "hoplog.orphan";
        /// Path that such a visit asked for, without query and whole addresses.
        orphan_path: Text<'a, 255>, Text, "", Free, "hoplog.orphan.path";
        /// Tier that answered the look-up: l1, redis, store, stale, negative, none.
        cache: Cache, Symbol, "", Public, "hoplog.cache.tier";
        /// Whether the look-up waited for another hop's identical one.
        coalesced: bool, Flag, "", Public, "hoplog.cache.coalesced";
        /// Time spent waiting for Redis.
        redis_us: u32, U32, "us", Public, "hoplog.redis.duration";
        /// Time spent waiting for the link store.
        store_us: u32, U32, "us", Public, "hoplog.store.duration";
        /// Calls of the link store.
        store_calls: u16, U16, "1", Public, "hoplog.store.calls";
        /// What the hop waited for, in the order of begin: name@start+duration in microseconds since ts, ! behind what failed; at most 8.
        stages: Text<'a, TEXT_BYTES_MAX>, Text, "", Public, "hoplog.stages";
        /// Circuit breaker that was open for this hop; empty where none was.
        breaker: Symbol<'a>, Symbol, "", Public, "hoplog.breaker";
        /// Limiter that slowed or refused the hop; empty where none did.
        limiter: Symbol<'a>, Symbol, "", Public, "hoplog.limiter";
        /// Network of the client: /24 of IPv4, /48 of IPv6.
        client_net: Network, Text, "", Coarse, "hoplog.client.network";
        /// Hash of client and user agent under a secret and the day: tells visitors apart within one day only.
        visitor: Visitor, Hash, "", Pseudonym, "hoplog.visitor";
        /// Country as ISO 3166-1 alpha-2, from a proxy that is trusted to say so.
        country: Text<'a, 2>, Symbol, "", Coarse, "geo.country.iso_code";
        /// Family of the browser.
        browser: Symbol<'a>, Symbol, "", Coarse, "user_agent.name";
        /// Family of the operating system.
        os: Symbol<'a>, Symbol, "", Coarse, "user_agent.os.name";
        /// desktop, mobile, appliance or empty.
        device: Symbol<'a>, Symbol, "", Coarse, "hoplog.device";
        /// Whether a rule says that no person asked.
        bot: bool, Flag, "", Public, "hoplog.bot";
        /// The rule that said so.
        bot_reason: Symbol<'a>, Symbol, "", Public, "hoplog.bot.reason";
        /// Host of the Referer header; the rest of it is not kept.
        referrer_host: Host<'a>, Symbol, "", Coarse, "hoplog.referrer.host";
        /// Identifier of the API key; never the key.
        api_key_id: Symbol<'a>, Symbol, "", Public, "hoplog.api_key.id";
        /// Whether hoplog's own probe asked; outside user SLIs.
        synthetic: bool, Flag, "", Public, "user_agent.synthetic.type";
        /// Whether somebody asked to have this event kept whatever the sampling policy says.
        forced: bool, Flag, "", Public, "hoplog.forced";
        /// Bytes of the request's body that were read.
        bytes_in: u64, U64, "By", Public, "http.request.body.size";
        /// Bytes of the answer's body that were handed to the connection.
        bytes_out: u64, U64, "By", Public, "http.response.body.size";
    }
}

/// What is the same in every event of one boot of one process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// See [`Event::service`].
    pub service: String,
    /// See [`Event::version`].
    pub version: String,
    /// See [`Event::instance`].
    pub instance: String,
    /// See [`Event::boot_id`].
    pub boot_id: String,
    /// See [`Event::environment`].
    pub environment: String,
}

impl<'a> Event<'a> {
    /// Says which process the event is from, without a copy of what it says.
    pub fn stamp(&mut self, resource: &'a Resource) {
        self.service = Text::new(resource.service.as_str());
        self.version = Text::new(resource.version.as_str());
        self.instance = Text::new(resource.instance.as_str());
        self.boot_id = Text::new(resource.boot_id.as_str());
        self.environment = Text::new(resource.environment.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_field_is_whole() {
        let names: BTreeSet<_> = FIELDS.iter().map(|field| field.name).collect();
        let otel: BTreeSet<_> = FIELDS.iter().map(|field| field.otel).collect();
        assert_eq!((names.len(), otel.len()), (FIELDS.len(), FIELDS.len()), "a name twice");
        for field in FIELDS {
            assert!(field.doc.trim().ends_with('.'), "{}", field.name);
            assert_eq!(field.unit == "us", field.name.ends_with("_us"), "{}", field.name);
        }
    }

    #[test]
    fn values_come_in_the_order_of_the_fields() {
        let event = Event { seq: 7, status: 302, code: Text::new("abc"), ..Event::default() };
        let at = |name| FIELDS.iter().position(|field| field.name == name).unwrap();
        let values = event.values();
        assert_eq!(values[at("seq")], Value::U64(7));
        assert_eq!(values[at("status")], Value::U16(302));
        assert_eq!(values[at("code")], Value::Text("abc"));
        assert_eq!(values[at("outcome")], Value::Text("ok"));
    }
}
