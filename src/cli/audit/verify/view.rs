//! What a verification found, as people and machines see it.

use quietus_ledger::audit::{Finding, Report};
use serde::Serialize;

use crate::cli::output::{Page, Show};
use crate::cli::style::Tone;
use crate::cli::table::Cell;
use crate::cli::text::count;
use crate::cli::view::Time;

/// The result of `audit verify`.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    verified: bool,
    origin: Option<String>,
    size: u64,
    root: String,
    entries: u64,
    pruned: u64,
    checkpoints: u64,
    cosignatures: u64,
    attachments: u64,
    policies: u64,
    receipts: u64,
    first_at: Option<Time>,
    last_at: Option<Time>,
    findings: Vec<Found>,
    more_findings: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Found {
    what: &'static str,
    entry: Option<u64>,
    name: Option<String>,
    message: String,
}

impl Verified {
    pub fn is_good(&self) -> bool {
        self.verified
    }
}

impl From<Report> for Verified {
    fn from(report: Report) -> Self {
        let root = report.root.iter().map(|byte| format!("{byte:02x}"));
        Self {
            verified: report.is_good(),
            root: root.collect(),
            origin: report.origin,
            size: report.size,
            entries: report.entries,
            pruned: report.pruned,
            checkpoints: report.checkpoints,
            cosignatures: report.cosignatures,
            attachments: report.attachments,
            policies: report.policies,
            receipts: report.receipts,
            first_at: report.first.map(Time::from_millis),
            last_at: report.last.map(Time::from_millis),
            findings: report.findings.iter().map(Found::from).collect(),
            more_findings: report.more,
        }
    }
}

impl From<&Finding> for Found {
    fn from(finding: &Finding) -> Self {
        Self {
            what: finding.word(),
            entry: finding.seq(),
            name: finding.name(),
            message: finding.to_string(),
        }
    }
}

impl Show for Verified {
    fn show(&self, page: &mut Page) {
        let some = |number: u64, thing: &str| (number > 0).then(|| count(number, thing));
        let entries = match self.pruned {
            0 => self.entries.to_string(),
            pruned => format!("{}, and {pruned} pruned", self.entries),
        };
        let heads = count(self.checkpoints, "checkpoint");
        let beside = [
            some(self.cosignatures, "cosignature"),
            some(self.attachments, "attached list"),
            some(self.policies, "policy set"),
            some(self.receipts, "receipt"),
        ];
        let checked = [Some(heads)].into_iter().chain(beside).flatten();
        let checked: Vec<_> = checked.collect();
        page.facts([
            ("log", self.origin.as_ref().map(Cell::from)),
            ("entries", Some(entries.into())),
            ("from", self.first_at.map(|at| page.moment(at).into())),
            ("to", self.last_at.map(|at| page.moment(at).into())),
            ("root", Some(self.root.as_str().into())),
            ("checked", Some(checked.join(", ").into())),
        ]);
        page.line("");
        for found in &self.findings {
            page.toned(Tone::Bad, &found.message);
        }
        if self.more_findings > 0 {
            page.toned(Tone::Bad, format!("and {} more", self.more_findings));
        }
        match self.verified {
            true => page.toned(Tone::Good, "everything holds"),
            false => page.toned(Tone::Bad, "this evidence does not hold"),
        }
    }
}
