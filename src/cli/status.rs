//! `quietus status`

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::exit::{Complaint, Exit};
use super::output::{Page, Show};
use super::session::Globals;
use super::style::Tone;
use super::table::{Cell, Table};
use super::text::{bytes, length};
use super::view::{Selector, Time, given, millis};
use crate::api::v1;

/// Says how the broker is (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus status
  quietus status -o json | jq .degraded

Exits with 4 when something is degraded.")]
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
struct Target {
    name: String,
    kind: String,
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
        Ok(Self {
            version: answer.version,
            broker: answer.broker,
            started_at: Time::read(answer.started_at),
            now: Time::read(answer.now).ok_or(Complaint::Incomplete("time"))?,
            clock_ahead_ms: millis(answer.clock_ahead).unwrap_or(0),
            degraded: answer.degraded,
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
            targets: answer.targets.into_iter().map(Target::from).collect(),
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
        let mut table = Table::with_head(["TARGET", "KIND"]);
        for target in &self.targets {
            table.add([target.name.as_str().into(), target.kind.as_str().into()]);
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

impl From<v1::TargetStatus> for Target {
    fn from(target: v1::TargetStatus) -> Self {
        let v1::TargetStatus { name, kind, .. } = target;
        Self { name, kind }
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
mod tests {
    use super::*;
    use crate::api::wire;
    use crate::cli::style::Palette;

    fn status(degraded: &[&str], error: &str) -> Status {
        let at = |seconds| Some(wire::Timestamp { seconds, nanos: 0 });
        let answer = v1::GetStatusResponse {
            version: "0.1.0".to_owned(),
            broker: "spiffe://dev.example/broker".to_owned(),
            started_at: at(1_699_996_400),
            now: at(1_700_000_000),
            clock_ahead: Some(wire::Duration {
                seconds: 2,
                nanos: 0,
            }),
            open_tasks: 3,
            live_leases: 7,
            revoking_leases: 1,
            ledger_entries: 42,
            store_bytes: 1 << 20,
            policy_digest: "ab12".to_owned(),
            policies: 9,
            kid: "k1".to_owned(),
            trust_domains: vec![v1::TrustDomainStatus {
                name: "dev.example".to_owned(),
                anchors: 1,
                bundle: "ca.pem".to_owned(),
                loaded_at: at(1_699_999_990),
                error: error.to_owned(),
            }],
            freezes: vec![v1::FreezeStatus {
                selector: Some(v1::Selector {
                    of: Some(v1::selector::Of::All(true)),
                }),
                by: "spiffe://dev.example/operator".to_owned(),
                at: at(1_699_999_400),
                reason: "drill".to_owned(),
            }],
            degraded: degraded.iter().map(ToString::to_string).collect(),
            targets: vec![v1::TargetStatus {
                name: "orders-db".to_owned(),
                kind: "jwt".to_owned(),
                configured: true,
                ..Default::default()
            }],
        };
        Status::read(answer).unwrap()
    }

    fn shown(status: &Status) -> String {
        let mut page = Page::new(Palette::PLAIN, status.now.0);
        status.show(&mut page);
        page.into_text()
    }

    #[test]
    fn what_people_see() {
        let expected = "\
broker:       spiffe://dev.example/broker
health:       all is well
version:      0.1.0
started:      2023-11-14T21:13:20.000Z (1h ago)
clock:        2023-11-14T22:13:20.000Z, 2s ahead of the machine's
open tasks:   3
leases:       7 live, 1 revoking
ledger:       42 entries
store:        1.0 MiB
policies:     9 (ab12)
signing key:  k1

TRUST DOMAIN  ANCHORS  LOADED   BUNDLE
dev.example   1        10s ago  ca.pem

TARGET     KIND
orders-db  jwt

FROZEN      SINCE    BY                             REASON
everything  10m ago  spiffe://dev.example/operator  drill
";
        assert_eq!(shown(&status(&[], "")), expected);
    }

    #[test]
    fn what_is_degraded_is_said_and_makes_the_exit_code() {
        let broken = status(
            &["disk_short_of_space", "trust_bundle:dev.example"],
            "is not PEM",
        );
        let text = shown(&broken);
        assert!(
            text.contains("degraded: disk_short_of_space, trust_bundle:dev.example\n"),
            "{text}"
        );
        assert!(text.contains("ca.pem: is not PEM\n"), "{text}");
        assert_eq!(broken.exit(), Exit::Degraded);
        assert_eq!(status(&[], "").exit(), Exit::Done);
    }

    #[test]
    fn the_document_is_stable() {
        let document = serde_json::to_value(status(&[], "")).unwrap();
        assert_eq!(document["now"], "2023-11-14T22:13:20.000Z");
        assert_eq!(document["clock_ahead_ms"], 2000);
        assert_eq!(
            document["trust_domains"][0]["error"],
            serde_json::Value::Null
        );
        let freeze = serde_json::json!({ "kind": "all", "name": null });
        assert_eq!(document["freezes"][0]["selector"], freeze);
    }
}
