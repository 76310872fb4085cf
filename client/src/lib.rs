//! The Rust client of Thalweg. **Promise: a record handed over is acknowledged, or you are told whether it may have
//! been written.**

pub mod error;
pub mod transport;
