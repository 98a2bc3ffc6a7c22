//! `quietus target sweep`

use clap::Args;
use quietus_core::TargetName;
use serde::Serialize;

use crate::api::v1;
use crate::cli::confirm::{Gate, ask, has_terminal};
use crate::cli::exit::{Complaint, Exit};
use crate::cli::output::{Page, Show, note};
use crate::cli::session::{Globals, Session};
use crate::cli::style::Tone;
use crate::cli::text::count;

/// Finds credentials of the broker's at a target that no live lease names, and removes them
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus target sweep orders-db --dry-run
  quietus target sweep orders-db --yes

Asks before it removes anything. Exits with 1 when something could not be removed.")]
pub struct SweepArgs {
    /// The target
    #[arg(value_name = "NAME")]
    target: TargetName,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Swept {
    dry_run: bool,
    target: String,
    listed: bool,
    found: u64,
    strays: Vec<String>,
    failures: Vec<String>,
}

pub async fn run(globals: &Globals, args: SweepArgs) -> anyhow::Result<Exit> {
    let session = globals.connect().await?;
    let would = sweep(&session, &args, true).await?;
    if args.dry_run || would.strays.is_empty() {
        globals.out().print(&would)?;
        return Ok(would.exit());
    }
    match Gate::when(!args.yes, has_terminal()) {
        Gate::Open => {}
        Gate::Ask => confirm(globals, &would).await?,
        Gate::Shut => {
            let what = would.sentence();
            return Err(Complaint::Unconfirmed { what }.into());
        }
    }
    let swept = sweep(&session, &args, false).await?;
    globals.out().print(&swept)?;
    Ok(swept.exit())
}

async fn sweep(session: &Session, args: &SweepArgs, dry_run: bool) -> anyhow::Result<Swept> {
    let target = args.target.to_string();
    let request = v1::SweepTargetRequest {
        target: target.clone(),
        dry_run,
    };
    let answer = session
        .answer(session.operator().sweep_target(request))
        .await?;
    Ok(Swept {
        dry_run,
        target,
        listed: answer.listed,
        found: answer.found,
        strays: answer.strays,
        failures: answer.failures,
    })
}

async fn confirm(globals: &Globals, would: &Swept) -> anyhow::Result<()> {
    for line in globals.out().page(would).lines() {
        note(line)?;
    }
    match ask("Remove?").await? {
        true => Ok(()),
        false => Err(Complaint::Declined("removed").into()),
    }
}

impl Swept {
    fn exit(&self) -> Exit {
        match self.failures.is_empty() {
            true => Exit::Done,
            false => Exit::Failed,
        }
    }

    fn sentence(&self) -> String {
        let target = &self.target;
        if !self.listed {
            return format!(
                "{target} keeps no list of what was issued for it: there is nothing to sweep"
            );
        }
        let found = count(self.found, "credential");
        let strays = count(self.strays.len() as u64, "stray");
        let removed = match (self.dry_run, self.failures.len()) {
            (true, _) => "would remove",
            (false, 0) => "removed",
            (false, _) => "tried to remove",
        };
        format!("sweeping {target} found {found} of the broker's and {removed} {strays}")
    }
}

impl Show for Swept {
    fn show(&self, page: &mut Page) {
        page.line(self.sentence());
        let strays = self.strays.iter();
        strays.for_each(|name| page.line(format!("  {name}")));
        let failures = self.failures.iter();
        failures.for_each(|failure| page.toned(Tone::Bad, format!("not removed: {failure}")));
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::cli::style::Palette;

    fn swept(dry_run: bool) -> Swept {
        Swept {
            dry_run,
            target: "orders-db".to_owned(),
            listed: true,
            found: 3,
            strays: vec!["quietus_1".to_owned(), "x\n".to_owned()],
            failures: Vec::new(),
        }
    }

    fn shown(swept: &Swept) -> String {
        let mut page = Page::new(Palette::PLAIN, SystemTime::UNIX_EPOCH);
        swept.show(&mut page);
        page.into_text()
    }

    #[test]
    fn strays_are_named() {
        let expected = "\
sweeping orders-db found 3 credentials of the broker's and would remove 2 strays
  quietus_1
  x\\n
";
        assert_eq!(shown(&swept(true)), expected);
        assert!(shown(&swept(false)).contains(" and removed 2 strays\n"));
    }

    #[test]
    fn what_could_not_be_removed_is_said_and_makes_the_exit_code() {
        let failed = Swept {
            failures: vec!["quietus_1: it owns a table".to_owned()],
            ..swept(false)
        };
        let text = shown(&failed);
        assert!(text.contains(" and tried to remove 2 strays\n"), "{text}");
        assert!(
            text.ends_with("\nnot removed: quietus_1: it owns a table\n"),
            "{text}"
        );
        assert_eq!(
            (failed.exit(), swept(false).exit()),
            (Exit::Failed, Exit::Done)
        );
    }

    #[test]
    fn a_target_without_a_list_is_told() {
        let unlisted = Swept {
            listed: false,
            found: 0,
            strays: Vec::new(),
            ..swept(false)
        };
        let expected =
            "orders-db keeps no list of what was issued for it: there is nothing to sweep\n";
        assert_eq!(shown(&unlisted), expected);
    }

    #[test]
    fn the_document_is_stable() {
        let expected = serde_json::json!({
            "dry_run": true,
            "target": "orders-db",
            "listed": true,
            "found": 3,
            "strays": ["quietus_1", "x\n"],
            "failures": [],
        });
        assert_eq!(serde_json::to_value(swept(true)).unwrap(), expected);
    }
}
