//! Text in columns.

use unicode_width::UnicodeWidthStr;

use super::style::{Palette, Tone};
use super::text::safe;

const GAP: usize = 2;

/// Text in one place of a table, made harmless.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// Rows under a head, or without one.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    has_head: bool,
}

impl Cell {
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::toned(Tone::Plain, text)
    }

    pub fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        let text = safe(text.as_ref());
        Self { text, tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl Table {
    pub fn with_head<const N: usize>(names: [&str; N]) -> Self {
        let head = names.map(|name| Cell::toned(Tone::Strong, name));
        Self {
            rows: vec![head.into()],
            has_head: true,
        }
    }

    pub fn add<const N: usize>(&mut self, row: [Cell; N]) {
        self.rows.push(row.into());
    }

    /// One line a row, each column as wide as its widest cell; nothing for a head without rows.
    pub fn render(&self, palette: Palette) -> String {
        if self.rows.len() == usize::from(self.has_head) {
            return String::new();
        }
        let widths = self.widths();
        let lines = self.rows.iter().map(|row| line(row, &widths, palette));
        lines.collect()
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.width()).max().unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

fn line(row: &[Cell], widths: &[usize], palette: Palette) -> String {
    let mut line = String::new();
    // Written before the next text, so that no line ends in spaces.
    let mut spaces = 0;
    for (cell, width) in row.iter().zip(widths) {
        if !cell.text.is_empty() {
            line.push_str(&" ".repeat(spaces));
            line.push_str(&palette.paint(cell.tone, &cell.text));
            spaces = 0;
        }
        spaces += width - cell.text.width() + GAP;
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::with_head(["NAME", "STATE", "WHY"]);
        table.add(["a".into(), Cell::toned(Tone::Good, "open"), "検査".into()]);
        table.add(["検査検査".into(), "".into(), "x\ny".into()]);
        table.add(["b".into(), "closed".into(), "".into()]);
        let expected = "\
NAME      STATE   WHY
a         open    検査
検査検査          x\\ny
b         closed
";
        assert_eq!(table.render(Palette::PLAIN), expected);
    }

    #[test]
    fn a_head_alone_is_not_shown() {
        assert_eq!(Table::with_head(["NAME"]).render(Palette::PLAIN), "");
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let mut table = Table::default();
        table.add([Cell::toned(Tone::Good, "a"), "b".into()]);
        table.add(["ccc".into(), "d".into()]);
        let palette = Palette::new(super::super::style::When::Always, false);
        assert_eq!(table.render(palette), "\x1b[32ma\x1b[0m    b\nccc  d\n");
    }
}
