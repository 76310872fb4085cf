//! The real binary as its users meet it: processes, sockets, files, signals. One test binary, a module a story.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod cli;
mod damage;
mod hostile;
mod kill;
mod old_data;
mod support;
