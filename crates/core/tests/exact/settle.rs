//! What targets answered.

use quietus_core::*;

use crate::fixtures::*;

fn issue_settled(answer: Result<Option<Digest>, &str>) -> Event {
    Event::IssueSettled(id(0), answer.map_err(str::to_owned))
}

fn revoke_settled(answer: Result<Confirmation, &str>) -> Event {
    Event::RevokeSettled(id(0), answer.map_err(str::to_owned))
}

fn settled(task: Task, lease: Lease, effects: Vec<Effect>) -> Step {
    Step {
        task: became(task),
        leases: vec![lease],
        effects,
        outcome: Outcome::Settled,
    }
}

fn tried(cause: Cause, attempts: u32, error: &str) -> LeaseState {
    LeaseState::Revoking {
        cause,
        since: NOW,
        attempts,
        last_error: Some(error.to_owned()),
    }
}

fn states() -> [LeaseState; 4] {
    [
        LeaseState::Issuing,
        LeaseState::Active,
        revoking(Cause::Returned, NOW),
        deleted(Cause::Returned, NOW, at(2)),
    ]
}

#[test]
fn an_issue_that_is_done_makes_the_lease_active() {
    let leases = [far(0, LeaseState::Issuing)];
    let task = with(task(), &leases);
    let step = run(&task, &leases, issue_settled(Ok(None)), at(5));
    assert_eq!(step, settled(task, far(0, LeaseState::Active), vec![]));
}

#[test]
fn a_fingerprint_that_becomes_known_is_kept_and_none_keeps_the_one_there_was() {
    let digest = |byte| Some(Digest([byte; 32]));
    let marked = |state, fingerprint| Lease {
        fingerprint,
        ..far(0, state)
    };
    for (before, told, after) in [
        (None, None, None),
        (None, digest(3), digest(3)),
        (digest(2), None, digest(2)),
        (digest(2), digest(3), digest(3)),
    ] {
        let leases = [marked(LeaseState::Issuing, before)];
        let task = with(task(), &leases);
        let step = run(&task, &leases, issue_settled(Ok(told)), at(5));
        let lease = marked(LeaseState::Active, after);
        assert_eq!(step, settled(task, lease, vec![]));
    }
}

#[test]
fn an_issue_that_failed_keeps_the_fingerprint_by_which_it_is_revoked() {
    let marked = |state| Lease {
        fingerprint: Some(Digest([2; 32])),
        ..far(0, state)
    };
    let leases = [marked(LeaseState::Issuing)];
    let before = with(task(), &leases);
    let step = run(&before, &leases, issue_settled(Err("timeout")), NOW);
    let lease = marked(tried(Cause::IssueFailed, 0, "timeout"));
    assert_eq!(step.leases, [lease]);
}

#[test]
fn an_issue_that_failed_is_revoked_all_the_same() {
    let leases = [far(0, LeaseState::Issuing)];
    let before = with(task(), &leases);
    let step = run(&before, &leases, issue_settled(Err("timeout")), NOW);
    let after = Task {
        live: 0,
        revoking: 1,
        ..before
    };
    let lease = far(0, tried(Cause::IssueFailed, 0, "timeout"));
    assert_eq!(step, settled(after, lease, vec![Effect::Revoke(id(0))]));
}

#[test]
fn an_answer_to_an_issue_that_nobody_waits_for_changes_nothing() {
    for state in states().into_iter().skip(1) {
        for answer in [Ok(None), Ok(Some(Digest([3; 32]))), Err("timeout")] {
            let leases = [far(0, state.clone())];
            let step = run(
                &with(task(), &leases),
                &leases,
                issue_settled(answer),
                at(5),
            );
            assert_eq!(step, unchanged(), "{state:?}");
        }
    }
}

#[test]
fn a_late_issue_does_not_revive_a_lease_whose_task_has_ended() {
    let leases = [far(0, revoking(Cause::TaskEnded, NOW))];
    let step = run(
        &with(closing(), &leases),
        &leases,
        issue_settled(Ok(None)),
        at(5),
    );
    assert_eq!(step, unchanged());
}

#[test]
fn a_confirmed_revocation_ends_the_lease_and_keeps_since_when() {
    for confirmed in Confirmation::ALL {
        let leases = [far(0, revoking(Cause::Returned, NOW))];
        let before = with(task(), &leases);
        let step = run(&before, &leases, revoke_settled(Ok(confirmed)), at(5));
        let after = Task {
            revoking: 0,
            ..before
        };
        let ended = LeaseState::Ended {
            cause: Cause::Returned,
            since: NOW,
            at: at(5),
            confirmed,
            attempts: 0,
        };
        assert_eq!(step, settled(after, far(0, ended), vec![]));
    }
}

