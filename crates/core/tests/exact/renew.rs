//! Renewing a credential.

use std::time::Duration;

use quietus_core::*;

use crate::fixtures::*;

fn renew(lease: &Lease, grant: &Grant, now: Timestamp) -> Step {
    let leases = std::slice::from_ref(lease);
    let event = Event::Renew(lease.id, grant.clone());
    run(&with(task(), leases), leases, event, now)
}

/// What is written when the only lease of `task` became this, at that time.
fn renewed(task: Task, lease: Lease, lease_due: Timestamp, now: Timestamp) -> Step {
    let order = IssueOrder::repeat(&task, &lease, &Guards::default(), now).unwrap();
    Step {
        task: became(Task {
            lease_due: Some(lease_due),
            ..task
        }),
        leases: vec![lease],
        effects: vec![],
        outcome: Outcome::Renewed(order),
    }
}

/// A grant of what [`far`] holds.
fn there() -> Grant {
    Grant {
        enforced: Enforced::AtTarget,
        ..grant()
    }
}

fn later() -> Lease {
    Lease {
        renewed_at: Some(at(30)),
        expires_at: at(90),
        renewals: 1,
        ..lease(0)
    }
}

#[test]
fn a_renewal_moves_the_expiry_and_leaves_the_alarm() {
    let step = renew(&lease(0), &grant(), at(30));
    let task = with(task(), &[lease(0)]);
    assert_eq!(step, renewed(task, later(), at(60), at(30)));
}

#[test]
fn a_renewal_that_shortens_brings_the_alarm_forward() {
    let short = Grant {
        ttl: Some(secs(5)),
        ..grant()
    };
    let lease = Lease {
        expires_at: at(35),
        bound: Bound::Request,
        ..later()
    };
    let task = with(task(), std::slice::from_ref(&lease));
    let step = renew(&self::lease(0), &short, at(30));
    assert_eq!(step, renewed(task, lease, at(35), at(30)));
}

#[test]
fn a_renewal_is_held_by_the_same_limits_as_an_issue() {
    let capped = Grant {
        ttl: Some(Duration::MAX),
        policy_max: Some(secs(40)),
        ..grant()
    };
    let lease = Lease {
        expires_at: at(70),
        bound: Bound::Policy,
        ..later()
    };
    let task = with(task(), &[self::lease(0)]);
    let step = renew(&self::lease(0), &capped, at(30));
    assert_eq!(step, renewed(task, lease, at(60), at(30)));
}

#[test]
fn a_renewal_binds_to_the_svid_that_is_shown() {
    let identity = svid(2, at(2000));
    let lease = Lease {
        certificate: Digest([2; 32]),
        ..later()
    };
    let task = Task {
        identity,
        ..with(task(), &[self::lease(0)])
    };
    let step = renew(&self::lease(0), &by(showing(identity)), at(30));
    assert_eq!(step, renewed(task, lease, at(60), at(30)));
}

#[test]
fn a_renewal_with_an_older_svid_ends_with_it_and_replaces_none() {
    let lease = Lease {
        certificate: Digest([2; 32]),
        expires_at: at(50),
        bound: Bound::Svid,
        ..later()
    };
    let task = with(task(), std::slice::from_ref(&lease));
    let step = renew(&self::lease(0), &by(showing(svid(2, at(50)))), at(30));
    assert_eq!(step, renewed(task, lease, at(50), at(30)));
}

#[test]
fn a_renewal_does_not_lift_a_lease_over_a_later_revocation() {
    let guards = Guards::default().freeze(Selector::Agent(tester()), freeze());
    let leases = [lease(0)];
    let event = Event::Renew(id(0), grant());
    let step = run_under(&guards, &with(task(), &leases), &leases, event, at(30));
    assert_eq!(step.leases, [later()]);
    assert_eq!(step.leases[0].epoch, 0);
}

#[test]
fn a_renewal_without_time_is_refused() {
    let none = Grant {
        ttl: Some(secs(0)),
        ..grant()
    };
    let step = renew(&lease(0), &none, at(30));
    assert_eq!(step, refused(Refusal::NoTimeLeft(Bound::Request)));
}

