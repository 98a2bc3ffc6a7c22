//! What is checked, in this order: later checks build on earlier ones.

use std::time::Duration;

use crate::api::issuer as wire;
use crate::issuers::Made;

use super::run::{LIFETIME, Refused, Run, same, shares_secret};
use super::{Halt, Outcome};

/// The lease whose life most checks follow.
const FIRST: u32 = 0;
/// A lease that is revoked before it is issued.
const UNBORN: u32 = 1;
const EXPIRED: u32 = 2;
const ABSURD: u32 = 3;
const OVERSIZE: u32 = 4;
/// A lease that is asked for many times at once.
const CROWDED: u32 = 5;
/// The first of the leases that are asked for at once.
const MANY: u32 = 100;
const AT_ONCE: u32 = 16;
/// Far beyond the 64 KiB that a request may have.
const OVERSIZE_BYTES: usize = 1024 * 1024;
/// A broker that has no credentials there.
const STRANGER: &str = "spiffe://conformance.test/another-broker";

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Describe,
    TargetAnswers,
    Issue,
    IssueAgain,
    IssueAtOnce,
    ListNames,
    ListIsPrivate,
    Renew,
    Revoke,
    RevokeAgain,
    RevokeUnknown,
    ListForgets,
    Fence,
    FenceBefore,
    RenewRevoked,
    ExpiredOrder,
    AbsurdScope,
    Oversize,
    Many,
    Secrets,
    Leftovers,
}

impl Check {
    pub(super) const ALL: [Self; 21] = [
        Self::Describe,
        Self::TargetAnswers,
        Self::Issue,
        Self::IssueAgain,
        Self::IssueAtOnce,
        Self::ListNames,
        Self::ListIsPrivate,
        Self::Renew,
        Self::Revoke,
        Self::RevokeAgain,
        Self::RevokeUnknown,
        Self::ListForgets,
        Self::Fence,
        Self::FenceBefore,
        Self::RenewRevoked,
        Self::ExpiredOrder,
        Self::AbsurdScope,
        Self::Oversize,
        Self::Many,
        Self::Secrets,
        Self::Leftovers,
    ];

    pub(super) fn name(self) -> &'static str {
        self.words().0
    }

    pub(super) fn about(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Describe => ("describe", "it says what it is and what it can do"),
            Self::TargetAnswers => ("check", "its target answers"),
            Self::Issue => ("issue", "a credential is made as ordered"),
            Self::IssueAgain => (
                "issue-again",
                "the same lease gets the same credential, or a no",
            ),
            Self::IssueAtOnce => (
                "issue-at-once",
                "a lease that is asked for 8 times at once gets one credential",
            ),
            Self::ListNames => ("list", "the list names the lease, once"),
            Self::ListIsPrivate => ("list-private", "another broker's list does not name it"),
            Self::Renew => ("renew", "a later end is given, or refused if not renewable"),
            Self::Revoke => ("revoke", "its death is confirmed"),
            Self::RevokeAgain => ("revoke-again", "and confirmed again"),
            Self::RevokeUnknown => ("revoke-unknown", "a lease that is not known is gone"),
            Self::ListForgets => ("list-forgets", "the list names it no longer"),
            Self::Fence => ("fence", "a revoked lease is not issued again"),
            Self::FenceBefore => (
                "fence-before",
                "a lease that was revoked first is not issued later",
            ),
            Self::RenewRevoked => ("renew-revoked", "a revoked lease is not renewed"),
            Self::ExpiredOrder => ("expired-order", "an order that has expired is refused"),
            Self::AbsurdScope => ("absurd-scope", "a scope that nobody knows is refused"),
            Self::Oversize => ("oversize", "a request of 1 MiB is refused"),
            Self::Many => ("many", "16 leases at once get 16 credentials"),
            Self::Secrets => (
                "secrets",
                "no secret is in a public field, a name or an error",
            ),
            Self::Leftovers => ("leftovers", "everything made here can be revoked"),
        }
    }

    pub(super) async fn make(self, run: &mut Run) -> Outcome {
        if self != Self::Describe && run.claims().is_none() {
            return Err(Halt::Skip("it does not say what it is".to_owned()));
        }
        match self {
            Self::Describe => run.describe().await.map_err(failed),
            Self::TargetAnswers => run.check().await.map_err(failed),
            Self::Issue => issue(run).await,
            Self::IssueAgain => issue_again(run).await,
            Self::IssueAtOnce => issue_at_once(run).await,
            Self::ListNames => list_names(run).await,
            Self::ListIsPrivate => list_is_private(run).await,
            Self::Renew => renew(run).await,
            Self::Revoke | Self::RevokeAgain => revoke(run, FIRST).await,
            Self::RevokeUnknown => revoke(run, UNBORN).await,
            Self::ListForgets => list_forgets(run).await,
            Self::Fence => fence(run, FIRST).await,
            Self::FenceBefore => fence(run, UNBORN).await,
            Self::RenewRevoked => renew_revoked(run).await,
            Self::ExpiredOrder => expired_order(run).await,
            Self::AbsurdScope => absurd_scope(run).await,
            Self::Oversize => oversize(run).await,
            Self::Many => many(run).await,
            Self::Secrets => secrets(run),
            Self::Leftovers => leftovers(run).await,
        }
    }
}

