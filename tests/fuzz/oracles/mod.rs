//! What must hold of whatever a parser makes of any bytes at all.
//!
//! Each function takes the bytes, hands them to the parser and judges the outcome by other means than the parser's own:
//! a plain second reading, or a law such as "the normal form is its own normal form". It says whether the bytes were
//! taken, and panics where something does not hold. Fuzzing calls them with what it makes up; `seeds.rs` calls them in
//! every test run with what fuzzing has found before.
//!
//! Never: reads a file or a clock; the same bytes have the same outcome everywhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "an oracle ends the run where something does not hold; each file says what it holds"
)]

pub mod chunks;
pub mod gate;
pub mod pin;
pub mod preamble;
pub mod report;
pub mod table;
pub mod target;
pub mod tenants;
