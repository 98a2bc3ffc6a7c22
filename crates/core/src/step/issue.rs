//! Issuing and renewing a credential that policy has permitted.

use std::time::Duration;

use super::{Effect, Grant, Outcome, Refusal, Rules, Step, View, admit, renew_identity, thawed};
use crate::{
    AgentId, Bound, Digest, Enforced, Guards, Lease, LeaseId, LeaseState, Task, Timestamp,
};

/// Leave to make one credential. Only a step of the lifecycle can write one, so a credential without a lease
/// cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueOrder {
    agent: AgentId,
    lease: Lease,
    now: Timestamp,
}

impl IssueOrder {
    /// Whose credential it is.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// What it may do and how long it lives.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// When it is made: the time of the grant, or of the renewal.
    pub fn issued_at(&self) -> Timestamp {
        self.now
    }

    /// The order again, for a repeated request that was answered before: only while the lease is still good.
    pub fn repeat(task: &Task, lease: &Lease, guards: &Guards, now: Timestamp) -> Option<Self> {
        let good = lease.state == LeaseState::Active && stands(task, lease, guards, now);
        good.then(|| Self {
            agent: task.agent.clone(),
            lease: lease.clone(),
            now: lease.renewed_at.unwrap_or(lease.issued_at),
        })
    }
}

impl Step {
    /// Writes what identifies the credential (never the credential) into the lease, before anything is made.
    pub fn identify(&mut self, fingerprint: Digest) {
        if let Outcome::Issued(order) | Outcome::Renewed(order) = &mut self.outcome {
            order.lease.fingerprint = Some(fingerprint);
            for lease in self.leases.iter_mut().filter(|l| l.id == order.lease.id) {
                lease.fingerprint = Some(fingerprint);
            }
        }
    }
}

pub(super) fn issue(rules: &Rules, view: View<'_>, grant: Grant, now: Timestamp) -> Step {
    let checked = admit(&view, &grant.caller, now)
        .and_then(|()| thawed(view.guards, &grant.caller.agent, Some(&grant.target)))
        .and_then(|()| room(rules, &view.task))
        .and_then(|()| lifetime(rules, &view.task, &grant, now));
    let (expires_at, bound) = match checked {
        Ok(lifetime) => lifetime,
        Err(refusal) => return Step::refused(refusal),
    };
    let mut task = view.task;
    let lease = Lease {
        id: LeaseId {
            task: task.id,
            number: task.issued,
        },
        target: grant.target,
        scopes: grant.scopes,
        enforced: grant.enforced,
        issued_at: now,
        renewed_at: None,
        expires_at,
        bound,
        certificate: grant.caller.identity.certificate,
        fingerprint: None,
        epoch: view.guards.epoch,
        renewals: 0,
        state: match grant.enforced {
            Enforced::AtBroker => LeaseState::Active,
            Enforced::AtTarget => LeaseState::Issuing,
        },
    };
    renew_identity(&mut task, &grant.caller);
    task.issued += 1;
    task.live += 1;
    task.lease_due = Some(task.lease_due.map_or(expires_at, |due| due.min(expires_at)));
    let effects = match lease.enforced {
        Enforced::AtBroker => Vec::new(),
        Enforced::AtTarget => vec![Effect::Issue(lease.id)],
    };
    Step {
        leases: vec![lease.clone()],
        effects,
        ..granted(task, lease, now, Outcome::Issued)
    }
}

pub(super) fn renew(
    rules: &Rules,
    view: View<'_>,
    id: LeaseId,
    grant: Grant,
    now: Timestamp,
) -> Step {
    let checked = admit(&view, &grant.caller, now)
        .and_then(|()| renewable(&view, id, &grant, now))
        .and_then(|lease| Ok((lease, lifetime(rules, &view.task, &grant, now)?)));
    let (mut lease, (expires_at, bound)) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return Step::refused(refusal),
    };
    let mut task = view.task;
    lease.expires_at = expires_at;
    lease.bound = bound;
    lease.renewed_at = Some(now);
    lease.certificate = grant.caller.identity.certificate;
    lease.renewals = lease.renewals.saturating_add(1);
    renew_identity(&mut task, &grant.caller);
    // A renewal may also shorten; the task must then wake the earlier.
    task.lease_due = task.lease_due.map(|due| due.min(expires_at));
    Step {
        leases: vec![lease.clone()],
        ..granted(task, lease, now, Outcome::Renewed)
    }
}

