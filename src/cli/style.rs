//! Colours, and when to use them.

use std::env;
use std::fmt::Display;

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};

/// When to colour what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

/// What a colour is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Strong,
    Dim,
    Good,
    Busy,
    Bad,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    coloured: bool,
}

impl Palette {
    #[cfg(test)]
    pub const PLAIN: Self = Self { coloured: false };

    /// For a stream that is a terminal or not, by what the environment wants.
    pub fn new(when: When, terminal: bool) -> Self {
        Self::choose(when, terminal, env_wants_none())
    }

    pub fn paint(self, tone: Tone, text: impl Display) -> String {
        match self.coloured && tone != Tone::Plain {
            true => {
                let style = tone.style();
                format!("{style}{text}{style:#}")
            }
            false => text.to_string(),
        }
    }

    fn choose(when: When, terminal: bool, none_wanted: bool) -> Self {
        let coloured = match when {
            When::Auto => terminal && !none_wanted,
            When::Always => true,
            When::Never => false,
        };
        Self { coloured }
    }
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Busy => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// <https://no-color.org>: set, and not empty.
fn env_wants_none() -> bool {
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    no_color || env::var_os("TERM").is_some_and(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_and_who_asks_for_them() {
        let cases = [
            (When::Auto, true, false, true),
            (When::Auto, true, true, false),
            (When::Auto, false, false, false),
            (When::Always, false, true, true),
            (When::Never, true, false, false),
        ];
        for (when, terminal, none_wanted, coloured) in cases {
            assert_eq!(
                Palette::choose(when, terminal, none_wanted).coloured,
                coloured,
                "{when:?}"
            );
        }
    }

    #[test]
    fn plain_text_stays_plain() {
        assert_eq!(Palette::PLAIN.paint(Tone::Bad, "x"), "x");
        let coloured = Palette { coloured: true };
        assert_eq!(coloured.paint(Tone::Plain, "x"), "x");
        assert_eq!(coloured.paint(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
    }
}
