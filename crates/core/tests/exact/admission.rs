//! What every request of an agent must pass before anything else is asked.

use quietus_core::*;

use crate::fixtures::*;

/// Each event that an agent causes, with the SVID that it shows.
fn requests(caller: &Caller) -> [Event; 4] {
    [
        Event::Heartbeat(caller.clone()),
        Event::Held(caller.clone()),
        Event::Issue(by(caller.clone())),
        Event::Renew(id(0), by(caller.clone())),
    ]
}

fn all_refused(guards: &Guards, task: &Task, caller: &Caller, now: Timestamp, refusal: &Refusal) {
    let leases = [lease(0)];
    let task = with(task.clone(), &leases);
    for event in requests(caller) {
        let step = run_under(guards, &task, &leases, event.clone(), now);
        assert_eq!(step, refused(refusal.clone()), "{event:?}");
    }
}

fn none_refused(guards: &Guards, task: &Task, caller: &Caller, now: Timestamp) {
    let leases = [lease(0)];
    let task = with(task.clone(), &leases);
    for event in requests(caller) {
        let step = run_under(guards, &task, &leases, event.clone(), now);
        let refused = matches!(step.outcome, Outcome::Refused(_));
        assert!(!refused && step.task.is_some(), "{event:?} {step:?}");
    }
}

fn without_guards(task: &Task, caller: &Caller, now: Timestamp, cause: Cause) {
    all_refused(
        &Guards::default(),
        task,
        caller,
        now,
        &Refusal::TaskEnded(cause),
    );
}

#[test]
fn a_task_serves_its_own_agent_alone() {
    let open = Guards::default();
    for agent in [
        "spiffe://prod.example/tester",
        "spiffe://prod.example/coder/2",
        "spiffe://lab.example/coder",
        "",
    ] {
        let other = Caller {
            agent: AgentId(agent.to_owned()),
            ..caller()
        };
        all_refused(&open, &task(), &other, NOW, &Refusal::NotYours);
    }
}

#[test]
fn another_agent_learns_nothing_of_the_tasks_state() {
    let other = Caller {
        agent: tester(),
        ..caller()
    };
    let guards = Guards::default()
        .freeze(Selector::All, freeze())
        .revoke(Selector::All, operator());
    for task in [task(), closing(), closed(NOW)] {
        all_refused(&guards, &task, &other, at(9999), &Refusal::NotYours);
    }
}

#[test]
fn an_ended_task_serves_nobody() {
    for task in [closing(), closed(NOW)] {
        without_guards(&task, &caller(), NOW, Cause::Completed);
    }
}

#[test]
fn an_ended_task_says_why_it_ended_however_late() {
    without_guards(&closing(), &caller(), at(9999), Cause::Completed);
}

#[test]
fn a_wide_revocation_bars_the_task_at_once() {
    for selector in [
        Selector::All,
        Selector::TrustDomain("prod.example".to_owned()),
        Selector::Agent(coder()),
    ] {
        let guards = Guards::default().revoke(selector.clone(), operator());
        let refusal = Refusal::Revoked(selector);
        all_refused(&guards, &task(), &caller(), NOW, &refusal);
    }
}

#[test]
fn a_wide_revocation_of_others_does_not() {
    for selector in [
        Selector::TrustDomain("lab.example".to_owned()),
        Selector::Agent(tester()),
        Selector::Target(target("mail")),
    ] {
        let guards = Guards::default().revoke(selector, operator());
        none_refused(&guards, &task(), &caller(), NOW);
    }
}

#[test]
fn a_task_of_the_revocations_own_epoch_stands() {
    let guards = Guards::default().revoke(Selector::All, operator());
    let leases = [Lease {
        epoch: 1,
        ..lease(0)
    }];
    let task = with(Task { epoch: 1, ..task() }, &leases);
    for event in requests(&caller()) {
        let step = run_under(&guards, &task, &leases, event, NOW);
        assert!(step.task.is_some(), "{step:?}");
    }
}

#[test]
fn each_clock_bars_the_task_from_the_moment_it_is_due() {
    let moment = at(30);
    let due = |liveness| Task { liveness, ..task() };
    let cases = [
        (
            Task {
                deadline: moment,
                ..task()
            },
            Cause::Expired,
        ),
        (
            due(Liveness {
                heartbeat_due: Some(moment),
                ..Liveness::default()
            }),
            Cause::HeartbeatMissed,
        ),
        (
            due(Liveness {
                hold_due: Some(moment),
                ..Liveness::default()
            }),
            Cause::HoldLost,
        ),
    ];
    let before = Timestamp(moment.0 - 1001);
    for (task, cause) in cases {
        without_guards(&task, &caller(), moment, cause.clone());
        without_guards(&task, &caller(), at(59), cause);
        none_refused(&Guards::default(), &task, &caller(), before);
    }
}

#[test]
fn an_expired_identity_bars_the_task_while_no_newer_svid_is_shown() {
    let task = Task {
        identity: svid(1, at(30)),
        ..task()
    };
    for shown in [svid(1, at(30)), svid(2, at(30)), svid(2, at(20))] {
        without_guards(&task, &showing(shown), at(30), Cause::IdentityExpired);
    }
}

#[test]
fn a_newer_svid_stands_in_for_an_expired_identity() {
    let task = Task {
        identity: svid(1, at(30)),
        ..task()
    };
    none_refused(
        &Guards::default(),
        &task,
        &showing(svid(2, at(500))),
        at(30),
    );
}

#[test]
fn a_newer_svid_stands_in_for_no_other_clock_even_if_the_identity_expired_first() {
    let newer = showing(svid(2, at(500)));
    let expired = Task {
        identity: svid(1, at(20)),
        ..task()
    };
    let due = |liveness| Task {
        liveness,
        ..expired.clone()
    };
    let cases = [
        (
            Task {
                deadline: at(30),
                ..expired.clone()
            },
            Cause::Expired,
        ),
        (
            due(Liveness {
                heartbeat_due: Some(at(30)),
                ..Liveness::default()
            }),
            Cause::HeartbeatMissed,
        ),
        (
            due(Liveness {
                hold_due: Some(at(30)),
                ..Liveness::default()
            }),
            Cause::HoldLost,
        ),
    ];
    for (task, cause) in cases {
        without_guards(&task, &newer, at(30), cause);
    }
}

#[test]
fn the_clock_that_ran_out_first_is_named() {
    without_guards(&living(), &caller(), at(700), Cause::HoldLost);
    let identity = svid(1, at(5));
    let task = Task {
        identity,
        ..living()
    };
    without_guards(&task, &showing(identity), at(700), Cause::IdentityExpired);
}
