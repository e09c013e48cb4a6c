//! Lines of events packed by LZ4, as a spool keeps them: they shrink to a fifth, and what the kernel needs to write a page,
//! twice, and to read it again is far more than packing costs.

use bytes::Bytes;
use lz4_flex::block::{compress_into, decompress, get_maximum_output_size, uncompressed_size};

use crate::PAYLOAD_BYTES_MAX;

/// Smaller payloads stay as they are, bytes: what does not fill a page is not written any faster.
const PACKED_BYTES_MIN: usize = 4096;

/// Makes payloads of [`ContentType::NdjsonLz4`](crate::ContentType::NdjsonLz4).
#[derive(Debug, Default)]
pub struct Packer {
    /// What a payload is packed into. One for many: it has room for the worst that may come of a payload, several times what
    /// does, and memory of that size comes from the system a page at a time.
    packed: Vec<u8>,
}

impl Packer {
    /// The lines packed; `None` if they are few, or get no smaller. Takes about half a millisecond for 500 kB.
    pub fn pack(&mut self, lines: &[u8]) -> Option<Bytes> {
        let length = u32::try_from(lines.len()).ok()?.to_le_bytes();
        if lines.len() < PACKED_BYTES_MIN {
            return None;
        }
        let bytes_max = length.len() + get_maximum_output_size(lines.len());
        if self.packed.len() < bytes_max {
            self.packed.resize(bytes_max, 0);
        }
        let (head, block) = self.packed.split_at_mut(length.len());
        head.copy_from_slice(&length);
        // It has room for whatever may come of it.
        let packed = head.len() + compress_into(lines, block).ok()?;
        (packed < lines.len()).then(|| Bytes::copy_from_slice(&self.packed[..packed]))
    }
}

/// What was packed; `None` if it is damaged.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (bytes, block) = uncompressed_size(packed).ok()?;
    if bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    decompress(block, bytes).ok().filter(|payload| payload.len() == bytes)
}

/// The length, in bytes, of what was packed, as the packed says; 0 where it says nothing.
pub(crate) fn unpacked_bytes(packed: &[u8]) -> usize {
    uncompressed_size(packed).map_or(0, |(bytes, _)| bytes)
}
