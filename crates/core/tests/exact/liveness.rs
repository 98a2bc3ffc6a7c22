//! Signs of life.

use std::time::Duration;

use quietus_core::*;

use crate::fixtures::*;

fn alive(task: Task, identity_renewed: bool) -> Step {
    Step {
        task: became(task),
        ..nothing(Outcome::Alive { identity_renewed })
    }
}

fn lively(heartbeat: Option<Timestamp>, hold: Option<Timestamp>) -> Task {
    Task {
        liveness: Liveness {
            heartbeat_due: heartbeat,
            hold_due: hold,
            ..living().liveness
        },
        ..task()
    }
}

fn beat(task: &Task, caller: Caller, now: Timestamp) -> Step {
    run(task, &[], Event::Heartbeat(caller), now)
}

fn held(task: &Task, now: Timestamp) -> Step {
    run(task, &[], Event::Held(caller()), now)
}

fn dropped(task: &Task, now: Timestamp) -> Step {
    run(task, &[], Event::HoldDropped, now)
}

#[test]
fn a_heartbeat_moves_its_own_clock_alone() {
    let step = beat(&living(), caller(), at(5));
    assert_eq!(step, alive(lively(Some(at(45)), Some(at(10))), false));
}

#[test]
fn a_heartbeat_nobody_promised_starts_no_clock() {
    assert_eq!(beat(&task(), caller(), at(5)), alive(task(), false));
}

#[test]
fn a_stream_counts_as_a_heartbeat_too() {
    let step = held(&living(), at(5));
    assert_eq!(step, alive(lively(Some(at(45)), Some(at(15))), false));
}

#[test]
fn the_first_stream_starts_its_clock() {
    let mut expected = task();
    expected.liveness.hold_due = Some(at(15));
    assert_eq!(held(&task(), at(5)), alive(expected, false));
}

#[test]
fn a_newer_svid_extends_the_identity() {
    for identity in [svid(2, at(1000)), svid(1, at(1001)), svid(2, at(9000))] {
        let renewed = Task { identity, ..task() };
        assert_eq!(
            beat(&task(), showing(identity), at(5)),
            alive(renewed, true)
        );
    }
}

#[test]
fn an_older_svid_neither_shortens_nor_replaces_the_identity() {
    for identity in [
        svid(2, at(999)),
        svid(1, at(20)),
        svid(2, Timestamp(at(1000).0 - 1)),
    ] {
        assert_eq!(
            beat(&task(), showing(identity), at(5)),
            alive(task(), false)
        );
    }
}

#[test]
fn a_newer_svid_revives_an_identity_that_nobody_has_ended_yet() {
    let expired = Task {
        identity: svid(1, at(5)),
        ..task()
    };
    let identity = svid(2, at(50));
    let renewed = Task { identity, ..task() };
    assert_eq!(
        beat(&expired, showing(identity), at(5)),
        alive(renewed, true)
    );
}

#[test]
fn a_freeze_does_not_stop_signs_of_life() {
    let guards = Guards::default().freeze(Selector::All, freeze());
    for event in [Event::Heartbeat(caller()), Event::Held(caller())] {
        let step = run_under(&guards, &task(), &[], event, at(5));
        assert!(matches!(step.outcome, Outcome::Alive { .. }));
    }
}

#[test]
fn a_dropped_stream_never_gains_time() {
    for now in [at(1), at(9), at(10), at(500)] {
        let expected = Step {
            task: became(living()),
            ..nothing(Outcome::HoldDropped)
        };
        assert_eq!(dropped(&living(), now), expected);
    }
}

#[test]
fn a_dropped_stream_runs_out_no_later_than_the_grace_from_now() {
    let generous = lively(Some(at(40)), Some(at(100)));
    let expected = Step {
        task: became(lively(Some(at(40)), Some(at(15)))),
        ..nothing(Outcome::HoldDropped)
    };
    assert_eq!(dropped(&generous, at(5)), expected);
}

#[test]
fn a_drop_that_says_nothing_new_changes_nothing() {
    assert_eq!(dropped(&living(), NOW), unchanged());
}

#[test]
fn a_stream_that_never_was_cannot_drop() {
    assert_eq!(dropped(&task(), at(5)), unchanged());
}

#[test]
fn a_drop_in_an_ended_task_changes_nothing() {
    for state in [closing().state, closed(NOW).state] {
        let task = Task { state, ..living() };
        assert_eq!(dropped(&task, at(5)), unchanged());
    }
}

#[test]
fn endless_intervals_and_graces_saturate() {
    let forever = Rules {
        grace: Duration::MAX,
        ..rules()
    };
    let end = Some(Timestamp(u64::MAX));
    let mut endless = living();
    endless.liveness.interval = Some(Duration::MAX);
    let mut expected = endless.clone();
    expected.liveness.heartbeat_due = end;
    expected.liveness.hold_due = end;
    let none = Guards::default();
    let event = Event::Held(caller());
    let step = run_with(&forever, &none, &endless, &[], event, at(5));
    assert_eq!(step, alive(expected.clone(), false));
    let step = run_with(&forever, &none, &expected, &[], Event::HoldDropped, at(5));
    assert_eq!(step, unchanged());
}
