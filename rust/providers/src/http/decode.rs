//! Bodies unpacked, piece by piece. No buffer outgrows the limit: bytes beyond it are refused as they come out.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};

use super::failure::{Failed, Kind};

/// The encodings that a request offers.
pub(super) const OFFERED: &str = "gzip, br, zstd";
/// The largest window of zstd, as a power of two: what RFC 9659 lets a server use.
const WINDOW: u32 = 23;

/// Takes a body's pieces and yields what is in them.
pub(super) struct Decoder {
    codec: Codec,
    /// Whether any byte has come. Of nothing there is nothing to unpack, whatever the headers say.
    begun: bool,
    /// The bytes that may still come out, in all.
    left: usize,
    limit: usize,
}

enum Codec {
    Plain(Room),
    Gzip(Box<MultiGzDecoder<Room>>),
    Deflate(Box<ZlibDecoder<Room>>),
    Brotli(Box<DecompressorWriter<Room>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Room>>),
}

/// Where decoded bytes go, up to so many.
#[derive(Default)]
struct Room {
    bytes: Vec<u8>,
    most: usize,
    full: bool,
}

impl Write for Room {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.most - self.bytes.len().min(self.most) {
            self.full = true;
            return Err(io::Error::other("full"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    /// `encoding` is the answer's Content-Encoding.
    pub(super) fn new(encoding: Option<&str>, limit: usize) -> Result<Self, Failed> {
        let room = Room { most: limit, ..Room::default() };
        let codec = match encoding.map(|e| e.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Codec::Plain(room),
            Some("gzip" | "x-gzip") => Codec::Gzip(Box::new(MultiGzDecoder::new(room))),
            Some("deflate") => Codec::Deflate(Box::new(ZlibDecoder::new(room))),
            Some("br") => Codec::Brotli(Box::new(DecompressorWriter::new(room, 16 << 10))),
            Some("zstd") => {
                let decoder = zstd::stream::write::Decoder::new(room).and_then(|mut decoder| {
                    decoder.window_log_max(WINDOW)?;
                    Ok(decoder)
                });
                Codec::Zstd(Box::new(decoder.map_err(|e| broken("zstd", &e))?))
            }
            Some(other) => {
                let text = format!("the answer has Content-Encoding {other:?}, which was not asked for");
                return Err(Failed::new(Kind::Protocol, text));
            }
        };
        Ok(Decoder { codec, begun: false, left: limit, limit })
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.codec, Codec::Plain(_))
    }

    /// Takes a piece. What came out of it is for `take`.
    pub(super) fn put(&mut self, piece: &[u8]) -> Result<(), Failed> {
        self.begun |= !piece.is_empty();
        let (result, name) = match &mut self.codec {
            Codec::Plain(to) => (to.write_all(piece), "identity"),
            Codec::Gzip(to) => (to.write_all(piece), "gzip"),
            Codec::Deflate(to) => (to.write_all(piece), "deflate"),
            Codec::Brotli(to) => (to.write_all(piece), "br"),
            Codec::Zstd(to) => (to.write_all(piece).and_then(|()| to.flush()), "zstd"),
        };
        self.checked(result, name)
    }

    /// The body is over: what is still inside comes out.
    pub(super) fn end(&mut self) -> Result<(), Failed> {
        let (result, name) = match &mut self.codec {
            _ if !self.begun => return Ok(()),
            Codec::Plain(_) => return Ok(()),
            Codec::Gzip(to) => (to.try_finish(), "gzip"),
            Codec::Deflate(to) => (to.try_finish(), "deflate"),
            Codec::Brotli(to) => (to.close(), "br"),
            Codec::Zstd(to) => (to.do_finish(), "zstd"),
        };
        self.checked(result, name)
    }

    fn checked(&mut self, result: io::Result<()>, name: &str) -> Result<(), Failed> {
        if self.room().full {
            return Err(too_large(self.limit));
        }
        result.map_err(|e| broken(name, &e))
    }

    /// The bytes that have come out since the last call.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.room().bytes);
        self.left -= bytes.len();
        self.room().most = self.left;
        bytes
    }

