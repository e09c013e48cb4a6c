//! What a message is in the file. Payloads of a page and more are packed by LZ4: lines of events shrink to a fifth, and
//! what the kernel needs to write a page, twice, and to read it again is far more than packing costs.
//!
//! The row says in `content_type` that its payload is packed; rows without that are as they were appended, so files of
//! before there was packing are read on. Sums of bytes are always of payloads as they were appended.

use std::borrow::Cow;

use bytes::Bytes;
use lz4_flex::block::{compress_prepend_size, decompress, uncompressed_size};

use crate::{ContentType, Message, PAYLOAD_BYTES_MAX, Schema};

/// Lines of JSON, packed: their length in four bytes, the lowest first, and a block of LZ4.
const PACKED_NDJSON: &str = "application/x-ndjson+lz4";
/// Smaller payloads stay as they are, bytes: what does not fill a page is not written any faster.
const PACKED_BYTES_MIN: usize = 4096;

/// A message as it is written.
pub(super) struct Stored {
    pub(super) events: u32,
    pub(super) schema: Schema,
    pub(super) content_type: Cow<'static, str>,
    pub(super) payload: Bytes,
    /// Length of the payload as it was appended.
    pub(super) payload_bytes: usize,
}

impl Stored {
    /// Packs the message, if that makes it smaller. Takes about a millisecond for 500 kB.
    pub(super) fn new(message: Message) -> Self {
        let Message { payload, events, schema, content_type, traceparent: _ } = message;
        let payload_bytes = payload.len();
        let stored = |content_type, payload| Self { events, schema, content_type, payload, payload_bytes };
        match content_type {
            ContentType::Ndjson if payload_bytes >= PACKED_BYTES_MIN => {
                let packed = compress_prepend_size(&payload);
                if packed.len() < payload_bytes {
                    stored(PACKED_NDJSON.into(), packed.into())
                } else {
                    stored(ContentType::Ndjson.as_str().to_owned().into(), payload)
                }
            }
            content_type => stored(content_type.as_str().to_owned().into(), payload),
        }
    }

    /// What its row takes, in bytes. Headers count too: they are stored as well.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() + self.schema.as_str().len() + self.content_type.len()
    }
}

/// The content type and payload of a row as they were appended. A payload that can't be unpacked is given as it is, by
/// the name of what it should be: readers know no such content type, and treat it as any that they do not know.
pub(super) fn unpacked(content_type: &str, payload: Vec<u8>) -> (ContentType, Bytes) {
    if content_type == PACKED_NDJSON {
        if let Some(payload) = unpack(&payload) {
            return (ContentType::Ndjson, payload.into());
        }
        tracing::error!("a message of the spool is damaged: it can't be unpacked");
    }
    (ContentType::from(content_type), payload.into())
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (bytes, block) = uncompressed_size(packed).ok()?;
    if bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    decompress(block, bytes).ok().filter(|payload| payload.len() == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(message: &Message) -> (ContentType, Bytes) {
        let stored = Stored::new(message.clone());
        assert_eq!((stored.events, &stored.schema), (message.events, &message.schema));
        assert_eq!(stored.payload_bytes, message.payload.len());
        unpacked(&stored.content_type, stored.payload.to_vec())
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back(
            piece in prop::collection::vec(any::<u8>(), 0..300),
            times in 0..300usize,
            is_other in any::<bool>(),
        ) {
            let content_type = if is_other { ContentType::Other("text/csv".into()) } else { ContentType::Ndjson };
            let message = Message { content_type, ..Message::events(piece.repeat(times), 7) };
            prop_assert_eq!(again(&message), (message.content_type, message.payload));
        }

        #[test]
        fn damage_is_no_panic_and_no_end_of_memory(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let stored = Stored::new(Message::events(b"{\"seq\":1}\n".repeat(1000), 1000));
            let mut payload = stored.payload.to_vec();
            let at = at.index(payload.len());
            payload[at] = byte;
            payload.truncate(cut.index(payload.len() + 1));
            let (_, unpacked) = unpacked(&stored.content_type, payload);
            prop_assert!(unpacked.len() <= PAYLOAD_BYTES_MAX);
        }
    }

    #[test]
    fn only_what_gets_smaller_is_packed() {
        let ndjson = ContentType::Ndjson;
        let lines = b"{\"seq\":1,\"outcome\":\"ok\"}\n".repeat(1000);
        let stored = Stored::new(Message::events(lines.clone(), 1000));
        assert_eq!(stored.content_type, PACKED_NDJSON);
        assert!(stored.bytes() < lines.len() / 20, "{}", stored.bytes());
        let noise: Vec<u8> =
            (0..10_000u32).flat_map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
        for small_or_noise in [lines[..1000].to_vec(), Vec::new(), noise] {
            let stored = Stored::new(Message::events(small_or_noise.clone(), 1));
            assert_eq!((&*stored.content_type, &*stored.payload), (ndjson.as_str(), &*small_or_noise));
        }
    }

    #[test]
    fn what_claims_to_be_endless_is_left_alone() {
        let packed = [&u32::MAX.to_le_bytes()[..], b"block"].concat();
        let (content_type, payload) = unpacked(PACKED_NDJSON, packed.clone());
        assert_eq!((content_type, &payload[..]), (ContentType::Other(PACKED_NDJSON.into()), &packed[..]));
    }
}
