//! What a command prints, for people or for machines.

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use clap::ValueEnum;
use serde::Serialize;
use zeroize::Zeroizing;

use super::style::{Palette, Tone, When};
use super::table::{Cell, Table};
use super::text::{relative, safe, safe_json};
use super::view::Time;

/// For whom to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// Something that can be shown to people.
pub trait Show {
    fn show(&self, page: &mut Page);
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    palette: Palette,
    now: SystemTime,
}

/// Text for people while it is being written.
#[derive(Debug)]
pub struct Page {
    text: String,
    palette: Palette,
    now: SystemTime,
}

impl Output {
    /// Standard output, with distances in time counted from `now`.
    pub fn new(format: Format, when: When, now: SystemTime) -> Self {
        Self {
            format,
            palette: Palette::new(when, io::stdout().is_terminal()),
            now,
        }
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a result on standard output.
    pub fn print(&self, result: &(impl Serialize + Show)) -> io::Result<()> {
        match self.format {
            Format::Table => write(&self.page(result)),
            Format::Json => write(&(json(result)? + "\n")),
        }
    }

    /// Prints one of several results: a JSON document is kept on one line.
    pub fn print_event(&self, result: &(impl Serialize + Show)) -> io::Result<()> {
        match self.format {
            Format::Table => write(&self.page(result)),
            Format::Json => {
                let line = serde_json::to_string(result).map_err(io::Error::other)?;
                write(&(safe_json(&line) + "\n"))
            }
        }
    }

    /// Prints exactly this line on standard output, for scripts.
    pub fn print_bare(&self, line: &str) -> io::Result<()> {
        write(&format!("{}\n", safe(line)))
    }

    /// Prints exactly this text on standard output, and ends its last line. Only a terminal is spared what it would
    /// act on: a program must get a secret as it is.
    pub fn print_exact(&self, text: &str) -> io::Result<()> {
        write(&exact(text, io::stdout().is_terminal()))
    }

    /// What people would see.
    pub fn page(&self, result: &impl Show) -> String {
        let mut page = Page::new(self.palette, self.now);
        result.show(&mut page);
        page.text
    }
}

impl Page {
    pub fn new(palette: Palette, now: SystemTime) -> Self {
        let text = String::new();
        Self { text, palette, now }
    }

    pub fn line(&mut self, text: impl AsRef<str>) {
        self.toned(Tone::Plain, text);
    }

    pub fn toned(&mut self, tone: Tone, text: impl AsRef<str>) {
        let text = self.palette.paint(tone, safe(text.as_ref()));
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// An empty line, and a heading below it.
    pub fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.toned(Tone::Strong, text);
    }

    pub fn table(&mut self, table: &Table) {
        self.text.push_str(&table.render(self.palette));
    }

    /// Labels, and what there is to say under each; a label with nothing to say is left out.
    pub fn facts<const N: usize>(&mut self, facts: [(&str, Option<Cell>); N]) {
        let mut table = Table::default();
        for (label, cell) in facts {
            if let Some(cell) = cell {
                table.add([Cell::toned(Tone::Dim, format!("{label}:")), cell]);
            }
        }
        self.table(&table);
    }

    /// How far away a point in time is.
    pub fn when(&self, time: Time) -> String {
        relative(time.0, self.now)
    }

    /// The same, with the point in time itself.
    pub fn moment(&self, time: Time) -> String {
        format!("{time} ({})", self.when(time))
    }

    #[cfg(test)]
    pub fn into_text(self) -> String {
        self.text
    }
}

fn exact(text: &str, terminal: bool) -> Zeroizing<String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut shown = Zeroizing::new(String::with_capacity(text.len() + 1));
    match terminal {
        true => {
            let lines: Vec<String> = text.split('\n').map(safe).collect();
            shown.push_str(&lines.join("\n"));
        }
        false => shown.push_str(text),
    }
    shown.push('\n');
    shown
}

/// Says something beside the result, on standard error.
pub fn note(text: impl AsRef<str>) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{}", safe(text.as_ref()))
}

/// The result as an indented document.
pub fn json(result: &impl Serialize) -> io::Result<String> {
    let text = serde_json::to_string_pretty(result).map_err(io::Error::other)?;
    Ok(safe_json(&text))
}

/// Writes to standard output. A closed pipe is an error here and not a panic, as it would be with `println!`.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_a_secret_as_it_is_and_terminals_do_not() {
        let cases = [
            ("token", "token\n", "token\n"),
            ("a\nb\n", "a\nb\n", "a\nb\n"),
            ("a\n\n", "a\n\n", "a\n\n"),
            ("\x1b[2J\tx", "\x1b[2J\tx\n", "\\u{1b}[2J\\tx\n"),
            ("", "\n", "\n"),
        ];
        for (text, piped, on_screen) in cases {
            assert_eq!(*exact(text, false), piped);
            assert_eq!(*exact(text, true), on_screen);
        }
    }
}
