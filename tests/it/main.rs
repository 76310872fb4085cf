//! The real binary as its users meet it: processes, sockets, files, signals. One test binary, a module a story.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod cli;
mod conformance;
mod damage;
mod full_disk;
mod hostile;
mod kill;
mod load;
mod old_data;
#[cfg(unix)]
mod open_files;
mod own_records;
mod shell;
mod signals;
mod support;
