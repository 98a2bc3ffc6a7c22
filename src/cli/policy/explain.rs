//! `quietus policy explain`

use std::time::Duration;

use clap::Args;
use quietus_core::{Scope, TaskId};
use quietus_identity::SpiffeId;
use serde::Serialize;

use crate::api::v1;
use crate::cli::exit::Exit;
use crate::cli::output::{Page, Show};
use crate::cli::select::spiffe_id;
use crate::cli::session::Globals;
use crate::cli::style::Tone;
use crate::cli::text::length;
use crate::cli::view::{given, millis};
use crate::cli::words::wire_duration;

/// Says what policy would answer an agent, and why, without granting anything (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus policy explain --agent spiffe://dev.example/agent --scope orders-db:read:public.orders

Exits with 0 if everything would be permitted, otherwise with 3.")]
pub struct ExplainArgs {
    /// Who would ask
    #[arg(long, value_name = "SPIFFE-ID", value_parser = spiffe_id)]
    agent: SpiffeId,
    /// For what: target:action:resource
    #[arg(long, value_name = "SCOPE", required = true)]
    scope: Vec<Scope>,
    /// For how long
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Within this task, instead of one just opened
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
}

#[derive(Serialize)]
struct Explained {
    policy_digest: String,
    scopes: Vec<ScopeExplained>,
}

#[derive(Serialize)]
struct ScopeExplained {
    scope: String,
    outcome: String,
    determining: Vec<Policy>,
    near_misses: Vec<String>,
    errors: Vec<String>,
    max_ttl_ms: Option<u64>,
    max_ttl_policy: Option<String>,
}

#[derive(Serialize)]
struct Policy {
    id: String,
    place: String,
    text: String,
}

pub async fn run(globals: &Globals, args: ExplainArgs) -> anyhow::Result<Exit> {
    let session = globals.connect().await?;
    let request = v1::ExplainDecisionRequest {
        agent: args.agent.to_string(),
        scopes: args.scope.iter().map(Scope::to_string).collect(),
        ttl: wire_duration(args.ttl)?,
        task_id: args.task.map(|id| id.to_string()).unwrap_or_default(),
    };
    let answer = session
        .answer(session.operator().explain_decision(request))
        .await?;
    let explained = Explained::from(answer);
    globals.out().print(&explained)?;
    Ok(explained.exit())
}

impl Explained {
    fn exit(&self) -> Exit {
        let permitted = |scope: &ScopeExplained| scope.outcome == "permit";
        match !self.scopes.is_empty() && self.scopes.iter().all(permitted) {
            true => Exit::Done,
            false => Exit::Refused,
        }
    }
}

impl Show for Explained {
    fn show(&self, page: &mut Page) {
        for (position, scope) in self.scopes.iter().enumerate() {
            if position > 0 {
                page.line("");
            }
            scope.show(page);
        }
        page.line("");
        page.toned(Tone::Dim, format!("policy digest {}", self.policy_digest));
    }
}

impl Show for ScopeExplained {
    fn show(&self, page: &mut Page) {
        let (tone, outcome) = match self.outcome.as_str() {
            "permit" => (Tone::Good, "permitted"),
            "deny" => (Tone::Bad, "denied"),
            "approval_needed" => (Tone::Busy, "needs an approval"),
            other => (Tone::Busy, other),
        };
        page.toned(tone, format!("{}: {outcome}", self.scope));
        self.show_reasons(page);
        section(page, "what would have to differ", &self.near_misses);
        section(page, "could not be evaluated", &self.errors);
    }
}

impl ScopeExplained {
    fn show_reasons(&self, page: &mut Page) {
        if self.determining.is_empty() && self.outcome == "deny" {
            page.line("  no policy permits it, and what no policy permits is denied");
        }
        if let Some(millis) = self.max_ttl_ms {
            let by = self.max_ttl_policy.as_deref().unwrap_or("policy");
            page.line(format!(
                "  for at most {}, by {by}",
                length(Duration::from_millis(millis))
            ));
        }
        for policy in &self.determining {
            page.line(format!("  decided by {} ({})", policy.id, policy.place));
            let lines = policy.text.lines();
            lines.for_each(|line| page.toned(Tone::Dim, format!("    {line}")));
        }
    }
}

