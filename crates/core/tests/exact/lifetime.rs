//! How long a credential lives: the least of five limits, in whole seconds.

use std::time::Duration;

use quietus_core::*;

use crate::fixtures::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The lifetime of the only lease that the grant makes in that task, or the refusal.
fn lives(task: &Task, grant: &Grant, now: Timestamp) -> Result<(Timestamp, Bound), Refusal> {
    lives_under(&rules(), task, grant, now)
}

fn lives_under(
    rules: &Rules,
    task: &Task,
    grant: &Grant,
    now: Timestamp,
) -> Result<(Timestamp, Bound), Refusal> {
    let event = Event::Issue(grant.clone());
    let step = run_with(rules, &Guards::default(), task, &[], event, now);
    match step.outcome.clone() {
        Outcome::Issued(order) => {
            assert_eq!(step.leases, [order.lease().clone()]);
            assert_eq!(step.task.unwrap().lease_due, Some(order.lease().expires_at));
            Ok((order.lease().expires_at, order.lease().bound))
        }
        Outcome::Refused(refusal) => {
            assert_eq!(step, refused(refusal.clone()));
            Err(refusal)
        }
        other => panic!("{other:?}"),
    }
}

fn asked(ttl: Duration) -> Grant {
    Grant {
        ttl: Some(ttl),
        ..grant()
    }
}

fn capped(ttl: Duration, policy_max: Duration) -> Grant {
    Grant {
        policy_max: Some(policy_max),
        ..asked(ttl)
    }
}

fn bound_to(until: Timestamp) -> Grant {
    Grant {
        caller: showing(svid(2, until)),
        ..asked(secs(200))
    }
}

fn until(deadline: Timestamp) -> Task {
    Task { deadline, ..task() }
}

#[test]
fn the_least_limit_binds_and_is_named() {
    let cases = [
        (until(at(600)), grant(), at(60), Bound::Config),
        (until(at(600)), asked(secs(200)), at(200), Bound::Request),
        (
            until(at(600)),
            capped(secs(200), secs(100)),
            at(100),
            Bound::Policy,
        ),
        (until(at(600)), asked(secs(301)), at(300), Bound::Config),
        (
            until(at(600)),
            capped(secs(400), secs(350)),
            at(300),
            Bound::Config,
        ),
        (
            until(at(90)),
            capped(secs(200), secs(100)),
            at(90),
            Bound::Task,
        ),
        (until(at(600)), bound_to(at(80)), at(80), Bound::Svid),
        (until(at(79)), bound_to(at(80)), at(79), Bound::Task),
    ];
    for (task, grant, expires_at, bound) in cases {
        assert_eq!(lives(&task, &grant, NOW), Ok((expires_at, bound)));
    }
}

#[test]
fn a_policy_never_lengthens_what_was_asked() {
    let life = lives(&task(), &capped(secs(20), secs(250)), NOW);
    assert_eq!(life, Ok((at(20), Bound::Request)));
}

#[test]
fn a_default_is_cut_like_a_request() {
    let grant = Grant {
        policy_max: Some(secs(30)),
        ..grant()
    };
    assert_eq!(lives(&task(), &grant, NOW), Ok((at(30), Bound::Policy)));
    let long = Rules {
        default_ttl: secs(900),
        ..rules()
    };
    let life = lives_under(&long, &until(at(3600)), &self::grant(), NOW);
    assert_eq!(life, Ok((at(300), Bound::Config)));
}

#[test]
fn of_equal_limits_the_one_nearest_to_the_agent_is_named() {
    let all = |task: u64, config: u64, policy: u64, request: u64| {
        let rules = Rules {
            max_ttl: secs(config),
            ..rules()
        };
        let grant = Grant {
            caller: showing(svid(2, at(100))),
            ..capped(secs(request), secs(policy))
        };
        lives_under(&rules, &until(at(task)), &grant, NOW)
    };
    assert_eq!(all(100, 100, 100, 100), Ok((at(100), Bound::Request)));
    assert_eq!(all(100, 100, 100, 101), Ok((at(100), Bound::Policy)));
    assert_eq!(all(100, 100, 101, 101), Ok((at(100), Bound::Config)));
    assert_eq!(all(100, 101, 101, 101), Ok((at(100), Bound::Task)));
    assert_eq!(all(101, 101, 101, 101), Ok((at(100), Bound::Svid)));
}

