//! Issuing, and the orders that come of it.

use quietus_core::*;

use crate::fixtures::*;

fn for_target(name: &str, enforced: Enforced) -> Grant {
    Grant {
        target: target(name),
        enforced,
        ..grant()
    }
}

fn issue(task: &Task, grant: &Grant) -> Step {
    run(task, &[], Event::Issue(grant.clone()), NOW)
}

fn again(task: &Task, lease: &Lease, now: Timestamp) -> Option<IssueOrder> {
    IssueOrder::repeat(task, lease, &Guards::default(), now)
}

/// What is written when the first lease of `task` is this.
fn issued(task: Task, lease: Lease, effects: Vec<Effect>) -> Step {
    let order = again(&task, &lease, NOW).unwrap();
    let lease_due = Some(lease.expires_at);
    Step {
        task: became(Task {
            issued: 1,
            live: 1,
            lease_due,
            ..task
        }),
        leases: vec![lease],
        effects,
        outcome: Outcome::Issued(order),
    }
}

#[test]
fn at_the_broker_a_lease_is_active_at_once() {
    let step = issue(&task(), &grant());
    assert_eq!(step, issued(task(), lease(0), vec![]));
}

#[test]
fn at_a_target_it_is_an_intent_first() {
    let step = issue(&task(), &for_target("orders-db", Enforced::AtTarget));
    let lease = far(0, LeaseState::Issuing);
    let Outcome::Issued(order) = step.outcome.clone() else {
        panic!("{step:?}");
    };
    assert_eq!((order.agent(), order.lease()), (&coder(), &lease));
    assert_eq!(order.issued_at(), NOW);
    let expected = Step {
        task: became(with(task(), std::slice::from_ref(&lease))),
        leases: vec![lease],
        effects: vec![Effect::Issue(id(0))],
        outcome: Outcome::Issued(order),
    };
    assert_eq!(step, expected);
}

#[test]
fn whether_it_may_be_renewed_later_changes_nothing_now() {
    for enforced in [Enforced::AtBroker, Enforced::AtTarget] {
        let able = for_target("orders-db", enforced);
        let unable = Grant {
            renewable: false,
            ..able.clone()
        };
        assert_eq!(issue(&task(), &able), issue(&task(), &unable));
    }
}

#[test]
fn a_lease_takes_the_next_number_and_the_present_epoch() {
    let guards = Guards::default().revoke(Selector::Agent(tester()), operator());
    let before = Task {
        issued: 4,
        live: 1,
        lease_due: Some(at(20)),
        ..task()
    };
    let lease = Lease {
        epoch: 1,
        ..lease(4)
    };
    let step = run_under(&guards, &before, &[], Event::Issue(grant()), NOW);
    let order = again(&before, &lease, NOW).unwrap();
    let expected = Step {
        task: became(Task {
            issued: 5,
            live: 2,
            ..before
        }),
        leases: vec![lease],
        effects: vec![],
        outcome: Outcome::Issued(order),
    };
    assert_eq!(step, expected);
}

#[test]
fn a_lease_that_expires_first_wakes_the_task_first() {
    for (before, after) in [(at(20), at(20)), (at(60), at(60)), (at(90), at(60))] {
        let task = Task {
            issued: 1,
            live: 1,
            lease_due: Some(before),
            ..task()
        };
        assert_eq!(issue(&task, &grant()).task.unwrap().lease_due, Some(after));
    }
}

#[test]
fn an_older_svid_binds_its_own_lease_and_nothing_else() {
    let step = issue(&task(), &by(showing(svid(2, at(50)))));
    let lease = Lease {
        expires_at: at(50),
        bound: Bound::Svid,
        certificate: Digest([2; 32]),
        ..lease(0)
    };
    assert_eq!(step, issued(task(), lease, vec![]));
}

#[test]
fn a_newer_svid_becomes_the_tasks() {
    for until in [at(1000), at(2000)] {
        let identity = svid(2, until);
        let step = issue(&task(), &by(showing(identity)));
        let lease = Lease {
            certificate: Digest([2; 32]),
            ..lease(0)
        };
        let renewed = Task { identity, ..task() };
        assert_eq!(step, issued(renewed, lease, vec![]));
    }
}

#[test]
fn an_expired_identity_with_a_newer_svid_shown_is_fine() {
    let before = Task {
        identity: svid(1, NOW),
        ..task()
    };
    let identity = svid(2, at(40));
    let lease = Lease {
        expires_at: at(40),
        bound: Bound::Svid,
        certificate: Digest([2; 32]),
        ..lease(0)
    };
    let step = issue(&before, &by(showing(identity)));
    assert_eq!(step, issued(Task { identity, ..before }, lease, vec![]));
}

#[test]
fn a_refused_request_leaves_the_identity_as_it_was() {
    let newer = Grant {
        ttl: Some(secs(0)),
        ..by(showing(svid(2, at(2000))))
    };
    let step = issue(&task(), &newer);
    assert_eq!(step, refused(Refusal::NoTimeLeft(Bound::Request)));
}

#[test]
fn a_freeze_that_covers_agent_or_target_forbids_it() {
    for selector in [
        Selector::All,
        Selector::TrustDomain("prod.example".to_owned()),
        Selector::Agent(coder()),
        Selector::Target(target("orders-db")),
    ] {
        let guards = Guards::default().freeze(selector.clone(), freeze());
        let step = run_under(&guards, &task(), &[], Event::Issue(grant()), NOW);
        assert_eq!(step, refused(frozen(&selector)));
    }
}

#[test]
fn a_freeze_of_another_target_does_not() {
    let guards = Guards::default().freeze(Selector::Target(target("mail")), freeze());
    let step = run_under(&guards, &task(), &[], Event::Issue(grant()), NOW);
    let lease = Lease {
        epoch: 1,
        ..lease(0)
    };
    assert_eq!(step, issued(task(), lease, vec![]));
}

