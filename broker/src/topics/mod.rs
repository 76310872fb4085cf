//! Which topics exist and what is set on them.

pub(crate) mod catalog;
pub mod journal;
pub mod settings;
