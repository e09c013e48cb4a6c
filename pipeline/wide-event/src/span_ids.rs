//! Ids of the spans that are made from an event. Pure functions of the event's own ids: whoever needs one, whether it writes a
//! message's header or the span itself, and however often, gets the same. The hop's own span has the event's `span_id`.

use crate::value::{SpanId, TraceId};

/// The span of a hop's stage, counted from 0 in the order of [`crate::stages`].
#[must_use]
pub fn stage(trace_id: TraceId, hop: SpanId, number: u32) -> SpanId {
    derived(trace_id, hop, b"stage", number)
}

/// The span from a hop's end to its event being in the log.
#[must_use]
pub fn publish(trace_id: TraceId, hop: SpanId) -> SpanId {
    derived(trace_id, hop, b"publish", 0)
}

/// The span from the log to the collector having taken the event in.
#[must_use]
pub fn collect(trace_id: TraceId, hop: SpanId) -> SpanId {
    derived(trace_id, hop, b"collect", 0)
}

/// 64 bits of BLAKE3, as evenly spread as random ids are.
fn derived(trace_id: TraceId, hop: SpanId, kind: &[u8], number: u32) -> SpanId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&trace_id.0.to_be_bytes()).update(&hop.0.to_be_bytes()).update(&number.to_be_bytes());
    let hash = hasher.update(kind).finalize();
    let id = hash.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    // 0 means none.
    SpanId(id.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_span_has_an_id_of_its_own_that_never_changes() {
        let mut ids = HashSet::new();
        for (trace, hop) in
            [(1, 1), (1, 2), (2, 1), (u128::MAX, u64::MAX)].map(|(t, h)| (TraceId(t), SpanId(h)))
        {
            ids.extend([hop, publish(trace, hop), collect(trace, hop)].map(|id| (trace.0, id.0)));
            ids.extend((0..8).map(|number| (trace.0, stage(trace, hop, number).0)));
        }
        assert_eq!(ids.len(), 4 * 11);
        // Stored spans point to each other by these.
        let (trace, hop) =
            (TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736), SpanId(0x00f0_67aa_0ba9_02b7));
        let known = [publish(trace, hop), collect(trace, hop), stage(trace, hop, 1)].map(|id| id.to_string());
        assert_eq!(known, ["e78d8532b73a68ab", "3a858895e73e7b8c", "df6827073218cd7e"]);
    }
}