#[test]
fn the_last_confirmation_closes_a_closing_task() {
    let leases = [far(0, revoking(Cause::TaskEnded, NOW))];
    let before = with(closing(), &leases);
    let answer = revoke_settled(Ok(Confirmation::DeletedAtTarget));
    let step = run(&before, &leases, answer, at(5));
    let after = Task {
        revoking: 0,
        state: closed(at(5)).state,
        ..before
    };
    let lease = far(0, deleted(Cause::TaskEnded, NOW, at(5)));
    assert_eq!(step, settled(after, lease, vec![]));
}

#[test]
fn a_confirmation_before_the_last_does_not() {
    let dying = |number| far(number, revoking(Cause::TaskEnded, NOW));
    let leases = [dying(0), dying(1)];
    let before = with(closing(), &leases);
    let answer = revoke_settled(Ok(Confirmation::DeletedAtTarget));
    let step = run(&before, &leases, answer, at(5));
    let after = Task {
        revoking: 1,
        ..before
    };
    let lease = far(0, deleted(Cause::TaskEnded, NOW, at(5)));
    assert_eq!(step, settled(after, lease, vec![]));
}

#[test]
fn a_failed_revocation_is_counted_and_asked_for_again_whatever_the_tasks_state() {
    for task in [task(), closing()] {
        let leases = [far(0, tried(Cause::Returned, 6, "refused"))];
        let before = with(task, &leases);
        let step = run(&before, &leases, revoke_settled(Err("timeout")), at(5));
        let lease = far(0, tried(Cause::Returned, 7, "timeout"));
        assert_eq!(step, settled(before, lease, vec![Effect::Revoke(id(0))]));
    }
}

#[test]
fn a_lease_that_ended_tells_how_often_its_target_was_asked_in_vain() {
    for attempts in [1, 7, u32::MAX] {
        let leases = [far(0, tried(Cause::Returned, attempts, "refused"))];
        let before = with(task(), &leases);
        let answer = revoke_settled(Ok(Confirmation::OnCrl));
        let step = run(&before, &leases, answer, at(5));
        let after = Task {
            revoking: 0,
            ..before
        };
        let ended = LeaseState::Ended {
            cause: Cause::Returned,
            since: NOW,
            at: at(5),
            confirmed: Confirmation::OnCrl,
            attempts,
        };
        assert_eq!(step, settled(after, far(0, ended), vec![]));
    }
}

#[test]
fn every_confirmation_is_listed_once_and_has_a_word_of_its_own() {
    let words = Confirmation::ALL.map(Confirmation::as_str);
    let expected = [
        "refused_by_introspection",
        "deleted_at_target",
        "on_crl",
        "on_krl",
        "rotated_at_target",
        "expired_at_target",
    ];
    assert_eq!(words, expected);
}

#[test]
fn the_count_of_attempts_saturates() {
    let leases = [far(0, tried(Cause::Returned, u32::MAX, "refused"))];
    let before = with(task(), &leases);
    let step = run(&before, &leases, revoke_settled(Err("refused")), at(5));
    assert_eq!(
        step,
        settled(before, leases[0].clone(), vec![Effect::Revoke(id(0))])
    );
}

#[test]
fn an_answer_to_a_revocation_that_nobody_asked_for_changes_nothing() {
    for number in [0, 1, 3] {
        for answer in [Ok(Confirmation::DeletedAtTarget), Err("timeout")] {
            let leases = [far(0, states()[number].clone())];
            let step = run(
                &with(task(), &leases),
                &leases,
                revoke_settled(answer),
                at(5),
            );
            assert_eq!(step, unchanged(), "{leases:?}");
        }
    }
}

#[test]
fn no_answer_revives_a_closed_task() {
    let leases = [far(0, deleted(Cause::TaskEnded, NOW, at(2)))];
    let task = with(closed(at(2)), &leases);
    for event in [
        issue_settled(Ok(None)),
        issue_settled(Err("timeout")),
        revoke_settled(Ok(Confirmation::DeletedAtTarget)),
        revoke_settled(Err("timeout")),
    ] {
        assert_eq!(run(&task, &leases, event, at(5)), unchanged());
    }
}

#[test]
fn an_answer_about_an_unknown_lease_changes_nothing() {
    let leases = [Lease {
        id: id(1),
        ..far(1, LeaseState::Issuing)
    }];
    let task = with(task(), &leases);
    for event in [
        issue_settled(Ok(None)),
        issue_settled(Err("timeout")),
        revoke_settled(Ok(Confirmation::DeletedAtTarget)),
        revoke_settled(Err("timeout")),
    ] {
        assert_eq!(run(&task, &leases, event, at(5)), unchanged());
    }
}
