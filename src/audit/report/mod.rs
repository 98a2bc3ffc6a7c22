//! What a log is evidence of, by the controls of a published framework.
//!
//! A control that nothing in the period bears on says so: an empty log is evidence of nothing.

mod figures;
pub mod frameworks;
mod gather;
mod kind;
mod markdown;
mod record;
mod tally;

use anyhow::Context;
use quietus_core::Timestamp;
use quietus_ledger::{Sealed, Verifier};
use quietus_policy::PolicySet;
use serde::Serialize;

use super::Log;
use super::replay::{Replay, Replayed};
use super::walk::{Range, Walk, restore};
use crate::config::Config;
use frameworks::{Control, Framework};
use gather::Gathered;
use record::Record;

pub use figures::Figure;
pub use kind::Kind;
pub use record::RecordCheck;
pub use tally::Seen;

/// What a report is to be about.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The framework.
    pub framework: &'static Framework,
    /// The entry to begin reading at: 1, unless what comes before was pruned.
    pub from: u64,
    /// Entries of this time and later ones count.
    pub since: Option<Timestamp>,
    /// Entries of this time and later ones do not.
    pub until: Option<Timestamp>,
    /// When the report is written.
    pub at: Timestamp,
    /// Whether the decisions of the period are made again.
    pub replay: bool,
    /// The log's keys; if there are none, nobody's signature is looked at.
    pub keys: &'a [Verifier],
    /// The broker's configuration, for its settings.
    pub config: Option<&'a Config>,
}

/// What is evidence of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of this document's form.
    pub format: u32,
    /// The framework's name on the command line.
    pub framework: &'static str,
    /// The framework's own name.
    pub name: &'static str,
    /// Its edition.
    pub edition: &'static str,
    /// How sure its titles are.
    pub titles: &'static str,
    /// When it was written, in RFC 3339.
    pub at: String,
    /// From when on entries count.
    pub since: Option<String>,
    /// Until when.
    pub until: Option<String>,
    /// The brokers that wrote them.
    pub brokers: Vec<String>,
    /// The entries of the period.
    pub entries: Seen,
    /// Entries that cannot be read, or whose lists are missing. They are evidence of nothing.
    pub unreadable: Seen,
    /// The log's newest checkpoint, and whether the entries lead to it.
    pub record: RecordCheck,
    /// Each control.
    pub controls: Vec<ControlReport>,
    /// Each kind of evidence.
    pub evidence: Vec<Evidence>,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// There is evidence of it.
    Evidence,
    /// There is evidence of a part of it.
    Partial,
    /// There could be, but no entry in the period is.
    NoEntries,
    /// There is none: brokers do not bear on it, or not yet.
    None,
    /// What is recorded does not hold.
    Contradicted,
}

/// What there is for one control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControlReport {
    /// Its identifier.
    pub id: &'static str,
    /// Its title, or what it is about.
    pub title: &'static str,
    /// How it stands.
    pub stands: Stands,
    /// Whether the broker bears on a part of it only.
    pub in_part: bool,
    /// What bears on it, and how that stands.
    pub evidence: Vec<(Kind, Stands)>,
}

/// What there is of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Which.
    pub kind: Kind,
    /// What it is.
    pub title: &'static str,
    /// How it stands.
    pub stands: Stands,
    /// The entries that bear on it.
    #[serde(flatten)]
    pub seen: Seen,
    /// What they amount to.
    pub figures: Vec<Figure>,
    /// What is configured.
    pub settings: Vec<Figure>,
    /// What has to be known to read it rightly.
    pub note: Option<&'static str>,
}

const TITLES: &str = "Identifiers and titles were gathered in November 2026 from several consistent copies by third parties. Not every title could be checked against the official text; those in lower case say what an identifier is about.";

/// Reads the log and writes the report.
///
/// # Errors
/// If the log cannot be read. What does not hold is in the report.
pub async fn report(
    log: &mut Log,
    asked: &Asked<'_>,
    mut seen: impl FnMut(u64),
) -> anyhow::Result<Report> {
    let note = log.checkpoint().await?;
    let mut reading = Reading::new(asked, Record::new(&note, asked.keys, asked.from)?);
    let mut walk = Walk::new(Range {
        from: asked.from,
        to: None,
    });
    while let Some((seq, bytes)) = walk.next(log).await? {
        seen(seq);
        reading.record.push(seq, &bytes);
        if !reading.take(log, seq, &bytes).await? {
            break;
        }
    }
    // The rest of what the checkpoint covers is read for its hashes alone.
    while reading.record.wants_more() {
        let Some((seq, bytes)) = walk.next(log).await? else {
            break;
        };
        seen(seq);
        reading.record.push(seq, &bytes);
    }
    reading.finish()
}

struct Reading<'a> {
    asked: &'a Asked<'a>,
    gathered: Gathered,
    record: Record,
    replay: Option<Replay>,
}

/// Where an entry lies.
enum Opened {
    Unreadable,
    Before(Sealed),
    Within(Sealed),
    After,
}

impl<'a> Reading<'a> {
    fn new(asked: &'a Asked<'a>, record: Record) -> Self {
        let replay = asked.replay.then(|| Replay::new(None, None::<PolicySet>));
        Self {
            asked,
            gathered: Gathered::default(),
            record,
            replay,
        }
    }

