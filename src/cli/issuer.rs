//! `quietus issuer`

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use quietus_core::{Action, TargetName};
use quietus_identity::{Purpose, SpiffeId, TrustBundle, TrustBundles};
use serde::Serialize;

use super::exit::{Complaint, Exit};
use super::output::{Output, Page, Show};
use super::session::Globals;
use super::style::Tone;
use super::table::{Cell, Table};
use crate::clock::{SystemTime, TimeSource};
use crate::config::{ExternalEndpoint, checked_url};
use crate::files;
use crate::issuers::external::conformance::{self, Candidate, Checked, Claimed, Findings, Verdict};
use crate::tls::{Credentials, SvidFiles};

const MAX_BUNDLE: usize = 1024 * 1024;
/// Who the broker is said to be where there is no SVID to tell.
const BROKER: &str = "spiffe://conformance.test/broker";

/// Tests external issuers: processes of your own that make credentials
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus issuer test --socket /run/billing-issuer/issuer.sock --scope read:invoices")]
pub struct IssuerArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Test(TestArgs),
}

/// Checks that a process keeps the contract of external issuers
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus issuer test --socket /run/billing-issuer/issuer.sock --scope read:invoices
  quietus issuer test --address https://issuer.dev.example:9443 \\
      --issuer-id spiffe://dev.example/issuer/billing \\
      --svid broker.pem --key broker.key --bundle bundle.pem --scope read:invoices -o json

Asks for credentials that live for five minutes and revokes them all in the end; run it against a test target.
--timeout says how long each call may take. Exits with 1 if a check fails. docs/external-issuers.md has the contract.")]
pub struct TestArgs {
    /// The unix socket that the process listens on
    #[arg(long, value_name = "PATH", required_unless_present = "address")]
    #[arg(conflicts_with_all = ["address", "issuer_id", "svid", "key", "bundle"])]
    socket: Option<PathBuf>,
    /// The user that the process runs as, if not yours
    #[arg(long, value_name = "NUMBER", requires = "socket")]
    uid: Option<u32>,
    /// Where the process listens for mTLS: https://host:port
    #[arg(long, value_name = "URL", value_parser = checked_url)]
    #[arg(requires_all = ["issuer_id", "svid", "key", "bundle"])]
    address: Option<String>,
    /// The SPIFFE ID that the process has to have
    #[arg(long, value_name = "SPIFFE_ID", requires = "address")]
    issuer_id: Option<SpiffeId>,
    /// The X.509-SVID to call it with, PEM
    #[arg(long, value_name = "FILE", requires = "address")]
    svid: Option<PathBuf>,
    /// The SVID's key, PEM in PKCS#8
    #[arg(long, value_name = "FILE", requires = "address")]
    key: Option<PathBuf>,
    /// The trust bundle that the process's SVID chains to
    #[arg(long, value_name = "FILE", requires = "address")]
    bundle: Option<PathBuf>,
    /// What to say that the broker's SPIFFE ID is; by default the SVID's
    #[arg(long, value_name = "SPIFFE_ID")]
    broker_id: Option<SpiffeId>,
    /// What to call the target
    #[arg(long, value_name = "NAME", default_value = "conformance")]
    target: TargetName,
    /// A scope that the process knows; may be repeated
    #[arg(
        long = "scope",
        value_name = "ACTION:RESOURCE",
        default_value = "read:conformance"
    )]
    scopes: Vec<ScopeArg>,
}

/// `action:resource`
#[derive(Clone, Debug)]
struct ScopeArg(Action, String);

impl FromStr for ScopeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':');
        let (action, resource) = parts.ok_or("write action:resource, such as read:invoices")?;
        // As a broker would send it: by the same rules.
        let scope: quietus_core::Scope = format!("target:{action}:{resource}")
            .parse()
            .map_err(|error: quietus_core::ScopeError| error.to_string())?;
        Ok(Self(scope.action(), scope.resource().to_owned()))
    }
}

pub async fn run(globals: &Globals, args: IssuerArgs) -> anyhow::Result<Exit> {
    match args.command {
        Command::Test(args) => test(globals, args).await,
    }
}

