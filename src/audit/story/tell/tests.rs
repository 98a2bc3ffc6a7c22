#![allow(clippy::unwrap_used)]

use super::*;

const TASK: &str = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";
const START: u64 = 1_700_000_000_000;

fn entry(seq: u64, after: u64, event: &str) -> Sealed {
    let task = ledger::Task {
        id: TASK.to_owned(),
        state: "Open".to_owned(),
        ..ledger::Task::default()
    };
    let entry = Entry {
        event: event.to_owned(),
        task: Some(task),
        time: START + after,
        ..Entry::default()
    };
    Sealed { entry, seq }
}

fn lease(state: &str) -> ledger::Lease {
    ledger::Lease {
        id: format!("{TASK}.0"),
        state: state.to_owned(),
        target: "orders-db".to_owned(),
        ..ledger::Lease::default()
    }
}

fn with(mut sealed: Sealed, lease: ledger::Lease) -> Sealed {
    sealed.entry.leases.push(lease);
    sealed
}

#[test]
fn a_lease_is_followed_through_failing_attempts_to_its_confirmed_death() {
    let in_vain = ledger::Lease {
        attempts: Some(2),
        error: Some("connection refused".to_owned()),
        cause: Some("task_ended".to_owned()),
        ..lease("Revoking")
    };
    let dead = ledger::Lease {
        confirmed: Some("dropped".to_owned()),
        ..lease("Ended")
    };
    let story = Story::of(
        TASK,
        &[
            entry(1, 0, "task.opened"),
            with(entry(2, 10, "lease.issued"), lease("Issuing")),
            with(entry(3, 20, "lease.settled"), lease("Active")),
            with(entry(4, 1_000, "task.ended"), lease("Revoking")),
            with(entry(5, 2_000, "lease.settled"), in_vain),
            with(entry(6, 4_500, "lease.settled"), dead),
        ],
    )
    .unwrap();
    let told = &story.steps[0].leases[0];
    assert_eq!(
        (told.state.as_str(), told.ended_at_ms),
        ("Ended", Some(START + 1_000))
    );
    assert_eq!(
        (told.confirmed.as_deref(), told.lag_ms),
        (Some("dropped"), Some(3_500))
    );
    let entries: Vec<u64> = told.events.iter().map(|event| event.at.entry).collect();
    assert_eq!(entries, [3, 4, 5, 6]);
    assert_eq!(told.events[2].attempts, Some(2));
    assert_eq!(story.credentials.confirmed, 1);
    assert_eq!(story.ended.unwrap().at.after_ms, 1_000);
}

#[test]
fn what_is_not_confirmed_dead_is_counted_as_such() {
    for (state, live, unconfirmed) in [("Issuing", 1, 0), ("Active", 1, 0), ("Revoking", 0, 1)] {
        let entries = [
            entry(1, 0, "task.opened"),
            with(entry(2, 10, "lease.issued"), lease("Issuing")),
            with(entry(3, 20, "lease.settled"), lease(state)),
        ];
        let told = Story::of(TASK, &entries).unwrap().credentials;
        assert_eq!((told.issued, told.confirmed), (1, 0));
        assert_eq!(
            (told.live, told.unconfirmed),
            (live, unconfirmed),
            "{state}"
        );
    }
}

#[test]
fn actions_are_with_the_lease_that_they_used() {
    let act = |seq, lease: Option<&str>| {
        let mut sealed = entry(seq, 50, "action.recorded");
        sealed.entry.action = Some(ledger::Action {
            lease: lease.map(str::to_owned),
            tool: "psql".to_owned(),
            resource: "orders".to_owned(),
            result: "succeeded".to_owned(),
            text: Some("ab".repeat(32)),
            ..ledger::Action::default()
        });
        sealed
    };
    let own = format!("{TASK}.0");
    let entries = [
        entry(1, 0, "task.opened"),
        with(entry(2, 10, "lease.issued"), lease("Active")),
        act(3, Some(&own)),
        act(4, Some("another")),
        act(5, None),
    ];
    let mut story = Story::of(TASK, &entries).unwrap();
    assert_eq!(story.steps[0].leases[0].events[0].at.entry, 3);
    let alone: Vec<u64> = story.steps[1..].iter().map(|step| step.at.entry).collect();
    assert_eq!(alone, [4, 5]);
    assert_eq!(story.actions().count(), 3);
}

#[test]
fn who_only_writes_the_tasks_name_is_not_in_its_story() {
    let mut other = entry(9, 5, "task.opened");
    let fact = other.entry.task.as_mut().unwrap();
    fact.id = "another".to_owned();
    fact.purpose = Some(format!("about {TASK}"));
    assert_eq!(Story::of(TASK, std::slice::from_ref(&other)), None);
    let story = Story::of(TASK, &[other, entry(10, 7, "task.ended")]).unwrap();
    assert_eq!((story.steps.len(), story.opened), (1, None));
    assert_eq!(story.steps[0].at.after_ms, 0);
    assert_eq!(Story::of(TASK, &[]), None);
}

#[test]
fn a_story_whose_beginning_was_pruned_has_its_leases_all_the_same() {
    let entries = [
        with(entry(7, 0, "lease.settled"), lease("Active")),
        with(entry(8, 10, "lease.ended"), lease("Revoking")),
    ];
    let story = Story::of(TASK, &entries).unwrap();
    assert_eq!(story.opened, None);
    assert_eq!(story.steps[0].leases[0].events.len(), 2);
    assert_eq!(story.credentials.unconfirmed, 1);
}