#[test]
fn the_count_of_renewals_saturates() {
    let often = Lease {
        renewals: u32::MAX,
        ..lease(0)
    };
    let lease = Lease {
        renewals: u32::MAX,
        ..later()
    };
    let task = with(task(), std::slice::from_ref(&often));
    let step = renew(&often, &grant(), at(30));
    assert_eq!(step, renewed(task, lease, at(60), at(30)));
}

#[test]
fn an_ended_lease_is_not_revived() {
    for state in [
        revoking(Cause::Returned, NOW),
        deleted(Cause::Returned, NOW, NOW),
    ] {
        let step = renew(&far(0, state), &grant(), at(30));
        assert_eq!(step, refused(Refusal::LeaseEnded));
    }
    let returned = Lease {
        state: refused_from(Cause::Returned, NOW),
        ..lease(0)
    };
    let step = renew(&returned, &grant(), at(30));
    assert_eq!(step, refused(Refusal::LeaseEnded));
}

#[test]
fn an_expired_lease_is_not_revived_though_nobody_has_ended_it_yet() {
    for lease in [
        lease(0),
        far(0, LeaseState::Active),
        far(0, LeaseState::Issuing),
    ] {
        for now in [at(60), at(61)] {
            assert_eq!(renew(&lease, &grant(), now), refused(Refusal::LeaseEnded));
        }
    }
}

#[test]
fn until_its_last_millisecond_a_lease_may_be_renewed() {
    let now = Timestamp(at(60).0 - 1);
    let step = renew(&lease(0), &grant(), now);
    let lease = Lease {
        renewed_at: Some(now),
        expires_at: at(119),
        ..later()
    };
    let task = with(task(), &[self::lease(0)]);
    assert_eq!(step, renewed(task, lease, at(60), now));
}

#[test]
fn a_second_renewal_keeps_the_first_issue_and_forgets_the_first_renewal() {
    let again = Lease {
        renewed_at: Some(at(45)),
        expires_at: at(105),
        renewals: 2,
        ..later()
    };
    let task = with(task(), &[later()]);
    let step = renew(&later(), &grant(), at(45));
    assert_eq!(step, renewed(task, again, at(90), at(45)));
}

#[test]
fn what_its_target_enforces_is_renewed_if_the_grant_says_that_it_can_be() {
    let known = Lease {
        fingerprint: Some(Digest([3; 32])),
        ..far(0, LeaseState::Active)
    };
    let lease = Lease {
        enforced: Enforced::AtTarget,
        fingerprint: known.fingerprint,
        ..later()
    };
    let task = with(task(), std::slice::from_ref(&known));
    let step = renew(&known, &there(), at(30));
    assert_eq!(step, renewed(task, lease, at(60), at(30)));
}

#[test]
fn a_renewal_at_a_target_may_shorten_too() {
    let short = Grant {
        ttl: Some(secs(5)),
        ..there()
    };
    let lease = Lease {
        enforced: Enforced::AtTarget,
        expires_at: at(35),
        bound: Bound::Request,
        ..later()
    };
    let task = with(task(), std::slice::from_ref(&lease));
    let step = renew(&far(0, LeaseState::Active), &short, at(30));
    assert_eq!(step, renewed(task, lease, at(35), at(30)));
}

#[test]
fn what_is_not_made_yet_cannot_be_renewed() {
    for renewable in [true, false] {
        let grant = Grant {
            renewable,
            ..there()
        };
        let step = renew(&far(0, LeaseState::Issuing), &grant, at(30));
        assert_eq!(step, refused(Refusal::NotRenewable));
    }
}

#[test]
fn what_the_grant_does_not_call_renewable_is_not_renewed() {
    for (lease, grant) in [
        (lease(0), grant()),
        (far(0, LeaseState::Active), there()),
        (far(0, LeaseState::Issuing), there()),
    ] {
        let fixed = Grant {
            renewable: false,
            ..grant
        };
        let step = renew(&lease, &fixed, at(30));
        assert_eq!(step, refused(Refusal::NotRenewable), "{lease:?}");
    }
}

