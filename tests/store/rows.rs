//! Rows that follow from other rows: deadlines, counters, the outbox, old idempotency keys.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quietus::store::{Answer, Commit, Effect, Read, RequestKey, RequestRow, Retry, Store};
use quietus_core::{
    Cause, Confirmation, Digest, Enforced, Event, LeaseId, LeaseState, Outcome, Timestamp, Which,
    next_deadline,
};
use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};

use crate::disks::{Platter, Room, options};
use crate::inside::commits::{NOW, grant, made, moving, opening, rules, task_id};
use crate::inside::rng::Rng;
use crate::inside::{ledger, replay};

const STEPS: usize = 3_000;
const TASKS: u64 = 12;

#[tokio::test]
async fn whatever_happens_the_rows_agree_with_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let platter = Platter::default();
    let options = options(folder.path());
    let mut store = platter.open(&Room::plenty(), &options).unwrap();
    let mut rng = Rng::new(6);
    let mut now = NOW;
    let mut outcomes = BTreeSet::new();
    for n in 0..STEPS {
        now = now.after(Duration::from_secs(rng.next() % 40));
        let outcome = happen(&store, &mut rng, now).await;
        outcomes.insert(
            format!("{outcome:?}")
                .split([' ', '('])
                .next()
                .unwrap()
                .to_owned(),
        );
        if n % 50 == 0 {
            rows_agree(&store);
        }
        if n % 1000 == 999 {
            drop(store);
            store = platter.open(&Room::plenty(), &options).unwrap();
            rows_agree(&store);
        }
    }
    rows_agree(&store);
    let told = replay::Told::by(&ledger(&store));
    told.is_what_is_in(&store, |_| 0);
    let all = [
        "Issued",
        "LeasesEnded",
        "Opened",
        "Purged",
        "Refused",
        "Renewed",
        "Settled",
    ];
    assert!(
        all.iter().all(|one| outcomes.contains(*one)),
        "{outcomes:?}"
    );
}

/// One thing happens to one task, whatever its state.
async fn happen(store: &Store, rng: &mut Rng, now: Timestamp) -> Outcome {
    let number = rng.next() % TASKS;
    let id = task_id(number);
    if store.read().task(id).unwrap().is_none() {
        let (commit, _) = opening(number, "a", now);
        // An id is used again once its task is purged, which the ledger's model minds as little as the store.
        made(store, commit).await;
        return Outcome::Opened {
            bound: quietus_core::Bound::Request,
        };
    }
    let lease = LeaseId {
        task: id,
        number: u32::try_from(rng.below(6)).unwrap(),
    };
    let enforced = *rng.pick(&[Enforced::AtBroker, Enforced::AtTarget]);
    let event = match rng.below(12) {
        0..3 => Event::Issue(grant("a", enforced)),
        3 => Event::Renew(lease, grant("a", enforced)),
        4 => Event::EndLeases(Which::One(lease), Cause::Returned),
        5 => Event::IssueSettled(lease, Ok(rng.one_in(2).then_some(Digest([3; 32])))),
        6 => Event::IssueSettled(lease, Err("no".to_owned())),
        7 => Event::RevokeSettled(lease, Err("not now".to_owned())),
        8 | 9 => Event::RevokeSettled(lease, Ok(Confirmation::DeletedAtTarget)),
        10 if rng.one_in(3) => Event::EndTask(Cause::Completed),
        _ => Event::Due,
    };
    let (commit, step) = moving(store, id, event, now);
    if step.task.is_some() {
        made(store, commit).await;
    }
    step.outcome
}

