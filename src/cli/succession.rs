//! One edge after another: what a new one takes over from the running one, and what that one hands over.
//!
//! Never: two edges that write one state folder.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

use super::Failure;
use super::stop::Stop;
use crate::control::claim::{Claim, ClaimError};
use crate::control::hold::Hold;
use crate::handover::{self, Estate, Host, Inherited, Predecessor};
use crate::settings::Settings;
use crate::telemetry::Recorder;

/// What an edge begins with.
pub struct Beginning {
    /// The right to write the state folder.
    pub claim: Claim,
    /// Sockets that listen already.
    pub inherited: Inherited,
    /// Whose they were; `None`: nobody's.
    pub predecessor: Option<Predecessor>,
}

/// Claims the state folder; or, where it `upgrade`s, takes over claim and sockets from the process that has them.
///
/// Errors: somebody else has the folder; or nobody has, or it is not handed over.
pub fn begin(settings: &Settings, upgrade: bool) -> Result<Beginning, Failure> {
    let dir = &settings.state.dir;
    if upgrade {
        let taken = handover::ask(dir).map_err(|e| Failure::Failed(e.to_string()))?;
        let (inherited, claim, predecessor) = taken;
        let claim = Claim::inherited(claim);
        tracing::info!("taking over from the running process");
        return Ok(Beginning { claim, inherited, predecessor: Some(predecessor) });
    }
    let claim = Claim::stake(dir).map_err(|e| {
        let file = settings.file.display();
        let dir = dir.display();
        Failure::Usage(match e {
            ClaimError::Taken(holder) => format!(
                "{file}: state.dir, {dir}: {holder} uses it already; stop that process, take its place with \
                 --upgrade, or name another folder"
            ),
            ClaimError::Unusable(cause) => format!("{file}: state.dir, {dir}, cannot be used: {cause}"),
        })
    })?;
    Ok(Beginning { claim, inherited: Inherited::default(), predecessor: None })
}

/// All that a later process will need of this one.
///
/// Errors: the process has no room for further files.
pub fn estate(
    listeners: io::Result<Vec<(std::net::SocketAddr, TcpListener)>>,
    admin: (std::net::SocketAddr, &TcpListener),
    claim: &Claim,
) -> io::Result<Estate> {
    let mut sockets = listeners?;
    sockets.push((admin.0, admin.1.try_clone()?));
    Ok(Estate { sockets, claim: claim.as_fd().try_clone_to_owned()? })
}

/// Hands over to whoever asks, until one has taken over, which `replaced` then hears, or until `stop`: then the
/// sockets are let go of.
pub async fn offer(host: Host, estate: Estate, stop: Stop, replaced: Stop) {
    tokio::select! {
        () = stop.asked() => {}
        () = host.hand_over(&estate) => replaced.ask(),
    }
}

/// Opens the place where a later process asks, within a runtime. Without it there is no upgrade, and all else is well.
pub fn host(
    settings: &Settings,
    estate: io::Result<Estate>,
    hold: &Hold,
    recorder: &Recorder,
) -> Option<(Host, Estate)> {
    let dir = &settings.state.dir;
    let opened = estate.and_then(|estate| {
        let host = Host::open(dir, hold.clone(), settings.limits.upgrade_timeout, recorder.clone())?;
        Ok((host, estate))
    });
    let told = |e: &io::Error| tracing::warn!("{}: no process can take this one's place: {e}", dir.display());
    opened.inspect_err(told).ok()
}
