//! snappy-java's stream framing (`SnappyOutputStream`): an 8-byte magic, version i32, lowest compatible version i32,
//! then blocks of length i32 and raw snappy. A stream may be several of these one after another.

use std::io::{self, Read, Write};

pub(super) const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: i32 = 1;
/// What snappy-java fills before it compresses a block.
const BLOCK_BYTES: usize = 32 << 10;
/// The largest block accepted, either side of compression.
const BLOCK_BYTES_MAX: usize = 64 << 20;

pub(super) struct SnappyJavaWriter<W: Write> {
    out: W,
    block: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<W: Write> SnappyJavaWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_be_bytes())?;
        out.write_all(&VERSION.to_be_bytes())?;
        Ok(Self { out, block: Vec::with_capacity(BLOCK_BYTES), encoder: snap::raw::Encoder::new() })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        Ok(self.out)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = self.encoder.compress_vec(&self.block).map_err(io::Error::other)?;
        let length = i32::try_from(packed.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&packed)?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for SnappyJavaWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&buf[..n]);
        if self.block.len() == BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_block()?;
        self.out.flush()
    }
}

pub(super) struct SnappyJavaReader<R> {
    input: R,
    block: Vec<u8>,
    taken: usize,
    decoder: snap::raw::Decoder,
}

impl<R: Read> SnappyJavaReader<R> {
    pub(super) fn new(mut input: R) -> io::Result<Self> {
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(malformed(format!("{magic:02x?} is not snappy-java's magic")));
        }
        skip_versions(&mut input)?;
        Ok(Self { input, block: Vec::new(), taken: 0, decoder: snap::raw::Decoder::new() })
    }

    /// Fills `block`; leaves it empty at the end of the stream.
    fn read_block(&mut self) -> io::Result<()> {
        self.block.clear();
        self.taken = 0;
        let Some(mut head) = read_block_head(&mut self.input)? else { return Ok(()) };
        while head == MAGIC[..4] {
            let mut rest = [0; 4];
            self.input.read_exact(&mut rest)?;
            if rest != MAGIC[4..] {
                return Err(malformed("a second stream header is damaged".into()));
            }
            skip_versions(&mut self.input)?;
            match read_block_head(&mut self.input)? {
                None => return Ok(()),
                Some(next) => head = next,
            }
        }
        let length = i32::from_be_bytes(head);
        let packed_bytes = usize::try_from(length).ok().filter(|n| *n <= BLOCK_BYTES_MAX);
        let Some(packed_bytes) = packed_bytes else {
            return Err(malformed(format!("block length {length}")));
        };
        let mut packed = Vec::new();
        if (&mut self.input).take(packed_bytes as u64).read_to_end(&mut packed)? < packed_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let plain_bytes = snap::raw::decompress_len(&packed).map_err(|e| malformed(e.to_string()))?;
        if plain_bytes > BLOCK_BYTES_MAX {
            return Err(malformed(format!("block of {plain_bytes} bytes")));
        }
        self.block = self.decoder.decompress_vec(&packed).map_err(|e| malformed(e.to_string()))?;
        Ok(())
    }
}

impl<R: Read> Read for SnappyJavaReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() {
            self.read_block()?;
        }
        let n = buf.len().min(self.block.len() - self.taken);
        buf[..n].copy_from_slice(&self.block[self.taken..self.taken + n]);
        self.taken += n;
        Ok(n)
    }
}

/// The next block's length field; `None` at a clean end.
fn read_block_head(input: &mut impl Read) -> io::Result<Option<[u8; 4]>> {
    let mut head = Vec::with_capacity(4);
    input.take(4).read_to_end(&mut head)?;
    match head.len() {
        0 => Ok(None),
        4 => Ok(Some([head[0], head[1], head[2], head[3]])),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn skip_versions(input: &mut impl Read) -> io::Result<()> {
    let mut versions = [0; 8];
    input.read_exact(&mut versions)?;
    let compatible = i32::from_be_bytes([versions[4], versions[5], versions[6], versions[7]]);
    if compatible > VERSION {
        return Err(malformed(format!("snappy-java format version {compatible}")));
    }
    Ok(())
}

fn malformed(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_one_after_another_read_as_one() {
        let mut bytes = Vec::new();
        for part in [vec![7u8; 100_000], b"tail".to_vec()] {
            let mut w = SnappyJavaWriter::new(Vec::new()).expect("a Vec takes all");
            w.write_all(&part).expect("a Vec takes all");
            bytes.extend(w.finish().expect("a Vec takes all"));
        }
        let mut plain = Vec::new();
        SnappyJavaReader::new(&bytes[..]).and_then(|mut r| r.read_to_end(&mut plain)).expect("well formed");
        assert_eq!(plain.len(), 100_004);
        assert!(plain.ends_with(b"\x07tail"));
    }

    #[test]
    fn a_lying_block_length_is_refused() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff]);
        let got = SnappyJavaReader::new(&bytes[..]).and_then(|mut r| r.read(&mut [0; 8]));
        assert_eq!(got.map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
    }
}
