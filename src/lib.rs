//! Rhumb: a global traffic proxy. Every request, wherever it enters, holds its course to its tenant's
//! home region.
//!
//! The parts, in reading order. The decision itself is the crate `rhumb-decision`; who may import whom
//! is held by `tests/architecture.rs`.

/// What is wrong with a file, where, and what to write instead.
pub mod problem;

/// The process settings file.
pub mod settings;

/// What certificates say: names, ids, how long they last, and whether a region is the one that is meant.
pub mod certificates;

/// Key files: who may sign, and whose signature holds.
pub mod keys;

/// Everything that moves the snapshot: table, health, discovery, operators.
pub mod control;

/// The thin adapter to Pingora: asks, then obeys.
pub mod proxy;

/// Sends traces and alerts by HTTP.
pub mod sender;

/// Tells a webhook what happens.
pub mod alerts;

/// Metrics, access log, tracing.
pub mod telemetry;

/// The HTTP API for operators.
pub mod admin;

/// How a new process takes the place of a running one.
pub mod handover;

/// The commands.
pub mod cli;

/// Toy regions, for the demo and the tests.
pub mod lab;
