//! The `towpath` binary: parse, run, print the error chain, exit code; nothing else.

use std::process::ExitCode;

/// What a first sync takes is given back to the system soon after: the system's own allocator keeps most of it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    towpath::cli::main()
}
