//! A commit is made if what it rests on still holds when its turn comes, and not at all otherwise.

use std::sync::Arc;

use quietus::store::{Answer, Commit, CommitError, Committed, Read, RequestKey, RequestRow, Store};
use quietus_core::{AgentId, Digest, Enforced, Event, Guards, Selector, Task, Timestamp};
use quietus_ledger::{Draft, Entry};

use crate::disks::{Platter, Room, options};
use crate::inside::commits::{NOW, caller, grant, made, moving, opening, task_id};
use crate::inside::ledger;

const DAY: u64 = 86_400_000;
const KEY: RequestKey = RequestKey([7; 16]);
const POLICY: Digest = Digest([3; 32]);

struct Bench {
    store: Store,
    platter: Platter,
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let platter = Platter::default();
    let store = platter.open(&Room::plenty(), &options(folder.path()));
    Bench {
        store: store.unwrap(),
        platter,
        _folder: folder,
    }
}

/// A commit that rests on something, and leaves an entry.
fn resting_on(reads: Vec<Read>) -> Commit {
    let entry = Entry {
        event: "test".to_owned(),
        ..Entry::default()
    };
    Commit {
        now: NOW,
        reads,
        entries: vec![Draft::new(&entry).unwrap()],
        ..Commit::default()
    }
}

fn using(key: RequestKey, now: Timestamp) -> Commit {
    let row = RequestRow {
        body: Digest([0; 32]),
        answer: Answer::Task(task_id(1)),
    };
    Commit {
        now,
        request: Some((key, row)),
        ..resting_on(vec![Read::Unused(key)])
    }
}

fn freezing(before: &Guards) -> Commit {
    let freeze = quietus_core::Freeze {
        by: AgentId("spiffe://dev.example/operator/dev".to_owned()),
        at: NOW,
        reason: String::new(),
    };
    Commit {
        guards: Some(before.clone().freeze(Selector::All, freeze)),
        ..resting_on(vec![Read::Guards(before.epoch)])
    }
}

#[tokio::test]
async fn each_kind_of_read_holds_or_conflicts() {
    let bench = bench();
    let store = &bench.store;
    made(store, opening(1, "a", NOW).0).await;
    made(store, freezing(&Guards::default())).await;
    made(store, using(KEY, NOW)).await;
    let policy = Commit {
        policy: Some((POLICY, b"{}".to_vec())),
        ..resting_on(Vec::new())
    };
    made(store, policy).await;

    let agent = caller("a").agent;
    let conflict = Err(CommitError::Conflict);
    let cases = [
        (Read::Task(task_id(1), 1), Ok(())),
        (Read::Task(task_id(1), 0), conflict.clone()),
        (Read::Task(task_id(1), 2), conflict.clone()),
        (Read::Task(task_id(2), 0), Ok(())),
        (Read::Task(task_id(2), 1), conflict.clone()),
        (Read::Guards(1), Ok(())),
        (Read::Guards(0), conflict.clone()),
        (Read::Policy(POLICY), Ok(())),
        (Read::Policy(Digest([4; 32])), conflict.clone()),
        (Read::Unused(RequestKey([8; 16])), Ok(())),
        (Read::Unused(KEY), conflict),
        (Read::OpenTasksBelow(agent.clone(), 2), Ok(())),
        (
            Read::OpenTasksBelow(agent, 1),
            Err(CommitError::OpenTasks(1)),
        ),
        (Read::OpenTasksBelow(caller("b").agent, 1), Ok(())),
    ];
    for (read, expected) in cases {
        let before = store.header();
        // The condition that fails may be any of several.
        let commit = resting_on(vec![Read::Guards(1), read.clone(), Read::Policy(POLICY)]);
        let done = store.commit(commit).await;
        assert_eq!(done.clone().map(drop), expected, "{read:?}");
        let entries = u64::from(expected.is_ok());
        assert_eq!(store.header().seq, before.seq + entries, "{read:?}");
        assert_eq!(done.map_or(before.seq, |done| done.seq), store.header().seq);
    }
}

#[tokio::test]
async fn a_commit_that_loses_leaves_nothing() {
    let bench = bench();
    let store = &bench.store;
    let (mut commit, _) = opening(1, "a", Timestamp(NOW.0 + DAY));
    let guards = freezing(&Guards::default()).guards;
    commit.guards = guards;
    commit.policy = Some((POLICY, b"{}".to_vec()));
    commit.request = using(KEY, NOW).request;
    commit.reads.push(Read::Guards(9));
    let before = store.header();
    assert_eq!(store.commit(commit).await, Err(CommitError::Conflict));

    let snapshot = store.read();
    assert!(snapshot.task(task_id(1)).unwrap().is_none());
    assert_eq!(snapshot.next_due().unwrap(), None);
    assert!(snapshot.request(KEY, NOW).unwrap().is_none());
    assert!(snapshot.policy(POLICY).unwrap().is_none());
    assert_eq!(snapshot.guards().unwrap(), Guards::default());
    assert_eq!(*store.guards(), Guards::default());
    assert_eq!(store.header(), before);
}

