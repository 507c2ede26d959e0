//! `rhumb completions` and `rhumb man`: what shells and readers of manuals are given, made of the arguments themselves.

use clap::CommandFactory;

use super::args::Arguments;
use super::failure::{Done, Failure};
use super::out::Out;

/// The completions of a shell.
pub fn completions(shell: clap_complete::Shell, out: &mut Out<'_>) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "rhumb", &mut script);
    out.text(&String::from_utf8_lossy(&script))
}

/// The manual page of the command that `names` lead to; without any, of the program.
///
/// Errors: there is no such command.
pub fn page(names: &[String], out: &mut Out<'_>) -> Done {
    let mut command = Arguments::command();
    command.build();
    for name in names {
        let Some(found) = command.find_subcommand(name) else {
            let told = format!("there is no command {:?}; `rhumb --help` lists them", names.join(" "));
            return Err(Failure::Usage(told));
        };
        command = found.clone();
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    out.text(&String::from_utf8_lossy(&page))
}
