//! ClickHouse's own block framing (`compress=1`, `decompress=1`): CityHash128 1.0.2, method, two sizes, data.
//!
//! It writes LZ4 and reads LZ4 and stored blocks; `ZSTD` blocks are refused by name. The standard encodings
//! of HTTP (gzip, deflate, LZ4 frames) are `http::encoding`'s.

use std::io::{self, Read};

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const METHOD_LZ4: u8 = 0x82;
const METHOD_STORED: u8 = 0x02;

/// The largest block that is read: ClickHouse's own limit is 1 GiB, but a header must not be able to ask for
/// that much of a small machine. Clients write 1 MiB blocks; the `clickhouse` crate, one per `send`.
pub(crate) const BLOCK_BYTES_MAX: usize = 256 << 20;

/// What a response is cut into, as ClickHouse does.
const RESPONSE_BLOCK_BYTES: usize = 1 << 20;

/// Frames `data` as LZ4 blocks, appended to `out`.
pub(crate) fn write_blocks(data: &[u8], out: &mut Vec<u8>) {
    for block in data.chunks(RESPONSE_BLOCK_BYTES) {
        let start = out.len();
        out.resize(start + CHECKSUM_BYTES + HEADER_BYTES, 0);
        out.extend_from_slice(&lz4_flex::block::compress(block));
        let framed = out.len() - start - CHECKSUM_BYTES;
        let (checksum, frame) = out[start..].split_at_mut(CHECKSUM_BYTES);
        frame[0] = METHOD_LZ4;
        // Both fit: a block is at most 1 MiB and LZ4 grows by less than one part in 200.
        frame[1..5].copy_from_slice(&u32::try_from(framed).unwrap_or(u32::MAX).to_le_bytes());
        frame[5..9].copy_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_le_bytes());
        checksum.copy_from_slice(&checksum_of(frame));
    }
}

fn checksum_of(frame: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_rs::cityhash_102_128(frame).rotate_right(64).to_le_bytes()
}

/// What is wrong with a compressed body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("Checksum doesn't match: corrupted data")]
    Checksum,
    #[error("Unknown compression method 0x{0:02x}; the engine reads LZ4 and stored blocks")]
    Method(u8),
    #[error("Too large compressed block: {0} bytes")]
    TooLarge(usize),
    #[error("Cannot decompress an LZ4 block")]
    Data,
}

/// Reads blocks from `inner` and yields what is in them.
pub(crate) struct BlockReader<R> {
    inner: R,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, block: Vec::new(), at: 0 }
    }

    /// False at the end, which may only be between blocks.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut head = [0; CHECKSUM_BYTES + HEADER_BYTES];
        let first = loop {
            match self.inner.read(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if first == 0 {
            return Ok(false);
        }
        self.inner.read_exact(&mut head[first..])?;
        let method = head[16];
        let size =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (framed, plain) = (size(17), size(21));
        let invalid = |error| Err(io::Error::new(io::ErrorKind::InvalidData, error));
        if !matches!(method, METHOD_LZ4 | METHOD_STORED) {
            return invalid(FrameError::Method(method));
        }
        if !(HEADER_BYTES..=BLOCK_BYTES_MAX).contains(&framed) || plain > BLOCK_BYTES_MAX {
            return invalid(FrameError::TooLarge(framed.max(plain)));
        }
        let mut frame = head[CHECKSUM_BYTES..].to_vec();
        // Grows as data arrives: a header alone reserves nothing.
        (&mut self.inner).take((framed - HEADER_BYTES) as u64).read_to_end(&mut frame)?;
        if frame.len() != framed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if checksum_of(&frame) != head[..CHECKSUM_BYTES] {
            return invalid(FrameError::Checksum);
        }
        self.at = 0;
        self.block = match method {
            METHOD_STORED => frame.split_off(HEADER_BYTES),
            _ => match lz4_flex::block::decompress(&frame[HEADER_BYTES..], plain) {
                Ok(block) if block.len() == plain => block,
                _ => return invalid(FrameError::Data),
            },
        };
        Ok(true)
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let n = out.len().min(self.block.len() - self.at);
        out[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(framed: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        BlockReader::new(framed).read_to_end(&mut out).map(|_| out)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(data in proptest::collection::vec(0u8..4, 0..4000), times in 1usize..600) {
            let data = data.repeat(times);
            let mut framed = Vec::new();
            write_blocks(&data, &mut framed);
            prop_assert_eq!(read(&framed).unwrap(), data);
        }

        #[test]
        fn a_flipped_bit_is_noticed(data in proptest::collection::vec(any::<u8>(), 1..300), at: usize, bit in 0u8..8) {
            let mut framed = Vec::new();
            write_blocks(&data, &mut framed);
            let at = at % framed.len();
            framed[at] ^= 1 << bit;
            prop_assert!(read(&framed).is_err());
        }

        #[test]
        fn noise_is_an_error_and_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 1..200)) {
            prop_assert!(read(&noise).is_err());
        }
    }

    #[test]
    fn a_cut_body_is_an_error() {
        let mut framed = Vec::new();
        write_blocks(&[7; 5000], &mut framed);
        for cut in 1..framed.len() {
            assert!(read(&framed[..cut]).is_err(), "cut at {cut}");
        }
    }
}
