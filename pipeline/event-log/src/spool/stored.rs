//! What a message is in the file. Payloads of a page and more are packed by LZ4: lines of events shrink to a fifth, and
//! what the kernel needs to write a page, twice, and to read it again is far more than packing costs.
//!
//! The row says in `content_type` that its payload is packed; rows without that are as they were appended, so files of
//! before there was packing are read on. Sums of bytes are always of payloads as they were appended.

use std::borrow::Cow;

use bytes::Bytes;
use lz4_flex::block::{compress_into, decompress, get_maximum_output_size, uncompressed_size};

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

/// Makes messages what they are in the file.
#[derive(Default)]
pub(super) struct Packer {
    /// What a message is packed into. One for many: it has room for the worst that may come of a payload, several times what
    /// does, and memory of that size comes from the system a page at a time.
    packed: Vec<u8>,
}

impl Packer {
    /// Packs the message, if that makes it smaller. Takes about a millisecond for 500 kB.
    pub(super) fn store(&mut self, message: Message) -> Stored {
        let Message { payload, events, schema, content_type, traceparent: _ } = message;
        let payload_bytes = payload.len();
        let stored = |content_type, payload| Stored { events, schema, content_type, payload, payload_bytes };
        if content_type == ContentType::Ndjson
            && let Some(packed) = self.pack(&payload)
        {
            return stored(PACKED_NDJSON.into(), packed);
        }
        stored(content_type.as_str().to_owned().into(), payload)
    }

    /// The payload packed, if that is worth it.
    fn pack(&mut self, payload: &[u8]) -> Option<Bytes> {
        let length = u32::try_from(payload.len()).ok()?.to_le_bytes();
        if payload.len() < PACKED_BYTES_MIN {
            return None;
        }
        let bytes_max = length.len() + get_maximum_output_size(payload.len());
        if self.packed.len() < bytes_max {
            self.packed.resize(bytes_max, 0);
        }
        let (head, block) = self.packed.split_at_mut(length.len());
        head.copy_from_slice(&length);
        // It has room for whatever may come of it.
        let packed = head.len() + compress_into(payload, block).ok()?;
        (packed < payload.len()).then(|| Bytes::copy_from_slice(&self.packed[..packed]))
    }
}

impl Stored {
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
        let stored = Packer::default().store(message.clone());
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
            let stored = Packer::default().store(Message::events(b"{\"seq\":1}\n".repeat(1000), 1000));
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
        let stored = Packer::default().store(Message::events(lines.clone(), 1000));
        assert_eq!(stored.content_type, PACKED_NDJSON);
        assert!(stored.bytes() < lines.len() / 20, "{}", stored.bytes());
        let noise: Vec<u8> =
            (0..10_000u32).flat_map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
        for small_or_noise in [lines[..1000].to_vec(), Vec::new(), noise] {
            let stored = Packer::default().store(Message::events(small_or_noise.clone(), 1));
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
