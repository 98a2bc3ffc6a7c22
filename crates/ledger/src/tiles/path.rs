//! The paths of tiles.

use std::fmt;
use std::str::FromStr;

use super::{Kind, Tile, TileError, WIDTH};

/// Longest path that can name a tile: six groups of three digits.
const LONGEST: usize = 64;

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Hashes(level) => write!(f, "tile/{level}/")?,
            Kind::Entries => f.write_str("tile/entries/")?,
        }
        let digits = self.index.to_string();
        let digits = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
        let (last, groups) = (digits.len() - 3, digits.len() / 3 - 1);
        for group in 0..groups {
            write!(f, "x{}/", &digits[3 * group..3 * group + 3])?;
        }
        f.write_str(&digits[last..])?;
        match self.is_partial() {
            true => write!(f, ".p/{}", self.width),
            false => Ok(()),
        }
    }
}

impl FromStr for Tile {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let tile = Some(path)
            .filter(|path| path.len() <= LONGEST)
            .and_then(read);
        // One tile, one spelling.
        tile.filter(|tile| tile.to_string() == path)
            .ok_or(TileError::Path)
    }
}

fn read(path: &str) -> Option<Tile> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => Kind::Entries,
        level => Kind::Hashes(level.parse().ok()?),
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok()?),
        None => (rest, WIDTH),
    };
    let digits: String = index.chars().filter(|c| !matches!(c, 'x' | '/')).collect();
    Tile::new(kind, digits.parse().ok()?, width)
}
