//! Lines of a file or of standard input, read on a thread of their own.
//!
//! A read that waits for a person or a slow pipe cannot be called off, so it must not hold up Ctrl-C. Memory is
//! bounded: a chunk holds about 256 KiB or one longer line, few chunks wait in line, and a line above the limit is
//! read over. What the lines mean is nobody's business here.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::exit::Failure;

/// Bytes of the read buffer, and about those of a chunk.
const CHUNK_BYTES: usize = 256 * 1024;
/// Most lines of a chunk.
const CHUNK_LINES_MAX: usize = 4096;
/// Chunks that wait to be taken.
const CHUNKS_WAITING_MAX: usize = 2;

/// A line without its end (`\n` or `\r\n`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// The bytes, shared with the other lines of the chunk. `None`: longer than the limit, and read over.
    pub(crate) bytes: Option<Bytes>,
}

/// Some lines that were read together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// In order, at least one.
    pub(crate) lines: Vec<Line>,
    /// Bytes read for them, line ends included.
    pub(crate) bytes_read: u64,
}

/// An input that is being read.
#[derive(Debug)]
pub(crate) struct Lines {
    chunks: mpsc::Receiver<io::Result<Chunk>>,
    /// For messages: the name of the file, or "standard input".
    pub(crate) place: String,
    /// How many bytes there are, where that is known: a file.
    pub(crate) bytes: Option<u64>,
}

impl Lines {
    /// Starts to read a file; standard input without one or with `-`. Lines longer than `line_bytes_max` are read over.
    pub(crate) fn open(file: Option<&Path>, line_bytes_max: usize) -> Result<Self, Failure> {
        let file = file.filter(|path| *path != Path::new("-"));
        let Some(path) = file else {
            return Self::start(io::stdin(), "standard input".to_owned(), None, line_bytes_max);
        };
        let place = path.display().to_string();
        let failed = |cause| Failure::io(format!("open {place}"), cause);
        let opened = File::open(path).map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let bytes = metadata.is_file().then_some(metadata.len());
        Self::start(opened, place, bytes, line_bytes_max)
    }

    fn start(
        input: impl Read + Send + 'static,
        place: String,
        bytes: Option<u64>,
        line_bytes_max: usize,
    ) -> Result<Self, Failure> {
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let read = move || {
            let mut reader = ChunkReader::new(input, line_bytes_max);
            // Ends with the input, at its first error, or when nobody wants more.
            while let Some(chunk) = reader.next_chunk().transpose() {
                let failed = chunk.is_err();
                if sender.blocking_send(chunk).is_err() || failed {
                    break;
                }
            }
        };
        std::thread::Builder::new()
            .name("thalweg-lines".to_owned())
            .spawn(read)
            .map_err(|cause| Failure::io("start a thread to read the input", cause))?;
        Ok(Self { chunks, place, bytes })
    }

    /// The next lines, as soon as there is one; `None` at the end. May be cancelled: nothing is lost.
    pub(crate) async fn next_chunk(&mut self) -> Result<Option<Chunk>, Failure> {
        let chunk = self.chunks.recv().await.transpose();
        chunk.map_err(|cause| Failure::io(format!("read {}", self.place), cause))
    }
}

/// The blocking part.
#[derive(Debug)]
struct ChunkReader<R> {
    reader: BufReader<R>,
    line_bytes_max: u64,
    number: u64,
}

