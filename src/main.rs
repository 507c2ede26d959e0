//! The `rhumb` program: see `rhumb --help`.

fn main() -> std::process::ExitCode {
    rhumb::cli::main()
}
