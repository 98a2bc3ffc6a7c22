//! `quietus status`

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::exit::{Complaint, Exit};
use super::output::{Page, Show};
use super::session::Globals;
use super::style::Tone;
use super::table::{Cell, Table};
use super::target::Target;
use super::text::{bytes, length};
use super::view::{Selector, Time, given, millis};
use crate::api::v1;

/// Says how the broker is (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus status
  quietus status -o json | jq .degraded

Exits with 4 when something is degraded. A target counts as degraded while it is away (target_away:NAME), and while \
leases are alive at it though it is not configured any more (target_not_configured:NAME): see `quietus target show`.")]
pub struct StatusArgs {}

#[derive(Serialize)]
struct Status {
    version: String,
    broker: String,
    started_at: Option<Time>,
    now: Time,
    clock_ahead_ms: u64,
    degraded: Vec<String>,
    open_tasks: u64,
    live_leases: u64,
    revoking_leases: u64,
    ledger_entries: u64,
    store_bytes: u64,
    policy_digest: String,
    policies: u32,
    kid: String,
    trust_domains: Vec<TrustDomain>,
    targets: Vec<Target>,
    freezes: Vec<Freeze>,
}

#[derive(Serialize)]
struct TrustDomain {
    name: String,
    anchors: u32,
    bundle: String,
    loaded_at: Option<Time>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Freeze {
    selector: Selector,
    by: String,
    at: Option<Time>,
    reason: Option<String>,
}

pub async fn run(globals: &Globals, _: StatusArgs) -> anyhow::Result<Exit> {
    let session = globals.connect().await?;
    let request = v1::GetStatusRequest {};
    let answer = session
        .answer(session.operator().get_status(request))
        .await?;
    let status = Status::read(answer)?;
    globals.out().print(&status)?;
    Ok(status.exit())
}

impl Status {
    fn read(answer: v1::GetStatusResponse) -> Result<Self, Complaint> {
        let targets: Vec<_> = answer.targets.into_iter().map(Target::from).collect();
        Ok(Self {
            degraded: degraded(answer.degraded, &targets),
            version: answer.version,
            broker: answer.broker,
            started_at: Time::read(answer.started_at),
            now: Time::read(answer.now).ok_or(Complaint::Incomplete("time"))?,
            clock_ahead_ms: millis(answer.clock_ahead).unwrap_or(0),
            open_tasks: answer.open_tasks,
            live_leases: answer.live_leases,
            revoking_leases: answer.revoking_leases,
            ledger_entries: answer.ledger_entries,
            store_bytes: answer.store_bytes,
            policy_digest: answer.policy_digest,
            policies: answer.policies,
            kid: answer.kid,
            trust_domains: answer
                .trust_domains
                .into_iter()
                .map(TrustDomain::from)
                .collect(),
            targets,
            freezes: answer.freezes.into_iter().map(Freeze::from).collect(),
        })
    }

    fn exit(&self) -> Exit {
        match self.degraded.is_empty() {
            true => Exit::Done,
            false => Exit::Degraded,
        }
    }

    fn health(&self) -> Cell {
        match self.degraded.is_empty() {
            true => Cell::toned(Tone::Good, "all is well"),
            false => Cell::toned(Tone::Bad, format!("degraded: {}", self.degraded.join(", "))),
        }
    }

    fn clock(&self) -> String {
        match self.clock_ahead_ms {
            0 => self.now.to_string(),
            ahead => {
                let ahead = length(Duration::from_millis(ahead));
                format!("{}, {ahead} ahead of the machine's", self.now)
            }
        }
    }

    fn leases(&self) -> Cell {
        match self.revoking_leases {
            0 => format!("{} live", self.live_leases).into(),
            revoking => {
                let text = format!("{} live, {revoking} revoking", self.live_leases);
                Cell::toned(Tone::Busy, text)
            }
        }
    }

    fn show_trust_domains(&self, page: &mut Page) {
        let mut table = Table::with_head(["TRUST DOMAIN", "ANCHORS", "LOADED", "BUNDLE"]);
        for domain in &self.trust_domains {
            let loaded = domain
                .loaded_at
                .map_or_else(|| "-".to_owned(), |at| page.when(at));
            let anchors = domain.anchors.to_string();
            table.add([
                domain.name.as_str().into(),
                anchors.into(),
                loaded.into(),
                domain.bundle(),
            ]);
        }
        page.line("");
        page.table(&table);
    }

    fn show_targets(&self, page: &mut Page) {
        let mut table = Table::with_head(["TARGET", "KIND", "STATE"]);
        for target in &self.targets {
            table.add([
                target.name.as_str().into(),
                target.kind.as_str().into(),
                target.state(),
            ]);
        }
        page.line("");
        page.table(&table);
    }

    fn show_freezes(&self, page: &mut Page) {
        let mut table = Table::with_head(["FROZEN", "SINCE", "BY", "REASON"]);
        for freeze in &self.freezes {
            let what = Cell::toned(Tone::Busy, freeze.selector.to_string());
            let since = freeze.at.map_or_else(|| "-".to_owned(), |at| page.when(at));
            let reason = freeze.reason.as_deref().unwrap_or_default();
            table.add([what, since.into(), freeze.by.as_str().into(), reason.into()]);
        }
        page.line("");
        page.table(&table);
    }
}

impl Show for Status {
    fn show(&self, page: &mut Page) {
        let policies = format!("{} ({})", self.policies, self.policy_digest);
        page.facts([
            ("broker", Some(self.broker.as_str().into())),
            ("health", Some(self.health())),
            ("version", Some(self.version.as_str().into())),
            ("started", self.started_at.map(|at| page.moment(at).into())),
            ("clock", Some(self.clock().into())),
            ("open tasks", Some(self.open_tasks.to_string().into())),
            ("leases", Some(self.leases())),
            (
                "ledger",
                Some(format!("{} entries", self.ledger_entries).into()),
            ),
            ("store", Some(bytes(self.store_bytes).into())),
            ("policies", Some(policies.into())),
            ("signing key", Some(self.kid.as_str().into())),
        ]);
        self.show_trust_domains(page);
        if !self.targets.is_empty() {
            self.show_targets(page);
        }
        if !self.freezes.is_empty() {
            self.show_freezes(page);
        }
    }
}

/// What the broker says of itself, and the targets that are not well.
fn degraded(mut broker: Vec<String>, targets: &[Target]) -> Vec<String> {
    for word in targets.iter().filter_map(Target::degraded) {
        if !broker.contains(&word) {
            broker.push(word);
        }
    }
    broker
}

impl TrustDomain {
    fn bundle(&self) -> Cell {
        match &self.error {
            None => self.bundle.as_str().into(),
            Some(error) => Cell::toned(Tone::Bad, format!("{}: {error}", self.bundle)),
        }
    }
}

impl From<v1::TrustDomainStatus> for TrustDomain {
    fn from(domain: v1::TrustDomainStatus) -> Self {
        Self {
            name: domain.name,
            anchors: domain.anchors,
            bundle: domain.bundle,
            loaded_at: Time::read(domain.loaded_at),
            error: given(domain.error),
        }
    }
}

impl From<v1::FreezeStatus> for Freeze {
    fn from(freeze: v1::FreezeStatus) -> Self {
        Self {
            selector: freeze.selector.unwrap_or_default().into(),
            by: freeze.by,
            at: Time::read(freeze.at),
            reason: given(freeze.reason),
        }
    }
}

#[cfg(test)]
mod tests;
