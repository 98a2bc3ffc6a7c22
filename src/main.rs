//! The `quietus` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    quietus::cli::main()
}
