//! The four codecs, in the framings Kafka's clients use, with a cap on what comes out.
//!
//! Snappy is written in snappy-java's stream framing and read in that or raw (librdkafka). LZ4 is the frame format
//! with independent 64 KiB blocks; in message sets of magic 0 its header checksum is computed over the magic too,
//! an error that became the format (KAFKA-3160).
//!
//! Invariant: no call yields or allocates for more than its `limit` of output (plus a codec's working memory, which
//! is bounded by the codec), however small the input.

use std::io::{Read, Write};

use super::{Compression, RecordsError};

/// Header of snappy-java's stream: magic, version 1, compatible with 1.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Uncompressed bytes per block that snappy-java's writer uses.
const XERIAL_BLOCK: usize = 32 * 1024;
/// More than snappy can expand (a copy of three bytes yields 64); a larger claim is a lie and not allocated for.
const SNAPPY_MAX_EXPANSION: usize = 64;
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LZ4_CONTENT_SIZE_FLAG: u8 = 0x08;
/// Largest window a Zstandard frame may ask for (128 MiB, the library's own default and what level 22 uses).
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const ZSTD_LEVEL: i32 = 3;

/// Decompresses `input` and appends it to `out`, at most `limit` bytes of it.
///
/// `magic` is that of the batch the bytes come from.
///
/// # Errors
/// [`RecordsError::CorruptCompression`] or [`RecordsError::TooLargeDecompressed`]. `out` may then hold part of the output.
pub fn decompress(
    codec: Compression,
    magic: i8,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    let result = match codec {
        Compression::None => check_limit(codec, input.len(), limit).map(|()| out.extend_from_slice(input)),
        Compression::Gzip => gunzip(input, limit, out),
        Compression::Snappy => unsnap(input, limit, out),
        Compression::Lz4 => unlz4(magic, input, limit, out),
        Compression::Zstd => unzstd(input, limit, out),
    };
    result.map_err(|error| match error {
        // Within a stream the limit is what earlier blocks left of it; people want to read the whole.
        RecordsError::TooLargeDecompressed { codec, .. } => {
            RecordsError::TooLargeDecompressed { codec, limit }
        }
        other => other,
    })
}

/// Compresses `input` at the codec's default level and appends it to `out`.
///
/// # Errors
/// [`RecordsError::CorruptCompression`] if the codec fails, which none of them does on memory.
pub fn compress(codec: Compression, magic: i8, input: &[u8], out: &mut Vec<u8>) -> Result<(), RecordsError> {
    match codec {
        Compression::None => out.extend_from_slice(input),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            encoder
                .write_all(input)
                .and_then(|()| encoder.finish().map(drop))
                .map_err(|e| corrupt(codec, e))?;
        }
        Compression::Snappy => snap(input, out)?,
        Compression::Lz4 => lz4(magic, input, out)?,
        Compression::Zstd => {
            let compressed = zstd::bulk::compress(input, ZSTD_LEVEL).map_err(|e| corrupt(codec, e))?;
            out.extend_from_slice(&compressed);
        }
    }
    Ok(())
}

fn corrupt(codec: Compression, detail: impl ToString) -> RecordsError {
    RecordsError::CorruptCompression { codec: codec.name(), detail: detail.to_string() }
}

fn check_limit(codec: Compression, size: usize, limit: usize) -> Result<(), RecordsError> {
    if size > limit { Err(RecordsError::TooLargeDecompressed { codec: codec.name(), limit }) } else { Ok(()) }
}

/// Reads `source` to its end into `out`, refusing the byte after `limit`.
fn drain(codec: Compression, source: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), RecordsError> {
    let cap = (limit as u64).saturating_add(1);
    let read = source.take(cap).read_to_end(out).map_err(|e| corrupt(codec, e))?;
    check_limit(codec, read, limit)
}

/// Members may be concatenated; whatever else follows the first is ignored, as `GZIPInputStream` does.
fn gunzip(mut input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), RecordsError> {
    let start = out.len();
    loop {
        let mut decoder = flate2::bufread::GzDecoder::new(input);
        drain(Compression::Gzip, &mut decoder, limit - (out.len() - start), out)?;
        input = decoder.into_inner();
        if !input.starts_with(&[0x1f, 0x8b]) {
            return Ok(());
        }
    }
}

