//! Verifier keys on the command line: whose signatures are believed.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, anyhow, bail};

use super::exit::Complaint;
use crate::files;

/// The largest file of keys that is read.
const MAX_KEYS: usize = 64 * 1024;

/// Every key that was given for an option: `name+hash+key`, or `@FILE` or the path of a file with one a line.
pub fn read<K>(option: &str, given: &[String]) -> anyhow::Result<Vec<K>>
where
    K: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let mut keys = Vec::new();
    for text in given {
        let is_path = text.parse::<K>().is_err() && Path::new(text).is_file();
        match text.strip_prefix('@') {
            Some(path) => keys.extend(file(Path::new(path))?),
            None if is_path => keys.extend(file(Path::new(text))?),
            None => keys.push(one(option, text)?),
        }
    }
    Ok(keys)
}

fn one<K: FromStr<Err: std::error::Error>>(option: &str, text: &str) -> Result<K, Complaint> {
    let read = text.parse();
    read.map_err(|error| Complaint::Usage(format!("{option} {text}: {error}")))
}

fn file<K>(path: &Path) -> anyhow::Result<Vec<K>>
where
    K: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let shown = path.display();
    let bytes = files::read(path, MAX_KEYS).map_err(|problem| anyhow!("{shown} {problem}"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{shown} is not text"))?;
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = keys.map(str::parse).collect::<Result<Vec<K>, _>>();
    let keys = keys.with_context(|| shown.to_string())?;
    if keys.is_empty() {
        bail!("{shown} holds no verifier key");
    }
    Ok(keys)
}
