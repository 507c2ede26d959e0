//! What certificates say, for every part that meets one: names, ids, how long they last, and whether a region is the
//! one that the table means.
//!
//! Never: watches a file, or chooses whom to believe. Whoever asks brings the files, texts and authorities.

/// Leaves that are known to carry a region's id.
pub mod known;
/// One certificate, read.
pub mod leaf;
/// What a listener shows, and whom it believes.
pub mod listener;
/// PEM files, read within bounds.
pub mod pem;
/// TLS towards a region.
pub mod region;
