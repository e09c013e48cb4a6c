//! From hops to messages: redaction and encoding, in the publisher's task.
//!
//! A message is full at its number of events or its size. Nothing here waits or sends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use event_log::{Message, Packer};
use wide_event::codec::Encoder;
use wide_event::redact::{Client, Redactor};
use wide_event::scrub::scrub;
use wide_event::{Event, Host, Resource, Text};

use crate::config::EmitterConfig;
use crate::identity::Trace;
use crate::record::{Part, Record};
use crate::requests::{Requests, RouteId};

/// Bytes of an event that the first payload is made for.
const EVENT_BYTES: usize = 512;

/// A message and the end of the oldest hop in it.
pub(crate) struct Batch {
    pub(crate) message: Message,
    pub(crate) oldest: Instant,
}

/// Puts events into messages.
pub(crate) struct Batcher {
    redactor: Redactor,
    encoder: Encoder,
    events_max: usize,
    bytes_max: usize,
    payload: Vec<u8>,
    /// Where the log takes messages packed: then the payload's memory is used again, and what is packed is in the cache.
    packer: Option<Packer>,
    /// What a payload is made for: the longest so far and a sixteenth more, since to make it longer later is to copy it.
    payload_bytes: usize,
    events: u32,
    oldest: Option<Instant>,
    origin: Option<Origin>,
}

/// The event that a message's trace is of: the first that is certain to be kept, else the first.
#[derive(Clone, Copy)]
struct Origin {
    trace: Trace,
    certain: bool,
}

impl Batcher {
    pub(crate) fn new(config: &EmitterConfig, redactor: Redactor, packs: bool) -> Self {
        Self {
            redactor,
            encoder: Encoder::default(),
            events_max: config.batch_events_max,
            bytes_max: config.message_bytes_max,
            payload: Vec::new(),
            packer: packs.then(Packer::default),
            payload_bytes: EVENT_BYTES * config.batch_events_max.min(config.message_bytes_max / EVENT_BYTES),
            events: 0,
            oldest: None,
            origin: None,
        }
    }

    /// Adds the event of a hop that has ended; returns the message that was full before or is full now.
    ///
    /// # Errors
    /// The event could not be encoded: a bug. It is left out.
    pub(crate) fn add(
        &mut self,
        record: &Record,
        resource: &Resource,
        requests: &Requests,
    ) -> Result<Option<Batch>, EncodePanicked> {
        self.make_room();
        let start = self.payload.len();
        let Some(sealed) = record.sealed else { return Ok(None) };
        let Self { redactor, encoder, payload, .. } = self;
        let encode = || encoder.encode(&event(record, resource, requests, redactor), payload);
        if catch_unwind(AssertUnwindSafe(encode)).is_err() {
            self.payload.truncate(start);
            return Err(EncodePanicked);
        }
        let origin = Origin { trace: record.trace, certain: sealed.certain };
        let mut full = None;
        if self.payload.len() > self.bytes_max && self.events > 0 {
            let rest = self.payload.split_off(start);
            full = self.take();
            self.make_room();
            self.payload.extend_from_slice(&rest);
        }
        self.events += 1;
        self.oldest.get_or_insert(sealed.at);
        if self.origin.is_none_or(|first| origin.certain && !first.certain) {
            self.origin = Some(origin);
        }
        if self.events as usize >= self.events_max && full.is_none() {
            full = self.take();
        }
        Ok(full)
    }

    fn make_room(&mut self) {
        if self.payload.capacity() == 0 {
            self.payload.reserve(self.payload_bytes);
        }
    }

    /// The message begun, if there is one.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        let oldest = self.oldest.take()?;
        let (bytes, events) = (self.payload.len(), std::mem::take(&mut self.events));
        self.payload_bytes = self.payload_bytes.max(bytes + bytes / 16);
        // What can't be packed goes as it is.
        let packed = self
            .packer
            .as_mut()
            .and_then(|packer| catch_unwind(AssertUnwindSafe(|| packer.pack(&self.payload))).ok().flatten());
        let mut message = match packed {
            Some(packed) => {
                self.payload.clear();
                Message::packed_events(packed, events)
            }
            None => Message::events(std::mem::take(&mut self.payload), events),
        };
        let origin = self.origin.take();
        message.traceparent = origin.map(|Origin { trace, certain }| trace.published(certain).into());
        Some(Batch { message, oldest })
    }
}

/// Encoding an event panicked.
#[derive(Debug)]
pub(crate) struct EncodePanicked;