async fn issue(run: &mut Run) -> Outcome {
    let order = run.order(run.lease(FIRST));
    let made = run.issue(order).await.map_err(failed)?;
    run.keep_first(made);
    Ok(())
}

async fn issue_again(run: &mut Run) -> Outcome {
    run.needs_first()?;
    let order = run.order(run.lease(FIRST));
    match run.issue(order).await {
        Ok(again) if run.first().is_some_and(|first| same(first, &again)) => Ok(()),
        Ok(_) => Err("another credential was made for the same lease".into()),
        Err(refused) => expect_no(refused),
    }
}

async fn issue_at_once(run: &mut Run) -> Outcome {
    let order = run.order(run.lease(CROWDED));
    let answers = run.issue_all(vec![order; 8]).await.map_err(failed)?;
    let mut made: Vec<Made> = Vec::new();
    for answer in answers {
        match answer {
            Ok(one) => made.push(one),
            Err(refused) => expect_no(refused)?,
        }
    }
    let Some(first) = made.first() else {
        return Err("none of 8 calls got the credential".into());
    };
    match made.iter().all(|one| same(first, one)) {
        true => Ok(()),
        false => Err("several credentials were made for one lease".into()),
    }
}

async fn list_names(run: &mut Run) -> Outcome {
    run.needs_first()?;
    let first = run.lease(FIRST);
    let listed = listed(run).await?;
    match listed.iter().filter(|id| **id == first).count() {
        1 => Ok(()),
        0 => Err("the lease is not in the list".into()),
        _ => Err("the lease is in the list more than once".into()),
    }
}

async fn list_is_private(run: &mut Run) -> Outcome {
    run.needs_first()?;
    match run.list(Some(STRANGER)).await {
        Ok(listed) if listed.is_empty() => Ok(()),
        Ok(_) => {
            Err("a broker that it was not issued for is told of it, and would remove it".into())
        }
        Err(Refused::Unimplemented) => Err(Halt::Skip("it keeps no list".to_owned())),
        // Over mTLS it knows that we are not that broker.
        Err(refused) => expect_no(refused),
    }
}

async fn renew(run: &mut Run) -> Outcome {
    run.needs_first()?;
    let later = run.now().after(LIFETIME + Duration::from_secs(60));
    let order = run.order_until(run.lease(FIRST), later);
    let is_renewable = run.claims().is_some_and(|claims| claims.renewable);
    match (run.renew(order).await, is_renewable) {
        (Ok(_), true) => Ok(()),
        (Err(refused), true) => Err(failed(refused)),
        (Ok(_), false) => Err("it renews, though it claims renewable = false".into()),
        (Err(refused), false) => expect_no(refused),
    }
}

async fn revoke(run: &mut Run, number: u32) -> Outcome {
    run.needs_revocation()?;
    run.revoke(run.lease(number)).await.map_err(failed)
}

async fn list_forgets(run: &mut Run) -> Outcome {
    run.needs_revocation()?;
    run.needs_first()?;
    let first = run.lease(FIRST);
    match listed(run).await?.contains(&first) {
        true => Err("the list still names what was revoked".into()),
        false => Ok(()),
    }
}

async fn fence(run: &mut Run, number: u32) -> Outcome {
    run.needs_revocation()?;
    let order = run.order(run.lease(number));
    match run.issue(order).await {
        Ok(_) => Err("a credential was made for a lease that was revoked before".into()),
        Err(refused) => expect_no(refused),
    }
}

