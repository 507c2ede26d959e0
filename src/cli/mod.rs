//! The commands: what was typed, what it means, and what a person reads back.
//!
//! `run`, `demo` and `drill` start an edge; `check` and `explain -c` read files; all others ask the admin API of a
//! running edge. Exit codes: 0 done, 1 refused or failed, 2 bad usage or bad files.
//!
//! Never: decides anything itself, keeps standard output locked, or panics because a reader closed its pipe.

mod admission;
/// The arguments, as typed.
pub mod args;
mod ask;
mod audit;
mod certificates;
mod check;
mod demo;
mod drain;
mod drill;
mod edge;
mod explain;
mod failure;
mod files;
mod follow;
mod manual;
mod out;
mod plan;
mod regions;
mod run;
mod say;
mod signals;
mod signing;
mod status;
mod stop;
mod succession;
mod table;
mod tenant;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod top;
mod transfer;
mod wire;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

pub use failure::{Done, Failure};
pub use out::Out;

use args::{Arguments, Command};
use edge::{Edge, Trusted};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let token = std::env::var("RHUMB_TOKEN").ok();
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let screen = stdout.is_terminal();
    let world = World { token, screen, stdout: &mut stdout, stderr: &mut stderr };
    ExitCode::from(answer(std::env::args_os(), world))
}

/// What surrounds one command.
pub struct World<'a> {
    /// The operator's bearer token; every change needs one.
    pub token: Option<String>,
    /// Whether `stdout` is a terminal, which may be redrawn.
    pub screen: bool,
    /// Where answers go.
    pub stdout: &'a mut dyn Write,
    /// Where errors go.
    pub stderr: &'a mut dyn Write,
}

/// Runs the command that `words` name, the program's name first.
///
/// - Returns the exit code: 0 done, 1 refused or failed, 2 bad usage or bad files.
/// - Errors: none; a reader that closed `stdout` early has what it wanted.
pub fn answer(words: impl IntoIterator<Item = OsString>, world: World<'_>) -> u8 {
    let World { token, screen, stdout, stderr } = world;
    let matches = Arguments::command().try_get_matches_from(words);
    let typed = match matches.and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches)) {
        Ok(typed) => typed,
        Err(wrong) => return usage(&wrong, stdout, stderr),
    };
    let mut out = Out::to(stdout, typed.output, screen);
    match obey(typed, token, &mut out, stderr) {
        Ok(()) | Err(Failure::Closed) => 0,
        Err(failure) => {
            // Where even this cannot be written, the code still tells.
            let _ = writeln!(stderr, "error: {failure}");
            failure.code()
        }
    }
}

fn usage(wrong: &clap::Error, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let text = wrong.render();
    let _ = if wrong.use_stderr() { write!(stderr, "{text}") } else { write!(stdout, "{text}") };
    u8::try_from(wrong.exit_code()).unwrap_or(2)
}

fn obey(typed: Arguments, token: Option<String>, out: &mut Out<'_>, stderr: &mut dyn Write) -> Done {
    let (named, ca) = (typed.admin.clone(), typed.ca.clone());
    let own = typed.cert.clone().zip(typed.cert_key.clone());
    let edge = || Edge::at(named.unwrap_or_default(), token, &Trusted { ca, own });
    match typed.command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::demo(args, out),
        Command::Drill(args) => drill::drill(&args, typed.admin.is_some(), edge, out),
        Command::Check(args) => check::check(&args.config, out),
        Command::Explain(args) => match (&args.config, &typed.admin) {
            (Some(_), Some(_)) => Err(Failure::Usage(
                "-c explains by the files and --admin by a running edge; give one of them".into(),
            )),
            (Some(config), None) => explain::by_files(config, &args, out),
            (None, _) => explain::by_edge(&edge()?, &args, out),
        },
        Command::Status(args) if args.watch => status::watch(&edge()?, status::EVERY, out),
        Command::Status(_) => status::once(&edge()?, out),
        Command::Top => top::top(edge()?, out),
        Command::Regions(args) => match args.name {
            Some(name) => regions::one(&edge()?, &name, out),
            None => regions::list(&edge()?, out),
        },
        Command::Tenant(command) => tenant::obey(&edge()?, &command, out),
        Command::Region(command) => transfer::region(&edge()?, &command, out),
        Command::Transfer(args) => transfer::begin(&edge()?, &args, out),
        Command::Transfers { command: None } => transfer::list(&edge()?, out),
        Command::Transfers { command: Some(command) } => transfer::control(&edge()?, &command, out),
        Command::Failover(args) => transfer::failover(&edge()?, &args, out),
        Command::Failback(args) => transfer::failback(&edge()?, &args, out),
        Command::Table(command) => table::obey(&edge()?, &command, out),
        Command::Plan(command) => plan::obey(&edge()?, &command, out),
        Command::Drain(args) => drain::begin(&edge()?, &args, out),
        Command::Undrain(args) => drain::undo(&edge()?, &args, out),
        Command::Drains { command: None } => drain::list(&edge()?, out),
        Command::Drains { command: Some(command) } => drain::control(&edge()?, &command, out),
        Command::Weight(args) => drain::weight(&edge()?, &args, out),
        Command::Audit(args) => match &args.command {
            Some(args::AuditCommand::Verify { state: Some(state) }) => audit::offline(state, out),
            _ => audit::obey(&edge()?, &args, out),
        },
        Command::Completions { shell } => manual::completions(shell, out),
        Command::Man { command } => manual::page(&command, out),
        Command::Token(args) => admission::token(&args, out, stderr),
    }
}
