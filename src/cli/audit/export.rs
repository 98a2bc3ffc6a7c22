//! `quietus audit export`

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use quietus_core::TaskId;

use super::log_in;
use crate::audit::export::{cloud_event, ocsf_event};
use crate::audit::fetch;
use crate::audit::select::{Entries, Found, Selection};
use crate::cli::session::Globals;
use crate::cli::text::safe_json;

/// Writes entries in forms that other systems read, one JSON document a line
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit export > ledger.jsonl
  quietus audit export ocsf.jsonl --format ocsf --since 2026-11-01T00:00:00Z
  quietus audit export --format cloudevents --task 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55
  quietus audit export --copy copy/ | jq .entry.event

jsonl has the entries as they were hashed; ocsf is the Open Cybersecurity Schema Framework 1.8.0, with metadata.uid as \
the entry's number; cloudevents is CloudEvents 1.0, with the entry as data. A file is written as a whole or not at all.")]
pub struct ExportArgs {
    /// The file; - for standard output
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// The folder with a copy of the log; by default the broker that --identity names is asked
    #[arg(long, value_name = "DIR")]
    copy: Option<PathBuf>,
    /// The form of a line
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    format: Form,
    /// The first entry
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// The last entry
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// Only entries that name this task
    #[arg(long)]
    task: Option<TaskId>,
    /// Only entries from this time on: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Only entries before this time: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<u64>,
}

/// A form of export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Jsonl,
    Ocsf,
    Cloudevents,
}

pub async fn run(globals: &Globals, args: &ExportArgs) -> anyhow::Result<()> {
    let log = log_in(globals, args.copy.as_deref()).await?;
    let origin = fetch::read(&log.checkpoint().await?, &[])?.origin;
    let entries = log.select(args.selection()).await?;
    match args.file.to_str() {
        Some("-") => {
            let out = BufWriter::new(io::stdout());
            let lines = Lines {
                form: args.format,
                origin,
                is_screen: io::stdout().is_terminal(),
            };
            lines.write(entries, out).await
        }
        _ => {
            let lines = Lines {
                form: args.format,
                origin,
                is_screen: false,
            };
            lines.write_file(entries, &args.file).await
        }
    }
}

/// How entries become lines.
struct Lines {
    form: Form,
    origin: String,
    is_screen: bool,
}

impl Lines {
    async fn write(&self, mut entries: Entries, mut out: impl Write) -> anyhow::Result<()> {
        while let Some(found) = entries.next().await? {
            let mut line = self.line(&found)?;
            if self.is_screen {
                line = safe_json(&String::from_utf8_lossy(&line)).into_bytes();
            }
            line.push(b'\n');
            out.write_all(&line)?;
        }
        Ok(out.flush()?)
    }

    fn line(&self, found: &Found) -> anyhow::Result<Vec<u8>> {
        let event = match self.form {
            Form::Jsonl => return Ok(found.bytes.clone()),
            Form::Ocsf => ocsf_event(found, &self.origin)?,
            Form::Cloudevents => cloud_event(found, &self.origin)?,
        };
        Ok(serde_json::to_vec(&event)?)
    }

    /// Beside the file first, so that one that is there is replaced by a whole one or by none.
    async fn write_file(&self, entries: Entries, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let name = path
            .file_name()
            .ok_or_else(|| anyhow!("{shown} is not the name of a file"))?;
        let draft = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
        let written = async {
            let file = File::create(&draft)?;
            self.write(entries, BufWriter::new(&file)).await?;
            file.sync_all()?;
            anyhow::Ok(fs::rename(&draft, path)?)
        };
        let written = written.await;
        if written.is_err() {
            // It may not have come into being.
            let _ = fs::remove_file(&draft);
        }
        written.with_context(|| format!("cannot write {shown}"))
    }
}

impl ExportArgs {
    fn selection(&self) -> Selection {
        Selection {
            from: self.from,
            to: self.to,
            task: self.task,
            since: self.since,
            until: self.until,
        }
    }
}

/// Milliseconds since the Unix epoch.
fn moment(text: &str) -> Result<u64, String> {
    let ago = humantime::parse_duration(text).ok();
    let ago = ago.and_then(|ago| SystemTime::now().checked_sub(ago));
    let time = ago.or_else(|| humantime::parse_rfc3339_weak(text).ok());
    let time = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let millis = time.and_then(|time| u64::try_from(time.as_millis()).ok());
    millis.ok_or_else(|| {
        "write a time such as 2026-11-01T00:00:00Z, or how long ago it was, such as 2h".to_owned()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_distances() {
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(
            moment("2026-11-01 00:00:00"),
            moment("2026-11-01T00:00:00Z")
        );
        assert!(moment("2h").unwrap() > moment("3h").unwrap());
        for wrong in ["", "yesterday", "2026-13-01T00:00:00Z", "-1h", "99999999y"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
