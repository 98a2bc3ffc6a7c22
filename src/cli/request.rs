//! `quietus request`

use std::io;
use std::time::Duration;

use clap::Args;
use quietus_core::{Scope, TaskId};
use serde::Serialize;

use super::exit::Complaint;
use super::output::{Output, Page, Show, note};
use super::session::Globals;
use super::show::bound_in_words;
use super::view;
use super::words::wire_duration;
use crate::api::v1;
use crate::api::v1::credential::Kind;

/// Asks policy for a credential for one target, and prints the token
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  TOKEN=$(quietus request --task \"$TASK\" --scope orders-db:read:public.orders --ttl 5m)
  quietus request --task \"$TASK\" --scope s3:read:a --scope s3:write:b -o json

The token goes to standard output, and what is to be known about it to standard error.")]
pub struct RequestArgs {
    /// The task to issue it in
    #[arg(long, value_name = "ID")]
    task: TaskId,
    /// What it may do: target:action:resource, all of one target
    #[arg(long, value_name = "SCOPE", required = true)]
    scope: Vec<Scope>,
    /// How long it is to live; it may get less
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Print the token and nothing else
    #[arg(short, long)]
    quiet: bool,
    /// The same key gives the same lease
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true
    )]
    idempotency_key: String,
}

/// A lease, and the secret that must be shown once and to its owner alone.
#[derive(Serialize)]
pub struct Issued {
    lease: view::Lease,
    credential: Credential,
}

#[derive(Serialize)]
struct Credential {
    kind: &'static str,
    token: String,
}

pub async fn run(globals: &Globals, args: RequestArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::RequestCredentialRequest {
        idempotency_key: args.idempotency_key,
        task_id: args.task.to_string(),
        scopes: args.scope.iter().map(Scope::to_string).collect(),
        ttl: wire_duration(args.ttl)?,
        key: None,
    };
    let answer = session
        .answer(session.broker().request_credential(request))
        .await?;
    let issued = Issued::read(answer.lease, answer.credential)?;
    Ok(issued.hand_over(globals.out(), args.quiet)?)
}

impl Issued {
    /// From an answer's parts.
    pub fn read(
        lease: Option<v1::Lease>,
        credential: Option<v1::Credential>,
    ) -> Result<Self, Complaint> {
        let lease = lease.ok_or(Complaint::Incomplete("lease"))?.into();
        let kind = credential.and_then(|credential| credential.kind);
        let Some(Kind::Jwt(token)) = kind else {
            return Err(Complaint::Incomplete("credential"));
        };
        let kind = "jwt";
        let credential = Credential { kind, token };
        Ok(Self { lease, credential })
    }

    /// The token alone on standard output, so that a shell can catch it; as JSON everything.
    pub fn hand_over(&self, out: Output, quiet: bool) -> io::Result<()> {
        if quiet {
            return out.print_bare(&self.credential.token);
        }
        if out.is_json() {
            return out.print(self);
        }
        note(self.sentence(&out))?;
        out.print_bare(&self.credential.token)
    }

    fn sentence(&self, out: &Output) -> String {
        out.page(self).trim_end().to_owned()
    }
}

impl Show for Issued {
    fn show(&self, page: &mut Page) {
        let lease = &self.lease;
        let expiry = lease
            .expires_at
            .map_or_else(String::new, |at| page.when(at));
        let bound = bound_in_words(lease.bound.as_deref().unwrap_or("an unknown limit"));
        page.line(format!(
            "lease {}: expires {expiry}, bound by {bound}",
            lease.id
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_credential_is_an_error() {
        let lease = Some(v1::Lease::default());
        assert!(Issued::read(lease.clone(), None).is_err());
        assert!(Issued::read(lease, Some(v1::Credential { kind: None })).is_err());
        let kind = Some(Kind::Jwt("token".to_owned()));
        assert!(Issued::read(None, Some(v1::Credential { kind })).is_err());
    }
}
