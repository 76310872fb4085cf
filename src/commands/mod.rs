//! One file a command: what was typed becomes calls, what comes back becomes output. No rule of the crates below.

pub(crate) mod completions;
pub(crate) mod consume;
pub(crate) mod datagen;
pub(crate) mod demo;
pub(crate) mod inspect;
pub(crate) mod produce;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod topics;
