//! `quietus revoke`

use clap::Args;
use serde::Serialize;

use super::confirm::{Gate, ask, has_terminal};
use super::exit::Complaint;
use super::output::{Page, Show, note};
use super::select::Revocable;
use super::session::{Globals, Session};
use super::text::count;
use super::view::Selector;
use crate::api::v1;

/// How many ids people are shown.
const NAMED: usize = 20;

/// Ends tasks and credentials (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus revoke --agent spiffe://dev.example/agent --reason 'leaked key'
  quietus revoke --target orders-db --dry-run
  quietus revoke --all --yes

Asks before it ends more than one task. Once it is done nothing it covered is honoured or can be given more; tasks \
opened afterwards are not covered: see `quietus freeze`.")]
pub struct RevokeArgs {
    #[command(flatten)]
    what: Revocable,
    /// Why; recorded
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
    /// Only say what would end
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Revoked {
    dry_run: bool,
    selector: Selector,
    tasks: u64,
    leases: u64,
    task_ids: Vec<String>,
    lease_ids: Vec<String>,
}

pub async fn run(globals: &Globals, args: RevokeArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let would = revoke(&session, &args, true).await?;
    if args.dry_run {
        return Ok(globals.out().print(&would)?);
    }
    match Gate::of(would.tasks, would.leases, args.yes, has_terminal()) {
        Gate::Open => {}
        Gate::Ask => confirm(globals, &would).await?,
        Gate::Shut => {
            return Err(Complaint::Unconfirmed {
                what: would.sentence(),
            }
            .into());
        }
    }
    let revoked = revoke(&session, &args, false).await?;
    Ok(globals.out().print(&revoked)?)
}

async fn revoke(session: &Session, args: &RevokeArgs, dry_run: bool) -> anyhow::Result<Revoked> {
    let selector = v1::Selector::from(&args.what);
    let request = v1::RevokeRequest {
        selector: Some(selector.clone()),
        dry_run,
        reason: args.reason.clone(),
    };
    let answer = session.answer(session.operator().revoke(request)).await?;
    Ok(Revoked {
        dry_run,
        selector: selector.into(),
        tasks: answer.tasks,
        leases: answer.leases,
        task_ids: answer.task_ids,
        lease_ids: answer.lease_ids,
    })
}

async fn confirm(globals: &Globals, would: &Revoked) -> anyhow::Result<()> {
    for line in globals.out().page(would).lines() {
        note(line)?;
    }
    match ask("Revoke?").await? {
        true => Ok(()),
        false => Err(Complaint::Declined("revoked").into()),
    }
}

impl Revoked {
    fn sentence(&self) -> String {
        let verb = if self.dry_run { "would end" } else { "ended" };
        let (tasks, leases) = (count(self.tasks, "task"), count(self.leases, "lease"));
        format!("revoking {} {verb} {tasks} and {leases}", self.selector)
    }
}

impl Show for Revoked {
    fn show(&self, page: &mut Page) {
        page.line(self.sentence());
        name(page, "task", &self.task_ids, self.tasks);
        name(page, "lease", &self.lease_ids, self.leases);
    }
}

fn name(page: &mut Page, thing: &str, ids: &[String], all: u64) {
    let shown = ids.iter().take(NAMED);
    shown
        .clone()
        .for_each(|id| page.line(format!("  {thing} {id}")));
    let rest = all.saturating_sub(shown.len() as u64);
    if rest > 0 {
        page.line(format!("  … and {rest} more"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::cli::style::Palette;

    fn revoked(tasks: u64, ids: usize) -> Revoked {
        Revoked {
            dry_run: true,
            selector: Selector {
                kind: "trust_domain",
                name: Some("dev.example".to_owned()),
            },
            tasks,
            leases: 1,
            task_ids: (0..ids).map(|id| format!("t{id}")).collect(),
            lease_ids: vec!["l0".to_owned()],
        }
    }

    fn shown(revoked: &Revoked) -> String {
        let mut page = Page::new(Palette::PLAIN, SystemTime::UNIX_EPOCH);
        revoked.show(&mut page);
        page.into_text()
    }

    #[test]
    fn what_would_end_is_named() {
        let expected = "\
revoking trust domain dev.example would end 2 tasks and 1 lease
  task t0
  task t1
  lease l0
";
        assert_eq!(shown(&revoked(2, 2)), expected);
    }

    #[test]
    fn long_lists_are_cut() {
        let text = shown(&revoked(5000, 1000));
        assert!(text.contains("  task t19\n  … and 4980 more\n"), "{text}");
    }

    #[test]
    fn the_document_is_stable() {
        let expected = serde_json::json!({
            "dry_run": true,
            "selector": { "kind": "trust_domain", "name": "dev.example" },
            "tasks": 1,
            "leases": 1,
            "task_ids": ["t0"],
            "lease_ids": ["l0"],
        });
        assert_eq!(serde_json::to_value(revoked(1, 1)).unwrap(), expected);
    }
}
