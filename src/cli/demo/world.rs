//! The demo's regions, tenants and files, and what it says to whoever started it.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One toy region.
pub(super) struct Region {
    pub name: &'static str,
    /// The port it prefers.
    pub port: u16,
    /// How long it takes to answer: a little of the distance there would be.
    pub away: Duration,
    jurisdiction: &'static str,
    near: [&'static str; 2],
}

/// The toy regions; the edge stands in the first.
pub(super) const REGIONS: [Region; 3] = [
    Region {
        name: "eu-west-1",
        port: 8101,
        away: Duration::ZERO,
        jurisdiction: "eu",
        near: ["us-east-1", "ap-southeast-1"],
    },
    Region {
        name: "us-east-1",
        port: 8102,
        away: Duration::from_millis(40),
        jurisdiction: "us",
        near: ["eu-west-1", "ap-southeast-1"],
    },
    Region {
        name: "ap-southeast-1",
        port: 8103,
        away: Duration::from_millis(90),
        jurisdiction: "sg",
        near: ["us-east-1", "eu-west-1"],
    },
];

/// Tenants with their keys in the table.
pub(super) const TENANTS: [(&str, &str); 4] = [
    ("acme", r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#),
    ("globex", r#"home = "us-east-1", replicas = ["eu-west-1", "ap-southeast-1"], epoch = 3"#),
    ("initech", r#"home = "ap-southeast-1", residency = ["sg"]"#),
    ("hooli", r#"home = "us-east-1", replicas = ["eu-west-1"], state = "frozen""#),
];

/// Said when traffic is sent all the time.
pub(super) const LOAD_BEGINS: &str = "Traffic flows. Every five seconds: how much, and what became of it.\n";

/// Where everything listens.
pub(super) struct World {
    pub edge: u16,
    pub admin: u16,
    pub regions: Vec<(&'static str, SocketAddr)>,
}

const TOKEN: &str = "demo";

impl World {
    /// Writes settings, table and token into `folder`; returns the settings' path.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        let settings = folder.join("rhumb.toml");
        std::fs::write(folder.join("admin.token"), format!("{TOKEN}\n"))?;
        std::fs::write(folder.join("routing.toml"), self.table())?;
        std::fs::write(&settings, self.settings())?;
        Ok(settings)
    }

    fn settings(&self) -> String {
        let (edge, admin) = (self.edge, self.admin);
        format!(
            r#"[edge]
region = "eu-west-1"
id = "demo"
threads = 2
show_region = true

[[listeners]]
address = "127.0.0.1:{edge}"

[limits]
connections = 1000
drain_timeout = "2s"

[admin]
address = "127.0.0.1:{admin}"
token_file = "admin.token"

[table]
path = "routing.toml"

[state]
dir = "state"

[log]
level = "warn"
access = "off"
"#
        )
    }

    fn table(&self) -> String {
        let mut table = String::from(
            r#"# Edit this file while the demo runs: it is in force a moment later.

[tenancy]
from = [{ host = "{tenant}.localhost" }, { header = "X-Tenant-ID" }]

"#,
        );
        for (region, (_, address)) in REGIONS.iter().zip(&self.regions) {
            let Region { name, jurisdiction, near: [first, second], .. } = region;
            // A string takes what is written to it.
            let _ = write!(
                table,
                "[regions.{name}]\njurisdiction = \"{jurisdiction}\"\nendpoints = [\"{address}\"]\n\
                 near = [\"{first}\", \"{second}\"]\nweight = 100   # {name}\nhealth = {{ interval = \"500ms\" }}\n\n"
            );
        }
        table.push_str("[[routes]]\nname = \"search\"\npath = \"/search\"\nmethods = [\"POST\"]\n");
        table.push_str(
            "operation = \"read\"   # a search changes nothing, though it is a POST\n\n[tenants]\n",
        );
        for (tenant, keys) in TENANTS {
            let _ = writeln!(table, "{tenant} = {{ {keys} }}");
        }
        table
    }

    /// What to try, and what it will show.
    ///
    /// - `program`: how this program is called, for the line that asks it.
    pub fn welcome(&self, folder: &Path, program: &Path) -> String {
        let (edge, admin) = (self.edge, self.admin);
        let table = folder.join("routing.toml");
        let (table, program) = (table.display(), program.display());
        let mut text = format!("An edge in eu-west-1 takes requests at http://localhost:{edge}\n\n");
        for (name, address) in &self.regions {
            let _ = writeln!(text, "  {name:<15} a toy region at {address}");
        }
        let _ = write!(
            text,
            "  {:<15} {table}
  {:<15} http://127.0.0.1:{admin} (token: {TOKEN}): a dashboard, and the API

Try, in another terminal:

1. A read is answered nearby: globex lives in us-east-1, its replica in eu-west-1 answers.
   curl -s http://globex.localhost:{edge}/kv/greeting

2. A write goes home, to the region that owns globex. A second later the read above shows it.
   curl -s -X PUT -d 'hello' http://globex.localhost:{edge}/kv/greeting

3. A spoofed header dies: the region sees the owner that Rhumb knows, in every spelling.
   curl -s -H 'X-Owner-Region: mars' -H 'x_owner_region: mars' http://globex.localhost:{edge}/kv/greeting

4. A drained region takes no reads: its weight goes to 0, and us-east-1 answers instead.
   sed -i 's/^weight = 100   # eu-west-1/weight = 0     # eu-west-1/' {table} && sleep 1 && \\
     curl -s http://globex.localhost:{edge}/kv/greeting

5. A refusal says why: hooli is frozen, so its writes wait for better days.
   curl -s -i -X PUT -d 'hello' http://hooli.localhost:{edge}/kv/greeting

Why does a request go where it goes? Ask:
   {program} explain --admin http://127.0.0.1:{admin} --tenant globex --method PUT --path /kv/greeting

Ctrl-C ends it all.
",
            "the table", "for operators",
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        let at = |(i, region): (usize, &Region)| {
            (region.name, SocketAddr::from(([127, 0, 0, 1], 8101 + i as u16)))
        };
        World { edge: 8080, admin: 9900, regions: REGIONS.iter().enumerate().map(at).collect() }
    }

    #[test]
    fn the_demos_files_are_sound() {
        let folder = tempfile::tempdir().unwrap();
        let file = world().write(folder.path()).unwrap();
        crate::settings::Settings::read(&file).unwrap();
        let table = crate::control::document::parse(&world().table()).unwrap();
        assert_eq!((table.regions().len(), table.tenants().len()), (REGIONS.len(), TENANTS.len()));
    }

    #[test]
    fn the_line_that_drains_finds_what_it_replaces() {
        assert!(world().table().contains("\nweight = 100   # eu-west-1\n"));
        let welcome = world().welcome(Path::new("/tmp/demo"), Path::new("rhumb"));
        assert_eq!(welcome.matches("curl -s").count(), 5);
    }
}
