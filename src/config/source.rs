use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{ConfigError, MAX_BYTES};

/// A configuration file as it was read.
pub(super) struct Source {
    path: PathBuf,
    text: String,
    /// Where the lines after the first begin.
    breaks: Vec<usize>,
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        if bytes.len() as u64 > MAX_BYTES {
            return Err(ConfigError::TooLarge { path });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(_) => Err(ConfigError::NotText { path }),
        }
    }

    fn new(path: PathBuf, text: String) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { path, text, breaks }
    }

    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.text).map_err(|error| self.syntax(&error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that relative paths start from.
    pub(super) fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// The line, from 1, that this byte is on.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.breaks.partition_point(|start| *start <= offset) + 1
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let line = self.line(error.span().map_or(0, |span| span.start));
        ConfigError::Syntax {
            path: self.path.clone(),
            line,
            message: error.message().to_owned(),
            text: self
                .text
                .lines()
                .nth(line - 1)
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
