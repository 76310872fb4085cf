//! Which topics exist and what is set on them.

pub(crate) mod catalog;
pub mod journal;
pub(crate) mod ledger;
pub(crate) mod opening;
pub mod settings;
pub(crate) mod topic;