fn unsnap(mut input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), RecordsError> {
    let start = out.len();
    if !input.starts_with(&XERIAL_HEADER[..8]) {
        return unsnap_block(input, limit, out);
    }
    while !input.is_empty() {
        // Streams may be concatenated; each starts with its header.
        if input.starts_with(&XERIAL_HEADER[..8]) {
            input = input
                .get(XERIAL_HEADER.len()..)
                .ok_or_else(|| corrupt(Compression::Snappy, "stream header is cut"))?;
            continue;
        }
        let (size, rest) = input
            .split_first_chunk::<4>()
            .ok_or_else(|| corrupt(Compression::Snappy, "block size is cut"))?;
        let size = i32::from_be_bytes(*size);
        let block = usize::try_from(size).ok().and_then(|size| rest.get(..size));
        let block = block.ok_or_else(|| {
            corrupt(Compression::Snappy, format!("block size {size}, {} bytes left", rest.len()))
        })?;
        unsnap_block(block, limit - (out.len() - start), out)?;
        input = &rest[block.len()..];
    }
    Ok(())
}

fn unsnap_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), RecordsError> {
    let codec = Compression::Snappy;
    let size = snap::raw::decompress_len(block).map_err(|e| corrupt(codec, e))?;
    if size > block.len().saturating_mul(SNAPPY_MAX_EXPANSION) {
        return Err(corrupt(codec, format!("{} bytes cannot expand to {size}", block.len())));
    }
    check_limit(codec, size, limit)?;
    let start = out.len();
    out.resize(start + size, 0);
    let written =
        snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|e| corrupt(codec, e))?;
    out.truncate(start + written);
    Ok(())
}

fn snap(input: &[u8], out: &mut Vec<u8>) -> Result<(), RecordsError> {
    out.extend_from_slice(&XERIAL_HEADER);
    let mut encoder = snap::raw::Encoder::new();
    let mut buffer = vec![0; snap::raw::max_compress_len(XERIAL_BLOCK.min(input.len()))];
    for block in input.chunks(XERIAL_BLOCK) {
        let size = encoder.compress(block, &mut buffer).map_err(|e| corrupt(Compression::Snappy, e))?;
        out.extend_from_slice(&(size as i32).to_be_bytes());
        out.extend_from_slice(&buffer[..size]);
    }
    Ok(())
}

fn unlz4(magic: i8, input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), RecordsError> {
    let codec = Compression::Lz4;
    if !input.starts_with(&LZ4_MAGIC) {
        return Err(corrupt(codec, "stream unsupported (invalid magic bytes)"));
    }
    if magic > 0 {
        return drain(codec, lz4_flex::frame::FrameDecoder::new(input), limit, out);
    }
    // KAFKA-3160: the checksum byte of magic 0 means nothing; give the decoder the one it expects.
    let flags = *input.get(4).ok_or_else(|| corrupt(codec, "frame header is cut"))?;
    let checksum_at = if flags & LZ4_CONTENT_SIZE_FLAG == 0 { 6 } else { 14 };
    if input.len() <= checksum_at {
        return Err(corrupt(codec, "frame header is cut"));
    }
    let mut header = input[..=checksum_at].to_vec();
    header[checksum_at] = lz4_header_checksum(&input[4..checksum_at]);
    let source = header.as_slice().chain(&input[checksum_at + 1..]);
    drain(codec, lz4_flex::frame::FrameDecoder::new(source), limit, out)
}

fn lz4(magic: i8, input: &[u8], out: &mut Vec<u8>) -> Result<(), RecordsError> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let start = out.len();
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, &mut *out);
    encoder.write_all(input).map_err(|e| corrupt(Compression::Lz4, e))?;
    encoder.finish().map_err(|e| corrupt(Compression::Lz4, e))?;
    if input.is_empty() && out.len() == start {
        // An empty frame still has a header and an end mark.
        out.extend_from_slice(&LZ4_MAGIC);
        out.extend_from_slice(&[0x60, 0x40, lz4_header_checksum(&[0x60, 0x40]), 0, 0, 0, 0]);
    }
    if magic == 0 {
        out[start + 6] = lz4_header_checksum(&out[start..start + 6]);
    }
    Ok(())
}

