//! The five codecs of a record batch as pure functions, with a cap on what comes out.
//!
//! Compressed input is untrusted: unfolding stops at the cap, whatever the input announces, and no buffer is sized
//! by a number from the input without comparing it with the cap first. Framing is that of Kafka's clients: gzip
//! members, snappy in xerial blocks (plain snappy is read too), LZ4 frames, Zstandard frames.

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

/// How the records of a batch are compressed. The numbers are those of the batch's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks, in the framing of the xerial library.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// RFC 8878.
    Zstd = 4,
}

/// Why bytes could not be unfolded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// The input is not what the codec makes.
    #[error("the records are not valid {codec}: {cause}")]
    Damaged {
        /// The codec that the batch names.
        codec: Compression,
        /// What the codec says of it.
        cause: String,
    },
    /// More would come out than is allowed.
    #[error("the {codec} records unfold to more than {bytes_max} bytes")]
    TooLarge {
        /// The codec that the batch names.
        codec: Compression,
        /// The cap.
        bytes_max: usize,
    },
}

impl Compression {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of a number in a batch's attributes; 5 to 7 are not taken.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| *codec as u8 == number)
    }

    /// The name as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, UnknownCompression> {
        Self::ALL.into_iter().find(|codec| codec.name() == name).ok_or(UnknownCompression)
    }
}

/// The name is none of `none gzip snappy lz4 zstd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a compression: use none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCompression;

/// First bytes of xerial's framing, then two version numbers of 4 bytes each.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// What one xerial block holds before compression.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// Appends `input`, compressed, to `output`.
pub fn compress(codec: Compression, input: &[u8], output: &mut Vec<u8>) {
    // Writing into a Vec cannot fail, and each encoder takes any input, so errors below are impossible.
    let done = match codec {
        Compression::None => output.write_all(input),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(output, flate2::Compression::default());
            encoder.write_all(input).and_then(|()| encoder.finish().map(drop))
        }
        Compression::Snappy => compress_xerial(input, output),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(output);
            encoder
                .write_all(input)
                .and_then(|()| encoder.finish().map(drop).map_err(std::io::Error::other))
        }
        Compression::Zstd => {
            output.extend(ruzstd::encoding::compress_to_vec(
                input,
                ruzstd::encoding::CompressionLevel::Fastest,
            ));
            Ok(())
        }
    };
    debug_assert!(done.is_ok(), "compressing into memory failed: {done:?}");
}

fn compress_xerial(input: &[u8], output: &mut Vec<u8>) -> std::io::Result<()> {
    output.extend(XERIAL_MAGIC);
    output.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block)?;
        let length = u32::try_from(compressed.len()).map_err(std::io::Error::other)?;
        output.extend(length.to_be_bytes());
        output.extend(compressed);
    }
    Ok(())
}

/// Unfolds `input` into `output`, which is cleared first and holds at most `bytes_max` bytes afterwards.
///
/// # Errors
/// When `input` is not valid or would unfold to more than `bytes_max` bytes. `output` then holds a part, of no use.
pub fn decompress(
    codec: Compression,
    input: &[u8],
    bytes_max: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    output.clear();
    match codec {
        Compression::None => {
            if input.len() > bytes_max {
                return Err(CompressionError::TooLarge { codec, bytes_max });
            }
            output.extend_from_slice(input);
            Ok(())
        }
        Compression::Gzip => {
            copy_capped(codec, flate2::read::MultiGzDecoder::new(input), bytes_max, output)
        }
        Compression::Snappy => decompress_snappy(input, bytes_max, output),
        Compression::Lz4 => {
            copy_capped(codec, lz4_flex::frame::FrameDecoder::new(input), bytes_max, output)
        }
        Compression::Zstd => decompress_zstd(input, bytes_max, output),
    }
}

fn damaged(codec: Compression, cause: impl fmt::Display) -> CompressionError {
    CompressionError::Damaged { codec, cause: cause.to_string() }
}

/// Reads to the end, but one byte past the cap at most, so that memory is bounded by the cap.
fn copy_capped(
    codec: Compression,
    reader: impl Read,
    bytes_max: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let room = bytes_max.saturating_sub(output.len());
    let limit = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(output).map_err(|error| damaged(codec, error))?;
    if output.len() > bytes_max {
        return Err(CompressionError::TooLarge { codec, bytes_max });
    }
    Ok(())
}

