//! `quietus audit follow`

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use quietus_core::TaskId;
use quietus_ledger::{Entry, Sealed};
use tonic::{Code, Status, Streaming};

use crate::api::v1;
use crate::audit::select::{Found, follows};
use crate::audit::{Remote, fetch};
use crate::cli::exit::reason;
use crate::cli::output::{note, write};
use crate::cli::session::Globals;
use crate::cli::style::{Palette, Tone};
use crate::cli::text::{safe, safe_json, short};
use crate::cli::view::Time;
use crate::client::ConnectError;

/// How long to wait before the broker is called again, at first and at most.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// Room for an agent's words on a line.
const WORDS_COLUMNS: usize = 60;

/// Prints entries as they are written, until Ctrl-C
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit follow
  quietus audit follow --event request.refused
  quietus audit follow --from 1 -o json | jq -c 'select(.entry.agent != null)'

A broker that goes away is called again until it answers, and no entry is lost or repeated. With -o json every line is \
an entry as it was hashed, but that control characters are escaped on a terminal.")]
pub struct FollowArgs {
    /// The first entry; by default those to come, or with --task all of the task
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Only entries that name this task
    #[arg(long)]
    task: Option<TaskId>,
    /// Only events whose names begin so, such as lease. or request.refused
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    event: String,
}

pub async fn run(globals: &Globals, args: &FollowArgs) -> anyhow::Result<()> {
    let remote = Remote::new(globals.connect().await?.audit());
    let from = match (args.from, args.task) {
        (Some(from), _) => from,
        (None, Some(_)) => 1,
        (None, None) => fetch::read(&remote.checkpoint().await?, &[])?.size + 1,
    };
    let mut reader = Reader {
        args,
        remote,
        is_json: globals.out().is_json(),
        palette: Palette::new(globals.color, io::stdout().is_terminal()),
        is_screen: io::stdout().is_terminal(),
        last: from - 1,
    };
    let mut pause = FIRST;
    let mut is_first = true;
    loop {
        let before = reader.last;
        match reader.read().await {
            Err(error) if is_first || !is_passing(&error) => return Err(error),
            Err(_) | Ok(()) if reader.last > before => pause = FIRST,
            _ => {}
        }
        if pause == FIRST {
            note(format!(
                "the broker went away after entry {}: it is called again",
                reader.last
            ))?;
        }
        is_first = false;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Where the reading is, and how it is printed.
struct Reader<'a> {
    args: &'a FollowArgs,
    remote: Remote,
    is_json: bool,
    palette: Palette,
    is_screen: bool,
    last: u64,
}

impl Reader<'_> {
    /// Reads for as long as the broker is there.
    async fn read(&mut self) -> anyhow::Result<()> {
        let from = self.last + 1;
        let stream = self.remote.stream(from, 0, self.args.task, true).await?;
        match self.print(stream).await {
            // What had begun goes on when the broker is back.
            Err(error) if is_passing(&error) => Ok(()),
            printed => printed,
        }
    }

    async fn print(
        &mut self,
        mut stream: Streaming<v1::ReadEntriesResponse>,
    ) -> anyhow::Result<()> {
        while let Some(portion) = stream.message().await? {
            let mut text = String::new();
            for bytes in portion.entries {
                let found = Found::read(bytes)?;
                follows(self.last, found.sealed.seq, self.args.task.is_some())?;
                self.last = found.sealed.seq;
                if found.sealed.entry.event.starts_with(&self.args.event) {
                    text.push_str(&self.line(&found));
                    text.push('\n');
                }
            }
            write(&text)?;
        }
        Ok(())
    }

    fn line(&self, found: &Found) -> String {
        if !self.is_json {
            return line(&found.sealed, self.palette);
        }
        let text = String::from_utf8_lossy(&found.bytes);
        match self.is_screen {
            true => safe_json(&text),
            false => text.into_owned(),
        }
    }
}

/// An entry on one line: when, which, what, who, and what is said of it.
fn line(sealed: &Sealed, palette: Palette) -> String {
    let entry = &sealed.entry;
    let time = palette.paint(Tone::Dim, Time::from_millis(entry.time));
    let event = palette.paint(tone(entry), format!("{:<21}", safe(&entry.event)));
    let mut line = format!("{time} {:>7} {event}", sealed.seq);
    for word in words(entry) {
        line.push(' ');
        line.push_str(&safe(&short(&word, WORDS_COLUMNS)));
    }
    line.trim_end().to_owned()
}

fn tone(entry: &Entry) -> Tone {
    match entry.event.as_str() {
        _ if entry.refusal.is_some() => Tone::Bad,
        "freeze.set" | "revoke.ordered" | "clock.stepped_back" => Tone::Busy,
        "lease.settled" if entry.leases.iter().any(|lease| lease.error.is_some()) => Tone::Busy,
        _ => Tone::Strong,
    }
}

fn words(entry: &Entry) -> Vec<String> {
    let caller = entry.caller.as_ref().map(|caller| &caller.id);
    let who = entry.agent.as_ref().or(caller).cloned();
    let by = caller.filter(|caller| entry.agent.as_ref().is_some_and(|agent| agent != *caller));
    let named = |name: &str, value: Option<&String>| value.map(|value| format!("{name}={value}"));
    let task = entry.task.as_ref().map(|task| &task.id);
    let mut words: Vec<String> = who.into_iter().collect();
    words.extend(named("by", by));
    words.extend(named("refusal", entry.refusal.as_ref()));
    words.extend(named("cause", entry.cause.as_ref()));
    words.extend(named("task", task));
    for lease in &entry.leases {
        let number = lease.id.rsplit('.').next().unwrap_or(&lease.id);
        words.push(format!("lease={number}:{}:{}", lease.target, lease.state));
    }
    if let Some(action) = &entry.action {
        words.push(format!(
            "{}({}) {}",
            action.tool, action.resource, action.result
        ));
    }
    if let Some(purpose) = entry.task.as_ref().and_then(|task| task.purpose.as_ref()) {
        words.push(format!("{purpose:?}"));
    }
    words.extend(
        entry
            .detail
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    words
}

/// Whether it may be otherwise when the broker is called again.
fn is_passing(error: &anyhow::Error) -> bool {
    if let Some(problem) = ConnectError::within(error.as_ref()) {
        return matches!(
            problem.reason(),
            "BROKER_UNREACHABLE" | "BROKER_TIMED_OUT" | "BROKER_CLOSED" | "HTTP2_NOT_STARTED"
        );
    }
    let Some(status) = error.downcast_ref::<Status>() else {
        return false;
    };
    match status.code() {
        Code::Unavailable => true,
        // A connection that broke off, and not something that the broker said.
        Code::Unknown | Code::Internal | Code::Cancelled => reason(error).is_empty(),
        _ => false,
    }
}
