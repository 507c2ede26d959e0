//! The arguments: what may be typed, and the help for it.

mod drill;
mod operators;
mod ownership;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::edge::Address;
use crate::admin::tokens::Right;

pub use drill::DrillArgs;
pub use operators::{
    AuditArgs, AuditCommand, DrainArgs, DrainsCommand, OneDrain, PlanCommand, Target, UndrainArgs,
    WeightArgs, Why,
};
pub use ownership::{
    FailbackArgs, FailoverArgs, FreezeArgs, How, Mode, RegionCommand, TenantCommand, TransferArgs,
    TransfersCommand, UnfreezeArgs,
};

/// Everything that was typed.
#[derive(Debug, Parser)]
#[command(
    name = "rhumb",
    version,
    about = "A global traffic proxy: every request holds its course to its home region",
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    max_term_width = 80,
)]
pub struct Arguments {
    /// How to print answers: table or json
    #[arg(short, long, global = true, value_enum, value_name = "FORM", default_value = "table")]
    #[arg(hide_possible_values = true, help_heading = "Options for every command")]
    pub output: Format,

    /// The running edge to ask [default: http://127.0.0.1:9900]
    #[arg(long, global = true, value_name = "URL", help_heading = "Options for every command")]
    pub admin: Option<Address>,

    /// The authorities that an https edge is believed by [default: those of the system]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options for every command")]
    pub ca: Option<PathBuf>,

    /// The certificate to show to an https edge that asks for one
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options for every command")]
    #[arg(requires = "cert_key")]
    pub cert: Option<PathBuf>,

