//! What may happen, and how the dice choose it.

use std::time::Duration;

use proptest::prelude::*;
use quietus_core::{Cause, Confirmation, Rules};

use crate::names::{SELECTORS, operator};

/// Tasks, leases, freezes and floors are drawn by lot: see `World`.
#[derive(Clone, Debug)]
pub enum Op {
    Wait(u64),
    Open(usize, Svid, Option<u64>, Option<u64>),
    OnTask(usize, Deed),
    Freeze(u8),
    Thaw(u8),
    Revoke(u8),
    Sweep(u8),
}

#[derive(Clone, Debug)]
pub enum Deed {
    Heartbeat(Ask),
    Held(Ask),
    HoldDropped,
    Issue(Ask, Want),
    Renew(Ask, u32, Want, Twist),
    EndOne(u32, Cause),
    EndTarget(usize, u64),
    EndTask(Cause),
    Due,
    DueOnTime,
    /// With what identifies the credential, if that became known, or not at all.
    IssueSettled(u32, Option<Option<u8>>),
    RevokeSettled(u32, Option<Confirmation>),
}

/// The task's own SVID, or another one by certificate number and remaining life.
#[derive(Clone, Debug)]
pub enum Svid {
    Own,
    Other(u8, u64),
}

#[derive(Clone, Debug)]
pub struct Ask {
    /// The task's own agent if none.
    pub who: Option<usize>,
    pub svid: Svid,
}

#[derive(Clone, Debug)]
pub struct Want {
    pub target: usize,
    pub scope: usize,
    pub at_target: bool,
    pub renewable: bool,
    /// What identifies the credential, if it is known beforehand.
    pub mark: Option<u8>,
    pub ttl: Option<u64>,
    pub cap: Option<u64>,
}

/// How a renewal strays from what the lease holds.
#[derive(Clone, Copy, Debug)]
pub enum Twist {
    No,
    Target,
    Scope,
    Place,
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    let first =
        (0..3usize, svid(), beat()).prop_map(|(who, svid, beat)| Op::Open(who, svid, None, beat));
    (first, prop::collection::vec(op(), 1..100)).prop_map(|(first, rest)| {
        let mut ops = vec![first];
        ops.extend(rest);
        ops
    })
}

fn op() -> impl Strategy<Value = Op> {
    let guarding = prop_oneof![
        3 => (0..SELECTORS).prop_map(Op::Freeze),
        9 => (0..SELECTORS).prop_map(Op::Thaw),
        1 => (0..SELECTORS).prop_map(Op::Revoke),
        3 => (0..SELECTORS).prop_map(Op::Sweep),
    ];
    prop_oneof![
        12 => wait().prop_map(Op::Wait),
        4 => (0..3usize, svid(), maybe(span()), beat())
            .prop_map(|(who, svid, lasts, beat)| Op::Open(who, svid, lasts, beat)),
        76 => (0..8usize, deed()).prop_map(|(task, deed)| Op::OnTask(task, deed)),
        8 => guarding,
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let lease = || 0..8u32;
    let asking = prop_oneof![
        6 => ask().prop_map(Deed::Heartbeat),
        2 => ask().prop_map(Deed::Held),
        28 => (ask(), want()).prop_map(|(ask, want)| Deed::Issue(ask, want)),
        14 => (ask(), lease(), want(), twist()).prop_map(|(a, n, w, t)| Deed::Renew(a, n, w, t)),
    ];
    let ending = prop_oneof![
        5 => (lease(), lease_cause()).prop_map(|(lease, cause)| Deed::EndOne(lease, cause)),
        2 => (0..2usize, 0..4u64).prop_map(|(target, back)| Deed::EndTarget(target, back)),
        1 => task_cause().prop_map(Deed::EndTask),
    ];
    prop_oneof![
        40 => asking,
        2 => Just(Deed::HoldDropped),
        8 => ending,
        2 => Just(Deed::Due),
        3 => Just(Deed::DueOnTime),
        8 => (lease(), made()).prop_map(|(lease, made)| Deed::IssueSettled(lease, made)),
        10 => (lease(), confirmed()).prop_map(|(lease, how)| Deed::RevokeSettled(lease, how)),
    ]
}

/// Milliseconds, often on an edge.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0),
        1 => prop::sample::select(vec![1, 999, 1_000]),
        1 => 0..3_000u64,
        4 => 3_000..60_000u64,
    ]
}

fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => prop::sample::select(vec![0, 1, 500, 999, 1_000]),
        4 => 0..3_000u64,
        1 => 3_000..40_000u64,
    ]
}

fn maybe(inner: impl Strategy<Value = u64>) -> impl Strategy<Value = Option<u64>> {
    prop::option::of(inner)
}

fn beat() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![3 => Just(None), 1 => span().prop_map(Some)]
}

fn svid() -> impl Strategy<Value = Svid> {
    prop_oneof![
        3 => Just(Svid::Own),
        1 => (0..3u8, span()).prop_map(|(cert, lasts)| Svid::Other(cert, lasts + 1)),
        2 => (0..3u8, 10_000..200_000u64).prop_map(|(cert, lasts)| Svid::Other(cert, lasts)),
    ]
}

fn confirmed() -> impl Strategy<Value = Option<Confirmation>> {
    let how = prop::sample::select(&Confirmation::ALL);
    prop_oneof![1 => Just(None), 2 => how.prop_map(Some)]
}

fn made() -> impl Strategy<Value = Option<Option<u8>>> {
    prop_oneof![1 => Just(None), 2 => mark().prop_map(Some)]
}

fn mark() -> impl Strategy<Value = Option<u8>> {
    prop::option::of(0..3u8)
}

fn ask() -> impl Strategy<Value = Ask> {
    let who = prop_oneof![15 => Just(None), 1 => (0..3usize).prop_map(Some)];
    (who, svid()).prop_map(|(who, svid)| Ask { who, svid })
}

fn want() -> impl Strategy<Value = Want> {
    (
        0..2usize,
        0..2usize,
        any::<bool>(),
        prop::bool::weighted(0.8),
        mark(),
        maybe(span()),
        maybe(span()),
    )
        .prop_map(
            |(target, scope, at_target, renewable, mark, ttl, cap)| Want {
                target,
                scope,
                at_target,
                renewable,
                mark,
                ttl,
                cap,
            },
        )
}

fn twist() -> impl Strategy<Value = Twist> {
    prop_oneof![
        8 => Just(Twist::No),
        1 => Just(Twist::Target),
        1 => Just(Twist::Scope),
        1 => Just(Twist::Place),
    ]
}

fn lease_cause() -> impl Strategy<Value = Cause> {
    prop_oneof![Just(Cause::Returned), Just(Cause::Operator(operator()))]
}

fn task_cause() -> impl Strategy<Value = Cause> {
    prop::sample::select(vec![
        Cause::Completed,
        Cause::Failed,
        Cause::Expired,
        Cause::HeartbeatMissed,
        Cause::HoldLost,
        Cause::IdentityExpired,
        Cause::IdentityUntrusted,
        Cause::Operator(operator()),
        Cause::Restored,
    ])
}

pub fn rules() -> impl Strategy<Value = Rules> {
    let ms = Duration::from_millis;
    (
        (span(), span()),
        (10_000..200_000u64, 1_000..200_000u64),
        (1..=4u32, 1..=8u32),
        prop::sample::select(vec![0, 1_500, 10_000u64]),
        prop::sample::select(vec![0, 1, 5_000u64]),
    )
        .prop_map(move |(ttl, task, most, grace, retention)| Rules {
            default_ttl: ms(ttl.0),
            max_ttl: ms(ttl.1),
            default_task: ms(task.0),
            max_task: ms(task.1),
            max_live: most.0,
            max_issued: most.1,
            grace: ms(grace),
            retention: ms(retention),
        })
}

pub fn start() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(1_000_000),
        2 => Just(1_000_500),
        1 => Just(0),
        1 => Just(u64::MAX - 60_000),
    ]
}
