//! The `rhumb` program: see `rhumb --help`.

fn main() {}