fn section(page: &mut Page, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        page.line(format!("  {title}:"));
    }
    lines
        .iter()
        .for_each(|line| page.line(format!("    - {line}")));
}

impl From<v1::ExplainDecisionResponse> for Explained {
    fn from(answer: v1::ExplainDecisionResponse) -> Self {
        Self {
            policy_digest: answer.policy_digest,
            scopes: answer
                .scopes
                .into_iter()
                .map(ScopeExplained::from)
                .collect(),
        }
    }
}

impl From<v1::ScopeExplanation> for ScopeExplained {
    fn from(scope: v1::ScopeExplanation) -> Self {
        Self {
            scope: scope.scope,
            outcome: scope.outcome,
            determining: scope.determining.into_iter().map(Policy::from).collect(),
            near_misses: scope.near_misses,
            errors: scope.errors,
            max_ttl_ms: millis(scope.max_ttl),
            max_ttl_policy: given(scope.max_ttl_policy),
        }
    }
}

impl From<v1::PolicySource> for Policy {
    fn from(policy: v1::PolicySource) -> Self {
        Self {
            id: policy.id,
            place: policy.file,
            text: policy.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::api::wire;
    use crate::cli::style::Palette;

    fn scope(
        outcome: &str,
        deciding: Option<&str>,
        near_miss: Option<&str>,
    ) -> v1::ScopeExplanation {
        let source = |id: &str| v1::PolicySource {
            id: id.to_owned(),
            file: "orders.cedar:3:1".to_owned(),
            text: "permit (\n    principal,\n    action,\n    resource\n);".to_owned(),
        };
        v1::ScopeExplanation {
            scope: "orders-db:read:public.orders".to_owned(),
            outcome: outcome.to_owned(),
            determining: deciding.map(source).into_iter().collect(),
            near_misses: near_miss.map(str::to_owned).into_iter().collect(),
            errors: Vec::new(),
            max_ttl: deciding.map(|_| wire::Duration {
                seconds: 600,
                nanos: 0,
            }),
            max_ttl_policy: deciding.unwrap_or_default().to_owned(),
        }
    }

    fn explained(scopes: Vec<v1::ScopeExplanation>) -> Explained {
        let policy_digest = "ab12".to_owned();
        v1::ExplainDecisionResponse {
            policy_digest,
            scopes,
        }
        .into()
    }

    #[test]
    fn every_scope_is_explained() {
        let explained = explained(vec![
            scope("permit", Some("dev-reads"), None),
            scope(
                "deny",
                None,
                Some("prod-reads permits only admin, and not read."),
            ),
        ]);
        let mut page = Page::new(Palette::PLAIN, SystemTime::UNIX_EPOCH);
        explained.show(&mut page);
        let expected = "\
orders-db:read:public.orders: permitted
  for at most 10m, by dev-reads
  decided by dev-reads (orders.cedar:3:1)
    permit (
        principal,
        action,
        resource
    );

orders-db:read:public.orders: denied
  no policy permits it, and what no policy permits is denied
  what would have to differ:
    - prod-reads permits only admin, and not read.

policy digest ab12
";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn only_permits_throughout_are_a_success() {
        let cases: [(&[&str], Exit); 5] = [
            (&["permit"], Exit::Done),
            (&["permit", "permit"], Exit::Done),
            (&["permit", "deny"], Exit::Refused),
            (&["approval_needed"], Exit::Refused),
            (&[], Exit::Refused),
        ];
        for (outcomes, exit) in cases {
            let scopes = outcomes.iter().map(|outcome| scope(outcome, None, None));
            assert_eq!(explained(scopes.collect()).exit(), exit, "{outcomes:?}");
        }
    }
}