#[tokio::test]
async fn in_one_group_later_commits_see_what_earlier_ones_did() {
    let bench = bench();
    let store = &bench.store;
    made(store, opening(1, "a", NOW).0).await;
    made(store, opening(2, "b", NOW).0).await;
    let issue = || {
        moving(
            store,
            task_id(1),
            Event::Issue(grant("a", Enforced::AtBroker)),
            NOW,
        )
        .0
    };
    let second = {
        let mut commit = opening(3, "b", NOW).0;
        commit
            .reads
            .push(Read::OpenTasksBelow(caller("b").agent, 2));
        commit
    };
    let third = {
        let mut commit = opening(4, "b", NOW).0;
        commit
            .reads
            .push(Read::OpenTasksBelow(caller("b").agent, 2));
        commit
    };
    let group = vec![
        (issue(), Ok(())),
        (issue(), Err(CommitError::Conflict)),
        (resting_on(vec![Read::Task(task_id(1), 2)]), Ok(())),
        (freezing(&Guards::default()), Ok(())),
        (freezing(&Guards::default()), Err(CommitError::Conflict)),
        (resting_on(vec![Read::Guards(1)]), Ok(())),
        (using(KEY, NOW), Ok(())),
        (using(KEY, NOW), Err(CommitError::Conflict)),
        (second, Ok(())),
        (third, Err(CommitError::OpenTasks(2))),
    ];
    let seq = store.header().seq;
    let (commits, expected): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    let syncs_of_one = syncs_of_one(&bench).await;
    let (done, syncs) = in_one_group(&bench, commits).await;
    assert_eq!(syncs, 2 * syncs_of_one, "they were not one transaction");
    let verdicts: Vec<_> = done.iter().map(|done| done.clone().map(drop)).collect();
    assert_eq!(verdicts, expected);
    let places: Vec<_> = done.iter().flatten().map(|done| done.seq).collect();
    assert_eq!(
        places,
        (1..).map(|n| seq + 2 + n).take(6).collect::<Vec<_>>()
    );
    ledger(store);
}

/// How often a lone commit syncs.
async fn syncs_of_one(bench: &Bench) -> u64 {
    let before = bench.platter.counts().syncs;
    made(&bench.store, resting_on(Vec::new())).await;
    bench.platter.counts().syncs - before
}

/// Makes them all wait behind one that is being synced, so that they are taken together; and how often both synced.
async fn in_one_group(
    bench: &Bench,
    commits: Vec<Commit>,
) -> (Vec<Result<Committed, CommitError>>, u64) {
    let store = &bench.store;
    bench.platter.hold();
    let first = store.commit(resting_on(Vec::new()));
    tokio::pin!(first);
    // The first is alone in its group only if it was taken before the others came.
    let before = bench.platter.counts();
    while bench.platter.counts().writes == before.writes {
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("its sync is held"),
            () = tokio::task::yield_now() => {}
        }
    }
    let mut rest: Vec<_> = commits
        .into_iter()
        .map(|c| Box::pin(store.commit(c)))
        .collect();
    for commit in &mut rest {
        let waiting = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(commit.as_mut().poll(cx).is_pending())
        });
        assert!(waiting.await);
    }
    bench.platter.let_go();
    first.await.unwrap();
    let mut done = Vec::new();
    for commit in rest {
        done.push(commit.await);
    }
    (done, bench.platter.counts().syncs - before.syncs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_open_at_once_no_agent_has_more_tasks_than_it_may() {
    const LIMIT: u32 = 10;
    let bench = bench();
    let store = Arc::new(bench.store);
    let mut opens = tokio::task::JoinSet::new();
    for number in 0..80 {
        let agent = ["a", "b"][number as usize % 2];
        let mut commit = opening(number, agent, NOW).0;
        commit
            .reads
            .push(Read::OpenTasksBelow(caller(agent).agent, LIMIT));
        let store = Arc::clone(&store);
        opens.spawn(async move { store.commit(commit).await });
    }
    let done = opens.join_all().await;
    let made = done.iter().filter(|done| done.is_ok()).count();
    assert_eq!(made, 2 * LIMIT as usize);
    assert_eq!(store.header().open_tasks, u64::from(2 * LIMIT));

    // Each one that ends makes room for one.
    let tasks: Vec<Task> = store.read().tasks(None, 100).unwrap().rows;
    let over = Event::EndTask(quietus_core::Cause::Completed);
    let ended = tasks
        .iter()
        .find(|task| task.agent == caller("a").agent)
        .unwrap();
    store
        .commit(moving(&store, ended.id, over, NOW).0)
        .await
        .unwrap();
    for (number, expected) in [(100, Ok(())), (101, Err(CommitError::OpenTasks(LIMIT)))] {
        let mut commit = opening(number, "a", NOW).0;
        commit
            .reads
            .push(Read::OpenTasksBelow(caller("a").agent, LIMIT));
        assert_eq!(store.commit(commit).await.map(drop), expected);
    }
}

#[tokio::test]
async fn an_idempotency_key_is_remembered_today_and_tomorrow() {
    let bench = bench();
    let store = &bench.store;
    let at = |days| Timestamp(NOW.0 + days * DAY);
    made(store, using(KEY, NOW)).await;
    for (days, known) in [(0, true), (1, true), (2, false)] {
        let found = store.read().request(KEY, at(days)).unwrap();
        assert_eq!(found.is_some(), known, "after {days} days");
        let again = store
            .commit(resting_on_at(Read::Unused(KEY), at(days)))
            .await;
        assert_eq!(again.is_ok(), !known, "after {days} days");
    }
}

fn resting_on_at(read: Read, now: Timestamp) -> Commit {
    Commit {
        now,
        ..resting_on(vec![read])
    }
}
