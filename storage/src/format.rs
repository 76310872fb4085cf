//! File names, format versions and the byte tables of everything that lies in a data folder.
//!
//! The tables are what `docs/format.md` shows: [`render_tables`] prints them, and a test holds the two together.
//! Numbers here are written out, never derived and never used again for something else. How the files are read and
//! written is in `checkpoint.rs`, `index.rs`, `state.rs` and `folder.rs`.

use std::fmt::Write as _;

use bytes::BufMut;
use protocol::batch::{self, Field};
use protocol::id::Offset;

/// Kinds of our own small files. All begin with the same [`ENVELOPE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a data folder is: `thalweg.folder`.
    Folder,
    /// What a log knows of itself: `checkpoint`.
    State,
    /// Where the batches of a segment lie: `*.index`.
    Index,
    /// How far a log was last synced: `synced`.
    Synced,
}

impl Kind {
    /// The first bytes of such a file.
    pub(crate) const fn magic(self) -> [u8; 8] {
        match self {
            Self::Folder => *b"THLWFOLD",
            Self::State => *b"THLWLOGC",
            Self::Index => *b"THLWINDX",
            Self::Synced => *b"THLWSYNC",
        }
    }

    /// The newest version that this release knows, and the one that it writes.
    pub(crate) const fn version(self) -> u32 {
        match self {
            Self::Folder | Self::State | Self::Index | Self::Synced => 1,
        }
    }
}

/// Name of the file at the root of a data folder that says what it is.
pub(crate) const FOLDER_FILE: &str = "thalweg.folder";
/// Name of the file at the root of a data folder that is locked while a process uses it. It stays empty.
pub(crate) const LOCK_FILE: &str = "thalweg.lock";
/// Name of the checkpoint in the folder of a log.
pub(crate) const STATE_FILE: &str = "checkpoint";
/// Name of the file in the folder of a log that says how far it was last synced.
pub(crate) const SYNCED_FILE: &str = "synced";
/// A small file is written under this ending first, synced, and then renamed.
pub(crate) const ASIDE_ENDING: &str = ".new";

const LOG_ENDING: &str = ".log";
const INDEX_ENDING: &str = ".index";
const BASE_DIGITS: usize = 20;

/// The file of batches whose first has this offset.
pub(crate) fn log_name(base: Offset) -> String {
    format!("{:0BASE_DIGITS$}{LOG_ENDING}", base.get())
}

/// The index of that file.
pub(crate) fn index_name(base: Offset) -> String {
    format!("{:0BASE_DIGITS$}{INDEX_ENDING}", base.get())
}

/// What a file in the folder of a log is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Log(Offset),
    Index(Offset),
    State,
    Synced,
    /// A small file that was being written when the process ended.
    Aside,
    /// None of ours.
    Stranger,
}

impl Name {
    /// Reads a name.
    pub(crate) fn read(name: &str) -> Self {
        if name == STATE_FILE {
            return Self::State;
        }
        if name == SYNCED_FILE {
            return Self::Synced;
        }
        if let Some(whole) = name.strip_suffix(ASIDE_ENDING) {
            // Only an aside of ours is removed: anything else may be dear to somebody.
            return match Self::read(whole) {
                Self::Index(_) | Self::State => Self::Aside,
                Self::Log(_) | Self::Synced | Self::Aside | Self::Stranger => Self::Stranger,
            };
        }
        if let Some(base) = name.strip_suffix(LOG_ENDING).and_then(read_base) {
            return Self::Log(base);
        }
        match name.strip_suffix(INDEX_ENDING).and_then(read_base) {
            Some(base) => Self::Index(base),
            None => Self::Stranger,
        }
    }
}

fn read_base(digits: &str) -> Option<Offset> {
    let all_digits = digits.len() == BASE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits).and_then(|base| Offset::new(base).ok())
}

/// One table of bytes.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) fields: &'static [Field],
}

impl Table {
    /// Bytes from the first field to the last.
    pub(crate) const fn bytes(&self) -> usize {
        self.fields[self.fields.len() - 1].bytes.end
    }
}

