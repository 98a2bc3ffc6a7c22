//! Ending leases and tasks.

use quietus_core::*;

use crate::fixtures::*;

fn with_state(state: LeaseState, lease: Lease) -> Lease {
    Lease { state, ..lease }
}

fn end(leases: &[Lease], which: Which) -> Step {
    let event = Event::EndLeases(which, Cause::Returned);
    run(&with(task(), leases), leases, event, at(5))
}

fn end_task(task: &Task, leases: &[Lease], cause: Cause) -> Step {
    run(
        &with(task.clone(), leases),
        leases,
        Event::EndTask(cause),
        at(5),
    )
}

fn closing_now(cause: Cause) -> TaskState {
    TaskState::Closing(Ending { cause, at: at(5) })
}

fn closed_now(cause: Cause) -> TaskState {
    let ending = Ending { cause, at: at(5) };
    TaskState::Closed { ending, at: at(5) }
}

#[test]
fn at_the_broker_the_commit_is_the_revocation() {
    let step = end(&[lease(0)], Which::One(id(0)));
    let expected = Step {
        task: became(Task {
            issued: 1,
            ..task()
        }),
        leases: vec![with_state(refused_from(Cause::Returned, at(5)), lease(0))],
        effects: vec![],
        outcome: Outcome::LeasesEnded,
    };
    assert_eq!(step, expected);
}

#[test]
fn at_a_target_it_must_be_told_whether_or_not_it_has_answered_yet() {
    for state in [LeaseState::Active, LeaseState::Issuing] {
        let step = end(&[far(0, state)], Which::One(id(0)));
        let expected = Step {
            task: became(Task {
                issued: 1,
                revoking: 1,
                ..task()
            }),
            leases: vec![far(0, revoking(Cause::Returned, at(5)))],
            effects: vec![Effect::Revoke(id(0))],
            outcome: Outcome::LeasesEnded,
        };
        assert_eq!(step, expected);
    }
}

#[test]
fn one_of_several_leaves_the_others_and_the_alarm() {
    let leases = [lease(0), lease(1)];
    let step = end(&leases, Which::One(id(1)));
    let expected = Step {
        task: became(Task {
            issued: 2,
            live: 1,
            lease_due: Some(at(60)),
            ..task()
        }),
        leases: vec![with_state(refused_from(Cause::Returned, at(5)), lease(1))],
        effects: vec![],
        outcome: Outcome::LeasesEnded,
    };
    assert_eq!(step, expected);
}

#[test]
fn what_has_ended_does_not_end_again() {
    for state in [
        revoking(Cause::Expired, NOW),
        deleted(Cause::Expired, NOW, at(2)),
    ] {
        let leases = [far(0, state)];
        assert_eq!(end(&leases, Which::One(id(0))), unchanged());
        let all = Which::Target(target("orders-db"), 9);
        assert_eq!(end(&leases, all), unchanged());
    }
}

#[test]
fn an_unknown_lease_does_not_end() {
    assert_eq!(end(&[lease(0)], Which::One(id(1))), unchanged());
    assert_eq!(end(&[], Which::One(id(0))), unchanged());
}

#[test]
fn a_target_ends_what_is_its_own_and_older_than_the_order() {
    let elsewhere = Lease {
        target: target("mail"),
        expires_at: at(50),
        ..lease(1)
    };
    let newer = Lease {
        epoch: 3,
        ..lease(2)
    };
    let leases = [lease(0), elsewhere, newer, far(3, LeaseState::Issuing)];
    let step = end(&leases, Which::Target(target("orders-db"), 3));
    let expected = Step {
        task: became(Task {
            issued: 4,
            live: 2,
            revoking: 1,
            lease_due: Some(at(50)),
            ..task()
        }),
        leases: vec![
            with_state(refused_from(Cause::Returned, at(5)), lease(0)),
            far(3, revoking(Cause::Returned, at(5))),
        ],
        effects: vec![Effect::Revoke(id(3))],
        outcome: Outcome::LeasesEnded,
    };
    assert_eq!(step, expected);
}