fn decompress_zstd(
    mut input: &[u8],
    bytes_max: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let codec = Compression::Zstd;
    // The window is allocated from a number in the frame: no honest encoder needs one larger than the content
    // may be, rounded up to the 8 MiB that RFC 8878 asks every decoder to support.
    let window_max = u64::try_from(bytes_max.max(8 * 1024 * 1024)).unwrap_or(u64::MAX);
    while !input.is_empty() {
        let frame =
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut input, window_max)
                .map_err(|error| damaged(codec, error))?;
        copy_capped(codec, frame, bytes_max, output)?;
    }
    Ok(())
}

fn decompress_snappy(
    input: &[u8],
    bytes_max: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let codec = Compression::Snappy;
    let Some(mut rest) = input
        .strip_prefix(&XERIAL_MAGIC)
        .and_then(|rest| rest.get(XERIAL_HEADER_BYTES - XERIAL_MAGIC.len()..))
    else {
        return decompress_snappy_block(input, bytes_max, output);
    };
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| damaged(codec, "block length cut short"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, after) = after
            .split_at_checked(length)
            .ok_or_else(|| damaged(codec, "block longer than what is left"))?;
        decompress_snappy_block(block, bytes_max, output)?;
        rest = after;
    }
    Ok(())
}

fn decompress_snappy_block(
    block: &[u8],
    bytes_max: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let codec = Compression::Snappy;
    let announced = snap::raw::decompress_len(block).map_err(|error| damaged(codec, error))?;
    let start = output.len();
    if announced > bytes_max.saturating_sub(start) {
        return Err(CompressionError::TooLarge { codec, bytes_max });
    }
    // A snappy element of 3 bytes unfolds to 64 at most: more than that announced is a lie, told to make us allocate.
    if announced > block.len().saturating_mul(32) {
        return Err(damaged(codec, "announces more than its bytes can hold"));
    }
    output.resize(start + announced, 0);
    let target = output.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new()
        .decompress(block, target)
        .map(drop)
        .map_err(|error| damaged(codec, error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_folded_unfolds(
            codec in prop::sample::select(&Compression::ALL[..]),
            pattern in prop::collection::vec(any::<u8>(), 0..64),
            times in 0_usize..2_000,
        ) {
            let input = pattern.repeat(times);
            let mut folded = Vec::new();
            compress(codec, &input, &mut folded);
            let mut unfolded = Vec::new();
            decompress(codec, &folded, input.len(), &mut unfolded).unwrap();
            prop_assert_eq!(&unfolded, &input);
            if !input.is_empty() {
                prop_assert!(decompress(codec, &folded, input.len() - 1, &mut unfolded).is_err());
                prop_assert!(unfolded.len() <= input.len());
            }
        }

        #[test]
        fn any_bytes_are_unfolded_or_refused(
            codec in prop::sample::select(&Compression::ALL[..]),
            input in prop::collection::vec(any::<u8>(), 0..256),
        ) {
            let mut output = Vec::new();
            let _ = decompress(codec, &input, 4096, &mut output);
        }

        #[test]
        fn damaged_bytes_are_unfolded_or_refused(
            codec in prop::sample::select(&Compression::ALL[..]),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut folded = Vec::new();
            compress(codec, &b"a line of fastest flow ".repeat(100), &mut folded);
            let place = place.index(folded.len());
            folded[place] ^= 1 << bit;
            let mut output = Vec::new();
            let _ = decompress(codec, &folded, 4096, &mut output);
            prop_assert!(output.len() <= 4097);
        }
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        for codec in Compression::ALL {
            let mut folded = Vec::new();
            compress(codec, &vec![0; 4 * 1024 * 1024], &mut folded);
            let mut output = Vec::new();
            let refused = decompress(codec, &folded, 64 * 1024, &mut output);
            assert_eq!(refused, Err(CompressionError::TooLarge { codec, bytes_max: 64 * 1024 }));
            assert!(output.capacity() <= 256 * 1024, "{codec}: {}", output.capacity());
        }
    }

    #[test]
    fn plain_snappy_is_read_too() {
        let folded = snap::raw::Encoder::new().compress_vec(b"no framing").unwrap();
        let mut output = Vec::new();
        decompress(Compression::Snappy, &folded, 100, &mut output).unwrap();
        assert_eq!(output, b"no framing");
    }
}
