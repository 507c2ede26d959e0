//! Two edges that know nothing of each other, and a gateway before each of two regions of the lab: processes of this
//! program, on files of their own.
//!
//! Never: outlives its handle.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use tempfile::TempDir;

use super::world::{AP, DEADLINE, EU, REGIONS, TOKEN, Tenants, US, World, at, cannot, free_port};
use crate::cli::Failure;
use crate::cli::edge::{Edge as Admin, Trusted};
use crate::control::clock::Clock;

/// How long a member may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(25);

/// What makes a process an edge that says who answered.
const EDGE: &str = "show_region = true\n";
/// What makes it a gateway.
const GATEWAY: &str = "role = \"gateway\"\n";

/// Two edges and two gateways that run.
pub struct Fleet {
    /// The one whose ownership moves.
    pub first: Member,
    /// The one that nobody tells.
    pub second: Member,
    _gateways: [Member; 2],
    _folder: TempDir,
}

/// One process.
pub struct Member {
    folder: PathBuf,
    child: Child,
    /// Where requests go.
    pub address: SocketAddr,
    /// Its admin side.
    pub admin: Admin,
}

impl Fleet {
    /// Starts it, with a table whose rows are of `tenants`; the first of them has these `keys`.
    ///
    /// Errors: a process that does not answer, with what it said.
    pub fn start(world: &World, tenants: &Tenants, keys: &str) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("rhumb-fleet-").tempdir();
        let folder = folder.map_err(cannot("make a folder"))?;
        let mut secret = [0; 32];
        let random = SystemRandom::new().fill(&mut secret);
        random.map_err(|_| Failure::Failed("the system gives no random bytes".into()))?;
        let secret = format!("drill {}\n", STANDARD.encode(secret));
        let start = |name: &str, region: &str, own: &str, table: &str| {
            Member::start(&folder.path().join(name), (name, region), own, table, &secret, world)
        };
        let own = |region: &str| Ok::<_, Failure>(world.region(region)?.address());
        let gateway = |name: &str, region: &str| {
            let endpoints = |other: &str| {
                if other == region { Ok(Some((own(other)?, ""))) } else { Ok(None) }
            };
            let table = table(tenants, keys, endpoints)?;
            start(name, region, GATEWAY, &table)
        };
        let (eu, us) = (gateway("gateway-eu", EU)?, gateway("gateway-us", US)?);
        let table = table(tenants, keys, |region| {
            Ok(Some(match region {
                EU => (eu.address, "gateway = true\n"),
                US => (us.address, "gateway = true\n"),
                _ => (own(AP)?, ""),
            }))
        })?;
        let first = start("first", EU, EDGE, &table)?;
        let second = start("second", EU, EDGE, &table)?;
        Ok(Self { first, second, _gateways: [eu, us], _folder: folder })
    }
}

impl Member {
    fn start(
        folder: &Path,
        (name, region): (&str, &str),
        own: &str,
        table: &str,
        secret: &str,
        world: &World,
    ) -> Result<Self, Failure> {
        let written = cannot("write a file of the lab");
        std::fs::create_dir(folder).map_err(&written)?;
        let (edge, admin) = (free_port()?, free_port()?);
        let (address, listens) = (at(&edge)?, at(&admin)?);
        let keys = if own == EDGE { "[signature]" } else { "[gateway]" };
        let settings = format!(
            "[edge]\nregion = \"{region}\"\nid = \"{name}\"\nthreads = 1\n{own}\n\
             [[listeners]]\naddress = \"{address}\"\n\n[limits]\nconnections = 200\ndrain_timeout = \"1s\"\n\n\
             {keys}\nkeys_file = \"keys\"\n\n[admin]\naddress = \"{listens}\"\ntoken_file = \"admin.token\"\n\n\
             [table]\npath = \"routing.toml\"\n\n[state]\ndir = \"state\"\n\n[log]\nlevel = \"error\"\naccess = \"off\"\n"
        );
        for (file, text) in
            [("rhumb.toml", settings.as_str()), ("routing.toml", table), ("admin.token", TOKEN)]
        {
            std::fs::write(folder.join(file), text).map_err(&written)?;
        }
        let keys = File::options().write(true).create_new(true).mode(0o600).open(folder.join("keys"));
        keys.and_then(|mut keys| keys.write_all(secret.as_bytes())).map_err(&written)?;
        let named = format!("http://{listens}").parse().map_err(Failure::Failed)?;
        let client = Admin::at(named, Some(TOKEN.to_owned()), &Trusted::default())?;
        // Held until here, so that they are different.
        drop((edge, admin));
        let child = run(folder)?;
        let mut member = Self { folder: folder.to_owned(), child, address, admin: client };
        member.answers(world)?;
        Ok(member)
    }

    /// Kills it, as a machine that is gone would be.
    pub fn kill(&mut self) -> Result<(), Failure> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(drop)
            .map_err(cannot("end a process of the lab"))
    }

    /// Starts it again, on what is in its folder now.
    pub fn start_again(&mut self, world: &World) -> Result<(), Failure> {
        self.child = run(&self.folder)?;
        self.answers(world)
    }

    /// Edits its table: `from` becomes `to`.
    pub fn edit(&self, from: &str, to: &str) -> Result<(), Failure> {
        super::world::edit(&self.folder, from, to)
    }

    fn answers(&mut self, world: &World) -> Result<(), Failure> {
        let clock = Clock::system();
        while self.admin.text("/readyz").is_err() {
            let over = self.child.try_wait().is_ok_and(|ended| ended.is_some());
            if over || clock.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(Failure::Failed(format!(
                    "a process of the lab does not answer: {}",
                    said.trim()
                )));
            }
            if world.stop.within(LOOK) {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(folder: &Path) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(cannot("find this program"))?;
    let log =
        File::options().append(true).create(true).open(folder.join("log")).map_err(cannot("open a log"))?;
    let mut command = Command::new(program);
    command.arg("run").arg("-c").arg(folder.join("rhumb.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(cannot("start this program"))
}

/// A table; `endpoint` is where a region is reached, and keys of it; a region without one is off.
fn table(
    tenants: &Tenants,
    keys: &str,
    endpoint: impl Fn(&str) -> Result<Option<(SocketAddr, &'static str)>, Failure>,
) -> Result<String, Failure> {
    let mut table = format!(
        "[tenancy]\nfrom = [{{ host = \"{{tenant}}.localhost\" }}]\n\n[policies.default]\ntimeout = \"{}s\"\n\
         writes = {{ hold = \"3s\", max_lag = \"5s\" }}\n\n",
        DEADLINE.as_secs()
    );
    for (name, jurisdiction, _) in REGIONS {
        let reached = match endpoint(name)? {
            Some((address, keys)) => {
                let health = "{ interval = \"300ms\", timeout = \"500ms\", rise = 2, fall = 3 }";
                format!("endpoints = [\"{address}\"]\n{keys}health = {health}\n")
            }
            None => "endpoints = []\nrole = \"off\"\n".to_owned(),
        };
        // A string takes what is written to it.
        let _ = write!(table, "[regions.{name}]\njurisdiction = \"{jurisdiction}\"\n{reached}\n");
    }
    let Tenants { main, bound, calm } = tenants;
    let _ = write!(
        table,
        "[tenants]\n{main} = {{ {keys} }}\n{bound} = {{ home = \"{EU}\", residency = [\"eu\"] }}\n\
         {calm} = {{ home = \"{AP}\", residency = [\"sg\"] }}\n"
    );
    Ok(table)
}