fn granted(task: Task, lease: Lease, now: Timestamp, outcome: fn(IssueOrder) -> Outcome) -> Step {
    let order = IssueOrder {
        agent: task.agent.clone(),
        lease,
        now,
    };
    Step::of(task, outcome(order))
}

fn renewable(
    view: &View<'_>,
    id: LeaseId,
    grant: &Grant,
    now: Timestamp,
) -> Result<Lease, Refusal> {
    thawed(view.guards, &grant.caller.agent, Some(&grant.target))?;
    let found = view.leases.iter().find(|lease| lease.id == id);
    let lease = found.ok_or(Refusal::NoSuchLease)?;
    // A grant for other scopes than the lease holds is a grant for another lease.
    if lease.target != grant.target || lease.scopes != grant.scopes {
        return Err(Refusal::NoSuchLease);
    }
    let agent = &view.task.agent;
    if let Some((selector, _)) = view.guards.fallen(agent, Some(&lease.target), lease.epoch) {
        return Err(Refusal::Revoked(selector.clone()));
    }
    // A target that has become one of another kind since knows nothing of a credential of the old kind.
    let can = grant.renewable && grant.enforced == lease.enforced;
    match lease.is_active(now) {
        true if can => Ok(lease.clone()),
        true => Err(Refusal::NotRenewable),
        // Being made, it has nothing yet to be renewed.
        false if lease.is_live() && now < lease.expires_at => Err(Refusal::NotRenewable),
        false => Err(Refusal::LeaseEnded),
    }
}

/// Whether nothing has ended the lease, be it unrecorded: neither a clock nor a wide revocation. A freeze ends
/// nothing that was granted before it.
fn stands(task: &Task, lease: &Lease, guards: &Guards, now: Timestamp) -> bool {
    task.is_open()
        && task.overdue(now).is_none()
        && now < lease.expires_at
        && guards.fallen(&task.agent, None, task.epoch).is_none()
        && guards
            .fallen(&task.agent, Some(&lease.target), lease.epoch)
            .is_none()
}

fn room(rules: &Rules, task: &Task) -> Result<(), Refusal> {
    if task.issued >= rules.max_issued {
        return Err(Refusal::IssuedLeases(rules.max_issued));
    }
    if task.live >= rules.max_live {
        return Err(Refusal::LiveLeases(rules.max_live));
    }
    Ok(())
}

/// The least of what was asked, what policy allows, what the broker allows, the task's deadline and the expiry of
/// the SVID that the credential is bound to; whole seconds, since that is what a token can say.
fn lifetime(
    rules: &Rules,
    task: &Task,
    grant: &Grant,
    now: Timestamp,
) -> Result<(Timestamp, Bound), Refusal> {
    let within = |ttl: Duration| now.after(ttl);
    // Who asks for no lifetime in particular gets the configured one.
    let asked = match grant.ttl {
        Some(ttl) => (within(ttl), Bound::Request),
        None => (within(rules.default_ttl), Bound::Config),
    };
    let limits = [
        asked,
        (
            grant.policy_max.map_or(Timestamp(u64::MAX), within),
            Bound::Policy,
        ),
        (within(rules.max_ttl), Bound::Config),
        (task.deadline, Bound::Task),
        (grant.caller.identity.until, Bound::Svid),
    ];
    let (least, bound) = limits
        .into_iter()
        .min_by_key(|(until, _)| *until)
        .unwrap_or((now, Bound::Request));
    let expires_at = Timestamp::from_seconds(least.seconds());
    if expires_at <= now {
        return Err(Refusal::NoTimeLeft(bound));
    }
    Ok((expires_at, bound))
}
