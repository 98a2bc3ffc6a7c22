//! `quietus request`

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use quietus_core::{Scope, TaskId};
use serde::Serialize;

use super::credential::{Credential, Folder};
use super::exit::Complaint;
use super::key::OwnKey;
use super::output::{Output, Page, Show, note};
use super::session::Globals;
use super::show::bound_in_words;
use super::view;
use super::words::wire_duration;
use crate::api::v1;

/// Asks policy for a credential for one target, and prints it
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  TOKEN=$(quietus request --task \"$TASK\" --scope orders-db:read:public.orders --ttl 5m)
  psql \"$(quietus request --task \"$TASK\" --scope orders-db:read:public.orders -q)\"
  quietus request --task \"$TASK\" --scope web:read:api --csr agent.csr --out ./tls
  quietus request --task \"$TASK\" --scope web-1:execute:deploy --ssh-public-key id.pub --out ./ssh
  quietus request --task \"$TASK\" --scope s3:read:a --scope s3:write:b -o json

The credential goes to standard output, and what is to be known about it to standard error. Standard output gets: for \
jwt the token; for postgres and redis a URI; for x509 the certificate, its key and the authority in PEM; for ssh the \
certificate; for a secret of one field its value, of several a JSON object. A private key is there only if the broker \
made it.

With --out it goes to files of mode 0600 instead: token; url and pgpass; url; cert.pem and key.pem; id and \
id-cert.pub; secret.json; and ca.pem. Nothing is overwritten.")]
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
    #[command(flatten)]
    key: OwnKey,
    /// Write it into files of this folder, and print where they are
    #[arg(long, value_name = "DIR", conflicts_with = "quiet")]
    out: Option<PathBuf>,
    /// Print the credential and nothing else
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

/// A lease, and where its credential is.
#[derive(Serialize)]
struct Filed {
    lease: view::Lease,
    files: Vec<String>,
    #[serde(skip)]
    words: Vec<String>,
}

pub async fn run(globals: &Globals, args: RequestArgs) -> anyhow::Result<()> {
    // Whatever can fail here fails before there is a credential.
    let key = args.key.read()?;
    let folder = args.out.as_deref().map(Folder::prepare).transpose()?;
    let session = globals.connect().await?;
    let request = v1::RequestCredentialRequest {
        idempotency_key: args.idempotency_key,
        task_id: args.task.to_string(),
        scopes: args.scope.iter().map(Scope::to_string).collect(),
        ttl: wire_duration(args.ttl)?,
        key,
    };
    let answer = session
        .answer(session.broker().request_credential(request))
        .await?;
    let issued = Issued::read(answer.lease, answer.credential)?;
    match folder {
        Some(folder) => Ok(globals.out().print(&issued.file(&folder)?)?),
        None => Ok(issued.hand_over(globals.out(), args.quiet)?),
    }
}

impl Issued {
    /// From an answer's parts.
    pub fn read(
        lease: Option<v1::Lease>,
        credential: Option<v1::Credential>,
    ) -> Result<Self, Complaint> {
        Ok(Self {
            lease: lease.ok_or(Complaint::Incomplete("lease"))?.into(),
            credential: Credential::read(credential)?,
        })
    }

    /// The credential alone on standard output, so that a shell can catch it; as JSON everything.
    pub fn hand_over(&self, out: Output, quiet: bool) -> io::Result<()> {
        if !quiet && out.is_json() {
            return out.print(self);
        }
        if !quiet {
            out.page(self).lines().try_for_each(note)?;
        }
        out.print_exact(&self.credential.bare())
    }

    fn file(self, folder: &Folder) -> anyhow::Result<Filed> {
        let lost = || {
            let lease = &self.lease.id;
            format!("the credential is lost: give it back with `quietus lease revoke {lease}`")
        };
        let written = folder.write(&self.credential).with_context(lost)?;
        let files = written.iter().map(|path| path.display().to_string());
        Ok(Filed {
            files: files.collect(),
            words: self.credential.words(),
            lease: self.lease,
        })
    }
}

impl Show for Issued {
    fn show(&self, page: &mut Page) {
        describe(page, &self.lease, &self.credential.words());
    }
}

impl Show for Filed {
    fn show(&self, page: &mut Page) {
        describe(page, &self.lease, &self.words);
        self.files.iter().for_each(|path| page.line(path));
    }
}

fn describe(page: &mut Page, lease: &view::Lease, words: &[String]) {
    let expiry = lease
        .expires_at
        .map_or_else(String::new, |at| page.when(at));
    let bound = bound_in_words(lease.bound.as_deref().unwrap_or("an unknown limit"));
    page.line(format!(
        "lease {}: expires {expiry}, bound by {bound}",
        lease.id
    ));
    words.iter().for_each(|line| page.line(line));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::credential::Kind;

    #[test]
    fn an_answer_without_a_credential_is_an_error() {
        let lease = Some(v1::Lease::default());
        assert!(Issued::read(lease.clone(), None).is_err());
        assert!(Issued::read(lease, Some(v1::Credential { kind: None })).is_err());
        let kind = Some(Kind::Jwt("token".to_owned()));
        assert!(Issued::read(None, Some(v1::Credential { kind })).is_err());
    }

    #[test]
    fn a_credential_that_cannot_be_written_is_not_silently_lost() {
        let folder = tempfile::tempdir().unwrap();
        let prepared = Folder::prepare(folder.path()).unwrap();
        std::fs::write(folder.path().join("token"), "in the way").unwrap();
        let lease = v1::Lease {
            id: "t1.0".to_owned(),
            ..Default::default()
        };
        let kind = Some(Kind::Jwt("hunter2".to_owned()));
        let issued = Issued::read(Some(lease), Some(v1::Credential { kind })).unwrap();
        let error = format!("{:#}", issued.file(&prepared).err().unwrap());
        assert!(error.contains("`quietus lease revoke t1.0`"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
