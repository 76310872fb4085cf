//! What lies in the folder of a log, by name: its files, leftovers of a life before, strangers.

use std::collections::{BTreeMap, BTreeSet};

use protocol::id::Offset;

use super::Recovery;
use crate::error::StorageError;
use crate::format::{Name, index_name};
use crate::report::Note;

/// What is in the folder, by name.
#[derive(Default)]
pub(super) struct Listing {
    /// Base offset and bytes.
    pub(super) logs: BTreeMap<Offset, u64>,
    pub(super) indexes: BTreeSet<Offset>,
    pub(super) asides: Vec<String>,
}

impl Recovery<'_> {
    pub(super) fn list(&mut self) -> Result<Listing, StorageError> {
        let entries = match self.disk.list(self.folder) {
            Ok(entries) => entries,
            Err(error) if error.is_missing() => {
                self.disk.create_dir_all(self.folder)?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let mut listing = Listing::default();
        for entry in entries {
            match Name::read(&entry.name) {
                Name::Log(base) if !entry.is_folder => {
                    listing.logs.insert(base, entry.bytes);
                }
                Name::Index(base) if !entry.is_folder => {
                    listing.indexes.insert(base);
                }
                Name::Aside if !entry.is_folder => listing.asides.push(entry.name),
                Name::State | Name::Synced => {}
                Name::Log(_) | Name::Index(_) | Name::Aside | Name::Stranger => {
                    self.note(Note::Stranger { file: self.folder.join(&entry.name) });
                }
            }
        }
        Ok(listing)
    }

    pub(super) fn remove_leftovers(&mut self, listing: &Listing) {
        let stale = listing.indexes.iter().filter(|base| !listing.logs.contains_key(base));
        let names = listing.asides.iter().cloned().chain(stale.map(|base| index_name(*base)));
        for name in names {
            self.remove(&name);
        }
    }
}
