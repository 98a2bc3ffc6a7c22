//! Deadlines: when a task asks to be looked at, and what is then done.

use std::time::Duration;

use quietus_core::*;

use crate::fixtures::*;

fn due(task: &Task, leases: &[Lease], now: Timestamp) -> Step {
    run(task, leases, Event::Due, now)
}

fn wakes(task: &Task) -> Option<Timestamp> {
    next_deadline(task, rules().retention)
}

fn ended(task: Task, cause: Cause, now: Timestamp) -> Step {
    let ending = Ending { cause, at: now };
    Step {
        task: became(Task {
            state: TaskState::Closed { ending, at: now },
            ..task
        }),
        ..nothing(Outcome::TaskEnded)
    }
}

fn just_before(moment: Timestamp) -> Timestamp {
    Timestamp(moment.0 - 1)
}

#[test]
fn each_clock_ends_the_task_at_its_moment_and_not_before() {
    let identity = svid(1, at(30));
    let silent = Liveness {
        heartbeat_due: Some(at(30)),
        ..Liveness::default()
    };
    let gone = Liveness {
        hold_due: Some(at(30)),
        ..Liveness::default()
    };
    let cases = [
        (
            Task {
                deadline: at(30),
                ..task()
            },
            Cause::Expired,
        ),
        (
            Task {
                liveness: silent,
                ..task()
            },
            Cause::HeartbeatMissed,
        ),
        (
            Task {
                liveness: gone,
                ..task()
            },
            Cause::HoldLost,
        ),
        (Task { identity, ..task() }, Cause::IdentityExpired),
    ];
    for (task, cause) in cases {
        assert_eq!(wakes(&task), Some(at(30)));
        assert_eq!(due(&task, &[], just_before(at(30))), unchanged());
        let step = due(&task, &[], at(30));
        assert_eq!(step, ended(task, cause, at(30)));
    }
}

#[test]
fn of_several_clocks_the_first_names_the_cause_however_late_the_look() {
    let mut task = living();
    assert_eq!(
        due(&task, &[], at(700)),
        ended(task.clone(), Cause::HoldLost, at(700))
    );
    task.liveness.hold_due = None;
    let step = due(&task, &[], at(700));
    assert_eq!(step, ended(task.clone(), Cause::HeartbeatMissed, at(700)));
    task.identity = svid(1, at(39));
    let step = due(&task, &[], at(700));
    assert_eq!(step, ended(task, Cause::IdentityExpired, at(700)));
}

#[test]
fn of_equal_clocks_the_tasks_own_time_is_named() {
    let mut task = Task {
        identity: svid(1, at(30)),
        deadline: at(30),
        ..living()
    };
    task.liveness.heartbeat_due = Some(at(30));
    task.liveness.hold_due = Some(at(30));
    assert_eq!(task.overdue(at(30)), Some(Cause::Expired));
    assert_eq!(task.overdue(just_before(at(30))), None);
}

#[test]
fn a_lease_expires_at_its_moment_and_not_before() {
    let leases = [lease(0), far(1, LeaseState::Issuing)];
    let task = with(task(), &leases);
    assert_eq!(wakes(&task), Some(at(60)));
    assert_eq!(due(&task, &leases, just_before(at(60))), unchanged());
    let expected = Step {
        task: became(Task {
            live: 0,
            revoking: 1,
            lease_due: None,
            ..task.clone()
        }),
        leases: vec![
            Lease {
                state: refused_from(Cause::Expired, at(60)),
                ..lease(0)
            },
            far(1, revoking(Cause::Expired, at(60))),
        ],
        effects: vec![Effect::Revoke(id(1))],
        outcome: Outcome::LeasesEnded,
    };
    assert_eq!(due(&task, &leases, at(60)), expected);
}

#[test]
fn the_leases_that_have_time_left_stay_and_set_the_alarm() {
    let longer = Lease {
        expires_at: at(90),
        ..lease(1)
    };
    let leases = [lease(0), longer];
    let task = with(task(), &leases);
    let step = due(&task, &leases, at(60));
    let expected = Step {
        task: became(Task {
            live: 1,
            lease_due: Some(at(90)),
            ..task
        }),
        leases: vec![Lease {
            state: refused_from(Cause::Expired, at(60)),
            ..lease(0)
        }],
        effects: vec![],
        outcome: Outcome::LeasesEnded,
    };
    assert_eq!(step, expected);
}