    /// How much has come out since the last call of `take`.
    pub(super) fn ready(&mut self) -> usize {
        self.room().bytes.len()
    }

    /// Expects so many bytes more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.room().bytes.reserve_exact(more);
    }

    fn room(&mut self) -> &mut Room {
        match &mut self.codec {
            Codec::Plain(to) => to,
            Codec::Gzip(to) => to.get_mut(),
            Codec::Deflate(to) => to.get_mut(),
            Codec::Brotli(to) => to.get_mut(),
            Codec::Zstd(to) => to.get_mut(),
        }
    }
}

pub(super) fn too_large(limit: usize) -> Failed {
    Failed::new(Kind::Protocol, format!("the body is larger than max_body={limit} bytes: raise max_body, or read it with open()"))
}

fn broken(name: &str, e: &io::Error) -> Failed {
    Failed::new(Kind::Protocol, format!("the body is no valid {name}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut to = GzEncoder::new(Vec::new(), Compression::best());
        to.write_all(data).unwrap();
        to.finish().unwrap()
    }

    fn decode(encoding: &str, packed: &[u8], limit: usize) -> Result<Vec<u8>, Failed> {
        let mut decoder = Decoder::new(Some(encoding), limit)?;
        let mut out = Vec::new();
        for piece in packed.chunks(100) {
            decoder.put(piece)?;
            out.extend(decoder.take());
        }
        decoder.end()?;
        out.extend(decoder.take());
        Ok(out)
    }

    #[test]
    fn every_encoding_comes_out_as_it_went_in() {
        let data: Vec<u8> = (0..100_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        assert_eq!(decode("gzip", &gzip(&data), 1 << 20).unwrap(), data);
        assert_eq!(decode("zstd", &zstd::bulk::compress(&data, 3).unwrap(), 1 << 20).unwrap(), data);
        assert_eq!(decode("identity", &data, data.len()).unwrap(), data);
        // "hello world" by the reference encoder.
        assert_eq!(decode("br", b"\x0b\x05\x80hello world\x03", 100).unwrap(), b"hello world");
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 70 << 10);
        let mut decoder = Decoder::new(Some("gzip"), 1 << 20).unwrap();
        let mut out = 0;
        let failed = bomb.chunks(512).find_map(|piece| {
            let failed = decoder.put(piece).err();
            assert!(decoder.ready() <= 1 << 20);
            out += decoder.take().len();
            failed
        });
        assert!(failed.unwrap().text.contains("max_body=1048576"));
        assert!(out <= 1 << 20);
        for (encoding, packed) in [("zstd", zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap()), ("gzip", bomb)] {
            assert!(decode(encoding, &packed, 1 << 20).unwrap_err().text.contains("max_body"));
        }
    }

    #[test]
    fn a_cut_or_foreign_body_is_an_error() {
        let whole = gzip(b"a body that is cut");
        assert!(decode("gzip", &whole[..whole.len() - 6], 100).unwrap_err().text.contains("gzip"));
        assert!(decode("gzip", b"no gzip at all", 100).is_err());
        let whole = zstd::bulk::compress(b"a body that is cut", 3).unwrap();
        assert!(decode("zstd", &whole[..whole.len() - 6], 100).unwrap_err().text.contains("zstd"));
        assert!(decode("zstd", b"\x28\xb5", 100).is_err());
        assert!(decode("br", b"\x0b\x05\x80hello", 100).unwrap_err().text.contains("br"));
        assert!(Decoder::new(Some("compress"), 100).is_err());
    }

    #[test]
    fn a_body_of_no_bytes_is_none_in_any_packing() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            assert_eq!(decode(encoding, b"", 100).unwrap(), b"");
        }
    }
}
