//! What may happen, and how the dice choose it.

use std::time::Duration;

use proptest::prelude::*;
use quietus_core::{Cause, Confirmation, Rules};

use crate::names::{SELECTORS, operator};

#[derive(Clone, Debug)]
pub enum Op {
    Wait(u64),
    Open(usize, Svid, Option<u64>, Option<u64>),
    Heartbeat(Ask),
    Held(Ask),
    HoldDropped(usize),
    Issue(Ask, Want),
    Renew(Ask, u32, Want, Twist),
    EndOne(usize, u32, Cause),
    EndTarget(usize, usize, u64),
    EndTask(usize, Cause),
    Due(usize),
    DueOnTime(usize),
    IssueSettled(usize, u32, bool),
    RevokeSettled(usize, u32, Option<Confirmation>),
    Freeze(u8),
    Thaw(u8),
    Revoke(u8),
    Sweep(u8),
}

/// The task's own SVID, or another one by certificate number and remaining life.
#[derive(Clone, Debug)]
pub enum Svid {
    Own,
    Other(u8, u64),
}

#[derive(Clone, Debug)]
pub struct Ask {
    pub task: usize,
    /// The task's own agent if none.
    pub who: Option<usize>,
    pub svid: Svid,
}

#[derive(Clone, Debug)]
pub struct Want {
    pub target: usize,
    pub scope: usize,
    pub at_target: bool,
    pub ttl: Option<u64>,
    pub cap: Option<u64>,
}

/// How a renewal strays from what the lease holds.
#[derive(Clone, Copy, Debug)]
pub enum Twist {
    No,
    Target,
    Scope,
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    let first = (0..3usize, svid(), Just(None), maybe(span()))
        .prop_map(|(who, svid, lasts, beat)| Op::Open(who, svid, lasts, beat));
    (first, prop::collection::vec(op(), 1..90)).prop_map(|(first, rest)| {
        let mut ops = vec![first];
        ops.extend(rest);
        ops
    })
}

fn op() -> impl Strategy<Value = Op> {
    let task = || 0..3usize;
    let lease = || 0..5u32;
    let selector = || 0..SELECTORS;
    let confirmed = prop_oneof![
        Just(None),
        Just(Some(Confirmation::DeletedAtTarget)),
        Just(Some(Confirmation::ExpiredAtTarget)),
    ];
    let asking = prop_oneof![
        4 => ask().prop_map(Op::Heartbeat),
        3 => ask().prop_map(Op::Held),
        18 => (ask(), want()).prop_map(|(ask, want)| Op::Issue(ask, want)),
        10 => (ask(), lease(), want(), twist()).prop_map(|(a, n, w, t)| Op::Renew(a, n, w, t)),
    ];
    let ending = prop_oneof![
        5 => (task(), lease(), lease_cause()).prop_map(|(t, n, c)| Op::EndOne(t, n, c)),
        2 => (task(), 0..2usize, 0..4u64).prop_map(|(t, x, back)| Op::EndTarget(t, x, back)),
        3 => (task(), task_cause()).prop_map(|(t, c)| Op::EndTask(t, c)),
    ];
    let guarding = prop_oneof![
        2 => selector().prop_map(Op::Freeze),
        6 => selector().prop_map(Op::Thaw),
        2 => selector().prop_map(Op::Revoke),
        6 => selector().prop_map(Op::Sweep),
    ];
    prop_oneof![
        12 => span().prop_map(Op::Wait),
        3 => (0..3usize, svid(), maybe(span()), maybe(span()))
            .prop_map(|(who, svid, lasts, beat)| Op::Open(who, svid, lasts, beat)),
        35 => asking,
        3 => task().prop_map(Op::HoldDropped),
        10 => ending,
        4 => task().prop_map(Op::Due),
        8 => task().prop_map(Op::DueOnTime),
        8 => (task(), lease(), any::<bool>()).prop_map(|(t, n, ok)| Op::IssueSettled(t, n, ok)),
        12 => (task(), lease(), confirmed).prop_map(|(t, n, how)| Op::RevokeSettled(t, n, how)),
        9 => guarding,
    ]
}

/// Milliseconds, often on an edge.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(999),
        Just(1000),
        0..3_000u64,
        0..30_000u64
    ]
}

fn maybe(inner: impl Strategy<Value = u64>) -> impl Strategy<Value = Option<u64>> {
    prop::option::of(inner)
}

fn svid() -> impl Strategy<Value = Svid> {
    prop_oneof![
        Just(Svid::Own),
        (0..3u8, span()).prop_map(|(cert, lasts)| Svid::Other(cert, lasts + 1)),
        (0..3u8, 10_000..90_000u64).prop_map(|(cert, lasts)| Svid::Other(cert, lasts)),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let who = prop_oneof![9 => Just(None), 1 => (0..3usize).prop_map(Some)];
    (0..3usize, who, svid()).prop_map(|(task, who, svid)| Ask { task, who, svid })
}

fn want() -> impl Strategy<Value = Want> {
    (
        0..2usize,
        0..2usize,
        any::<bool>(),
        maybe(span()),
        maybe(span()),
    )
        .prop_map(|(target, scope, at_target, ttl, cap)| Want {
            target,
            scope,
            at_target,
            ttl,
            cap,
        })
}

fn twist() -> impl Strategy<Value = Twist> {
    prop_oneof![8 => Just(Twist::No), 1 => Just(Twist::Target), 1 => Just(Twist::Scope)]
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
        (1..8_000u64, 1..12_000u64),
        (1..60_000u64, 1..60_000u64),
        (1..=3u32, 1..=6u32),
        prop::sample::select(vec![0, 500, 2_000u64]),
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
    prop::sample::select(vec![0, 1_000_000, 1_000_500, u64::MAX - 40_000])
}
