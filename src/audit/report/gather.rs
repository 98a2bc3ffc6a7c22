//! What entries are evidence of.

use std::collections::BTreeMap;

use quietus_ledger::{Entry, Sealed};

use super::kind::Kind::{self, E1, E2, E3, E4, E5, E6, E7, E8, E10};
use super::tally::{Distinct, Seen, Spans, Words};

/// Most credentials that may be dying at once.
const MAX_DYING: usize = 1_000_000;
/// Refusals of callers who are who they say, but nobody here.
const UNKNOWN_CALLERS: [&str; 4] = [
    "AGENT_NOT_REGISTERED",
    "NOT_AN_OPERATOR",
    "NOT_AN_AUDITOR",
    "TASK_NOT_YOURS",
];

/// What has been seen so far. Entries before the period count only for what was still dying when it began.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) period: Seen,
    pub(super) kinds: BTreeMap<Kind, Seen>,
    pub(super) brokers: Distinct,
    pub(super) callers: Distinct,
    pub(super) identity_refusals: Words,
    pub(super) identity_endings: Words,
    pub(super) trust_changes: u64,
    pub(super) tasks: u64,
    pub(super) issued: u64,
    pub(super) renewed: u64,
    pub(super) lifetimes: Spans,
    pub(super) bounds: Words,
    pub(super) ended: u64,
    pub(super) causes: Words,
    pub(super) confirmed: Words,
    pub(super) lags: Spans,
    dying: BTreeMap<String, u64>,
    pub(super) outcomes: Words,
    pub(super) policies: Distinct,
    pub(super) reloads: u64,
    pub(super) approvals: u64,
    pub(super) quotas: Words,
    pub(super) switches: Words,
    pub(super) by_operators: u64,
    pub(super) fingerprints: u64,
    pub(super) texts: u64,
    pub(super) erased: u64,
    pub(super) starts: u64,
    pub(super) clocks: u64,
    /// Entries that cannot be read, or whose lists are missing.
    pub(super) unreadable: Seen,
}

impl Gathered {
    /// Takes an entry of the period.
    ///
    /// # Errors
    /// If more credentials are dying than can be followed.
    pub(super) fn take(&mut self, sealed: &Sealed) -> anyhow::Result<()> {
        let entry = &sealed.entry;
        self.period.add(sealed.seq);
        self.brokers.add(&entry.broker);
        let kinds = [
            (E1, self.identity(entry)),
            (E2, self.credentials(entry)),
            (E3, self.revocations(entry)?),
            (E4, self.decisions(entry)),
            (E5, self.approval(entry)),
            (E6, self.record(entry)),
            (E7, self.quota(entry)),
            (E8, self.switch(entry)),
            (E10, self.secrets(entry)),
        ];
        for (kind, _) in kinds.into_iter().filter(|(_, bears)| *bears) {
            self.kinds.entry(kind).or_default().add(sealed.seq);
        }
        Ok(())
    }

    /// Takes an entry from before the period.
    ///
    /// # Errors
    /// If more credentials are dying than can be followed.
    pub(super) fn take_earlier(&mut self, sealed: &Sealed) -> anyhow::Result<()> {
        let entry = &sealed.entry;
        for lease in &entry.leases {
            self.follow(&lease.id, &lease.state, entry.time)?;
        }
        Ok(())
    }

