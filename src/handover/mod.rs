//! How a new process takes the place of a running one without a client noticing: it is handed the listening sockets
//! and the claim on the state folder, gets ready with them, and takes over in one step.
//!
//! The two talk over `state.dir/handover.sock`, which the old one listens on; lines of text, the first word says what:
//!
//! ```text
//! new → old   rhumb-handover 1           I am of the same user, and speak this version
//! old → new   socket 0.0.0.0:8080        with the descriptor; one for each listener, the admin side among them
//!             claim                      with the descriptor
//!             end
//! new → old   ready                      everything is read and checked; I have accepted nothing and written nothing
//! old → new   go
//! new → old   serving                    I accept. The old one accepts no more, and ends after its last request
//! ```
//!
//! `no REASON` instead of an answer ends it. From the first line to the end the old one writes nothing into the state
//! folder. Until `serving` it serves on, and whatever becomes of the new one, it goes on serving: a new one that ends
//! is seen by the end of the connection, one that hangs is ended at a deadline, so that never two write.
//! Where the old one ends first, by a signal or a crash, the new one goes on alone: it holds all it needs.
//!
//! Never: hands anything to another user; takes over in part.

mod heir;
mod host;
mod lines;
mod place;

pub use heir::{HandoverError, Inherited, Predecessor, ask};
pub use host::{Estate, Host};

/// What the new process says first.
const HELLO: &str = "rhumb-handover 1";
/// What the old one says with each listening socket, before its address.
const SOCKET: &str = "socket ";
/// What it says with the claim on the state folder.
const CLAIM: &str = "claim";
/// That this was all.
const END: &str = "end";
/// The new process could serve.
const READY: &str = "ready";
/// It may.
const GO: &str = "go";
/// It does.
const SERVING: &str = "serving";
/// The old one does not hand over, or no more; the reason follows.
const NO: &str = "no ";
