//! Targets as people and machines see them.

use serde::Serialize;

use crate::api::v1;
use crate::cli::output::{Page, Show};
use crate::cli::style::Tone;
use crate::cli::table::{Cell, Table};
use crate::cli::text::count;
use crate::cli::view::{Time, given};

/// `target` objects.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    pub name: String,
    pub kind: String,
    /// `ok`, `away` or `not_configured`.
    pub state: &'static str,
    pub configured: bool,
    pub away: bool,
    pub failures: u32,
    pub live_leases: u64,
    pub revoking_leases: u64,
    pub can_revoke: bool,
    pub confirms_by: Option<String>,
    pub expires_at_target: bool,
    pub renewable: bool,
    pub environment: Option<String>,
    pub sensitivity: u32,
    pub last_answer_at: Option<Time>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Time>,
}

impl Target {
    /// What is to be said about it where the broker's health is told; nothing when it is well.
    pub fn degraded(&self) -> Option<String> {
        match self.state {
            "ok" => None,
            state => Some(format!("target_{state}:{}", self.name)),
        }
    }

    /// In words.
    pub fn state(&self) -> Cell {
        let away = format!("away ({})", count(self.failures.into(), "failure"));
        match (self.configured, self.away) {
            (true, false) => Cell::toned(Tone::Good, "ok"),
            (true, true) => Cell::toned(Tone::Bad, away),
            (false, false) => Cell::toned(Tone::Bad, "not configured"),
            (false, true) => Cell::toned(Tone::Bad, format!("not configured, {away}")),
        }
    }

    fn confirms_by(&self) -> &str {
        match (self.can_revoke, &self.confirms_by) {
            (false, _) => "cannot be revoked",
            (true, Some(how)) => how,
            (true, None) => "-",
        }
    }

    fn revoking(&self) -> Cell {
        let tone = match self.revoking_leases {
            0 => Tone::Plain,
            _ => Tone::Busy,
        };
        Cell::toned(tone, self.revoking_leases.to_string())
    }

    fn last_error(&self, page: &Page) -> Option<Cell> {
        let error = self.last_error.as_ref()?;
        let at = self.last_error_at.map(|at| page.when(at));
        let at = at.map_or_else(String::new, |at| format!(" ({at})"));
        Some(Cell::toned(Tone::Bad, format!("{error}{at}")))
    }
}

impl From<v1::TargetStatus> for Target {
    fn from(target: v1::TargetStatus) -> Self {
        let state = match (target.configured, target.away) {
            (false, _) => "not_configured",
            (true, true) => "away",
            (true, false) => "ok",
        };
        Self {
            name: target.name,
            kind: target.kind,
            state,
            configured: target.configured,
            away: target.away,
            failures: target.failures,
            live_leases: target.live_leases,
            revoking_leases: target.revoking_leases,
            can_revoke: target.can_revoke,
            confirms_by: given(target.confirms_by),
            expires_at_target: target.expires_at_target,
            renewable: target.renewable,
            environment: given(target.environment),
            sensitivity: target.sensitivity,
            last_answer_at: Time::read(target.last_answer_at),
            last_error: given(target.last_error),
            last_error_at: Time::read(target.last_error_at),
        }
    }
}

impl Show for Vec<Target> {
    fn show(&self, page: &mut Page) {
        let head = ["TARGET", "KIND", "STATE", "LIVE", "REVOKING", "CONFIRMS BY"];
        let mut table = Table::with_head(head);
        for target in self {
            table.add([
                target.name.as_str().into(),
                target.kind.as_str().into(),
                target.state(),
                target.live_leases.to_string().into(),
                target.revoking(),
                target.confirms_by().into(),
            ]);
        }
        page.table(&table);
    }
}

