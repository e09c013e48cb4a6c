//! What a message is in the file: payloads of a page and more are packed, if whoever collected them has not packed them before.
//!
//! The row says in `content_type` that its payload is packed; rows without that are as they were appended, so files of
//! before there was packing are read on. Sums of bytes are always of payloads as they were before.

use bytes::Bytes;

use crate::pack::{Packer, unpack};
use crate::{ContentType, Message, Schema};

/// A message as it is written.
pub(super) struct Stored {
    pub(super) events: u32,
    pub(super) schema: Schema,
    pub(super) content_type: ContentType,
    pub(super) payload: Bytes,
    /// Length of the payload before it was packed.
    pub(super) payload_bytes: usize,
}

impl Stored {
    /// Packs the message, if that makes it smaller and it is not packed yet.
    pub(super) fn of(message: Message, packer: &mut Packer) -> Self {
        let payload_bytes = message.payload_bytes();
        let Message { payload, events, schema, content_type, traceparent: _ } = message;
        let packed = match content_type {
            ContentType::Ndjson => packer.pack(&payload),
            ContentType::NdjsonLz4 | ContentType::Other(_) => None,
        };
        let (content_type, payload) = match packed {
            Some(packed) => (ContentType::NdjsonLz4, packed),
            None => (content_type, payload),
        };
        Self { events, schema, content_type, payload, payload_bytes }
    }

    /// What its row takes, in bytes. Headers count too: they are stored as well.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() + self.schema.as_str().len() + self.content_type.as_str().len()
    }
}

/// The content type and payload of a row as they were before it was packed. A payload that can't be unpacked is given as it
/// is, by the name of what it should be: readers take no such content type, and treat it as any that they do not know.
pub(super) fn unpacked(content_type: &str, payload: Vec<u8>) -> (ContentType, Bytes) {
    let content_type = ContentType::from(content_type);
    if content_type == ContentType::NdjsonLz4 {
        if let Some(payload) = unpack(&payload) {
            return (ContentType::Ndjson, payload.into());
        }
        tracing::error!("a message of the spool is damaged: it can't be unpacked");
    }
    (content_type, payload.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAYLOAD_BYTES_MAX;
    use proptest::prelude::*;

    const PACKED: &str = "application/x-ndjson+lz4";

    fn again(message: &Message) -> (ContentType, Bytes) {
        let stored = Stored::of(message.clone(), &mut Packer::default());
        assert_eq!((stored.events, &stored.schema), (message.events, &message.schema));
        assert_eq!(stored.payload_bytes, message.payload.len());
        unpacked(stored.content_type.as_str(), stored.payload.to_vec())
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
            prop_assert_eq!(again(&message), (message.content_type.clone(), message.payload.clone()));
            // The same if whoever collected it has packed it.
            if let Some(packed) = Packer::default().pack(&message.payload) && !is_other {
                let packed = Message { content_type: ContentType::NdjsonLz4, payload: packed, ..message.clone() };
                prop_assert_eq!(packed.payload_bytes(), message.payload.len());
                let stored = Stored::of(packed, &mut Packer::default());
                prop_assert_eq!(stored.payload_bytes, message.payload.len());
                let again = unpacked(stored.content_type.as_str(), stored.payload.to_vec());
                prop_assert_eq!(again, (message.content_type, message.payload));
            }
        }

        #[test]
        fn damage_is_no_panic_and_no_end_of_memory(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let stored = Stored::of(Message::events(b"{\"seq\":1}\n".repeat(1000), 1000), &mut Packer::default());
            let mut payload = stored.payload.to_vec();
            let at = at.index(payload.len());
            payload[at] = byte;
            payload.truncate(cut.index(payload.len() + 1));
            let (_, unpacked) = unpacked(stored.content_type.as_str(), payload);
            prop_assert!(unpacked.len() <= PAYLOAD_BYTES_MAX);
        }
    }

    #[test]
    fn only_what_gets_smaller_is_packed() {
        let lines = b"{\"seq\":1,\"outcome\":\"ok\"}\n".repeat(1000);
        let stored = Stored::of(Message::events(lines.clone(), 1000), &mut Packer::default());
        assert_eq!(stored.content_type, ContentType::NdjsonLz4);
        assert!(stored.bytes() < lines.len() / 20, "{}", stored.bytes());
        let noise: Vec<u8> =
            (0..10_000u32).flat_map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
        for small_or_noise in [lines[..1000].to_vec(), Vec::new(), noise] {
            let stored = Stored::of(Message::events(small_or_noise.clone(), 1), &mut Packer::default());
            assert_eq!((stored.content_type, &*stored.payload), (ContentType::Ndjson, &*small_or_noise));
        }
    }

    #[test]
    fn what_claims_to_be_endless_is_left_alone() {
        let packed = [&u32::MAX.to_le_bytes()[..], b"block"].concat();
        let (content_type, payload) = unpacked(PACKED, packed.clone());
        assert_eq!((content_type, &payload[..]), (ContentType::NdjsonLz4, &packed[..]));
    }
}
