//! What would be different under another policy.

use std::collections::BTreeMap;

use anyhow::bail;
use quietus_ledger::{Decision, Sealed};
use serde::Serialize;

/// Most kinds of change that are told apart.
const MAX_CHANGES: usize = 100_000;

/// Decisions of one agent on one scope that would be different in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The agent.
    pub agent: String,
    /// The scope.
    pub scope: String,
    /// The outcome that is recorded.
    pub was: String,
    /// The outcome that it would have.
    pub would_be: String,
    /// The policies that it would rest on, the first time.
    pub deciding: Vec<String>,
    /// How many decisions.
    pub decisions: u64,
    /// The first entry.
    pub first: u64,
    /// The last entry.
    pub last: u64,
}

/// Agent, scope, outcome before and after.
type Kind = (String, String, String, String);

#[derive(Debug, Default)]
pub(super) struct Changes {
    kinds: BTreeMap<Kind, Tally>,
    /// There were too many.
    overflown: bool,
}

#[derive(Debug)]
struct Tally {
    deciding: Vec<String>,
    decisions: u64,
    first: u64,
    last: u64,
}

impl Changes {
    pub(super) fn compare(&mut self, sealed: &Sealed, was: &Decision, now: &Decision) {
        if was.outcome == now.outcome {
            return;
        }
        let kind = (
            sealed.entry.agent.clone().unwrap_or_default(),
            was.scope.clone(),
            was.outcome.clone(),
            now.outcome.clone(),
        );
        if self.kinds.len() == MAX_CHANGES && !self.kinds.contains_key(&kind) {
            self.overflown = true;
            return;
        }
        let tally = self.kinds.entry(kind).or_insert_with(|| Tally {
            deciding: now.deciding.clone(),
            decisions: 0,
            first: sealed.seq,
            last: sealed.seq,
        });
        tally.decisions += 1;
        tally.last = sealed.seq;
    }

    /// In order of agents and scopes.
    pub(super) fn into_list(self) -> anyhow::Result<Vec<Change>> {
        if self.overflown {
            bail!(
                "more than {MAX_CHANGES} agents and scopes would be decided otherwise: look at fewer entries with --from and --to, or at one --task"
            );
        }
        let change = |((agent, scope, was, would_be), tally): (Kind, Tally)| Change {
            agent,
            scope,
            was,
            would_be,
            deciding: tally.deciding,
            decisions: tally.decisions,
            first: tally.first,
            last: tally.last,
        };
        Ok(self.kinds.into_iter().map(change).collect())
    }
}
