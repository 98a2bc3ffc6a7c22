//! Opening a task.

use std::time::Duration;

use quietus_core::*;

use crate::fixtures::*;

fn order(duration: Option<Duration>, heartbeat: Option<Duration>) -> OpenOrder {
    OpenOrder {
        id: task().id,
        caller: caller(),
        purpose: "nightly report".to_owned(),
        ticket: "OPS-1".to_owned(),
        environment: "prod".to_owned(),
        trace: [7; 16],
        duration,
        heartbeat,
    }
}

fn opened(deadline: Timestamp, bound: Bound) -> Step {
    Step {
        task: Some(Task {
            deadline,
            version: 1,
            ..task()
        }),
        ..nothing(Outcome::Opened { bound })
    }
}

fn try_open(guards: &Guards) -> Step {
    open(&rules(), guards, order(None, None), NOW)
}

#[test]
fn a_task_lasts_as_long_as_asked_up_to_the_most_allowed() {
    let cases = [
        (None, at(600), Bound::Config),
        (Some(secs(0)), at(0), Bound::Request),
        (Some(secs(3600)), at(3600), Bound::Request),
        (
            Some(Duration::from_millis(3_600_001)),
            at(3600),
            Bound::Config,
        ),
        (Some(Duration::MAX), at(3600), Bound::Config),
    ];
    for (asked, deadline, bound) in cases {
        let step = open(&rules(), &Guards::default(), order(asked, None), NOW);
        assert_eq!(step, opened(deadline, bound), "{asked:?}");
    }
}

#[test]
fn a_default_longer_than_the_most_allowed_is_cut_as_well() {
    let rules = Rules {
        default_task: secs(5000),
        ..rules()
    };
    let step = open(&rules, &Guards::default(), order(None, None), NOW);
    assert_eq!(step, opened(at(3600), Bound::Config));
}

#[test]
fn a_promised_heartbeat_is_first_due_after_interval_and_grace() {
    let step = open(
        &rules(),
        &Guards::default(),
        order(None, Some(secs(30))),
        NOW,
    );
    let mut expected = opened(at(600), Bound::Config);
    expected.task.as_mut().unwrap().liveness = Liveness {
        interval: Some(secs(30)),
        heartbeat_due: Some(at(40)),
        hold_due: None,
    };
    assert_eq!(step, expected);
}

#[test]
fn a_freeze_that_covers_the_agent_forbids_it() {
    for selector in [
        Selector::All,
        Selector::TrustDomain("prod.example".to_owned()),
        Selector::Agent(coder()),
    ] {
        let guards = Guards::default().freeze(selector.clone(), freeze());
        assert_eq!(try_open(&guards), refused(frozen(&selector)));
    }
}

#[test]
fn a_freeze_of_something_else_does_not() {
    for selector in [
        Selector::TrustDomain("prod".to_owned()),
        Selector::TrustDomain("prod.example/coder".to_owned()),
        Selector::TrustDomain("rod.example".to_owned()),
        Selector::Agent(tester()),
        Selector::Target(target("orders-db")),
    ] {
        let guards = Guards::default().freeze(selector.clone(), freeze());
        let mut expected = opened(at(600), Bound::Config);
        expected.task.as_mut().unwrap().epoch = 1;
        assert_eq!(try_open(&guards), expected, "{selector:?}");
    }
}

#[test]
fn a_wide_revocation_spares_what_is_opened_after_it() {
    let guards = Guards::default().revoke(Selector::All, operator());
    let step = try_open(&guards);
    let task = step.task.unwrap();
    assert_eq!(
        (step.outcome, task.epoch),
        (
            Outcome::Opened {
                bound: Bound::Config
            },
            1
        )
    );
    assert_eq!(guards.fallen(&coder(), None, task.epoch), None);
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let forever = Rules {
        max_task: Duration::MAX,
        grace: Duration::MAX,
        ..rules()
    };
    for now in [NOW, Timestamp(u64::MAX)] {
        let asked = order(Some(Duration::MAX), Some(Duration::MAX));
        let step = open(&forever, &Guards::default(), asked, now);
        let mut expected = opened(Timestamp(u64::MAX), Bound::Request);
        let task = expected.task.as_mut().unwrap();
        task.opened_at = now;
        task.liveness.interval = Some(Duration::MAX);
        task.liveness.heartbeat_due = Some(Timestamp(u64::MAX));
        assert_eq!(step, expected);
    }
}
