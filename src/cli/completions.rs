//! `quietus completions`

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::output::write;

/// Prints a script that lets a shell complete this command's words
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus completions bash > ~/.local/share/bash-completion/completions/quietus
  quietus completions zsh > ~/.zfunc/_quietus
  quietus completions fish > ~/.config/fish/completions/quietus.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    Ok(write(&script(args.shell)?)?)
}

fn script(shell: Shell) -> io::Result<String> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(shell, &mut command, "quietus", &mut script);
    String::from_utf8(script).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_know_the_subcommands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell).unwrap();
            for word in ["quietus", "explain", "dry-run", "trust-domain"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
