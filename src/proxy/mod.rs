/// The strict check of a request head.
pub mod gate;

/// Header names that Rhumb manages.
pub mod headers;

/// Host and path in normal form.
pub use rhumb_decision::target;
