//! Random lives of tasks. Each step is checked against a register that is kept by hand, as plain flags and
//! numbers, and against what must hold of any store whatever happened to it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod names;
mod ops;
mod register;
mod store;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::test_runner::{Config, TestRunner};

use ops::{ops, rules, start};
use register::Register;
use store::Store;
use world::World;

const EVERY_OUTCOME: [&str; 29] = [
    "Alive { identity_renewed: false }",
    "Alive { identity_renewed: true }",
    "FROZEN",
    "HoldDropped",
    "Issued",
    "LEASE_ENDED",
    "LEASE_NOT_FOUND",
    "LEASE_NOT_RENEWABLE",
    "LeasesEnded",
    "NoTimeLeft config",
    "NoTimeLeft policy",
    "NoTimeLeft request",
    "NoTimeLeft svid",
    "NoTimeLeft task",
    "Opened",
    "Purged",
    "REVOKED",
    "Renewed",
    "Renewed at its target",
    "Rescheduled",
    "Settled",
    "TASK_NOT_YOURS",
    "TOO_MANY_LEASES",
    "TOO_MANY_LIVE_LEASES",
    "TaskEnded",
    "TaskEnded expired",
    "TaskEnded heartbeat_missed",
    "TaskEnded hold_lost",
    "Unchanged",
];

#[test]
fn every_step_is_as_the_register_has_it() {
    let seen = RefCell::new(BTreeSet::new());
    let config = Config {
        cases: 1_500,
        source_file: Some(file!()),
        ..Config::default()
    };
    let lives = (start(), rules(), ops());
    let result = TestRunner::new(config).run(&lives, |(now, rules, ops)| {
        let register = Register {
            rules,
            now,
            epoch: 0,
            frozen: BTreeSet::new(),
            floors: BTreeMap::new(),
            orders: vec![],
        };
        let mut world = World {
            register,
            pages: vec![],
            store: Store::default(),
            opened: 0,
            shown: None,
            mark: None,
            seen: &seen,
        };
        ops.into_iter().for_each(|op| world.play(op));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    // The dice must have reached everything, or all of the above proves little.
    let seen = seen.into_inner();
    let missed: Vec<_> = EVERY_OUTCOME
        .iter()
        .filter(|o| !seen.contains(**o))
        .collect();
    assert!(missed.is_empty(), "never happened: {missed:?}");
}
