//! From the lifecycle's types to messages.

use quietus_core as core;
use quietus_core::Timestamp;

use super::v1;
use crate::engine::{Signed, TargetState, alive_until};

/// A task, as callers see it.
pub fn task(task: &core::Task) -> v1::Task {
    v1::Task {
        id: task.id.to_string(),
        agent: task.agent.0.clone(),
        purpose: task.purpose.clone(),
        ticket: task.ticket.clone(),
        environment: task.environment.clone(),
        opened_at: Some(timestamp(task.opened_at)),
        deadline: Some(timestamp(task.deadline)),
        heartbeat_interval: task
            .liveness
            .interval
            .and_then(|every| every.try_into().ok()),
        alive_until: maybe_timestamp(alive_until(task)),
        state: task_state(task).into(),
        ending: task.ending().map(|end| ending(&end.cause, end.at)),
        live_leases: task.live,
        issued_leases: task.issued,
        revoking_leases: task.revoking,
        trace_id: format!("{:032x}", u128::from_be_bytes(task.trace)),
    }
}

/// A lease, as callers see it: never the credential.
pub fn lease(lease: &core::Lease, agent: &str, kind: &str) -> v1::Lease {
    let mut message = v1::Lease {
        id: lease.id.to_string(),
        task_id: lease.id.task.to_string(),
        agent: agent.to_owned(),
        target: lease.target.to_string(),
        scopes: lease.scopes.iter().map(ToString::to_string).collect(),
        issued_at: Some(timestamp(lease.issued_at)),
        expires_at: Some(timestamp(lease.expires_at)),
        bound: lease.bound.as_str().to_owned(),
        fingerprint: lease
            .fingerprint
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
        renewals: lease.renewals,
        state: lease_state(lease).into(),
        kind: kind.to_owned(),
        ..v1::Lease::default()
    };
    match &lease.state {
        core::LeaseState::Issuing | core::LeaseState::Active => {}
        core::LeaseState::Revoking {
            cause,
            since,
            attempts,
            last_error,
        } => {
            message.ending = Some(ending(cause, *since));
            message.attempts = *attempts;
            message.last_error = last_error.clone().unwrap_or_default();
        }
        core::LeaseState::Ended {
            cause,
            since,
            at,
            confirmed,
            attempts,
        } => {
            message.attempts = *attempts;
            message.ending = Some(ending(cause, *since));
            message.confirmed = confirmed.as_str().to_owned();
            message.confirmed_at = Some(timestamp(*at));
        }
    }
    message
}

/// A signed receipt.
pub fn receipt(signed: Signed) -> v1::Receipt {
    let Signed {
        note,
        complete,
        verifier,
    } = signed;
    v1::Receipt {
        note,
        complete,
        verifier,
    }
}

/// How a target is doing.
pub fn target(state: &TargetState) -> v1::TargetStatus {
    let (error, error_at) = match &state.last_error {
        Some((error, at)) => (error.clone(), Some(timestamp(*at))),
        None => (String::new(), None),
    };
    let message = v1::TargetStatus {
        name: state.name.clone(),
        live_leases: state.held.live,
        revoking_leases: state.held.revoking,
        away: state.away,
        failures: state.failures,
        last_error: error,
        last_error_at: error_at,
        last_answer_at: maybe_timestamp(state.last_answer),
        ..v1::TargetStatus::default()
    };
    let Some((target, abilities)) = &state.configured else {
        return message;
    };
    let confirms_by = abilities.confirms_by.map(core::Confirmation::as_str);
    v1::TargetStatus {
        configured: true,
        kind: target.kind().as_str().to_owned(),
        environment: target.environment.clone(),
        sensitivity: u32::from(target.sensitivity),
        can_revoke: abilities.can_revoke,
        confirms_by: confirms_by.unwrap_or_default().to_owned(),
        expires_at_target: abilities.expires_at_target,
        renewable: abilities.renewable,
        ..message
    }
}

/// A page's size and where it begins.
pub fn pages(size: u32) -> usize {
    match size {
        0 => 100,
        size => (size as usize).min(1000),
    }
}

/// A guard's selector.
pub fn selector_of(selector: &core::Selector) -> v1::Selector {
    use v1::selector::Of;
    let of = match selector {
        core::Selector::All => Of::All(true),
        core::Selector::TrustDomain(domain) => Of::TrustDomain(domain.clone()),
        core::Selector::Agent(agent) => Of::Agent(agent.0.clone()),
        core::Selector::Target(target) => Of::Target(target.to_string()),
    };
    v1::Selector { of: Some(of) }
}

/// A point in time.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.0 / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.0 % 1000).unwrap_or(0) * 1_000_000,
    }
}

/// A point in time that may not be set.
pub fn maybe_timestamp(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(timestamp)
}

fn ending(cause: &core::Cause, at: Timestamp) -> v1::Ending {
    let by = match cause {
        core::Cause::Operator(operator) => operator.0.clone(),
        _ => String::new(),
    };
    v1::Ending {
        cause: cause.ending().to_owned(),
        reason: cause.reason().to_owned(),
        by,
        at: Some(timestamp(at)),
    }
}

fn task_state(task: &core::Task) -> v1::TaskState {
    match task.state {
        core::TaskState::Open => v1::TaskState::Open,
        core::TaskState::Closing(_) => v1::TaskState::Closing,
        core::TaskState::Closed { .. } => v1::TaskState::Closed,
    }
}

fn lease_state(lease: &core::Lease) -> v1::LeaseState {
    match lease.state {
        core::LeaseState::Issuing => v1::LeaseState::Issuing,
        core::LeaseState::Active => v1::LeaseState::Active,
        core::LeaseState::Revoking { .. } => v1::LeaseState::Revoking,
        core::LeaseState::Ended { .. } => v1::LeaseState::Ended,
    }
}
