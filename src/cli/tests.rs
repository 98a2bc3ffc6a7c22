use clap::{Command, CommandFactory};

use super::Cli;

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_subcommand_says_what_it_does_and_shows_an_example() {
    let mut command = Cli::command();
    command.build();
    check(&mut command, true);
}

fn check(command: &mut Command, top: bool) {
    let help = command.render_long_help().to_string();
    let name = command.get_bin_name().unwrap_or_default().to_owned();
    assert!(
        command.get_about().is_some(),
        "{name} says nothing about itself"
    );
    assert!(
        top || name.ends_with(" help") || name.contains(" help ") || help.contains("Example"),
        "{name}: {help}"
    );
    command
        .get_subcommands_mut()
        .for_each(|command| check(command, false));
}