#[test]
fn what_is_gone_is_gone_before_it_is_not_renewable() {
    let fixed = Grant {
        renewable: false,
        ..there()
    };
    for (state, now) in [
        (LeaseState::Active, at(60)),
        (LeaseState::Issuing, at(60)),
        (revoking(Cause::Returned, NOW), at(30)),
        (deleted(Cause::Returned, NOW, NOW), at(30)),
    ] {
        for grant in [there(), fixed.clone()] {
            let step = renew(&far(0, state.clone()), &grant, now);
            assert_eq!(step, refused(Refusal::LeaseEnded), "{state:?}");
        }
    }
}

#[test]
fn a_grant_for_the_broker_does_not_make_a_target_renew_nor_the_other_way_about() {
    for (lease, grant) in [(far(0, LeaseState::Active), grant()), (lease(0), there())] {
        let step = renew(&lease, &grant, at(30));
        assert_eq!(step, refused(Refusal::NotRenewable), "{lease:?}");
    }
}

#[test]
fn a_grant_for_anything_but_what_the_lease_holds_is_none_for_it() {
    let read = "orders-db:read:orders";
    let write = "orders-db:write:orders";
    let two = Lease {
        scopes: scopes(&[read, write]),
        ..lease(0)
    };
    let others: [&[&str]; 5] = [
        &[read],
        &[write, read],
        &[],
        &[read, write, "orders-db:admin:orders"],
        &[read, read],
    ];
    for scopes in others.map(scopes) {
        let step = renew(&two, &Grant { scopes, ..grant() }, at(30));
        assert_eq!(step, refused(Refusal::NoSuchLease));
    }
    let elsewhere = Grant {
        target: target("mail"),
        ..grant()
    };
    let step = renew(&lease(0), &elsewhere, at(30));
    assert_eq!(step, refused(Refusal::NoSuchLease));
}

#[test]
fn an_unknown_lease_is_not_renewed() {
    let leases = [lease(0)];
    let of_other_task = LeaseId {
        task: TaskId::from_bytes([6; 16]),
        number: 0,
    };
    for id in [id(1), of_other_task] {
        let step = run(
            &with(task(), &leases),
            &leases,
            Event::Renew(id, grant()),
            at(30),
        );
        assert_eq!(step, refused(Refusal::NoSuchLease));
    }
}

#[test]
fn a_freeze_forbids_renewals_too() {
    let leases = [lease(0)];
    for selector in [
        Selector::All,
        Selector::TrustDomain("prod.example".to_owned()),
        Selector::Agent(coder()),
        Selector::Target(target("orders-db")),
    ] {
        let guards = Guards::default().freeze(selector.clone(), freeze());
        let event = Event::Renew(id(0), grant());
        let step = run_under(&guards, &with(task(), &leases), &leases, event, at(30));
        assert_eq!(step, refused(frozen(&selector)));
    }
}

#[test]
fn a_lease_under_a_revoked_target_is_not_renewed() {
    let selector = Selector::Target(target("orders-db"));
    let guards = Guards::default().revoke(selector.clone(), operator());
    let renew = |lease: Lease| {
        let leases = [lease];
        let event = Event::Renew(id(0), grant());
        run_under(&guards, &with(task(), &leases), &leases, event, at(30))
    };
    assert_eq!(renew(lease(0)), refused(Refusal::Revoked(selector)));
    let after = Lease {
        epoch: 1,
        ..lease(0)
    };
    assert!(matches!(renew(after).outcome, Outcome::Renewed(_)));
}

#[test]
fn a_full_task_may_still_renew() {
    let leases = [lease(0)];
    let full = Task {
        issued: 5,
        live: 3,
        ..with(task(), &leases)
    };
    let step = run(&full, &leases, Event::Renew(id(0), grant()), at(30));
    assert_eq!(step, renewed(full, later(), at(60), at(30)));
}