#[test]
fn a_target_order_that_covers_nothing_changes_nothing() {
    let leases = [lease(0)];
    for which in [
        Which::Target(target("mail"), u64::MAX),
        Which::Target(target("orders"), u64::MAX),
        Which::Target(target("orders-db"), 0),
    ] {
        assert_eq!(end(&leases, which), unchanged());
    }
}

#[test]
fn a_target_order_lets_the_alarm_follow_what_is_left() {
    let sooner = Lease {
        expires_at: at(20),
        ..lease(0)
    };
    let later = Lease {
        epoch: 3,
        ..lease(1)
    };
    let step = end(&[sooner, later], Which::Target(target("orders-db"), 3));
    assert_eq!(step.task.unwrap().lease_due, Some(at(60)));
}

#[test]
fn a_task_with_nothing_to_revoke_closes_at_once() {
    let causes = [
        Cause::Completed,
        Cause::Failed,
        Cause::IdentityUntrusted,
        Cause::Operator(operator()),
        Cause::Restored,
    ];
    for cause in causes {
        let expected = Step {
            task: became(Task {
                state: closed_now(cause.clone()),
                ..task()
            }),
            ..nothing(Outcome::TaskEnded)
        };
        assert_eq!(end_task(&task(), &[], cause), expected);
    }
}

#[test]
fn a_task_whose_leases_all_die_at_the_broker_closes_at_once() {
    let expected = Step {
        task: became(Task {
            issued: 2,
            state: closed_now(Cause::Completed),
            ..task()
        }),
        leases: vec![
            with_state(refused_from(Cause::TaskEnded, at(5)), lease(0)),
            with_state(refused_from(Cause::TaskEnded, at(5)), lease(1)),
        ],
        effects: vec![],
        outcome: Outcome::TaskEnded,
    };
    let step = end_task(&task(), &[lease(0), lease(1)], Cause::Completed);
    assert_eq!(step, expected);
}

#[test]
fn a_task_takes_every_lease_with_it_and_waits_for_the_targets() {
    let ended = with_state(refused_from(Cause::Returned, NOW), lease(3));
    let dying = far(4, revoking(Cause::Returned, NOW));
    let leases = [
        lease(0),
        far(1, LeaseState::Issuing),
        far(2, LeaseState::Active),
        ended,
        dying,
    ];
    let expected = Step {
        task: became(Task {
            issued: 5,
            revoking: 3,
            state: closing_now(Cause::Failed),
            ..task()
        }),
        leases: vec![
            with_state(refused_from(Cause::TaskEnded, at(5)), lease(0)),
            far(1, revoking(Cause::TaskEnded, at(5))),
            far(2, revoking(Cause::TaskEnded, at(5))),
        ],
        effects: vec![Effect::Revoke(id(1)), Effect::Revoke(id(2))],
        outcome: Outcome::TaskEnded,
    };
    assert_eq!(end_task(&task(), &leases, Cause::Failed), expected);
}

#[test]
fn a_task_waits_for_a_revocation_begun_before_it_ended() {
    let leases = [far(0, revoking(Cause::Returned, NOW))];
    let expected = Step {
        task: became(Task {
            issued: 1,
            revoking: 1,
            state: closing_now(Cause::Completed),
            ..task()
        }),
        ..nothing(Outcome::TaskEnded)
    };
    assert_eq!(end_task(&task(), &leases, Cause::Completed), expected);
}

#[test]
fn a_task_ends_once() {
    for task in [closing(), closed(NOW)] {
        assert_eq!(end_task(&task, &[], Cause::Restored), unchanged());
    }
}

#[test]
fn in_an_ended_task_no_lease_is_left_to_end() {
    let leases = [far(0, revoking(Cause::TaskEnded, NOW))];
    let event = Event::EndLeases(Which::One(id(0)), Cause::Returned);
    let step = run(&with(closing(), &leases), &leases, event, at(5));
    assert_eq!(step, unchanged());
}