const fn field(name: &'static str, start: usize, end: usize, meaning: &'static str) -> Field {
    Field { name, bytes: start..end, meaning }
}

/// In front of every small file of ours.
pub(crate) const ENVELOPE: Table = Table {
    title: "Envelope of every small file",
    fields: &[
        field("magic", 0, 8, "THLWFOLD, THLWLOGC, THLWINDX or THLWSYNC: the kind of the file"),
        field("version", 8, 12, "1; a file with a newer version is refused and left alone"),
        field("bodyLength", 12, 16, "bytes behind this envelope, to the end of the file"),
        field(
            "crc",
            16,
            20,
            "CRC-32 (IEEE) of the bytes in front of this field and the body behind it",
        ),
    ],
};

/// The body of `thalweg.folder`.
pub(crate) const FOLDER: Table = Table {
    title: "Body of `thalweg.folder`",
    fields: &[
        field("clusterId", 0, 16, "given to the folder when it was made; never changes"),
        field("starts", 16, 20, "how often the folder was opened: the leader epoch in force"),
    ],
};

/// The head of an index.
pub(crate) const INDEX_HEAD: Table = Table {
    title: "Body of `*.index`: head",
    fields: &[
        field("baseOffset", 0, 8, "that of the segment, as in the file's name"),
        field("position", 8, 16, "bytes of the segment that the index covers"),
        field("interval", 16, 20, "bytes that lie between two entries at least"),
        field("entries", 20, 24, "entries that follow, at most 4096"),
    ],
};

/// An entry of an index.
pub(crate) const INDEX_ENTRY: Table = Table {
    title: "Body of `*.index`: each entry",
    fields: &[
        field("offsetDelta", 0, 4, "base offset of a batch, less that of the segment"),
        field("position", 4, 8, "where the batch begins in the segment"),
        field(
            "maxTimestamp",
            8,
            16,
            "largest timestamp of all batches in front of it; -2^63 if none",
        ),
    ],
};

/// The head of a checkpoint.
pub(crate) const STATE_HEAD: Table = Table {
    title: "Body of `checkpoint`: head",
    fields: &[
        field("startOffset", 0, 8, "the first offset that readers may see"),
        field("activeBase", 8, 16, "base offset of the segment that is written to"),
        field("position", 16, 24, "bytes of that segment that were synced: scanning begins here"),
        field("endOffset", 24, 32, "the offset that follows them"),
        field("maxTimestamp", 32, 40, "largest timestamp in them; -2^63 if none"),
        field("firstAppend", 40, 48, "the broker's time of the first append to that segment"),
        field("lastAppend", 48, 56, "the broker's time of the last append"),
        field("epochs", 56, 60, "leader epochs that follow"),
        field("segments", 60, 64, "closed segments that follow them"),
        field("producers", 64, 68, "producers that follow those"),
    ],
};

/// A leader epoch in a checkpoint.
pub(crate) const STATE_EPOCH: Table = Table {
    title: "Body of `checkpoint`: each leader epoch, in order",
    fields: &[
        field("epoch", 0, 4, "the epoch"),
        field("startOffset", 4, 12, "the first offset written in it"),
    ],
};

/// A closed segment in a checkpoint.
pub(crate) const STATE_SEGMENT: Table = Table {
    title: "Body of `checkpoint`: each closed segment, in order",
    fields: &[
        field("baseOffset", 0, 8, "that of its first batch"),
        field("endOffset", 8, 16, "the offset that follows its last batch"),
        field("length", 16, 24, "its bytes"),
        field("maxTimestamp", 24, 32, "largest timestamp in it; -2^63 if none"),
        field("lastAppend", 32, 40, "the broker's time of the last append to it"),
    ],
};

/// A producer in a checkpoint.
pub(crate) const STATE_PRODUCER: Table = Table {
    title: "Body of `checkpoint`: each producer",
    fields: &[
        field("producerId", 0, 8, "its id"),
        field("producerEpoch", 8, 10, "its epoch"),
        field("lastAppend", 10, 18, "the broker's time of its last append"),
        field("batches", 18, 22, "batches that follow, 1 to 5, oldest first"),
    ],
};

