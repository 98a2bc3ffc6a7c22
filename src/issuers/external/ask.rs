//! What is sent to an external issuer.

use quietus_core::{IssueOrder, Scope, TargetName, Timestamp};

use crate::api::{issuer as wire, timestamp};
use crate::issuers::{Doomed, KeyRequest};

/// The version of the contract that is spoken here.
pub(super) const PROTOCOL: u32 = 1;
/// How many entries of a list are asked for at once.
pub(super) const PAGE: u32 = 1000;

pub(super) fn origin(broker: &str, target: &TargetName) -> wire::Origin {
    wire::Origin {
        broker_id: broker.to_owned(),
        target: target.to_string(),
    }
}

pub(super) fn describe(origin: &wire::Origin) -> wire::DescribeRequest {
    wire::DescribeRequest {
        protocol_version: PROTOCOL,
        origin: Some(origin.clone()),
    }
}

pub(super) fn issue(
    order: &IssueOrder,
    key: Option<&KeyRequest>,
    origin: &wire::Origin,
) -> wire::IssueRequest {
    use wire::issue_request::Key;
    let key = key.map(|key| match key {
        KeyRequest::Csr(der) => Key::Csr(der.clone()),
        KeyRequest::SshPublicKey(line) => Key::SshPublicKey(line.clone()),
    });
    wire::IssueRequest {
        order: Some(of(order, origin)),
        key,
    }
}

pub(super) fn renew(order: &IssueOrder, origin: &wire::Origin) -> wire::RenewRequest {
    wire::RenewRequest {
        order: Some(of(order, origin)),
    }
}

pub(super) fn revoke(doomed: &Doomed, origin: &wire::Origin) -> wire::RevokeRequest {
    let fingerprint = doomed.fingerprint.map(|digest| digest.0.to_vec());
    wire::RevokeRequest {
        lease_id: doomed.id.to_string(),
        origin: Some(origin.clone()),
        expires_at: doomed.expires_at.and_then(moment),
        fingerprint: fingerprint.unwrap_or_default(),
    }
}

pub(super) fn list(origin: &wire::Origin, page_token: String) -> wire::ListRequest {
    wire::ListRequest {
        origin: Some(origin.clone()),
        page_size: PAGE,
        page_token,
    }
}

pub(super) fn check(origin: &wire::Origin) -> wire::CheckRequest {
    wire::CheckRequest {
        origin: Some(origin.clone()),
    }
}

pub(super) fn moment(time: Timestamp) -> Option<crate::api::wire::Timestamp> {
    Some(timestamp(time))
}

fn of(order: &IssueOrder, origin: &wire::Origin) -> wire::Order {
    let lease = order.lease();
    wire::Order {
        lease_id: lease.id.to_string(),
        agent_id: order.agent().0.clone(),
        task_id: lease.id.task.to_string(),
        origin: Some(origin.clone()),
        scopes: lease.scopes.iter().map(scope).collect(),
        issued_at: moment(order.issued_at()),
        expires_at: moment(lease.expires_at),
    }
}

fn scope(scope: &Scope) -> wire::Scope {
    wire::Scope {
        action: scope.action().to_string(),
        resource: scope.resource().to_owned(),
    }
}
