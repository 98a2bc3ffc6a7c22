use std::collections::BTreeSet;

use quietus::audit::replay::{Replayed, replay};
use quietus::audit::walk::Range;
use quietus::engine::read_policies;
use quietus_core::{Digest, TaskId};
use quietus_ledger::Sealed;
use quietus_policy::{PolicyFile, PolicySet};

use crate::asked::{Asked, POLICIES};
use crate::common::*;
use crate::rng::Rng;

async fn replayed(asked: &Asked, range: Range, task: Option<TaskId>) -> Replayed {
    let mut log = asked.log();
    replay(&mut log, range, task, None, |_| {}).await.unwrap()
}

async fn under(asked: &Asked, policies: PolicySet) -> Replayed {
    let mut log = asked.log();
    let told = replay(&mut log, Range::default(), None, Some(policies), |_| {});
    told.await.unwrap()
}

fn ledger(asked: &Asked) -> Vec<Sealed> {
    let store = asked.serving.engine.store();
    let rows = store.read().entries(1, usize::MAX).unwrap();
    rows.iter().map(|row| Sealed::parse(row).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_decided_is_decided_again() {
    for seed in 1..=3 {
        let mut asked = Asked::new().await;
        let mut rng = Rng::new(seed);
        for _ in 0..200 {
            asked.round(&mut rng).await;
        }
        let replayed = replayed(&asked, Range::default(), None).await;
        assert_eq!(replayed.findings, [], "seed {seed}");
        assert_eq!(
            (replayed.first, replayed.last),
            (Some(1), Some(asked.size()))
        );
        let entries = ledger(&asked);
        let decisions: usize = entries.iter().map(|e| e.entry.decisions.len()).sum();
        assert_eq!(replayed.decisions, decisions as u64);
        let sets: BTreeSet<_> = entries
            .iter()
            .filter(|sealed| !sealed.entry.decisions.is_empty())
            .map(|sealed| &sealed.entry.policy)
            .collect();
        let kinds = replayed.outcomes.len();
        assert!(kinds == 3 && sets.len() > 2, "seed {seed}: {replayed:?}");
        for event in ["lease.issued", "lease.renewed", "request.refused"] {
            let told = entries
                .iter()
                .any(|e| e.entry.event == event && !e.entry.decisions.is_empty());
            assert!(told, "seed {seed}: no {event}");
        }
        asked.serving.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_tasks_are_replayed_by_themselves() {
    let mut asked = Asked::new().await;
    let mut rng = Rng::new(9);
    for agent in 0..2 {
        asked.open(agent).await;
    }
    let (agent, task) = asked.task();
    for _ in 0..5 {
        asked.ask(agent, &task, &[READ], 60).await;
        asked.round(&mut rng).await;
    }
    let entries = ledger(&asked);
    let of_task = |sealed: &&Sealed| sealed.entry.task.as_ref().is_some_and(|t| t.id == task);
    let decided = |sealed: &Sealed| sealed.entry.decisions.len() as u64;
    let one = replayed(&asked, Range::default(), Some(task.parse().unwrap())).await;
    let expected: u64 = entries.iter().filter(of_task).map(decided).sum();
    assert_eq!((one.finding_count, one.decisions), (0, expected));

    let range = Range {
        from: 4,
        to: Some(8),
    };
    let some = replayed(&asked, range, None).await;
    let expected: u64 = entries[3..8].iter().map(decided).sum();
    assert_eq!((some.finding_count, some.decisions), (0, expected));
    assert_eq!((some.first, some.last), (Some(4), Some(8)));
    let beyond = Range {
        from: asked.size() + 1,
        to: None,
    };
    assert_eq!(replayed(&asked, beyond, None).await, Replayed::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_that_are_kept_beside_their_entry_are_replayed() {
    let mut asked = Asked::new().await;
    let permits = (0..400).map(|n| {
        format!("@id(\"permit-for-everybody-and-everything-that-there-is-{n:04}\") permit (principal, action, resource);\n")
    });
    asked.adopt(&permits.collect::<String>()).await;
    asked.open(0).await;
    let (agent, task) = asked.task();
    let scopes: Vec<String> = (0..16)
        .map(|n| format!("orders-db:read:public.t{n}"))
        .collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    asked.ask(agent, &task, &scopes, 60).await;
    let entries = ledger(&asked);
    let last = entries.last().unwrap();
    assert_eq!(last.entry.attached["decisions"].count, 16, "{last:?}");
    let replayed = replayed(&asked, Range::default(), None).await;
    assert_eq!((replayed.findings, replayed.decisions), (vec![], 16));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_is_asked_what_it_would_have_said() {
    let mut asked = Asked::new().await;
    let mut rng = Rng::new(3);
    for _ in 0..60 {
        asked.round(&mut rng).await;
    }
    let entries = ledger(&asked);
    let text = POLICIES[2].to_owned();
    let name = "nothing.cedar".to_owned();
    let nothing = PolicySet::compile(vec![PolicyFile { name, text }]).unwrap();
    let told = under(&asked, nothing).await;
    let lost = told.changes.unwrap();
    let decisions = entries.iter().flat_map(|sealed| &sealed.entry.decisions);
    let not_denied = decisions.filter(|decision| decision.outcome != "deny");
    let sum: u64 = lost.iter().map(|change| change.decisions).sum();
    assert_eq!(sum, not_denied.count() as u64);
    assert!(lost.iter().all(|change| change.would_be == "deny"));

    // Of the set in force all along, nothing changes.
    let mut steady = Asked::new().await;
    steady.open(0).await;
    let (agent, task) = steady.task();
    steady.ask(agent, &task, &[READ], 60).await;
    steady.ask(agent, &task, &["orders-db:admin:x"], 60).await;
    let same = read_policies(&steady.world.path("policies")).unwrap();
    let told = under(&steady, same).await;
    assert_eq!((told.decisions, told.changes), (2, Some(vec![])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_is_what_the_entries_name() {
    let mut asked = Asked::new().await;
    for policies in POLICIES {
        asked.adopt(policies).await;
    }
    let log = asked.log();
    for sealed in ledger(&asked) {
        if sealed.entry.event == "policy.loaded" {
            let named: Digest = sealed.entry.policy.unwrap().parse().unwrap();
            let archive = log.policy_set(named).await.unwrap().unwrap();
            let set = quietus::archive::unpack(&archive).unwrap();
            assert_eq!(Digest(set.digest()), named);
        }
    }
    assert_eq!(log.policy_set(Digest([7; 32])).await.unwrap(), None);
}