fn event<'a>(
    record: &'a Record,
    resource: &'a Resource,
    requests: &'a Requests,
    redactor: &mut Redactor,
) -> Event<'a> {
    let mut event = Event {
        ts: record.ts,
        request_id: Text::new(record.text(Part::RequestId)),
        trace_id: record.trace.trace_id,
        span_id: record.trace.span_id,
        parent_span_id: record.trace.parent_span_id,
        method: Text::new(record.method),
        route: Text::new(requests.name(record.route)),
        scheme: Text::new(record.scheme),
        host: Host::of_authority(record.text(Part::Host)).unwrap_or_default(),
        error_type: Text::new(record.error_type),
        error_message: Text::new(scrub(record.text(Part::ErrorMessage))),
        domain: Text::new(record.text(Part::Domain)),
        code: Text::new(record.text(Part::Code)),
        link_id: record.link_id,
        link_version: record.link_version,
        rule: record.rule,
        target_host: Host::parse(record.text(Part::TargetHost)).unwrap_or_default(),
        click: record.click,
        orphan: record.orphan,
        orphan_path: Text::new(scrub(record.text(Part::OrphanPath))),
        cache: record.cache,
        coalesced: record.coalesced,
        redis_us: record.redis_us,
        store_us: record.store_us,
        store_calls: record.store_calls,
        stages: record.stages.as_ref().map(|stages| stages.text()).unwrap_or_default(),
        breaker: Text::new(record.breaker),
        limiter: Text::new(record.limiter),
        country: country(record),
        api_key_id: Text::new(record.text(Part::ApiKeyId)),
        synthetic: record.synthetic,
        forced: record.forced,
        ..Event::default()
    };
    if let Some(sealed) = record.sealed {
        event.seq = sealed.seq;
        event.status = sealed.status;
        event.outcome = sealed.outcome;
        event.duration_us = sealed.duration_us;
        event.bytes_in = sealed.bytes_in;
        event.bytes_out = sealed.bytes_out;
    }
    event.stamp(resource);
    let client = Client {
        address: record.client,
        user_agent: record.get(Part::UserAgent),
        referrer: record.get(Part::Referrer),
    };
    redactor.redact(client, &mut event);
    if record.route == RouteId::MALFORMED {
        // Its headers were never read: that there is no user agent is not known, so no rule says who asked.
        (event.bot, event.bot_reason) = (false, Text::default());
    }
    event
}

fn country(record: &Record) -> Text<'_, 2> {
    let known = record.country != [0; 2];
    Text::new(std::str::from_utf8(&record.country).ok().filter(|_| known).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use event_log::ContentType;
    use wide_event::Outcome;

    use super::*;
    use crate::record::Sealed;

    fn record(seq: u64) -> Record {
        let at = Instant::now();
        let (outcome, certain) = (Outcome::Ok, false);
        let sealed = Sealed {
            seq,
            status: 302,
            outcome,
            duration_us: 7,
            bytes_in: 0,
            bytes_out: 0,
            certain,
            size: 1,
            at,
        };
        let mut record = Record { sealed: Some(sealed), ..Record::default() };
        record.put(Part::Code, format!("code{}", seq % 7).as_bytes());
        record
    }

    /// Messages of the same events, packed and not.
    #[test]
    fn what_is_packed_is_the_message() {
        let (resource, requests) = (Resource::default(), Requests::new());
        // Full by number, full by size with the last event in the next one, and too small to be packed.
        for (events_max, bytes_max, is_packed) in
            [(200, 900_000, true), (1_000, 10_000, true), (3, 900_000, false)]
        {
            let config = EmitterConfig {
                batch_events_max: events_max,
                message_bytes_max: bytes_max,
                ..EmitterConfig::default()
            };
            let batcher = |packs| Batcher::new(&config, Redactor::new([7; 32]), packs);
            let (mut plain, mut packing) = (batcher(false), batcher(true));
            let mut events = 0;
            let mut compare = |plain: Option<Batch>, packed: Option<Batch>| {
                let (Some(plain), Some(packed)) = (&plain, &packed) else {
                    assert!(plain.is_none() && packed.is_none());
                    return;
                };
                let (plain, packed) = (&plain.message, &packed.message);
                events += plain.events;
                assert!(plain.payload.len() <= bytes_max);
                assert_eq!((plain.events, plain.payload.len()), (packed.events, packed.payload_bytes()));
                assert_eq!(
                    packed.content_type == ContentType::NdjsonLz4,
                    is_packed,
                    "{}",
                    plain.payload.len()
                );
                let expected =
                    Packer::default().pack(&plain.payload).unwrap_or_else(|| plain.payload.clone());
                assert!(packed.payload == expected);
            };
            for seq in 1..=2_000 {
                let record = record(seq);
                let add = |batcher: &mut Batcher| batcher.add(&record, &resource, &requests).unwrap();
                compare(add(&mut plain), add(&mut packing));
            }
            if is_packed {
                // The last one may be small.
                events += plain.take().map_or(0, |last| last.message.events);
            } else {
                compare(plain.take(), packing.take());
            }
            assert_eq!(events, 2_000);
        }
    }
}