/// Second byte of XXH32 over a frame descriptor, which is shorter than the hash's 16-byte stripe.
fn lz4_header_checksum(descriptor: &[u8]) -> u8 {
    const P1: u32 = 0x9E37_79B1;
    const P2: u32 = 0x85EB_CA77;
    const P3: u32 = 0xC2B2_AE3D;
    const P4: u32 = 0x27D4_EB2F;
    const P5: u32 = 0x1656_67B1;
    debug_assert!(descriptor.len() < 16);
    let mut hash = P5.wrapping_add(descriptor.len() as u32);
    let mut words = descriptor.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes(word.try_into().expect("chunks of four bytes"));
        hash = hash.wrapping_add(word.wrapping_mul(P3)).rotate_left(17).wrapping_mul(P4);
    }
    for &byte in words.remainder() {
        hash = hash.wrapping_add(u32::from(byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(P3);
    ((hash ^ (hash >> 16)) >> 8) as u8
}

fn unzstd(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), RecordsError> {
    let codec = Compression::Zstd;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(|e| corrupt(codec, e))?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|e| corrupt(codec, e))?;
    drain(codec, decoder, limit, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 4] =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn packed(codec: Compression, magic: i8, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(codec, magic, input, &mut out).unwrap();
        out
    }

    fn unpacked(codec: Compression, magic: i8, input: &[u8], limit: usize) -> Result<Vec<u8>, RecordsError> {
        let mut out = Vec::new();
        decompress(codec, magic, input, limit, &mut out).map(|()| out)
    }

    #[test]
    fn every_codec_round_trips_from_empty_to_many_blocks() {
        let mut random = fastrand::Rng::with_seed(1);
        for size in [0, 1, 100, 65_536, 300_000] {
            let noise: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
            let text: Vec<u8> = (0..size).map(|i| b"abcdefg"[i % 7]).collect();
            for codec in ALL {
                for magic in [0, 1, 2] {
                    for input in [&noise, &text] {
                        let bytes = packed(codec, magic, input);
                        assert_eq!(
                            &unpacked(codec, magic, &bytes, size).unwrap(),
                            input,
                            "{codec:?} magic {magic} size {size}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = vec![0; 20_000_000];
        for codec in ALL {
            let bytes = packed(codec, 2, &bomb);
            let mut out = Vec::new();
            let error = decompress(codec, 2, &bytes, 100_000, &mut out).unwrap_err();
            assert!(matches!(error, RecordsError::TooLargeDecompressed { limit: 100_000, .. }), "{error}");
            assert!(out.capacity() < 1_000_000, "{codec:?} allocated {}", out.capacity());
        }
    }

    #[test]
    fn a_raw_snappy_block_with_a_lying_length_is_not_allocated_for() {
        let error =
            unpacked(Compression::Snappy, 2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0], usize::MAX).unwrap_err();
        assert!(matches!(error, RecordsError::CorruptCompression { .. }), "{error}");
    }

    #[test]
    fn snappy_is_read_raw_framed_and_concatenated() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(unpacked(Compression::Snappy, 2, &raw, 100).unwrap(), b"hello hello hello");
        let framed = packed(Compression::Snappy, 2, b"hello");
        assert_eq!(framed[..16], XERIAL_HEADER);
        let twice = [framed.clone(), framed].concat();
        assert_eq!(unpacked(Compression::Snappy, 2, &twice, 100).unwrap(), b"hellohello");
    }

    #[test]
    fn gzip_members_may_be_concatenated_and_trailing_bytes_are_ignored() {
        let member = packed(Compression::Gzip, 2, b"abc");
        let twice = [member.clone(), member, vec![0, 0]].concat();
        assert_eq!(unpacked(Compression::Gzip, 2, &twice, 6).unwrap(), b"abcabc");
        assert!(unpacked(Compression::Gzip, 2, &twice, 5).is_err());
    }

    #[test]
    fn lz4_headers_are_the_ones_java_writes() {
        // The frame descriptor 60 40 has checksum 82; with the magic included (KAFKA-3160) it differs.
        let right = packed(Compression::Lz4, 2, b"x");
        assert_eq!(right[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
        let wrong = packed(Compression::Lz4, 0, b"x");
        assert_eq!(wrong[..6], right[..6]);
        assert_ne!(wrong[6], right[6]);
        assert!(unpacked(Compression::Lz4, 1, &wrong, 10).is_err());
        assert_eq!(unpacked(Compression::Lz4, 0, &wrong, 10).unwrap(), b"x");
        assert_eq!(unpacked(Compression::Lz4, 0, &right, 10).unwrap(), b"x");
    }

    #[test]
    fn noise_and_cut_streams_are_errors_not_panics() {
        let mut random = fastrand::Rng::with_seed(2);
        for codec in ALL {
            let good = packed(codec, 2, &[7; 5000]);
            for _ in 0..300 {
                let mut bytes = good.clone();
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u8(..8);
                bytes.truncate(random.usize(..=bytes.len()));
                for magic in [0, 2] {
                    let _ = unpacked(codec, magic, &bytes, 10_000);
                }
                let noise: Vec<u8> = (0..random.usize(..60)).map(|_| random.u8(..)).collect();
                let _ = unpacked(codec, 0, &noise, 10_000);
            }
        }
    }
}