fn rows_agree(store: &Store) {
    replay::counters_are_a_full_scan(store);
    let snapshot = store.read();
    let tasks = snapshot.tasks(None, usize::MAX).unwrap().rows;
    let deadlines: BTreeMap<_, _> = tasks
        .iter()
        .filter_map(|task| Some((task.id, next_deadline(task, rules().retention)?)))
        .collect();
    let due = snapshot.due(Timestamp(u64::MAX), None, usize::MAX).unwrap();
    assert!(due.is_sorted_by_key(|due| due.at));
    let indexed: BTreeMap<_, _> = due.iter().map(|due| (due.task, due.at)).collect();
    assert_eq!(indexed, deadlines);
    assert_eq!(indexed.len(), due.len());
    assert_eq!(
        snapshot.next_due().unwrap(),
        deadlines.values().min().copied()
    );

    let leases = snapshot.leases(None, usize::MAX).unwrap().rows;
    let wanted: BTreeMap<_, _> = leases
        .iter()
        .filter(|lease| lease.enforced == Enforced::AtTarget)
        .filter_map(|lease| match lease.state {
            LeaseState::Issuing => Some((lease.id, false)),
            LeaseState::Revoking { .. } => Some((lease.id, true)),
            LeaseState::Active | LeaseState::Ended { .. } => None,
        })
        .collect();
    let outbox = snapshot.outbox(None, usize::MAX).unwrap();
    let kept = outbox
        .iter()
        .map(|out| (out.lease, matches!(out.effect, Effect::Revoke(_))));
    assert_eq!(kept.collect::<BTreeMap<_, _>>(), wanted);
    let known: BTreeSet<_> = tasks.iter().map(|task| task.id).collect();
    assert!(
        leases.iter().all(|lease| known.contains(&lease.id.task)),
        "a lease without a task"
    );
}

#[tokio::test]
async fn purging_a_task_takes_its_leases_and_its_deadline_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let store = Platter::default()
        .open(&Room::plenty(), &options(folder.path()))
        .unwrap();
    for number in 1..4 {
        made(&store, opening(number, "a", NOW).0).await;
        for _ in 0..3 {
            let issue = Event::Issue(grant("a", Enforced::AtBroker));
            made(&store, moving(&store, task_id(number), issue, NOW).0).await;
        }
    }
    made(
        &store,
        moving(&store, task_id(2), Event::EndTask(Cause::Completed), NOW).0,
    )
    .await;
    let (early, step) = moving(&store, task_id(2), Event::Due, NOW);
    assert!(early.is_empty(), "{step:?}");
    let later = NOW.after(rules().retention);
    made(&store, moving(&store, task_id(2), Event::Due, later).0).await;

    let snapshot = store.read();
    assert!(snapshot.task(task_id(2)).unwrap().is_none());
    assert!(
        snapshot
            .leases_of(task_id(2), usize::MAX)
            .unwrap()
            .is_empty()
    );
    assert_eq!(snapshot.leases(None, 100).unwrap().rows.len(), 6);
    rows_agree(&store);
}

#[tokio::test]
async fn a_revocation_is_tried_again_when_it_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = Platter::default()
        .open(&Room::plenty(), &options(folder.path()))
        .unwrap();
    made(&store, opening(1, "a", NOW).0).await;
    let issue = Event::Issue(grant("a", Enforced::AtTarget));
    made(&store, moving(&store, task_id(1), issue, NOW).0).await;
    let effect = |store: &Store| store.read().outbox(None, 9).unwrap()[0].effect;
    assert_eq!(effect(&store), Effect::Issue);
    made(
        &store,
        moving(&store, task_id(1), Event::EndTask(Cause::Completed), NOW).0,
    )
    .await;
    assert_eq!(effect(&store), Effect::Revoke(NOW));

    let lease = store.read().leases_of(task_id(1), usize::MAX).unwrap()[0].id;
    let later = NOW.after(Duration::from_secs(8));
    let failed = Event::RevokeSettled(lease, Err("refused".to_owned()));
    let (mut commit, _) = moving(&store, task_id(1), failed, NOW);
    commit.change.as_mut().unwrap().retry = Retry::At(later);
    made(&store, commit).await;
    assert_eq!(effect(&store), Effect::Revoke(later));
}

#[tokio::test]
async fn idempotency_keys_of_older_days_do_not_pile_up() {
    const REQUESTS: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("requests");
    const DAY: u64 = 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let store = Store::open(&options).unwrap();
    for n in 0..60u8 {
        let row = RequestRow {
            body: Digest([0; 32]),
            answer: Answer::Task(task_id(1)),
        };
        let commit = Commit {
            now: Timestamp(NOW.0 + u64::from(n / 10) * DAY),
            reads: vec![Read::Unused(RequestKey([n; 16]))],
            request: Some((RequestKey([n; 16]), row)),
            ..Commit::default()
        };
        made(&store, commit).await;
    }
    drop(store);
    let db = redb::Database::open(&options.path).unwrap();
    let read = db.begin_read().unwrap();
    let kept = read.open_table(REQUESTS).unwrap().len().unwrap();
    assert_eq!(kept, 20, "those of the last two days");
}