    /// How many credentials are still dying.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.dying.len() as u64
    }

    fn identity(&mut self, entry: &Entry) -> bool {
        if let Some(caller) = &entry.caller {
            self.callers.add(&caller.id);
        }
        let refusal = entry.refusal.as_deref().unwrap_or_default();
        let refused = refusal.starts_with("SVID_") || UNKNOWN_CALLERS.contains(&refusal);
        if refused {
            self.identity_refusals.add(refusal);
        }
        let cause = entry.cause.as_deref().unwrap_or_default();
        let ended = cause.starts_with("identity_");
        if ended {
            self.identity_endings.add(cause);
        }
        let trust = entry.event == "trust.changed";
        self.trust_changes += u64::from(trust);
        entry.caller.is_some() || refused || ended || trust
    }

    fn credentials(&mut self, entry: &Entry) -> bool {
        match entry.event.as_str() {
            "task.opened" => self.tasks += 1,
            "lease.issued" => self.issued += 1,
            "lease.renewed" => self.renewed += 1,
            _ => return false,
        }
        for lease in &entry.leases {
            if let Some(expires_at) = lease.expires_at {
                self.lifetimes
                    .add(expires_at.saturating_sub(entry.time) / 1000);
            }
            if let Some(bound) = &lease.bound {
                self.bounds.add(bound);
            }
        }
        true
    }

    fn revocations(&mut self, entry: &Entry) -> anyhow::Result<bool> {
        let mut bears = false;
        for lease in &entry.leases {
            let dying = ["Revoking", "Ended"].contains(&lease.state.as_str());
            if !dying || entry.event == "task.purged" {
                continue;
            }
            bears = true;
            let (begun, lag) = self.follow(&lease.id, &lease.state, entry.time)?;
            if begun {
                self.ended += 1;
                self.causes.add(lease.cause.as_deref().unwrap_or("unknown"));
            }
            if let Some(lag) = lag {
                self.lags.add(lag);
                self.confirmed
                    .add(lease.confirmed.as_deref().unwrap_or("unknown"));
            }
        }
        Ok(bears)
    }

    /// Whether the lease begins to die with this entry, and, if its death is confirmed, how long it took.
    fn follow(&mut self, id: &str, state: &str, time: u64) -> anyhow::Result<(bool, Option<u64>)> {
        let since = self.dying.get(id).copied();
        match state {
            "Revoking" if since.is_none() => {
                anyhow::ensure!(
                    self.dying.len() < MAX_DYING,
                    "more than {MAX_DYING} credentials are dying at once"
                );
                self.dying.insert(id.to_owned(), time);
            }
            "Ended" => {
                self.dying.remove(id);
                let lag = time.saturating_sub(since.unwrap_or(time));
                return Ok((since.is_none(), Some(lag)));
            }
            _ => {}
        }
        Ok((state == "Revoking" && since.is_none(), None))
    }

    fn decisions(&mut self, entry: &Entry) -> bool {
        for decision in &entry.decisions {
            self.outcomes.add(&decision.outcome);
        }
        let reload = entry.event == "policy.loaded";
        self.reloads += u64::from(reload);
        let bears = reload || !entry.decisions.is_empty();
        if let Some(policy) = entry.policy.as_ref().filter(|_| bears) {
            self.policies.add(policy);
        }
        bears
    }

    fn approval(&mut self, entry: &Entry) -> bool {
        self.approvals += u64::from(entry.approval.is_some());
        entry.approval.is_some()
    }

    fn record(&mut self, entry: &Entry) -> bool {
        self.starts += u64::from(entry.event == "broker.started");
        self.clocks += u64::from(entry.event.starts_with("clock."));
        true
    }

    fn quota(&mut self, entry: &Entry) -> bool {
        let refusal = entry.refusal.as_deref().unwrap_or_default();
        let over = refusal.starts_with("TOO_MANY_");
        if over {
            self.quotas.add(refusal);
        }
        over
    }

    fn switch(&mut self, entry: &Entry) -> bool {
        let wide = [
            "freeze.set",
            "freeze.lifted",
            "revoke.ordered",
            "revoke.swept",
        ];
        let wide = wide.contains(&entry.event.as_str());
        if wide {
            self.switches.add(&entry.event);
        }
        let ending = ["task.ended", "lease.ended"].contains(&entry.event.as_str());
        let by_operator = ending && entry.cause.as_deref() == Some("operator");
        self.by_operators += u64::from(by_operator);
        let frozen = entry.refusal.as_deref() == Some("FROZEN");
        if frozen {
            self.switches.add("FROZEN");
        }
        wide || by_operator || frozen
    }

    fn secrets(&mut self, entry: &Entry) -> bool {
        let named = entry.leases.iter();
        let named = named.filter(|lease| lease.fingerprint.is_some()).count();
        self.fingerprints += named as u64;
        let action = entry.action.as_ref();
        let text = action.is_some_and(|action| action.text.is_some());
        self.texts += u64::from(text);
        let erased = entry.event == "text.erased";
        self.erased += u64::from(erased);
        named > 0 || text || erased
    }
}
