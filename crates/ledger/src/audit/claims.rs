//! What receipts claim, against what the entries say.

use std::collections::BTreeMap;

use super::finding::{Finding, Findings};
use crate::entry::{Entry, Lease};
use crate::receipt::{Credential, End, Receipt};

/// The receipts, by their tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(BTreeMap<String, Story>);

/// A task's receipts, and what the entries say of it.
#[derive(Clone, Debug, Default)]
struct Story {
    receipts: Vec<(String, Receipt)>,
    opened: Option<u64>,
    ended: Option<(u64, String)>,
    leases: BTreeMap<String, Life>,
}

/// What the entries say of a lease.
#[derive(Clone, Debug, Default)]
struct Life {
    issued: Option<u64>,
    ended: Option<u64>,
    cause: Option<String>,
    /// When and how its death was confirmed.
    confirmed: Option<(u64, String)>,
    fingerprint: Option<String>,
}

impl Claims {
    pub fn add(&mut self, name: &str, receipt: Receipt) {
        let story = self.0.entry(receipt.task.clone()).or_default();
        story.receipts.push((name.to_owned(), receipt));
    }

    /// Whether a receipt is about this task.
    pub fn about(&self, task: &str) -> bool {
        self.0.contains_key(task)
    }

    /// What an entry says, in the order of the log. It may be told twice.
    pub fn tell(&mut self, entry: &Entry) {
        let task = entry.task.as_ref();
        let Some(story) = task.and_then(|task| self.0.get_mut(&task.id)) else {
            return;
        };
        match (entry.event.as_str(), &entry.cause) {
            ("task.opened", _) => story.opened = story.opened.or(Some(entry.time)),
            ("task.ended", Some(cause)) if story.ended.is_none() => {
                story.ended = Some((entry.time, cause.clone()));
            }
            _ => {}
        }
        for lease in &entry.leases {
            let life = story.leases.entry(lease.id.clone()).or_default();
            life.tell(entry, lease);
        }
    }

    /// How many receipts the entries bear out. Entries up to `pruned` could not be asked.
    pub fn judge(self, pruned: u64, findings: &mut Findings) -> u64 {
        let mut good = 0;
        for story in self.0.into_values() {
            for (name, receipt) in &story.receipts {
                let problems = story.against(receipt);
                good += u64::from(problems.is_empty());
                findings.extend(problems.into_iter().map(|problem| Finding::Receipt {
                    name: name.clone(),
                    problem: match pruned {
                        0 => problem,
                        _ => format!("{problem} (entries 1 to {pruned} are pruned)"),
                    },
                }));
            }
        }
        good
    }
}

impl Life {
    fn tell(&mut self, entry: &Entry, lease: &Lease) {
        if entry.event == "lease.issued" {
            self.issued = self.issued.or(Some(entry.time));
        }
        if matches!(lease.state.as_str(), "Revoking" | "Ended") {
            self.ended = self.ended.or(Some(entry.time));
            self.cause = self.cause.take().or_else(|| lease.cause.clone());
        }
        if let ("Ended", Some(how), None) =
            (lease.state.as_str(), &lease.confirmed, &self.confirmed)
        {
            self.confirmed = Some((entry.time, how.clone()));
        }
        self.fingerprint = lease.fingerprint.clone().or(self.fingerprint.take());
    }
}

impl Story {
    /// What a receipt claims that the entries do not say, and what they say that it keeps quiet about.
    fn against(&self, receipt: &Receipt) -> Vec<String> {
        let ended = Some((receipt.ended_at, receipt.cause.clone()));
        let mut problems = Vec::new();
        if self.ended != ended {
            problems.push(format!(
                "it says that task {} ended at {} by {}; the log says {}",
                receipt.task,
                receipt.ended_at,
                receipt.cause,
                match &self.ended {
                    Some((at, cause)) => format!("at {at} by {cause}"),
                    None => "nothing of it".to_owned(),
                }
            ));
        }
        for credential in &receipt.credentials {
            problems.extend(self.against_one(credential));
        }
        problems.extend(self.kept_quiet(receipt));
        problems
    }

    fn against_one(&self, credential: &Credential) -> Option<String> {
        let lease = &credential.lease;
        let Some(life) = self.leases.get(lease) else {
            return Some(format!("it tells of lease {lease}; the log does not"));
        };
        if life.ended != Some(credential.ended_at) || life.cause.as_ref() != Some(&credential.cause)
        {
            return Some(format!(
                "it says that lease {lease} ended at {} by {}; the log does not",
                credential.ended_at, credential.cause
            ));
        }
        let differs = |known: &String| credential.fingerprint.as_ref() != Some(known);
        if life.fingerprint.as_ref().is_some_and(differs) {
            return Some(format!(
                "it names another credential for lease {lease} than the log"
            ));
        }
        match &credential.end {
            End::Confirmed { at, how } => {
                let claimed = Some((*at, how.as_str()));
                let said = life.confirmed.as_ref();
                let said = said.map(|(at, how)| (*at, how.as_str()));
                (said != claimed).then(|| {
                    let how = how.as_str();
                    format!("it says that lease {lease} was confirmed dead at {at}, {how}; the log does not")
                })
            }
            End::Unconfirmed { .. } => None,
        }
    }

    /// Leases of the task that the log knows and the receipt does not.
    fn kept_quiet(&self, receipt: &Receipt) -> Vec<String> {
        let told = |lease: &str| receipt.credentials.iter().any(|told| told.lease == lease);
        let issued = self.leases.iter().filter(|(_, life)| life.issued.is_some());
        let quiet = issued.filter(|(lease, _)| !told(lease));
        let text = |(lease, _)| {
            format!("it does not tell of lease {lease}, which the log says was issued")
        };
        quiet.map(text).collect()
    }
}