#[test]
fn an_alarm_that_a_renewal_outdated_is_set_anew() {
    let renewed = Lease {
        expires_at: at(90),
        ..lease(0)
    };
    let stale = Task {
        lease_due: Some(at(60)),
        ..with(task(), std::slice::from_ref(&renewed))
    };
    let expected = Step {
        task: became(Task {
            lease_due: Some(at(90)),
            ..stale.clone()
        }),
        ..unchanged()
    };
    assert_eq!(due(&stale, &[renewed], at(60)), expected);
}

#[test]
fn an_alarm_for_a_lease_that_ended_otherwise_is_put_out() {
    let stale = Task {
        lease_due: Some(at(60)),
        issued: 1,
        revoking: 1,
        ..task()
    };
    let expected = Step {
        task: became(Task {
            lease_due: None,
            ..stale.clone()
        }),
        ..unchanged()
    };
    let leases = [far(0, revoking(Cause::IssueFailed, NOW))];
    assert_eq!(due(&stale, &leases, at(60)), expected);
}

#[test]
fn a_task_that_ends_gives_its_leases_the_tasks_end_as_cause() {
    let leases = [lease(0)];
    let task = Task {
        deadline: at(60),
        ..with(task(), &leases)
    };
    let step = due(&task, &leases, at(60));
    let lease = Lease {
        state: refused_from(Cause::TaskEnded, at(60)),
        ..lease(0)
    };
    assert_eq!(step.leases, [lease]);
}

#[test]
fn a_closing_task_waits_for_its_targets_and_for_no_clock() {
    let overdue = Task {
        revoking: 1,
        ..closing()
    };
    assert_eq!(wakes(&overdue), None);
    for now in [at(600), at(9999), Timestamp(u64::MAX)] {
        assert_eq!(due(&overdue, &[], now), unchanged());
    }
}

#[test]
fn a_closed_task_is_forgotten_when_its_retention_is_over() {
    let task = closed(at(50));
    assert_eq!(wakes(&task), Some(at(150)));
    assert_eq!(due(&task, &[], just_before(at(150))), unchanged());
    let expected = Step {
        task: Some(task.clone()),
        ..nothing(Outcome::Purged)
    };
    assert_eq!(due(&task, &[], at(150)), expected);
}

#[test]
fn an_endless_retention_lasts_to_the_end_of_time() {
    let task = closed(at(50));
    let end = Timestamp(u64::MAX);
    assert_eq!(next_deadline(&task, Duration::MAX), Some(end));
    let endless = Rules {
        retention: Duration::MAX,
        ..rules()
    };
    let none = Guards::default();
    let step = run_with(&endless, &none, &task, &[], Event::Due, just_before(end));
    assert_eq!(step, unchanged());
}

#[test]
fn the_last_moment_ends_everything() {
    let end = Timestamp(u64::MAX);
    let task = Task {
        deadline: end,
        identity: svid(1, end),
        ..task()
    };
    assert_eq!(wakes(&task), Some(end));
    assert_eq!(due(&task, &[], just_before(end)), unchanged());
    assert_eq!(due(&task, &[], end), ended(task, Cause::Expired, end));
}

#[test]
fn time_saturates_and_never_wraps() {
    let end = Timestamp(u64::MAX);
    assert_eq!(end.after(Duration::MAX), end);
    assert_eq!(end.after(Duration::from_millis(1)), end);
    assert_eq!(Timestamp(0).after(Duration::MAX), end);
    assert_eq!(Timestamp::from_seconds(u64::MAX), end);
    assert_eq!(NOW.since(end), Duration::ZERO);
    assert_eq!(end.since(Timestamp(0)), Duration::from_millis(u64::MAX));
    assert_eq!(end.seconds(), u64::MAX / 1000);
}