    /// The key of that certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options for every command")]
    #[arg(requires = "cert")]
    pub cert_key: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Environment:
  RHUMB_TOKEN  The operator's token; every change needs it

Exit codes:
  0  done
  1  refused or failed
  2  bad usage or bad files

Examples:
  Look around, with three toy regions and an edge in front of them:
    rhumb demo
  See whether the files are sound, then serve:
    rhumb check -c conf/rhumb.toml
    rhumb run -c conf/rhumb.toml
  Ask where a request would go, and where it would go with a region drained:
    rhumb explain --tenant acme --method POST --path /v1/cases
    rhumb explain --tenant acme --drain eu-west-1=0
  See what an edited table would change, and take it:
    rhumb table diff
    rhumb table reload
  Know what a drain would do, do it, watch it, and take it back:
    rhumb plan drain eu-west-1 --to 0
    rhumb drain eu-west-1 --to 0 --over 10m --reason maintenance --wait
    rhumb undrain eu-west-1 --reason over
  Answer a program:
    rhumb regions -o json";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve requests: run an edge in the foreground
    Run(RunArgs),
    /// Name every problem of settings, routing table and certificates
    #[command(after_help = "\
Names every problem of all files at once, with its line and what to write
instead, and exits with 2 if there is any. No running edge is asked.")]
    Check(FilesArgs),
    /// Say where a request would go, and why not elsewhere
    #[command(after_help = EXPLAIN_MORE)]
    Explain(ExplainArgs),
    /// Show how a running edge is
    Status(StatusArgs),
    /// Watch the regions and what happens, on this terminal
    #[command(after_help = TOP_MORE)]
    Top,
    /// Show the regions with weights and health, or one of them in full
    Regions(RegionsArgs),
    /// Look a tenant up, pause its writes, or say who owns it
    #[command(subcommand, disable_help_subcommand = true)]
    Tenant(TenantCommand),
    /// Pause writes of all that a region owns
    #[command(subcommand, disable_help_subcommand = true)]
    Region(RegionCommand),
    /// Move the ownership of a tenant, or of what a region owns
    Transfer(TransferArgs),
    /// List transfers, or end one
    #[command(disable_help_subcommand = true)]
    Transfers {
        /// See there.
        #[command(subcommand)]
        command: Option<TransfersCommand>,
    },
    /// Move all that a region owns to standbys
    Failover(FailoverArgs),
    /// Move home what is owned elsewhere, in waves
    Failback(FailbackArgs),
    /// Show, compare, take or take back the routing table
    #[command(subcommand, disable_help_subcommand = true)]
    Table(TableCommand),
    /// Say what a change would do, before it is made
    #[command(subcommand, disable_help_subcommand = true)]
    Plan(PlanCommand),
    /// Move a region's traffic away, at once or little by little
    Drain(DrainArgs),
    /// Let a drain go back the way it came
    Undrain(UndrainArgs),
    /// List drains; pause, resume or stop one
    #[command(disable_help_subcommand = true)]
    Drains {
        /// See there.
        #[command(subcommand)]
        command: Option<DrainsCommand>,
    },
    /// Set a region's weight at once, or clear what was set
    Weight(WeightArgs),
    /// Run a game day, in a lab or against a running edge
    #[command(after_help = drill::MORE)]
    Drill(DrillArgs),
    /// Show what was done, by whom and why, or verify it
    #[command(disable_help_subcommand = true)]
    Audit(AuditArgs),
    /// Print completions for a shell
    Completions {
        /// Which
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, of all or of one command
    Man {
        /// Such as drain, or table accept
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Make a token for the admin side, shown once
    #[command(after_help = TOKEN_MORE)]
    Token(TokenArgs),
    /// Try Rhumb on this machine, with three toy regions
    Demo(DemoArgs),
}

const TOP_MORE: &str = "\
Asks the edge every second, and changes nothing. Up and down choose the region
that is told of in full; q leaves. Beside each weight that an operator set stands
who set it, why, until when, and the drain under way. NO_COLOR=1 takes the colours
away. For files and programs there is `rhumb status --watch`.

Columns:
  WEIGHT  full: in effect, light: configured  CONF OPER EFF  the three weights
  REQ/S   requests a second                   ERR            of them, that failed
  P50 P99 how long they took                  IN FL          not answered yet
  ROOM    of the capacity, that is free       LAG            of its worst copy";

const EXPLAIN_MORE: &str = "\
With -c the files are read, and every region counts as up and without lag
unless --down says otherwise. Without -c the running edge is asked, with the
health, weights and ownership that it has now. Whatever is supposed with
--drain and --down, nothing is sent anywhere and nothing is changed.

Examples:
  rhumb explain --tenant acme --method POST --path /v1/cases
  rhumb explain --tenant acme --from us-east-1 --drain eu-west-1=0
  rhumb explain --tenant acme --header 'X-Consistency: strong'
  rhumb explain --certificate spiffe://prod.example/tenant/acme
  rhumb explain -c conf/rhumb.toml --tenant acme --down us-east-1:case.search";

/// `rhumb run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The process settings
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// If the table's files are unusable, start with the last table that was in force
    #[arg(long)]
    pub last_good: bool,
    /// Take the place of the process that runs with the same state.dir, without a client noticing
    #[arg(long)]
    pub upgrade: bool,
}

/// `rhumb check`.
#[derive(Debug, Args)]
pub struct FilesArgs {
    /// The process settings; they name the table
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `rhumb explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Explain by these settings and their table, without an edge
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The tenant; it is put wherever the table says that requests name theirs
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// The request's host
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// The request's method
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = method)]
    pub method: String,
    /// The request's path
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub path: String,
    /// A request header; may be given again
    #[arg(long, value_name = "NAME:VALUE")]
    pub header: Vec<Header>,
    /// What the certificate of the client says: its SPIFFE id, or the common name of its subject
    #[arg(long, value_name = "ID")]
    pub certificate: Option<String>,
    /// The request has a body
    #[arg(long)]
    pub body: bool,
    /// The region in which the request enters [default: where the edge stands]
    #[arg(long, value_name = "REGION")]
    pub from: Option<String>,
    /// Suppose that its client wrote in this region a moment ago, and shows the pin that says so
    #[arg(long, value_name = "REGION")]
    pub wrote_at: Option<String>,
    /// Suppose a region had this weight, 0 to 100; may be given again
    #[arg(long, value_name = "REGION=WEIGHT")]
    pub drain: Vec<Drain>,
    /// Suppose a region, or one capability of it, were down; may be given again
    #[arg(long, value_name = "REGION[:CAPABILITY]")]
    pub down: Vec<Down>,
}

/// `rhumb status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Ask again every two seconds, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// `rhumb regions`.
#[derive(Debug, Args)]
pub struct RegionsArgs {
    /// Show this one in full
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// `rhumb table`.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Show the table in force, and what is wrong with one not taken
    Show,
    /// Read the table's files and show what they would change
    Diff,
    /// Read the table's files now
    Reload {
        /// Why; it is kept with the change
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<String>,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a table that was refused because it moves many tenants
    Accept {
        /// The hash of the refused table, as `rhumb table diff` shows it
        #[arg(value_parser = hash)]
        hash: String,
        /// Why; it is kept with the change
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Go back to the table that was in force before this one
    Rollback {
        /// Why; it is kept with the change
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

const TOKEN_MORE: &str = "\
The line for the file of admin.token_file goes to standard output, the token to
standard error: it is kept nowhere. A running edge takes the line by itself.

Examples:
  rhumb token anna --right write >> conf/admin.token
  rhumb token grafana >> conf/admin.token";

/// `rhumb token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Who is to hold it; every change is kept with this name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it lets them do: read, or write, which is both
    #[arg(long, value_name = "RIGHT", default_value = "read")]
    pub right: Right,
}

/// `rhumb demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Send traffic all the time
    #[arg(long)]
    pub load: bool,
    /// Where the edge listens [default: 8080, or a free port where that is taken]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// `NAME:VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// A token by RFC 9110.
    pub name: String,
    /// Without spaces around it.
    pub value: String,
}

impl FromStr for Header {
    type Err = String;
    fn from_str(typed: &str) -> Result<Self, String> {
        let (name, value) = typed.split_once(':').ok_or("write NAME:VALUE, as in 'X-Consistency: strong'")?;
        let (name, value) = (name.trim(), value.trim());
        http::HeaderName::from_str(name).map_err(|_| format!("{name:?} cannot name a header"))?;
        http::HeaderValue::from_str(value).map_err(|_| format!("{value:?} cannot be a header's value"))?;
        Ok(Self { name: name.into(), value: value.into() })
    }
}

/// `REGION=WEIGHT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Its name.
    pub region: String,
    /// Percent, 0 to 100.
    pub weight: u8,
}

impl FromStr for Drain {
    type Err = String;
    fn from_str(typed: &str) -> Result<Self, String> {
        let (region, weight) = typed.split_once('=').ok_or("write REGION=WEIGHT, as in eu-west-1=0")?;
        if region.is_empty() {
            return Err("name a region before the '=', as in eu-west-1=0".into());
        }
        let weight = weight.parse().ok().filter(|weight| *weight <= 100);
        let weight = weight.ok_or("a weight is a whole number from 0 to 100")?;
        Ok(Self { region: region.into(), weight })
    }
}

/// `REGION` or `REGION:CAPABILITY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// Its name.
    pub region: String,
    /// `None`: everything.
    pub capability: Option<String>,
}

impl FromStr for Down {
    type Err = String;
    fn from_str(typed: &str) -> Result<Self, String> {
        let (region, capability) = match typed.split_once(':') {
            Some((region, capability)) => (region, Some(capability)),
            None => (typed, None),
        };
        if region.is_empty() || capability == Some("") {
            return Err("write REGION or REGION:CAPABILITY, as in us-east-1:case.write".into());
        }
        Ok(Self { region: region.into(), capability: capability.map(Into::into) })
    }
}

/// Methods are told apart by case; nobody who types one in small letters means another.
fn method(typed: &str) -> Result<String, String> {
    let method = typed.to_ascii_uppercase();
    http::Method::from_bytes(method.as_bytes()).map_err(|_| "it cannot be a method".to_owned())?;
    Ok(method)
}

fn hash(typed: &str) -> Result<String, String> {
    if typed.len() == 64 && typed.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(typed.to_ascii_lowercase())
    } else {
        Err("write all 64 hexadecimal digits, as `rhumb table diff` shows them".into())
    }
}

fn reason(typed: &str) -> Result<String, String> {
    match typed.trim() {
        "" => Err("say why, in a few words".into()),
        reason => Ok(reason.into()),
    }
}
