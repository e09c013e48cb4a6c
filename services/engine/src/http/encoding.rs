//! The encodings of HTTP (`Accept-Encoding`, `Content-Encoding`) and ClickHouse's own for answers.
//!
//! gzip, deflate and LZ4 frames; zstd and brotli are left out: they would need a C library each, and every
//! known client takes one of the others.

use crate::compress;
use crate::exception::{Exception, code};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use std::io::{self, Read, Write};

/// An encoding of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Lz4,
    Gzip,
    Deflate,
}

impl Encoding {
    /// The cheapest that the client takes. `q=0` refuses one.
    pub(crate) fn accepted(header: &str) -> Option<Self> {
        let takes = |name: &str| {
            header.split(',').any(|item| {
                let mut parts = item.split(';').map(str::trim);
                let named = parts.next().is_some_and(|n| n.eq_ignore_ascii_case(name));
                named && !parts.any(|p| matches!(p, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
            })
        };
        [Self::Lz4, Self::Gzip, Self::Deflate].into_iter().find(|encoding| takes(encoding.name()))
    }

    /// Of a request's body.
    pub(crate) fn of_body(name: &str) -> Result<Option<Self>, Exception> {
        match name {
            "" | "identity" => Ok(None),
            "lz4" => Ok(Some(Self::Lz4)),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            _ => Err(Exception::new(
                code::UNKNOWN_COMPRESSION_METHOD,
                format_args!("Unknown Content-Encoding '{name}'; the engine reads lz4, gzip and deflate"),
            )),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// What the client meant.
    pub(crate) fn decode(self, body: Box<dyn Read>) -> Box<dyn Read> {
        match self {
            Self::Lz4 => Box::new(FrameDecoder::new(body)),
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            Self::Deflate => Box::new(ZlibDecoder::new(body)),
        }
    }
}

/// Encodes an answer chunk by chunk; each chunk can be decoded as soon as it has arrived.
pub(crate) enum Encoder {
    Plain,
    ClickHouse,
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    /// `compress=1` wins over `Accept-Encoding`, as in ClickHouse's clients it never meets it.
    pub(crate) fn new(clickhouse: bool, accepted: Option<Encoding>) -> Self {
        match accepted {
            _ if clickhouse => Self::ClickHouse,
            None => Self::Plain,
            Some(Encoding::Lz4) => Self::Lz4(Box::new(FrameEncoder::new(Vec::new()))),
            // The fastest level: what is saved is loopback, what is spent is one of two cores.
            Some(Encoding::Gzip) => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Some(Encoding::Deflate) => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
        }
    }

    pub(crate) fn push(&mut self, chunk: Bytes) -> io::Result<Bytes> {
        fn through<W: Write>(encoder: &mut W, chunk: &[u8]) -> io::Result<()> {
            encoder.write_all(chunk)?;
            encoder.flush()
        }
        match self {
            Self::Plain => return Ok(chunk),
            Self::ClickHouse => {
                let mut out = Vec::new();
                compress::write_blocks(&chunk, &mut out);
                return Ok(out.into());
            }
            Self::Lz4(encoder) => through(encoder, &chunk)?,
            Self::Gzip(encoder) => through(encoder, &chunk)?,
            Self::Deflate(encoder) => through(encoder, &chunk)?,
        }
        Ok(self.taken().into())
    }

    pub(crate) fn finish(mut self) -> io::Result<Bytes> {
        match &mut self {
            Self::Plain | Self::ClickHouse => {}
            Self::Lz4(encoder) => encoder.try_finish().map_err(io::Error::other)?,
            Self::Gzip(encoder) => encoder.try_finish()?,
            Self::Deflate(encoder) => encoder.try_finish()?,
        }
        Ok(self.taken().into())
    }

    fn taken(&mut self) -> Vec<u8> {
        match self {
            Self::Plain | Self::ClickHouse => Vec::new(),
            Self::Lz4(encoder) => std::mem::take(encoder.get_mut()),
            Self::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Self::Deflate(encoder) => std::mem::take(encoder.get_mut()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_accepted_encoding_is_taken() {
        for (header, want) in [
            ("gzip, deflate, br, zstd", Some(Encoding::Gzip)),
            ("br;q=1.0, LZ4;q=0.5, gzip", Some(Encoding::Lz4)),
            ("gzip;q=0, deflate", Some(Encoding::Deflate)),
            ("identity", None),
            ("gzipped", None),
        ] {
            assert_eq!(Encoding::accepted(header), want, "{header}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for encoding in [Encoding::Lz4, Encoding::Gzip, Encoding::Deflate] {
            let mut encoder = Encoder::new(false, Some(encoding));
            let mut sent = Vec::new();
            for chunk in [&b"one "[..], b"", b"two"] {
                sent.extend_from_slice(&encoder.push(Bytes::from_static(chunk)).unwrap());
            }
            sent.extend_from_slice(&encoder.finish().unwrap());
            let mut got = String::new();
            encoding.decode(Box::new(io::Cursor::new(sent))).read_to_string(&mut got).unwrap();
            assert_eq!(got, "one two", "{encoding:?}");
        }
    }
}