async fn test(globals: &Globals, args: TestArgs) -> anyhow::Result<Exit> {
    let out = globals.out();
    let candidate = candidate(globals, args)?;
    let mut told = Ok(());
    let tell = |checked: &Checked| {
        if !out.is_json() && told.is_ok() {
            told = out.print(&Line(checked));
        }
    };
    let findings = conformance::test(candidate, tell).await;
    let findings = findings.map_err(Complaint::Usage)?;
    told?;
    conclude(out, &findings)?;
    Ok(match findings.is_sound() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

fn candidate(globals: &Globals, args: TestArgs) -> anyhow::Result<Candidate> {
    let svid = args.svid.zip(args.key);
    let svid = svid.map(|(chain, key)| SvidFiles { chain, key });
    let endpoint = match (args.socket, args.address, args.issuer_id, args.bundle) {
        (Some(path), ..) => ExternalEndpoint::Socket {
            path,
            uid: args.uid,
        },
        (None, Some(address), Some(issuer_id), Some(bundle)) => ExternalEndpoint::Tls {
            address,
            issuer_id,
            bundle,
        },
        _ => return Err(Complaint::Usage("pass --socket, or --address".to_owned()).into()),
    };
    let broker = match args.broker_id {
        Some(id) => id.to_string(),
        None => own_id(&endpoint, svid.as_ref())?,
    };
    let scopes = args.scopes.into_iter();
    Ok(Candidate {
        endpoint,
        svid,
        broker,
        target: args.target,
        scopes: scopes.map(|ScopeArg(action, it)| (action, it)).collect(),
        timeout: globals.timeout(),
        now: Arc::new(|| SystemTime.wall()),
    })
}

/// Who the SVID says that we are.
fn own_id(endpoint: &ExternalEndpoint, svid: Option<&SvidFiles>) -> anyhow::Result<String> {
    let (
        ExternalEndpoint::Tls {
            issuer_id, bundle, ..
        },
        Some(svid),
    ) = (endpoint, svid)
    else {
        return Ok(BROKER.to_owned());
    };
    let unreadable = || format!("{} is not a trust bundle", bundle.display());
    let bytes = files::read(bundle, MAX_BUNDLE).with_context(unreadable)?;
    let bundle = TrustBundle::parse(issuer_id.trust_domain().clone(), &bytes);
    let bundles = TrustBundles::from_iter([bundle.with_context(unreadable)?]);
    let now = SystemTime.wall().seconds();
    let own = Credentials::load(svid)?.verify(&bundles, Purpose::Client, now);
    let own = own.context("the SVID cannot be read with the bundle: pass --broker-id")?;
    Ok(own.id().to_string())
}

fn conclude(out: Output, findings: &Findings) -> anyhow::Result<()> {
    Ok(out.print(&Summary(findings))?)
}

/// One check, as it is told when it was made.
#[derive(Serialize)]
#[serde(transparent)]
struct Line<'a>(&'a Checked);

/// All of them as a document, or their sum for people.
#[derive(Serialize)]
#[serde(transparent)]
struct Summary<'a>(&'a Findings);

impl Show for Line<'_> {
    fn show(&self, page: &mut Page) {
        let (tone, word) = match self.0.verdict {
            Verdict::Pass => (Tone::Good, "PASS"),
            Verdict::Fail => (Tone::Bad, "FAIL"),
            Verdict::Skip => (Tone::Dim, "SKIP"),
        };
        let name = Cell::new(format!("{:<15}", self.0.name));
        let mut table = Table::default();
        table.add([Cell::toned(tone, word), name, self.0.about.into()]);
        page.table(&table);
        if let Some(detail) = &self.0.detail {
            page.toned(tone, format!("      {detail}"));
        }
    }
}

impl Show for Summary<'_> {
    fn show(&self, page: &mut Page) {
        let count = |verdict| self.0.count(verdict);
        let (passed, failed) = (count(Verdict::Pass), count(Verdict::Fail));
        let skipped = count(Verdict::Skip);
        let tone = match self.0.is_sound() {
            true => Tone::Good,
            false => Tone::Bad,
        };
        page.line("");
        page.toned(
            tone,
            format!("{passed} passed, {failed} failed, {skipped} skipped"),
        );
        if let Some(issuer) = self.0.issuer.as_ref().filter(|_| self.0.is_sound()) {
            page.heading("To be stated in [target.external]:");
            stated(issuer).iter().for_each(|line| page.line(line));
        }
    }
}

fn stated(issuer: &Claimed) -> Vec<String> {
    let mut lines = vec![
        format!("kind = {:?}", issuer.kind),
        format!("can_revoke = {}", issuer.can_revoke),
    ];
    lines.extend(issuer.confirms_by.map(|it| format!("confirms_by = {it:?}")));
    lines.push(format!("expires_at_target = {}", issuer.expires_at_target));
    lines.push(format!("renewable = {}", issuer.renewable));
    lines
}
