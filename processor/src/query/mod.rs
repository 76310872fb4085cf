//! Statements that answer with rows or take rows, and leave nothing running behind them.

pub mod insert;
pub mod print;
pub mod push;
