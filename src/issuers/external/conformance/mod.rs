//! Whether a process keeps the contract of external issuers: what its author runs before a broker depends on it.
//!
//! Every check asks for credentials that live for five minutes, and all of them are revoked in the end.

mod checks;
mod run;

use std::sync::Arc;
use std::time::Duration;

use quietus_core::{Action, TargetName, Timestamp};
use serde::Serialize;

use crate::config::ExternalEndpoint;
use crate::tls::SvidFiles;
use checks::Check;
use run::Run;

/// A process to be tested, and what to ask it for.
#[derive(Clone)]
pub struct Candidate {
    /// Where it is.
    pub endpoint: ExternalEndpoint,
    /// The X.509-SVID to call it with, for mTLS.
    pub svid: Option<SvidFiles>,
    /// The SPIFFE ID to give as the broker's.
    pub broker: String,
    /// The target's name to give.
    pub target: TargetName,
    /// Scopes that it has to know: action and resource.
    pub scopes: Vec<(Action, String)>,
    /// How long a call may take.
    pub timeout: Duration,
    /// The time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What a test found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What the process says that it is; none if it does not say so in order.
    pub issuer: Option<Claimed>,
    /// Every check, in the order in which they were made.
    pub checks: Vec<Checked>,
}

/// What a process says of itself, as it has to be stated in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claimed {
    /// What it calls its credentials.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// Whether it can end a credential before its time.
    pub can_revoke: bool,
    /// How it confirms that.
    pub confirms_by: Option<&'static str>,
    /// Whether its target lets credentials expire.
    pub expires_at_target: bool,
    /// Whether it can give a credential a later end.
    pub renewable: bool,
}

/// A check that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// A stable name.
    pub name: &'static str,
    /// What has to be true.
    pub about: &'static str,
    /// Whether it is.
    pub verdict: Verdict,
    /// What is wrong, or why it was not looked at.
    pub detail: Option<String>,
}

/// Whether something is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Fail,
    /// It was not looked at.
    Skip,
}

/// Why a check did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Halt {
    Fail(String),
    Skip(String),
}

type Outcome = Result<(), Halt>;

impl Findings {
    /// How many checks came to this.
    pub fn count(&self, verdict: Verdict) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.verdict == verdict).count()
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.count(Verdict::Fail) == 0
    }
}

/// Makes every check, one after the other, and tells of each.
///
/// # Errors
/// What keeps the test from beginning at all.
pub async fn test(
    candidate: Candidate,
    mut tell: impl FnMut(&Checked) + Send,
) -> Result<Findings, String> {
    let mut run = Run::new(candidate)?;
    let mut checks = Vec::new();
    for check in Check::ALL {
        let outcome = check.make(&mut run).await;
        let checked = Checked::new(check, outcome);
        tell(&checked);
        checks.push(checked);
    }
    Ok(Findings {
        issuer: run.claims().map(Claimed::from),
        checks,
    })
}

impl Checked {
    fn new(check: Check, outcome: Outcome) -> Self {
        let (verdict, detail) = match outcome {
            Ok(()) => (Verdict::Pass, None),
            Err(Halt::Fail(why)) => (Verdict::Fail, Some(why)),
            Err(Halt::Skip(why)) => (Verdict::Skip, Some(why)),
        };
        Self {
            name: check.name(),
            about: check.about(),
            verdict,
            detail,
        }
    }
}

impl From<&super::answer::Claims> for Claimed {
    fn from(claims: &super::answer::Claims) -> Self {
        Self {
            kind: claims.kind.clone(),
            version: claims.version.clone(),
            can_revoke: claims.can_revoke,
            confirms_by: claims.confirms_by.map(|word| word.as_str()),
            expires_at_target: claims.expires_at_target,
            renewable: claims.renewable,
        }
    }
}

impl From<String> for Halt {
    fn from(why: String) -> Self {
        Self::Fail(why)
    }
}

impl From<&str> for Halt {
    fn from(why: &str) -> Self {
        Self::Fail(why.to_owned())
    }
}
