//! What the entries of a kind amount to, and what is configured.

use std::time::Duration;

use humantime::format_duration;
use serde::Serialize;

use super::Sources;
use super::kind::Kind;
use crate::config::Config;

/// A number or a setting, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// What it counts or sets.
    pub what: &'static str,
    /// How much.
    pub value: String,
}

fn figure(what: &'static str, value: impl ToString) -> Figure {
    let value = value.to_string();
    Figure { what, value }
}

/// With the words beside it, if there are any.
fn counted(what: &'static str, count: u64, words: String) -> Figure {
    match words.is_empty() {
        true => figure(what, count),
        false => figure(what, format!("{count} ({words})")),
    }
}

fn length(what: &'static str, length: Option<Duration>) -> Option<Figure> {
    length.map(|length| figure(what, format_duration(length)))
}

impl Sources<'_> {
    pub(super) fn figures(&self, kind: Kind) -> Vec<Figure> {
        match kind {
            Kind::E1 => self.identity(),
            Kind::E2 => self.credentials(),
            Kind::E3 => self.revocations(),
            Kind::E4 => self.decisions(),
            Kind::E5 => vec![figure(
                "entries that rest on an approval",
                self.gathered.approvals,
            )],
            Kind::E6 => self.record(),
            Kind::E7 => {
                let quotas = &self.gathered.quotas;
                vec![counted(
                    "requests refused over a quota",
                    quotas.sum(),
                    quotas.told(),
                )]
            }
            Kind::E8 => self.switches(),
            Kind::E9 => Vec::new(),
            Kind::E10 => self.secrets(),
        }
    }

    fn identity(&self) -> Vec<Figure> {
        let gathered = self.gathered;
        let (refused, ended) = (&gathered.identity_refusals, &gathered.identity_endings);
        vec![
            figure(
                "callers, each with the digest of its certificate",
                gathered.callers.told(),
            ),
            counted(
                "requests refused for who asked",
                refused.sum(),
                refused.told(),
            ),
            counted(
                "endings because an identity ended",
                ended.sum(),
                ended.told(),
            ),
            figure("changes of trust bundles", gathered.trust_changes),
        ]
    }

    fn credentials(&self) -> Vec<Figure> {
        let gathered = self.gathered;
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let counts = [
            figure("tasks opened", gathered.tasks),
            figure("credentials issued", gathered.issued),
            figure("renewals", gathered.renewed),
        ];
        let spans = [
            length("longest lifetime", seconds(gathered.lifetimes.longest())),
            length("median lifetime", seconds(gathered.lifetimes.median())),
        ];
        let bounds = (gathered.bounds.sum() > 0)
            .then(|| figure("what set the lifetime", gathered.bounds.told()));
        let spans = spans.into_iter().flatten();
        counts.into_iter().chain(spans).chain(bounds).collect()
    }

    fn revocations(&self) -> Vec<Figure> {
        let gathered = self.gathered;
        let confirmed = &gathered.confirmed;
        let millis = |millis: Option<u64>| millis.map(Duration::from_millis);
        let counts = [
            counted("credentials ended", gathered.ended, gathered.causes.told()),
            counted("deaths confirmed", confirmed.sum(), confirmed.told()),
            figure(
                "not confirmed when the period ended",
                gathered.unconfirmed(),
            ),
        ];
        let lags = [
            length("longest lag", millis(gathered.lags.longest())),
            length("median lag", millis(gathered.lags.median())),
        ];
        counts
            .into_iter()
            .chain(lags.into_iter().flatten())
            .collect()
    }

    fn decisions(&self) -> Vec<Figure> {
        let gathered = self.gathered;
        let mut figures: Vec<Figure> = ["permit", "deny", "approval_needed"]
            .into_iter()
            .map(|outcome| figure(outcome, gathered.outcomes.of(outcome)))
            .collect();
        figures.push(figure("policy sets", gathered.policies.told()));
        figures.push(figure("loads of policies", gathered.reloads));
        figures.push(match self.replayed {
            None => figure("made again", "no: ask for it with --replay"),
            Some(replayed) if replayed.finding_count == 0 => figure(
                "made again",
                format!("{}, all as recorded", replayed.decisions),
            ),
            Some(replayed) => figure(
                "made again",
                format!(
                    "{}, with {} findings",
                    replayed.decisions, replayed.finding_count
                ),
            ),
        });
        figures
    }

    fn record(&self) -> Vec<Figure> {
        let record = self.record;
        let root = match record.root_matches {
            Some(true) => "the same",
            Some(false) => "another, or entries are missing",
            None => "not computed: the log was not read from its first entry",
        };
        let signed = match record.signed {
            Some(true) => "by a given key",
            Some(false) => "by none of the given keys",
            None => "not looked at: give the log's key with --key",
        };
        vec![
            figure("entries below the newest checkpoint", record.size),
            figure("its root", &record.root),
            figure("the root of the entries that were read", root),
            figure("its signature", signed),
            figure(
                "entries that cannot be read",
                self.gathered.unreadable.entries,
            ),
            figure("starts of the broker", self.gathered.starts),
            figure("irregularities of its clock", self.gathered.clocks),
        ]
    }

    fn switches(&self) -> Vec<Figure> {
        let switches = &self.gathered.switches;
        vec![
            figure("freezes set", switches.of("freeze.set")),
            figure("freezes lifted", switches.of("freeze.lifted")),
            figure("requests refused by a freeze", switches.of("FROZEN")),
            figure("wide revocations ordered", switches.of("revoke.ordered")),
            figure("wide revocations carried out", switches.of("revoke.swept")),
            figure("endings that operators ordered", self.gathered.by_operators),
        ]
    }

    fn secrets(&self) -> Vec<Figure> {
        vec![
            figure("credentials named by a digest", self.gathered.fingerprints),
            figure("texts named by a commitment", self.gathered.texts),
            figure("texts erased", self.gathered.erased),
        ]
    }
}

/// What the configuration says that bears on this kind.
pub(super) fn settings(kind: Kind, config: &Config) -> Vec<Figure> {
    let limits = &config.limits;
    match kind {
        Kind::E1 => vec![
            figure("trust domains", config.trust_domains().len()),
            figure("[[agent]] entries", config.agents().len()),
            figure("[[operator]] entries", config.operators().len()),
            figure("[[auditor]] entries", config.auditors().len()),
        ],
        Kind::E2 => vec![
            figure("limits.default_ttl", format_duration(limits.default_ttl)),
            figure("limits.max_ttl", format_duration(limits.max_ttl)),
            figure("limits.max_task", format_duration(limits.max_task)),
            figure("limits.scopes_per_request", limits.scopes_per_request),
        ],
        Kind::E3 => vec![figure("limits.grace", format_duration(limits.grace))],
        Kind::E7 => vec![
            figure("limits.open_tasks_per_agent", limits.open_tasks_per_agent),
            figure("limits.live_leases_per_task", limits.live_leases_per_task),
            figure("limits.leases_per_task", limits.leases_per_task),
            figure("limits.requests_per_second", limits.requests_per_second),
            figure("limits.request_burst", limits.request_burst),
        ],
        _ => Vec::new(),
    }
}