async fn renew_revoked(run: &mut Run) -> Outcome {
    run.needs_revocation()?;
    if !run.claims().is_some_and(|claims| claims.renewable) {
        return Err(Halt::Skip("it claims renewable = false".to_owned()));
    }
    let order = run.order(run.lease(FIRST));
    match run.renew(order).await {
        Ok(_) => Err("a lease that was revoked was renewed".into()),
        Err(refused) => expect_no(refused),
    }
}

async fn expired_order(run: &mut Run) -> Outcome {
    let now = run.now();
    let past = quietus_core::Timestamp(now.0.saturating_sub(60_000));
    let mut order = run.order_until(run.lease(EXPIRED), past);
    order.issued_at = order.expires_at;
    match run.issue(order).await {
        Ok(_) | Err(Refused::Bad(_)) => Err("it made a credential for it".into()),
        Err(refused) => expect_no(refused),
    }
}

async fn absurd_scope(run: &mut Run) -> Outcome {
    let mut order = run.order(run.lease(ABSURD));
    order.scopes = vec![wire::Scope {
        action: "conquer".to_owned(),
        resource: "\u{1f984}/../..%00';DROP TABLE x;--\n$(reboot)".to_owned(),
    }];
    let answer = run.issue(order).await;
    alive(run).await?;
    match answer {
        Ok(_) | Err(Refused::Bad(_)) => Err("it made a credential for it".into()),
        Err(refused) => expect_no(refused),
    }
}

async fn oversize(run: &mut Run) -> Outcome {
    let mut order = run.order(run.lease(OVERSIZE));
    for scope in &mut order.scopes {
        scope.resource = "a".repeat(OVERSIZE_BYTES);
    }
    let answer = run.issue(order).await;
    alive(run).await?;
    match answer {
        Ok(_) | Err(Refused::Bad(_)) => Err("it took the request".into()),
        // Servers refuse what is too large with various codes, or by hanging up.
        Err(_) => Ok(()),
    }
}

async fn many(run: &mut Run) -> Outcome {
    let orders = (0..AT_ONCE).map(|n| run.order(run.lease(MANY + n)));
    let orders = orders.collect();
    let answers = run.issue_all(orders).await.map_err(failed)?;
    let made: Vec<Made> = answers
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    for (place, one) in made.iter().enumerate() {
        if made[..place].iter().any(|other| shares_secret(one, other)) {
            return Err("two leases got the same secret".into());
        }
    }
    Ok(())
}

fn secrets(run: &Run) -> Outcome {
    match run.leak() {
        Some(why) => Err(why.into()),
        None if run.secrets() == 0 => Err(Halt::Skip("it handed out no secret".to_owned())),
        None => Ok(()),
    }
}

async fn leftovers(run: &mut Run) -> Outcome {
    run.needs_revocation()?;
    for lease in run.touched() {
        run.revoke(lease).await.map_err(failed)?;
    }
    match listed(run).await {
        Ok(left) if left.is_empty() => Ok(()),
        Ok(left) => Err(format!("{} are still in the list", left.len()).into()),
        Err(Halt::Skip(_)) => Ok(()),
        Err(fail) => Err(fail),
    }
}

async fn listed(run: &mut Run) -> Result<Vec<quietus_core::LeaseId>, Halt> {
    run.list(None).await.map_err(|refused| match refused {
        Refused::Unimplemented => Halt::Skip("it keeps no list".to_owned()),
        other => failed(other),
    })
}

/// Whether it still answers after what it was sent.
async fn alive(run: &mut Run) -> Outcome {
    let answer = run.describe().await;
    answer.map_err(|refused| Halt::Fail(format!("afterwards: {}", refused.why())))
}

/// A no is what is wanted: not silence, and no code that says that the target is away.
fn expect_no(refused: Refused) -> Outcome {
    match refused {
        Refused::No(_) | Refused::Unimplemented => Ok(()),
        Refused::Bad(why) => Err(Halt::Fail(Refused::Bad(why).why())),
        Refused::Away(why) => Err(Halt::Fail(format!(
            "{why}: say no with INVALID_ARGUMENT, FAILED_PRECONDITION, ALREADY_EXISTS or the like"
        ))),
    }
}

fn failed(refused: Refused) -> Halt {
    Halt::Fail(refused.why())
}
