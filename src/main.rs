//! The `rhumb` program: see `rhumb --help`.

/// Measured against the system's, in `bench/README.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rhumb::cli::main()
}