impl Show for Target {
    fn show(&self, page: &mut Page) {
        let leases = format!(
            "{} live, {} revoking",
            self.live_leases, self.revoking_leases
        );
        let expires = match self.expires_at_target {
            true => "at the target as well",
            false => "by the broker's record alone",
        };
        let renewable = if self.renewable { "yes" } else { "no" };
        page.facts([
            ("target", Some(self.name.as_str().into())),
            ("kind", Some(self.kind.as_str().into())),
            ("state", Some(self.state())),
            ("leases", Some(leases.into())),
            ("environment", self.environment.as_ref().map(Cell::from)),
            ("sensitivity", Some(self.sensitivity.to_string().into())),
            ("confirms by", Some(self.confirms_by().into())),
            ("expires", Some(expires.into())),
            ("renewable", Some(renewable.into())),
            (
                "last answer",
                self.last_answer_at.map(|at| page.moment(at).into()),
            ),
            ("last error", self.last_error(page)),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::api::wire;
    use crate::cli::style::Palette;

    const NOW: u64 = 1_700_000_000;

    fn status(name: &str, configured: bool, away: bool) -> v1::TargetStatus {
        v1::TargetStatus {
            name: name.to_owned(),
            kind: "postgres".to_owned(),
            configured,
            away,
            failures: if away { 3 } else { 0 },
            live_leases: 2,
            revoking_leases: 1,
            can_revoke: true,
            confirms_by: "deleted_at_target".to_owned(),
            expires_at_target: true,
            environment: "dev".to_owned(),
            sensitivity: 4,
            ..Default::default()
        }
    }

    fn at(before: i64) -> Option<wire::Timestamp> {
        let seconds = i64::try_from(NOW).unwrap() - before;
        Some(wire::Timestamp { seconds, nanos: 0 })
    }

    fn shown(result: &impl Show) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let mut page = Page::new(Palette::PLAIN, now);
        result.show(&mut page);
        page.into_text()
    }

    #[test]
    fn targets_in_a_table() {
        let stuck = v1::TargetStatus {
            can_revoke: false,
            confirms_by: String::new(),
            ..status("c", false, false)
        };
        let statuses = [status("a", true, false), status("b", true, true), stuck];
        let targets: Vec<_> = statuses.into_iter().map(Target::from).collect();
        let expected = "\
TARGET  KIND      STATE              LIVE  REVOKING  CONFIRMS BY
a       postgres  ok                 2     1         deleted_at_target
b       postgres  away (3 failures)  2     1         deleted_at_target
c       postgres  not configured     2     1         cannot be revoked
";
        assert_eq!(shown(&targets), expected);
    }

    #[test]
    fn a_target_that_is_away_says_since_when_and_why() {
        let away = Target::from(v1::TargetStatus {
            last_error: "connection refused\n".to_owned(),
            last_error_at: at(5),
            last_answer_at: at(60),
            ..status("orders-db", false, true)
        });
        let expected = "\
target:       orders-db
kind:         postgres
state:        not configured, away (3 failures)
leases:       2 live, 1 revoking
environment:  dev
sensitivity:  4
confirms by:  deleted_at_target
expires:      at the target as well
renewable:    no
last answer:  2023-11-14T22:12:20.000Z (1m ago)
last error:   connection refused\\n (5s ago)
";
        assert_eq!(shown(&away), expected);
    }

    #[test]
    fn only_what_is_not_well_is_degraded() {
        let cases = [
            (true, false, None),
            (true, true, Some("target_away:a")),
            (false, false, Some("target_not_configured:a")),
            (false, true, Some("target_not_configured:a")),
        ];
        for (configured, away, degraded) in cases {
            let target = Target::from(status("a", configured, away));
            assert_eq!(target.degraded().as_deref(), degraded);
        }
    }

    #[test]
    fn the_document_is_stable() {
        let expected = serde_json::json!({
            "name": "a",
            "kind": "postgres",
            "state": "away",
            "configured": true,
            "away": true,
            "failures": 3,
            "live_leases": 2,
            "revoking_leases": 1,
            "can_revoke": true,
            "confirms_by": "deleted_at_target",
            "expires_at_target": true,
            "renewable": false,
            "environment": "dev",
            "sensitivity": 4,
            "last_answer_at": "2023-11-14T22:13:15.000Z",
            "last_error": null,
            "last_error_at": null,
        });
        let target = Target::from(v1::TargetStatus {
            last_answer_at: at(5),
            ..status("a", true, true)
        });
        assert_eq!(serde_json::to_value(target).unwrap(), expected);
    }
}
