//! The steps that rows go through.

pub mod filter;
pub mod operator;
pub mod project;
