//! `[target.static]`

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Problems;
use crate::config::raw::Text;

const MAX_WORDS: usize = 32;
const MAX_WORD: usize = 4096;

/// `[target.static]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticSettings {
    /// The file that `quietus secret seal` wrote.
    pub sealed: PathBuf,
    /// What it was sealed with.
    pub key: StaticKey,
    /// A program with its arguments that puts another secret in its place, if there is one.
    pub rotate_command: Option<Vec<String>>,
}

/// Where the key is that opens a sealed secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StaticKey {
    /// In a file that nobody else may read.
    File(PathBuf),
    /// In this variable of the broker's environment.
    Env(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    sealed: Text,
    key_file: Option<Text>,
    key_env: Option<Text>,
    rotate_command: Option<Spanned<Vec<Text>>>,
}

pub(super) fn check(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<StaticSettings> {
    let table = raw.get_ref();
    let sealed = problems.path("target.static.sealed", &table.sealed);
    let key = key(problems, raw);
    let rotate_command = match &table.rotate_command {
        Some(words) => Some(command(problems, words)?),
        None => None,
    };
    Some(StaticSettings {
        sealed: sealed?,
        key: key?,
        rotate_command,
    })
}

fn key(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<StaticKey> {
    let table = raw.get_ref();
    match (&table.key_file, &table.key_env) {
        (Some(file), None) => problems
            .path("target.static.key_file", file)
            .map(StaticKey::File),
        (None, Some(name)) => {
            let read = variable(name.get_ref()).map(|()| name.get_ref().clone());
            problems
                .accepted("target.static.key_env", name, read)
                .map(StaticKey::Env)
        }
        _ => {
            let message = "write either key_file, or key_env, the name of a variable";
            problems.at("target.static.key_file", raw, message);
            None
        }
    }
}

fn variable(name: &str) -> Result<(), &'static str> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    match starts && name.len() <= 128 && name.bytes().all(sound) {
        true => Ok(()),
        false => Err("write the name of a variable, such as QUIETUS_STRIPE_KEY, and not the key"),
    }
}

/// A program named with its path, and its arguments.
fn command(problems: &mut Problems<'_>, raw: &Spanned<Vec<Text>>) -> Option<Vec<String>> {
    const KEY: &str = "target.static.rotate_command";
    let words = raw.get_ref();
    let few = (1..=MAX_WORDS).contains(&words.len());
    let sound = |word: &Text| word.get_ref().len() <= MAX_WORD && !word.get_ref().contains('\0');
    let Some(program) = words.first().filter(|_| few && words.iter().all(sound)) else {
        let message = "write a program and its arguments, such as [\"/usr/local/bin/rotate\"]";
        problems.at(KEY, raw, message);
        return None;
    };
    // Relative to this file, as every path.
    let program = problems.path(KEY, program)?;
    let Some(program) = program.to_str() else {
        problems.at(KEY, raw, "the program's path is not UTF-8");
        return None;
    };
    let arguments = words[1..].iter().map(|word| word.get_ref().clone());
    Some(
        std::iter::once(program.to_owned())
            .chain(arguments)
            .collect(),
    )
}
