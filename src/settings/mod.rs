//! The process settings file, `rhumb.toml`: text in, typed [`Settings`] out, or every problem at once.
//!
//! Never: opens the files that the settings name, resolves a host name, or reads the file twice. What a
//! part needs of the settings it gets as its own section.

mod collector;
mod convert;
mod document;
mod sections;
#[cfg(test)]
mod tests;
mod values;
mod webhook;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use collector::Collector;
pub use sections::{
    Admin, Alerts, Certificate, ClientAuth, ClientCertificates, Dns, Edge, EncodedSlash, Gateway, Limits,
    Listener, ListenerTls, Pin, Role, Signature, StateSettings, TableSettings, TokenFile, Tracing, Trust,
};
pub use sections::{Level, Log};
pub use values::Access;
pub use webhook::Webhook;

use crate::problem::{Problems, toml};

/// Everything one Rhumb process is told before it starts. Holds only what has been checked; every path is
/// seen from where the settings file stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The file these were read from.
    pub file: PathBuf,
    /// Where this process stands and who it is.
    pub edge: Edge,
    /// Where clients are taken; at least one, no two at the same address.
    pub listeners: Vec<Listener>,
    /// What a client may use up.
    pub limits: Limits,
    /// Whom forwarding headers are believed from.
    pub trust: Trust,
    /// The side for operators.
    pub admin: Admin,
    /// Whom names are looked up with.
    pub dns: Dns,
    /// The routing table.
    pub table: TableSettings,
    /// What outlives a restart.
    pub state: StateSettings,
    /// Log and access log.
    pub log: Log,
    /// Traces by OTLP.
    pub tracing: Tracing,
    /// Keys of the pins that let a writer read its own write.
    pub pin: Pin,
    /// Keys that sign what is sent to regions.
    pub signature: Signature,
    /// Whom a gateway believes.
    pub gateway: Gateway,
    /// Where events are announced.
    pub alerts: Alerts,
}

/// A settings file has a few dozen lines; beyond this it is the wrong file.
const LARGEST_FILE: u64 = 1024 * 1024;

impl Settings {
    /// Reads the settings in `file`.
    ///
    /// Errors: all problems of the file, or the one that kept it from being read.
    pub fn read(file: &Path) -> Result<Self, Problems> {
        let text = text_of(file).map_err(|cause| {
            let mut problems = Problems::of(file);
            problems.tell(0, "", format!("cannot be read: {cause}"), "name the settings file with -c");
            problems
        })?;
        Self::parse(file, text, &host_name())
    }

    /// Makes settings of `text`, as if it stood in `file` on the host `host_name`, which only the default of
    /// `edge.id` needs.
    ///
    /// Errors: all problems of the text.
    pub fn parse(file: &Path, text: impl AsRef<[u8]>, host_name: &str) -> Result<Self, Problems> {
        let mut problems = Problems::of(file);
        let settings = toml::read(text.as_ref(), &mut problems)
            .and_then(|document| convert::settings(document, host_name, &mut problems));
        problems.or_value(settings)
    }
}

fn text_of(file: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening: to open a FIFO waits for its writer.
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is not an ordinary file"));
    }
    let mut text = Vec::new();
    File::open(file)?.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "edge".into(),
        name => name.into(),
    }
}
