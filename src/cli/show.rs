//! Tasks and leases as people see them.

use serde::Serialize;

use super::output::{Page, Show};
use super::style::Tone;
use super::table::{Cell, Table};
use super::text::{count, length, short};
use super::view::{Ending, Lease, Task, TaskDetail, Time};

/// Room for what an agent wrote, in a table.
const PURPOSE_COLUMNS: usize = 60;
const SCOPES_COLUMNS: usize = 60;
/// Room for what a target said.
const ERROR_COLUMNS: usize = 100;

impl Show for Vec<Task> {
    fn show(&self, page: &mut Page) {
        let head = [
            "TASK", "STATE", "OPENED", "ENDS", "LEASES", "AGENT", "PURPOSE",
        ];
        let mut table = Table::with_head(head);
        for task in self {
            table.add([
                task.id.as_str().into(),
                state(&task.state),
                when(page, task.opened_at).into(),
                end_of_task(page, task).into(),
                leases(task).into(),
                task.agent.as_str().into(),
                short(&task.purpose, PURPOSE_COLUMNS).into(),
            ]);
        }
        page.table(&table);
    }
}

impl Show for Task {
    fn show(&self, page: &mut Page) {
        page.facts([
            ("task", Some(self.id.as_str().into())),
            ("agent", Some(self.agent.as_str().into())),
            ("state", Some(state(&self.state))),
            ("purpose", Some(self.purpose.as_str().into())),
            ("ticket", self.ticket.as_ref().map(Cell::from)),
            ("environment", self.environment.as_ref().map(Cell::from)),
            ("opened", moment(page, self.opened_at)),
            ("deadline", moment(page, self.deadline)),
            ("heartbeat", self.heartbeat_interval_ms.map(heartbeat)),
            ("alive until", moment(page, self.alive_until)),
            (
                "ended",
                self.ending.as_ref().map(|it| ending(page, it).into()),
            ),
            ("leases", Some(leases(self).into())),
            ("trace", self.trace_id.as_ref().map(Cell::from)),
        ]);
    }
}

impl Show for Vec<Lease> {
    fn show(&self, page: &mut Page) {
        let mut table = Table::with_head(["LEASE", "STATE", "ENDS", "SCOPES", "AGENT"]);
        for lease in self {
            table.add([
                lease.id.as_str().into(),
                state(&lease.state),
                end_of_lease(page, lease).into(),
                short(&lease.scopes.join(" "), SCOPES_COLUMNS).into(),
                lease.agent.as_str().into(),
            ]);
        }
        page.table(&table);
    }
}

/// Leases whose credentials are not confirmed dead.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Stuck<'a>(pub &'a [Lease]);

impl Show for Stuck<'_> {
    fn show(&self, page: &mut Page) {
        let head = ["LEASE", "TARGET", "KIND", "SINCE", "ATTEMPTS", "LAST ERROR"];
        let mut table = Table::with_head(head);
        for lease in self.0 {
            let since = lease.ending.as_ref().and_then(|ending| ending.at);
            let error = lease.last_error.as_deref().unwrap_or("-");
            table.add([
                lease.id.as_str().into(),
                lease.target.as_str().into(),
                lease.kind.as_deref().unwrap_or("-").into(),
                when(page, since).into(),
                lease.attempts.to_string().into(),
                Cell::toned(Tone::Bad, short(error, ERROR_COLUMNS)),
            ]);
        }
        page.table(&table);
    }
}

/// Leases that have ended, and what is known about the death of their credentials.
pub struct Deaths<'a>(pub &'a [Lease]);

impl Show for Deaths<'_> {
    fn show(&self, page: &mut Page) {
        let mut table = Table::with_head(["LEASE", "KIND", "SCOPES", "ENDED", "DEATH"]);
        for lease in self.0 {
            table.add([
                lease.id.as_str().into(),
                lease.kind.as_deref().unwrap_or("-").into(),
                short(&lease.scopes.join(" "), SCOPES_COLUMNS).into(),
                end_of_lease(page, lease).into(),
                death(page, lease),
            ]);
        }
        page.table(&table);
    }
}