#[test]
fn too_many_leases_at_once_or_ever_are_refused() {
    let full = |issued, live| Task {
        issued,
        live,
        ..task()
    };
    let cases = [
        (full(3, 3), Refusal::LiveLeases(3)),
        (full(4, 4), Refusal::LiveLeases(3)),
        (full(5, 0), Refusal::IssuedLeases(5)),
        (full(6, 0), Refusal::IssuedLeases(5)),
        (full(5, 3), Refusal::IssuedLeases(5)),
    ];
    for (task, refusal) in cases {
        assert_eq!(issue(&task, &grant()), refused(refusal));
    }
}

#[test]
fn leases_that_are_being_revoked_take_no_room() {
    let task = Task {
        issued: 3,
        live: 2,
        revoking: 1,
        ..task()
    };
    assert!(matches!(issue(&task, &grant()).outcome, Outcome::Issued(_)));
}

#[test]
fn limits_hold_at_their_extremes() {
    let with_limits = |max_issued, max_live, issued| {
        let rules = Rules {
            max_issued,
            max_live,
            ..rules()
        };
        let task = Task { issued, ..task() };
        let event = Event::Issue(grant());
        run_with(&rules, &Guards::default(), &task, &[], event, NOW)
    };
    assert_eq!(with_limits(0, 3, 0), refused(Refusal::IssuedLeases(0)));
    assert_eq!(with_limits(5, 0, 0), refused(Refusal::LiveLeases(0)));
    let most = u32::MAX;
    assert_eq!(
        with_limits(most, most, most),
        refused(Refusal::IssuedLeases(most))
    );
    let last = with_limits(most, most, most - 1).leases;
    assert_eq!(last, [lease(most - 1)]);
}

#[test]
fn a_fingerprint_goes_into_lease_and_order_alike() {
    let mut step = issue(&task(), &grant());
    step.identify(Digest([3; 32]));
    let lease = Lease {
        fingerprint: Some(Digest([3; 32])),
        ..lease(0)
    };
    assert_eq!(step, issued(task(), lease, vec![]));
}

#[test]
fn a_fingerprint_finds_no_place_in_a_step_that_grants_nothing() {
    let leases = [lease(0)];
    let end = Event::EndLeases(Which::One(id(0)), Cause::Returned);
    let ended = run(&with(task(), &leases), &leases, end, NOW);
    for before in [refused(Refusal::NotYours), unchanged(), ended] {
        let mut step = before.clone();
        step.identify(Digest([3; 32]));
        assert_eq!(step, before);
    }
}

#[test]
fn an_order_tells_what_was_granted() {
    let order = again(&task(), &lease(0), at(9)).unwrap();
    assert_eq!((order.agent(), order.lease()), (&coder(), &lease(0)));
    assert_eq!(order.issued_at(), NOW);
    let made = far(0, LeaseState::Active);
    let order = again(&task(), &made, at(9)).unwrap();
    assert_eq!((order.lease(), order.issued_at()), (&made, NOW));
}

#[test]
fn the_order_of_a_renewed_lease_is_of_its_last_renewal() {
    for lease in [lease(0), far(0, LeaseState::Active)] {
        let renewed = Lease {
            renewed_at: Some(at(5)),
            renewals: 1,
            ..lease
        };
        let order = again(&task(), &renewed, at(9)).unwrap();
        assert_eq!((order.lease(), order.issued_at()), (&renewed, at(5)));
        assert_eq!(order.lease().issued_at, NOW);
    }
}

#[test]
fn an_order_comes_again_only_while_its_lease_is_good() {
    let ended = refused_from(Cause::Returned, NOW);
    let overdue = Task {
        deadline: at(9),
        ..task()
    };
    let cases = [
        (task(), far(0, revoking(Cause::Returned, NOW)), at(9)),
        (
            task(),
            Lease {
                state: ended,
                ..lease(0)
            },
            at(9),
        ),
        (task(), lease(0), at(60)),
        (task(), far(0, LeaseState::Active), at(60)),
        (task(), far(0, LeaseState::Issuing), at(9)),
        (task(), far(0, LeaseState::Issuing), at(60)),
        (task(), far(0, deleted(Cause::Returned, NOW, at(5))), at(9)),
        (overdue.clone(), lease(0), at(9)),
        (overdue, far(0, LeaseState::Active), at(9)),
        (closing(), lease(0), at(9)),
        (closing(), far(0, LeaseState::Active), at(9)),
        (closed(NOW), lease(0), at(9)),
        (living(), lease(0), at(10)),
    ];
    for (task, lease, now) in cases {
        assert_eq!(again(&task, &lease, now), None, "{lease:?}");
    }
}

#[test]
fn no_order_comes_again_after_a_wide_revocation_though_the_sweep_is_still_on_its_way() {
    for selector in [
        Selector::All,
        Selector::TrustDomain("prod.example".to_owned()),
        Selector::Agent(coder()),
        Selector::Target(target("orders-db")),
    ] {
        let guards = Guards::default().revoke(selector, operator());
        for lease in [lease(0), far(0, LeaseState::Active)] {
            assert_eq!(IssueOrder::repeat(&task(), &lease, &guards, NOW), None);
        }
    }
}

#[test]
fn orders_come_again_under_a_revocation_of_others_and_under_a_freeze() {
    let guards = Guards::default()
        .revoke(Selector::Target(target("mail")), operator())
        .revoke(Selector::Agent(tester()), operator())
        .freeze(Selector::All, freeze());
    for lease in [lease(0), far(0, LeaseState::Active)] {
        assert!(IssueOrder::repeat(&task(), &lease, &guards, NOW).is_some());
    }
}
