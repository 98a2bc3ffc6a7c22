//! `quietus audit replay`

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use quietus_core::TaskId;

use super::log_in;
use crate::audit::Log;
use crate::audit::replay::{Change, Finding, Replayed, replay};
use crate::audit::walk::{self, Range};
use crate::cli::exit::{Complaint, Exit};
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;
use crate::cli::style::Tone;
use crate::cli::table::{Cell, Table};
use crate::cli::text::count;
use crate::engine::read_policies;

/// How many findings people are shown; JSON has up to a thousand.
const SHOWN: usize = 20;
/// How many entries lie between two movements of the progress bar.
const STRIDE: u64 = 256;

/// Makes every recorded decision again, or shows what another policy would have decided
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit replay
  quietus audit replay copy/
  quietus audit replay --task 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55
  quietus audit replay --policies config/policies
  quietus audit replay --policies config/policies --from 10000 -o json

Each decision is made again from nothing but what its entry tells, by the archived policy set whose digest the entry \
names. Whether the entries are genuine is for `quietus audit verify` to say.

With --policies, the outcomes under that folder's policies are compared with the recorded ones. Facts are taken as \
they were; lifetimes that a policy limits are not compared.

Exits with 0 if every decision comes out as recorded, with 8 if one does not or cannot be made again, and, with \
--policies, with 9 if an outcome would be different.")]
pub struct ReplayArgs {
    /// The folder with a copy of the log; by default the broker that --identity names is asked
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Compare with what the .cedar files of this folder decide
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// The first entry, counted from 1
    #[arg(long, value_name = "ENTRY", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// The last entry; by default the last there is
    #[arg(long, value_name = "ENTRY", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// Only decisions in this task
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
}

pub async fn run(globals: &Globals, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let range = args.range()?;
    let under = args.policies.as_deref().map(read_policies).transpose()?;
    let mut log = log_in(globals, args.dir.as_deref()).await?;
    let bar = Progress::new(&log, range).await;
    let replayed = replay(&mut log, range, args.task, under, |seq| bar.at(seq)).await;
    bar.done();
    let replayed = replayed?;
    globals.out().print(&replayed)?;
    Ok(exit(&replayed))
}

fn exit(replayed: &Replayed) -> Exit {
    let changes = replayed.changes.as_ref();
    match changes.is_some_and(|changes| !changes.is_empty()) {
        _ if replayed.finding_count > 0 => Exit::Unproven,
        true => Exit::Different,
        false => Exit::Done,
    }
}

impl ReplayArgs {
    fn range(&self) -> Result<Range, Complaint> {
        match self.to {
            Some(to) if to < self.from => Err(Complaint::Usage(format!(
                "--to {to} is before --from {}",
                self.from
            ))),
            to => Ok(Range {
                from: self.from,
                to,
            }),
        }
    }
}

/// How far reading has come, if there is a terminal to show it on.
pub struct Progress {
    bar: ProgressBar,
    from: u64,
}

impl Progress {
    pub async fn new(log: &Log, range: Range) -> Self {
        let from = range.from;
        if !io::stderr().is_terminal() {
            let bar = ProgressBar::hidden();
            return Self { bar, from };
        }
        // What cannot be told now fails when it is read.
        let size = walk::size(log).await.unwrap_or_default();
        let last = range.to.map_or(size, |to| to.min(size));
        let style = ProgressStyle::with_template(
            "entries {bar:30} {human_pos}/{human_len} {per_sec} {eta}",
        );
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new((last + 1).saturating_sub(from)).with_style(style);
        Self { bar, from }
    }

    pub fn at(&self, seq: u64) {
        if seq.is_multiple_of(STRIDE) {
            self.bar.set_position(seq + 1 - self.from.min(seq));
        }
    }

    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}

impl Show for Replayed {
    fn show(&self, page: &mut Page) {
        for finding in self.findings.iter().take(SHOWN) {
            show_finding(page, finding);
        }
        let untold = self.finding_count.saturating_sub(SHOWN as u64);
        if untold > 0 {
            page.line(format!("and {untold} more: see them with -o json"));
        }
        if let Some(changes) = &self.changes {
            show_changes(page, changes);
        }
        self.show_sum(page);
    }
}

fn show_finding(page: &mut Page, finding: &Finding) {
    page.toned(
        Tone::Bad,
        format!("entry {}: {}", finding.entry, finding.problem),
    );
    let whose = [("agent", &finding.agent), ("task", &finding.task)];
    let told = whose.into_iter().filter_map(|(what, whose)| {
        let whose = whose.as_ref()?;
        Some(format!("{what} {whose}"))
    });
    let told: Vec<String> = told.collect();
    if !told.is_empty() {
        page.toned(Tone::Dim, format!("  {}", told.join(", ")));
    }
}

fn show_changes(page: &mut Page, changes: &[Change]) {
    let head = [
        "AGENT",
        "SCOPE",
        "WAS",
        "WOULD BE",
        "BY",
        "DECISIONS",
        "ENTRIES",
    ];
    let mut table = Table::with_head(head);
    for change in changes {
        let entries = match change.first == change.last {
            true => change.first.to_string(),
            false => format!("{} to {}", change.first, change.last),
        };
        table.add([
            Cell::new(&change.agent),
            Cell::new(&change.scope),
            outcome(&change.was),
            outcome(&change.would_be),
            Cell::new(match change.deciding.is_empty() {
                true => "no policy".to_owned(),
                false => change.deciding.join(", "),
            }),
            Cell::new(change.decisions.to_string()),
            Cell::new(entries),
        ]);
    }
    page.table(&table);
}

fn outcome(word: &str) -> Cell {
    match word {
        "permit" => Cell::toned(Tone::Good, word),
        "deny" => Cell::toned(Tone::Bad, word),
        _ => Cell::toned(Tone::Busy, word.replace('_', " ")),
    }
}

impl Replayed {
    fn show_sum(&self, page: &mut Page) {
        let decisions = count(self.decisions, "decision");
        let (first, last) = match (self.first, self.last) {
            (Some(first), Some(last)) => (first, last),
            _ => return page.line("there are no entries"),
        };
        let looked_at = format!("{decisions} in entries {first} to {last}");
        let changed = self.changes.as_ref().map(|changes| {
            let sum = changes.iter().map(|change| change.decisions).sum();
            (count(sum, "decision"), sum)
        });
        match changed {
            _ if self.finding_count > 0 => {
                let findings = count(self.finding_count, "finding");
                page.toned(Tone::Bad, format!("{looked_at}: {findings}"));
            }
            None => page.toned(Tone::Good, format!("{looked_at}: all come out as recorded")),
            Some((_, 0)) => page.toned(Tone::Good, format!("{looked_at}: none would change")),
            Some((changed, _)) => {
                page.toned(Tone::Busy, format!("{looked_at}: {changed} would change"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