    /// Takes an entry; false if it and all that follow are after the period.
    async fn take(&mut self, log: &Log, seq: u64, bytes: &[u8]) -> anyhow::Result<bool> {
        let (mut sealed, counts) = match self.open(seq, bytes) {
            Opened::Unreadable => return Ok(true),
            Opened::After => return Ok(false),
            Opened::Before(sealed) => (sealed, false),
            Opened::Within(sealed) => (sealed, true),
        };
        let decisions = restore(log, &mut sealed.entry, "decisions").await?;
        let leases = restore(log, &mut sealed.entry, "leases").await?;
        if decisions.is_err() || leases.is_err() {
            self.gathered.unreadable.add(seq);
        }
        self.count(&sealed, counts)?;
        if let Some(replay) = self.replay.as_mut().filter(|_| counts) {
            replay.feed(log, &sealed, decisions).await?;
        }
        Ok(true)
    }

    fn open(&mut self, seq: u64, bytes: &[u8]) -> Opened {
        let sealed = Sealed::parse(bytes).ok();
        let Some(sealed) = sealed.filter(|sealed| sealed.seq == seq) else {
            self.gathered.unreadable.add(seq);
            return Opened::Unreadable;
        };
        let time = sealed.entry.time;
        match (self.asked.since, self.asked.until) {
            (_, Some(until)) if time >= until.0 => Opened::After,
            (Some(since), _) if time < since.0 => Opened::Before(sealed),
            _ => Opened::Within(sealed),
        }
    }

    fn count(&mut self, sealed: &Sealed, counts: bool) -> anyhow::Result<()> {
        match counts {
            false => self.gathered.take_earlier(sealed),
            true => self.gathered.take(sealed),
        }
    }

    fn finish(self) -> anyhow::Result<Report> {
        let replayed = self.replay.map(Replay::finish).transpose()?;
        let record = self.record.finish();
        let sources = Sources {
            gathered: &self.gathered,
            record: &record,
            replayed: replayed.as_ref(),
            config: self.asked.config,
        };
        let evidence: Vec<_> = Kind::ALL.map(|kind| sources.evidence(kind)).into();
        let framework = self.asked.framework;
        let controls = framework.controls.iter();
        let rfc3339 = |at: Timestamp| {
            let since_epoch = std::time::Duration::from_millis(at.0);
            let time = std::time::UNIX_EPOCH.checked_add(since_epoch);
            let time = time.context("a time beyond all times")?;
            anyhow::Ok(humantime::format_rfc3339_millis(time).to_string())
        };
        Ok(Report {
            format: 1,
            framework: framework.id,
            name: framework.name,
            edition: framework.edition,
            titles: TITLES,
            at: rfc3339(self.asked.at)?,
            since: self.asked.since.map(rfc3339).transpose()?,
            until: self.asked.until.map(rfc3339).transpose()?,
            brokers: self
                .gathered
                .brokers
                .names()
                .take(100)
                .map(str::to_owned)
                .collect(),
            entries: self.gathered.period.clone(),
            unreadable: self.gathered.unreadable.clone(),
            controls: controls.map(|control| judged(control, &evidence)).collect(),
            record,
            evidence,
        })
    }
}

/// All that evidence is taken from.
struct Sources<'a> {
    gathered: &'a Gathered,
    record: &'a RecordCheck,
    replayed: Option<&'a Replayed>,
    config: Option<&'a Config>,
}

impl Sources<'_> {
    fn evidence(&self, kind: Kind) -> Evidence {
        let seen = self.gathered.kinds.get(&kind).cloned().unwrap_or_default();
        Evidence {
            kind,
            title: kind.title(),
            stands: self.stands(kind, &seen),
            figures: match seen.entries {
                0 => Vec::new(),
                _ => self.figures(kind),
            },
            seen,
            settings: self
                .config
                .map_or_else(Vec::new, |config| figures::settings(kind, config)),
            note: kind.note(),
        }
    }

    fn stands(&self, kind: Kind, seen: &Seen) -> Stands {
        let differs = self
            .replayed
            .is_some_and(|replayed| replayed.finding_count > 0);
        match kind {
            Kind::E6 if self.record.is_contradicted() || self.gathered.unreadable.entries > 0 => {
                Stands::Contradicted
            }
            Kind::E4 if differs => Stands::Contradicted,
            _ if seen.entries > 0 => Stands::Evidence,
            _ if kind.absent().is_some() => Stands::None,
            _ => Stands::NoEntries,
        }
    }
}

fn judged(control: &'static Control, evidence: &[Evidence]) -> ControlReport {
    let of = |kind: &Kind| evidence.iter().find(|evidence| evidence.kind == *kind);
    let stands = |kind: &Kind| of(kind).map_or(Stands::None, |evidence| evidence.stands);
    let bearing: Vec<_> = control
        .kinds
        .iter()
        .map(|kind| (*kind, stands(kind)))
        .collect();
    let any = |wanted| bearing.iter().any(|(_, stands)| *stands == wanted);
    let all = bearing
        .iter()
        .all(|(_, stands)| *stands == Stands::Evidence);
    ControlReport {
        id: control.id,
        title: control.title,
        stands: match () {
            () if any(Stands::Contradicted) => Stands::Contradicted,
            () if any(Stands::Evidence) && (control.partial || !all) => Stands::Partial,
            () if any(Stands::Evidence) => Stands::Evidence,
            () if any(Stands::NoEntries) => Stands::NoEntries,
            () => Stands::None,
        },
        in_part: control.partial,
        evidence: bearing,
    }
}

impl Report {
    /// Whether something that is recorded does not hold.
    pub fn is_contradicted(&self) -> bool {
        let mut stands = self.evidence.iter().map(|evidence| evidence.stands);
        stands.any(|stands| stands == Stands::Contradicted)
    }
}

#[cfg(test)]
mod tests;
