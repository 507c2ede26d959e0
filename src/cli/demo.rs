//! `rhumb demo`: three toy regions on this machine, an edge before them, and requests to send.
//!
//! The edge is the real one, on real files, in a folder that is gone when the demo ends.
//!
//! Never: takes a port from anybody, or leaves anything behind.

mod load;
mod world;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::args::DemoArgs;
use super::run::{self, Edge};
use super::stop::Stop;
use super::{Done, Failure, Out};
use crate::lab::{Lab, ToyRegion};
use crate::settings::Settings;

use load::Load;
use world::{REGIONS, World};

/// How far the regions' copies lag behind each other, so that it can be seen.
const LAG: Duration = Duration::from_secs(1);

/// Runs the demo until it is told to stop.
pub(super) fn demo(args: DemoArgs, out: &mut Out<'_>) -> Done {
    let runtime = run::runtime("lab", 1)?;
    let lab = runtime.block_on(lab())?;
    let world = World {
        edge: port(args.port.unwrap_or(8080), args.port.is_some())?,
        admin: port(9900, false)?,
        regions: REGIONS
            .iter()
            .filter_map(|region| Some((region.name, lab.region(region.name)?.address())))
            .collect(),
    };
    let folder = tempfile::Builder::new().prefix("rhumb-demo-").tempdir().map_err(cannot("make a folder"))?;
    let settings_file = world.write(folder.path()).map_err(cannot("write the demo's files"))?;
    let settings = Settings::read(&settings_file)?;
    let edge = Edge::prepare(settings, false, false)?;
    let program = std::env::current_exe().unwrap_or_else(|_| "rhumb".into());
    let stop = Stop::new();
    edge.serve(&stop, || {
        out.text(&world.welcome(folder.path(), &program))?;
        if args.load {
            out.text(world::LOAD_BEGINS)?;
        }
        Ok(args.load.then(|| Load::begin(world.edge, &stop)))
    })?;
    runtime.block_on(lab.stop());
    Ok(())
}

async fn lab() -> Result<Lab, Failure> {
    let regions = REGIONS.iter().map(|region| {
        ToyRegion::new(region.name).prefer(SocketAddr::from((Ipv4Addr::LOCALHOST, region.port)))
    });
    let lab = Lab::start(regions.collect()).await.map_err(|e| Failure::Failed(e.to_string()))?;
    lab.set_lag(LAG);
    for (region, running) in REGIONS.iter().zip(lab.regions()) {
        running.set_delay(region.away);
    }
    Ok(lab)
}

/// The port, or, unless it `must` be this one, a free one where it is taken.
fn port(wanted: u16, must: bool) -> Result<u16, Failure> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|taken| taken.local_addr());
    match free(wanted) {
        Ok(address) => Ok(address.port()),
        Err(e) if must => Err(Failure::Failed(format!("port {wanted} cannot be had: {e}"))),
        Err(_) => Ok(free(0).map_err(cannot("find a free port"))?.port()),
    }
}

fn cannot(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |e| Failure::Failed(format!("cannot {what}: {e}"))
}