impl Show for Lease {
    fn show(&self, page: &mut Page) {
        page.facts([
            ("lease", Some(self.id.as_str().into())),
            ("agent", Some(self.agent.as_str().into())),
            ("target", Some(self.target.as_str().into())),
            ("kind", self.kind.as_ref().map(Cell::from)),
            ("scopes", Some(self.scopes.join(" ").into())),
            ("state", Some(state(&self.state))),
            ("issued", moment(page, self.issued_at)),
            ("expires", moment(page, self.expires_at)),
            (
                "bound by",
                self.bound
                    .as_deref()
                    .map(|bound| bound_in_words(bound).into()),
            ),
            (
                "renewals",
                (self.renewals > 0).then(|| self.renewals.to_string().into()),
            ),
            ("fingerprint", self.fingerprint.as_ref().map(Cell::from)),
            (
                "ended",
                self.ending.as_ref().map(|it| ending(page, it).into()),
            ),
            ("confirmed", self.confirmed.as_ref().map(Cell::from)),
            ("confirmed at", moment(page, self.confirmed_at)),
            (
                "attempts",
                (self.attempts > 0).then(|| self.attempts.to_string().into()),
            ),
            (
                "last error",
                self.last_error
                    .as_ref()
                    .map(|it| Cell::toned(Tone::Bad, it)),
            ),
        ]);
    }
}

impl Show for TaskDetail {
    fn show(&self, page: &mut Page) {
        self.task.show(page);
        if !self.leases.is_empty() {
            page.heading("Leases");
            self.leases.show(page);
        }
    }
}

/// Which limit set a lifetime.
pub fn bound_in_words(bound: &str) -> &str {
    match bound {
        "request" => "what was asked for",
        "policy" => "the longest that policy allows",
        "config" => "the broker's configuration",
        "task" => "the task's deadline",
        "svid" => "the expiry of the agent's SVID",
        other => other,
    }
}

/// How, by whom and when.
pub fn ending(page: &Page, ending: &Ending) -> String {
    let mut text = ending.cause.clone();
    if ending.reason != ending.cause {
        text.push_str(&format!(" ({})", ending.reason));
    }
    if let Some(by) = &ending.by {
        text.push_str(&format!(" by {by}"));
    }
    if let Some(at) = ending.at {
        text.push_str(&format!(", {}", page.when(at)));
    }
    text
}

fn end_of_task(page: &Page, task: &Task) -> String {
    match &task.ending {
        Some(how) => ended(page, how),
        None => when(page, task.deadline),
    }
}

fn end_of_lease(page: &Page, lease: &Lease) -> String {
    match &lease.ending {
        Some(how) => ended(page, how),
        None => when(page, lease.expires_at),
    }
}

fn death(page: &Page, lease: &Lease) -> Cell {
    if let Some(how) = &lease.confirmed {
        let text = format!("{how} {}", when(page, lease.confirmed_at));
        return Cell::toned(Tone::Good, text);
    }
    let attempts = count(lease.attempts.into(), "attempt");
    let reason = lease.last_error.as_deref().unwrap_or("no answer yet");
    let reason = short(reason, ERROR_COLUMNS);
    Cell::toned(Tone::Bad, format!("unconfirmed, {attempts}: {reason}"))
}

fn ended(page: &Page, ending: &Ending) -> String {
    format!("{} {}", ending.cause, when(page, ending.at))
}

fn when(page: &Page, time: Option<Time>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| page.when(time))
}

fn moment(page: &Page, time: Option<Time>) -> Option<Cell> {
    time.map(|time| page.moment(time).into())
}

fn heartbeat(millis: u64) -> Cell {
    let every = std::time::Duration::from_millis(millis);
    format!("every {}", length(every)).into()
}

fn leases(task: &Task) -> String {
    let mut text = format!("{} live of {}", task.live_leases, task.issued_leases);
    if task.revoking_leases > 0 {
        text.push_str(&format!(", {} revoking", task.revoking_leases));
    }
    text
}

fn state(state: &str) -> Cell {
    let tone = match state {
        "open" | "active" => Tone::Good,
        "closing" | "revoking" | "issuing" => Tone::Busy,
        _ => Tone::Dim,
    };
    Cell::toned(tone, state)
}

#[cfg(test)]
mod tests;