/// A batch of a producer in a checkpoint.
pub(crate) const STATE_BATCH: Table = Table {
    title: "Body of `checkpoint`: each batch of a producer",
    fields: &[
        field("baseSequence", 0, 4, "sequence of its first record"),
        field("records", 4, 8, "how many records it has"),
        field("baseOffset", 8, 16, "the offset of its first record"),
        field("appendTime", 16, 24, "the time that its records got; -1 if their own"),
    ],
};

/// The body of `synced`.
pub(crate) const SYNCED: Table = Table {
    title: "Body of `synced`",
    fields: &[
        field(
            "activeBase",
            0,
            8,
            "base offset of the segment that was written to; those in front of it are synced",
        ),
        field("position", 8, 16, "bytes of that segment that are synced"),
        field("endOffset", 16, 24, "the offset that follows them"),
    ],
};

const BATCH: Table =
    Table { title: "Record batch: header, in `*.log` and on the wire", fields: &batch::LAYOUT };

/// All tables, in the order of the document.
pub(crate) const TABLES: [&Table; 11] = [
    &BATCH,
    &ENVELOPE,
    &FOLDER,
    &INDEX_HEAD,
    &INDEX_ENTRY,
    &STATE_HEAD,
    &STATE_EPOCH,
    &STATE_SEGMENT,
    &STATE_PRODUCER,
    &STATE_BATCH,
    &SYNCED,
];

/// The tables as `docs/format.md` shows them.
pub fn render_tables() -> String {
    let mut text = String::new();
    for table in TABLES {
        // Writing to a string cannot fail.
        let _ = write!(text, "### {}\n\n| bytes | field | meaning |\n|---|---|---|\n", table.title);
        for Field { name, bytes, meaning } in table.fields {
            let _ = writeln!(text, "| {}..{} | `{name}` | {meaning} |", bytes.start, bytes.end);
        }
        text.push('\n');
    }
    text
}

/// Takes big-endian fields from the front of bytes that nobody has vouched for.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes, or `None` at the end.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn offset(&mut self) -> Option<Offset> {
        Offset::new(self.i64()?).ok()
    }

    /// A count of things that take at least `bytes_each`: never more than the bytes that are left can hold.
    pub(crate) fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = usize::try_from(self.u32()?).ok()?;
        (count <= self.0.len() / bytes_each).then_some(count)
    }
}

/// Writes a count. Every list that is written is bounded far below 2^32.
pub(crate) fn put_count(output: &mut Vec<u8>, count: usize) {
    output.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_nothing_else_is_ours() {
        for base in [0, 7, i64::MAX] {
            let base = Offset::new(base).unwrap();
            assert_eq!(Name::read(&log_name(base)), Name::Log(base));
            assert_eq!(Name::read(&index_name(base)), Name::Index(base));
            assert_eq!(Name::read(&(index_name(base) + ASIDE_ENDING)), Name::Aside);
        }
        assert_eq!(Name::read("checkpoint"), Name::State);
        assert_eq!(Name::read("checkpoint.new"), Name::Aside);
        for stranger in [
            "",
            ".log",
            "0.log",
            "99999999999999999999.log",
            "+0000000000000000001.log",
            "00000000000000000000.log.new",
            "notes.txt",
            "checkpoint.new.new",
            "ü.index",
        ] {
            assert_eq!(Name::read(stranger), Name::Stranger, "{stranger:?}");
        }
    }

    #[test]
    fn no_table_has_a_gap() {
        for table in TABLES {
            let mut end = 0;
            for field in table.fields {
                assert_eq!(field.bytes.start, end, "{}: {}", table.title, field.name);
                end = field.bytes.end;
            }
            assert_eq!(table.bytes(), end);
        }
    }

    #[test]
    fn the_document_shows_the_tables_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md");
        let document = std::fs::read_to_string(path).unwrap();
        let tables = render_tables();
        assert!(document.contains(&tables), "docs/format.md must contain:\n\n{tables}");
    }
}
