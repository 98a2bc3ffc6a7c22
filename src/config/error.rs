use std::fmt;
use std::io;
use std::path::PathBuf;

use super::MAX_BYTES;

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be opened or read.
    #[error("cannot read {path}: {source}: check the path and its permissions", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is larger than [`MAX_BYTES`].
    #[error("{path}: more than {MAX_BYTES} bytes: is this a configuration file?", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{path}: not UTF-8: save it as UTF-8 text", path = .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// It is not TOML, has an unknown key, lacks a key or has a value of the wrong type.
    #[error("{path}:{line}: {message}{text}", path = .path.display(), text = excerpt(.text))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        message: String,
        /// What the line says.
        text: String,
    },
    /// It reads well but says something that cannot be.
    #[error("{path} is not valid:{problems}", path = .path.display(), problems = list(.problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it, in the order of the file's sections.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; none if what is wrong is that something is missing.
    pub line: Option<usize>,
    /// The key, such as `limits.max_ttl`.
    pub key: &'static str,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.key, self.message)
    }
}

fn excerpt(text: &str) -> String {
    const SHOWN: usize = 100;
    let plain = text.trim().chars().filter(|c| !c.is_control());
    let shown: String = plain.take(SHOWN).collect();
    match shown.is_empty() {
        true => shown,
        false => format!(", in: {shown}"),
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|it| format!("\n  {it}")).collect()
}
