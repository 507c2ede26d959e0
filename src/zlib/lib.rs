//! Stock zlib under the name by which flate2 asks for zlib-ng.
//!
//! Never: more than names. Why it exists is in the manifest beside it.

pub use libz_sys::*;
