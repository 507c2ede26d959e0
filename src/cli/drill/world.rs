//! The lab of a game day: three toy regions that copy to each other, an edge before them on real files, and tenants
//! for every drill.
//!
//! Never: takes a port from anybody, or leaves anything behind.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};

use super::checks::Executed;
use super::drills::Drill;
use crate::cli::edge::{Edge as Admin, Trusted};
use crate::cli::run::{self, Edge};
use crate::cli::stop::Stop;
use crate::cli::{Done, Failure};
use crate::lab::{Lab, LabError, RunningRegion, Status, ToyRegion};
use crate::settings::Settings;

/// Where the edge stands, and where most tenants are at home.
pub const EU: &str = "eu-west-1";
/// Who takes over.
pub const US: &str = "us-east-1";
/// Where nothing is broken.
pub const AP: &str = "ap-southeast-1";

/// Each region with its jurisdiction and its neighbours.
pub const REGIONS: [(&str, &str, [&str; 2]); 3] =
    [(EU, "eu", [US, AP]), (US, "us", [EU, AP]), (AP, "sg", [US, EU])];

/// How long a request may take at this edge.
pub const DEADLINE: Duration = Duration::from_secs(4);

/// The operator's token everywhere in the lab.
pub const TOKEN: &str = "drill";

/// The tenants of one drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants {
    /// The one under test.
    pub main: String,
    /// One that may not leave the EU.
    pub bound: String,
    /// One at home where nothing is broken.
    pub calm: String,
}

impl Tenants {
    /// Those of the drill of this name.
    pub fn of(drill: &str) -> Self {
        Self { main: drill.to_owned(), bound: format!("{drill}-bound"), calm: format!("{drill}-calm") }
    }

    /// All of them.
    pub fn all(&self) -> [&str; 3] {
        [&self.main, &self.bound, &self.calm]
    }
}

/// A lab that runs.
pub struct World {
    lab: Option<Lab>,
    runtime: Runtime,
    edge: Option<JoinHandle<Done>>,
    _folder: TempDir,
    /// Where clients go.
    pub address: SocketAddr,
    /// The admin side, as an operator sees it.
    pub admin: Admin,
    /// Asked by Ctrl-C, and at the end.
    pub stop: Stop,
}

impl World {
    /// Starts regions and an edge, with tenants for `drills`, that run until `stop` is asked.
    ///
    /// - Errors: the system gives no ports, files or threads.
    pub fn start(drills: &[Drill], stop: &Stop) -> Result<Self, Failure> {
        let runtime = run::runtime("lab", 2)?;
        let regions = REGIONS.iter().map(|(name, ..)| ToyRegion::new(*name)).collect();
        let lab = runtime.block_on(Lab::start(regions)).map_err(|e| Failure::Failed(e.to_string()))?;
        let folder = tempfile::Builder::new().prefix("rhumb-drill-").tempdir();
        let folder = folder.map_err(cannot("make a folder"))?;
        let (edge, admin) = (free_port()?, free_port()?);
        let (address, admin) = (at(&edge)?, at(&admin).map(|address| (address, admin))?);
        let file = write(folder.path(), address, admin.0, &table(&lab, drills));
        let settings = Settings::read(&file.map_err(cannot("write the lab's files"))?)?;
        // Held until here, so that they are different.
        drop((edge, admin.1));
        let edge = Edge::prepare(settings, false, false)?;
        edge.tell_panics();
        let (stop, (opened, is_open)) = (stop.clone(), sync_channel(1));
        let serving = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                edge.serve(&stop, || {
                    // Whoever waits for it may have left.
                    let _ = opened.send(());
                    Ok(())
                })
            })
        };
        if is_open.recv().is_err() {
            return Err(ended(serving).err().unwrap_or_else(|| Failure::Failed("the edge ended".into())));
        }
        let named = format!("http://{}", admin.0).parse().map_err(Failure::Failed)?;
        let admin = Admin::at(named, Some(TOKEN.to_owned()), &Trusted::default())?;
        Ok(Self { lab: Some(lab), runtime, edge: Some(serving), _folder: folder, address, admin, stop })
    }

    /// Where clients may run.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Waits for `work` of the lab.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The regions.
    pub fn regions(&self) -> &[RunningRegion] {
        self.lab.as_ref().map_or(&[], Lab::regions)
    }

    /// The region of this name.
    ///
    /// - Errors: there is none.
    pub fn region(&self, name: &str) -> Result<&RunningRegion, Failure> {
        let region = self.lab.as_ref().and_then(|lab| lab.region(name));
        region.ok_or_else(|| Failure::Failed(format!("the lab has no region {name}")))
    }

    /// Cuts every connection of a region, and refuses new ones.
    pub fn go_dark(&self, name: &str) -> Result<(), Failure> {
        self.wait(self.region(name)?.go_dark()).map_err(lab_failed)
    }

    /// Mends whatever a drill broke.
    pub fn mend(&self) -> Result<(), Failure> {
        for region in self.regions() {
            region.set_silent(false);
            region.set_status(Status::Up);
            region.set_capability("read", Status::Up);
            region.set_capability("write", Status::Up);
            region.set_accepts_writes(true);
            region.set_lag(Duration::ZERO);
            self.wait(region.come_back()).map_err(lab_failed)?;
        }
        Ok(())
    }

    /// The writes that regions executed for these tenants.
    pub fn executed(&self, tenants: &Tenants) -> Vec<Executed> {
        let mut executed = Vec::new();
        for region in self.regions() {
            let done = region.executions().into_iter().filter_map(|done| {
                let tenant = done.tenant.filter(|tenant| tenants.all().contains(&tenant.as_str()))?;
                let epoch = done.owner_epoch.and_then(|epoch| epoch.parse().ok());
                let (id, region) = (done.id.unwrap_or_default(), region.name().to_owned());
                Some(Executed { id, tenant, region, owner: done.owner_region, epoch, at: done.at })
            });
            executed.extend(done);
        }
        executed
    }

    /// Ends it all, and waits until it has ended.
    pub fn end(mut self) -> Done {
        self.stop.ask();
        let done = self.edge.take().map_or(Ok(()), ended);
        if let Some(lab) = self.lab.take() {
            self.runtime.block_on(lab.stop());
        }
        done
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.ask();
        if let Some(edge) = self.edge.take() {
            // Whoever drops it has something else to tell.
            let _ = ended(edge);
        }
    }
}