impl<R: Read> ChunkReader<R> {
    fn new(input: R, line_bytes_max: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(CHUNK_BYTES, input),
            line_bytes_max: u64::try_from(line_bytes_max).unwrap_or(u64::MAX),
            number: 0,
        }
    }

    /// Waits for one line, then takes further ones as long as they are here whole and the chunk is not full.
    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut bytes = Vec::new();
        let mut found: Vec<(u64, Option<Range<usize>>)> = Vec::new();
        let mut bytes_read = 0;
        loop {
            let start = bytes.len();
            let read = self.read_line(&mut bytes)?;
            if read == 0 {
                break;
            }
            bytes_read += read;
            self.number += 1;
            found.push((self.number, self.line_range(&bytes, start)));
            let line_waits = self.reader.buffer().contains(&b'\n');
            if !line_waits || bytes.len() >= CHUNK_BYTES || found.len() >= CHUNK_LINES_MAX {
                break;
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        let bytes = Bytes::from(bytes);
        let lines = found
            .into_iter()
            .map(|(number, range)| Line { number, bytes: range.map(|range| bytes.slice(range)) })
            .collect();
        Ok(Some(Chunk { lines, bytes_read }))
    }

    /// Appends a line with its end. Of one that is too long only the front is kept, a byte more than the limit.
    fn read_line(&mut self, bytes: &mut Vec<u8>) -> io::Result<u64> {
        // The limit is for the line without its end, which takes up to two bytes.
        let limit = self.line_bytes_max.saturating_add(2);
        let read = self.reader.by_ref().take(limit).read_until(b'\n', bytes)?;
        let mut read = u64::try_from(read).unwrap_or(u64::MAX);
        if read == limit && bytes.last() != Some(&b'\n') {
            read = read.saturating_add(self.skip_line()?);
        }
        Ok(read)
    }

    /// The line that begins at `start`, without its end, if it keeps to the limit.
    fn line_range(&self, bytes: &[u8], start: usize) -> Option<Range<usize>> {
        let line = bytes.get(start..).unwrap_or_default();
        let line =
            line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let fits = u64::try_from(line.len()).is_ok_and(|length| length <= self.line_bytes_max);
        fits.then_some(start..start + line.len())
    }

    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(taken);
            skipped += u64::try_from(taken).unwrap_or(u64::MAX);
            if end.is_some() || taken == 0 {
                return Ok(skipped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(input: &[u8], line_bytes_max: usize) -> (Vec<Option<Bytes>>, u64) {
        let mut reader = ChunkReader::new(input, line_bytes_max);
        let mut lines = Vec::new();
        let mut bytes_read = 0;
        while let Some(chunk) = reader.next_chunk().unwrap() {
            assert!(!chunk.lines.is_empty());
            bytes_read += chunk.bytes_read;
            for line in chunk.lines {
                assert_eq!(line.number, lines.len() as u64 + 1);
                lines.push(line.bytes);
            }
        }
        (lines, bytes_read)
    }

    proptest! {
        #[test]
        fn lines_are_those_between_the_line_ends(
            input in prop::collection::vec(prop::sample::select(&b"ab\r\n"[..]), 0..60),
            line_bytes_max in 1_usize..8,
        ) {
            let mut expected: Vec<_> = input.split(|byte| *byte == b'\n').collect();
            let last = expected.pop().unwrap_or_default();
            let ended = expected.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            let expected: Vec<_> = ended.chain((!last.is_empty()).then_some(last)).collect();
            let (found, bytes_read) = read_all(&input, line_bytes_max);
            prop_assert_eq!(bytes_read, input.len() as u64);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                let fits = expected.len() <= line_bytes_max;
                prop_assert_eq!(found.as_deref(), fits.then_some(expected));
            }
        }
    }

    #[test]
    fn long_lines_span_many_reads_and_too_long_ones_are_read_over() {
        let long = vec![b'x'; 3 * CHUNK_BYTES];
        let mut input = long.clone();
        input.extend(b"\nshort\n");
        input.extend(vec![b'y'; 4 * CHUNK_BYTES]);
        input.extend(b"\nlast");
        let (found, _) = read_all(&input, long.len());
        let expected = [Some(&long[..]), Some(b"short"), None, Some(b"last")];
        assert!(found.iter().map(Option::as_deref).eq(expected));
    }

    #[tokio::test]
    async fn an_input_is_read_to_its_end() {
        let input: Vec<u8> = (0..10_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let place = "test".to_owned();
        let mut lines = Lines::start(io::Cursor::new(input), place, None, 100).unwrap();
        let mut count = 0;
        while let Some(chunk) = lines.next_chunk().await.unwrap() {
            count += chunk.lines.len();
        }
        assert_eq!(count, 10_000);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let refused = Lines::open(Some(Path::new("/no/such/file")), 10).unwrap_err();
        assert!(refused.to_string().contains("/no/such/file"));
    }
}