#[test]
fn limits_are_compared_in_milliseconds_before_they_are_rounded_down() {
    let life = lives(&task(), &capped(MS(20_900), MS(20_100)), NOW);
    assert_eq!(life, Ok((at(20), Bound::Policy)));
}

#[test]
fn a_remainder_of_a_second_is_cut_off() {
    let life = lives(&task(), &asked(MS(1_999)), NOW);
    assert_eq!(life, Ok((at(1), Bound::Request)));
    let sub = Duration::new(1, 999_999_999);
    assert_eq!(
        lives(&task(), &asked(sub), NOW),
        Ok((at(1), Bound::Request))
    );
}

#[test]
fn less_than_a_second_under_any_limit_is_no_time() {
    let soon = Timestamp(NOW.0 + 999);
    let short = Rules {
        max_ttl: MS(999),
        ..rules()
    };
    let cases = [
        (rules(), task(), asked(MS(999)), Bound::Request),
        (rules(), task(), asked(Duration::ZERO), Bound::Request),
        (rules(), task(), capped(secs(9), MS(999)), Bound::Policy),
        (
            rules(),
            task(),
            capped(secs(9), Duration::ZERO),
            Bound::Policy,
        ),
        (short, task(), asked(secs(9)), Bound::Config),
        (rules(), until(soon), asked(secs(9)), Bound::Task),
        (rules(), task(), bound_to(soon), Bound::Svid),
    ];
    for (rules, task, grant, bound) in cases {
        let life = lives_under(&rules, &task, &grant, NOW);
        assert_eq!(life, Err(Refusal::NoTimeLeft(bound)));
    }
}

#[test]
fn an_svid_that_ran_out_meanwhile_leaves_no_time() {
    for until in [NOW, Timestamp(0)] {
        let life = lives(&task(), &bound_to(until), NOW);
        assert_eq!(life, Err(Refusal::NoTimeLeft(Bound::Svid)));
    }
}

#[test]
fn what_counts_is_the_next_whole_second_and_not_a_second_from_now() {
    let now = Timestamp(NOW.0 + 500);
    assert_eq!(
        lives(&task(), &asked(MS(500)), now),
        Ok((at(1), Bound::Request))
    );
    let none = Err(Refusal::NoTimeLeft(Bound::Request));
    assert_eq!(lives(&task(), &asked(MS(499)), now), none);
}

#[test]
fn extremes_saturate() {
    let forever = Rules {
        default_ttl: Duration::MAX,
        max_ttl: Duration::MAX,
        ..rules()
    };
    let end = Timestamp(u64::MAX);
    let task = Task {
        identity: svid(1, end),
        ..until(end)
    };
    let grant = Grant {
        caller: showing(svid(1, end)),
        ..capped(Duration::MAX, Duration::MAX)
    };
    let whole = Timestamp(u64::MAX - u64::MAX % 1000);
    let life = lives_under(&forever, &task, &grant, NOW);
    assert_eq!(life, Ok((whole, Bound::Request)));
    let last = Timestamp(whole.0 - 1);
    let life = lives_under(&forever, &task, &grant, last);
    assert_eq!(life, Ok((whole, Bound::Request)));
    for now in [whole, Timestamp(u64::MAX - 1)] {
        let life = lives_under(&forever, &task, &grant, now);
        assert_eq!(life, Err(Refusal::NoTimeLeft(Bound::Request)));
    }
    let life = lives_under(&forever, &task, &grant, end);
    assert_eq!(life, Err(Refusal::TaskEnded(Cause::Expired)));
}