/// Edits the table in `folder`: `from` becomes `to`.
///
/// - Errors: there is no `from`, or the file cannot be written.
pub fn edit(folder: &Path, from: &str, to: &str) -> Result<(), Failure> {
    let (file, new) = (folder.join("routing.toml"), folder.join("routing.new"));
    let text = std::fs::read_to_string(&file).map_err(cannot("read the table"))?;
    if !text.contains(from) {
        return Err(Failure::Failed(format!("the lab's table has no {from:?}")));
    }
    std::fs::write(&new, text.replacen(from, to, 1)).map_err(cannot("write the table"))?;
    std::fs::rename(&new, &file).map_err(cannot("write the table"))
}

fn ended(edge: JoinHandle<Done>) -> Done {
    edge.join().unwrap_or_else(|_| Err(Failure::Failed("the edge panicked".into())))
}

/// A port of this machine that nobody has, as long as this is held.
pub fn free_port() -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot("find a free port"))
}

/// Where that is.
pub fn at(port: &TcpListener) -> Result<SocketAddr, Failure> {
    port.local_addr().map_err(cannot("find a free port"))
}

/// The failure of what the system does not do.
pub fn cannot(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |e| Failure::Failed(format!("cannot {what}: {e}"))
}

fn lab_failed(cause: LabError) -> Failure {
    Failure::Failed(cause.to_string())
}

fn write(folder: &Path, edge: SocketAddr, admin: SocketAddr, table: &str) -> std::io::Result<PathBuf> {
    let settings = folder.join("rhumb.toml");
    std::fs::write(folder.join("admin.token"), format!("{TOKEN}\n"))?;
    std::fs::write(folder.join("routing.toml"), table)?;
    std::fs::write(&settings, settings_text(edge, admin))?;
    Ok(settings)
}

fn settings_text(edge: SocketAddr, admin: SocketAddr) -> String {
    format!(
        r#"[edge]
region = "{EU}"
id = "drill"
threads = 2
show_region = true

[[listeners]]
address = "{edge}"

[limits]
connections = 1000
drain_timeout = "1s"

[admin]
address = "{admin}"
token_file = "admin.token"

[table]
path = "routing.toml"

[state]
dir = "state"

[log]
level = "error"
access = "off"
"#
    )
}

fn table(lab: &Lab, drills: &[Drill]) -> String {
    let mut table = format!(
        r#"[tenancy]
from = [{{ host = "{{tenant}}.localhost" }}]

[policies.default]
timeout = "{deadline}s"
reads = {{ max_staleness = "10s" }}
writes = {{ hold = "3s", max_lag = "5s" }}

[policies.automatic]
timeout = "{deadline}s"
writes = {{ hold = "3s", failover = "automatic", after = "60s" }}

[safety]
max_moved_share = 1.0

"#,
        deadline = DEADLINE.as_secs(),
    );
    for (name, jurisdiction, [first, second]) in REGIONS {
        let address = lab.region(name).map(RunningRegion::address);
        let address = address.map_or_else(String::new, |address| address.to_string());
        // A string takes what is written to it.
        let _ = write!(
            table,
            "[regions.{name}]\njurisdiction = \"{jurisdiction}\"\nendpoints = [\"{address}\"]\n\
             near = [\"{first}\", \"{second}\"]\n\
             health = {{ interval = \"300ms\", timeout = \"500ms\", rise = 2, fall = 3 }}\n\n"
        );
    }
    table.push_str("[tenants]\n");
    for drill in drills {
        let Tenants { main, bound, calm } = Tenants::of(drill.name);
        let _ = writeln!(table, "{main} = {{ {} }}", drill.tenant);
        let _ = writeln!(table, "{bound} = {{ home = \"{EU}\", residency = [\"eu\"] }}");
        let _ = writeln!(table, "{calm} = {{ home = \"{AP}\", residency = [\"sg\"] }}");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::drills::DRILLS;
    use super::*;

    #[tokio::test]
    async fn the_labs_files_are_sound() {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::start(REGIONS.iter().map(|(name, ..)| ToyRegion::new(*name)).collect()).await.unwrap();
        let (edge, admin) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:9900".parse().unwrap());
        let text = table(&lab, DRILLS);
        Settings::read(&write(folder.path(), edge, admin, &text).unwrap()).unwrap();
        let table = crate::control::document::parse(&text).unwrap();
        assert_eq!((table.regions().len(), table.tenants().len()), (3, 3 * DRILLS.len()));
    }
}
