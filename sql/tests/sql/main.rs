//! The language seen from outside, one promise a module:
//!
//! - `grammar`: what is printed parses to the same tree; any text is parsed or refused, however deep;
//! - `oracle`: expressions over columns give what a slow evaluator gives that looks at one row at a time;
//! - `meaning`: types, errors and single rules, by example;
//! - `hostile`: what is made to cost much is refused, or ends in time with a bounded result;
//! - `docs`: the documentation shows the functions there are, and its examples parse.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests end where their premise fails, as tests do"
)]

mod docs;
mod grammar;
mod hostile;
mod meaning;
mod oracle;
