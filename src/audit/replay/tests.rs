#![allow(clippy::unwrap_used, clippy::panic)]

use quietus_ledger::{Decision, Draft};
use quietus_policy::PolicyFile;

use super::*;
use crate::archive;
use crate::question::{Question, recorded};

const READ: &str = "orders-db:read:public.orders";
const ADMIN: &str = "orders-db:admin:public.orders";
const EXPORT: &str = "orders-db:export:public.orders";
const POLICIES: &str = r#"
@id("reads") permit (principal in Team::"data", action == Action::"read", resource)
when { principal.tier < 3 && context.ttl <= 600 };
@id("reads-more") permit (principal, action == Action::"read", resource) when { context.time.hour < 12 };
@id("admins") permit (principal, action == Action::"admin", resource);
@id("ask-first") @approval("security") forbid (principal, action == Action::"admin", resource)
unless { context.approved };
"#;

fn set(text: &str) -> PolicySet {
    let (name, text) = ("all.cedar".to_owned(), text.to_owned());
    PolicySet::compile(vec![PolicyFile { name, text }]).unwrap()
}

fn facts() -> quietus_ledger::Facts {
    quietus_ledger::Facts {
        agent_environment: "dev".to_owned(),
        approved: false,
        delegation_depth: 0,
        owner: "alice".to_owned(),
        target_environment: "dev".to_owned(),
        target_kind: "jwt".to_owned(),
        target_sensitivity: 1,
        task_age: 5,
        task_environment: "dev".to_owned(),
        task_held: false,
        task_leases: 0,
        team: "data".to_owned(),
        tier: 1,
        time: 1_800_000_000,
        ttl: 300,
    }
}

/// What the broker would write of a request for these scopes.
fn asked(set: &PolicySet, scopes: &[&str], facts: quietus_ledger::Facts) -> Entry {
    let agent = "spiffe://dev.example/agent/builder";
    let decide = |scope: &&str| {
        let scope = scope.parse().unwrap();
        let question = Question::new(agent, "orders-db".parse().unwrap(), facts.clone());
        recorded(&set.decide(&question.request(&scope)))
    };
    let decisions: Vec<Decision> = scopes.iter().map(decide).collect();
    let denied = decisions.iter().any(|d| d.outcome != "permit");
    let lease = quietus_ledger::Lease {
        id: "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0".to_owned(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        state: "Active".to_owned(),
        target: "orders-db".to_owned(),
        ..Default::default()
    };
    Entry {
        agent: Some(agent.to_owned()),
        broker: "spiffe://dev.example/broker".to_owned(),
        decisions,
        event: if denied {
            "request.refused"
        } else {
            "lease.issued"
        }
        .to_owned(),
        facts: Some(facts),
        leases: Vec::from_iter((!denied).then_some(lease)),
        policy: Some(Digest(set.digest()).to_string()),
        refusal: denied.then(|| "DENIED_BY_POLICY".to_owned()),
        task: Some(quietus_ledger::Task {
            id: "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55".to_owned(),
            state: "Open".to_owned(),
            version: 2,
            ..Default::default()
        }),
        time: 1_800_000_000_000,
        v: quietus_ledger::VERSION,
        ..Entry::default()
    }
}

fn loaded(set: &PolicySet) -> Entry {
    Entry {
        broker: "spiffe://dev.example/broker".to_owned(),
        event: "policy.loaded".to_owned(),
        policy: Some(Digest(set.digest()).to_string()),
        v: quietus_ledger::VERSION,
        ..Entry::default()
    }
}

type Archives<'a> = &'a [(Digest, Vec<u8>)];

fn replayed(mut replay: Replay, entries: &[Entry], archives: Archives<'_>) -> Replayed {
    for (seq, entry) in (1..).zip(entries) {
        let bytes = Draft::new(entry).unwrap().seal(seq);
        let sealed = replay.read(seq, &bytes).unwrap();
        if let Some(digest) = replay.wants(&sealed.entry) {
            let found = archives.iter().find(|(name, _)| *name == digest);
            replay.supply(digest, found.map(|(_, archive)| archive.as_slice()));
        }
        replay.take(&sealed);
    }
    replay.finish().unwrap()
}

fn archived(sets: &[&PolicySet]) -> Vec<(Digest, Vec<u8>)> {
    let one = |set: &&PolicySet| (Digest(set.digest()), archive::pack(set).unwrap());
    sets.iter().map(one).collect()
}

/// The only finding.
#[track_caller]
fn found(entries: &[Entry], archives: Archives<'_>) -> String {
    let replayed = replayed(Replay::new(None, None), entries, archives);
    assert_eq!(replayed.finding_count, 1, "{replayed:?}");
    let finding = &replayed.findings[0];
    assert_eq!(finding.entry, entries.len() as u64);
    finding.problem.to_string()
}

/// What is found when one thing of a grant is altered.
#[track_caller]
fn altered(scopes: &[&str], alter: impl FnOnce(&mut Entry)) -> String {
    let set = set(POLICIES);
    let mut entry = asked(&set, scopes, facts());
    alter(&mut entry);
    found(&[loaded(&set), entry], &archived(&[&set]))
}

#[test]
fn what_was_decided_is_decided_again() {
    let (first, second) = (set(POLICIES), set("permit(principal, action, resource);"));
    let cheap = quietus_ledger::Facts {
        ttl: 6_000,
        time: 1_800_000_000 + 12 * 3_600,
        ..facts()
    };
    let entries = [
        loaded(&first),
        asked(&first, &[READ], facts()),
        asked(&first, &[READ, ADMIN, EXPORT], facts()),
        asked(&first, &[READ], cheap),
        loaded(&second),
        asked(&second, &[EXPORT, ADMIN], facts()),
        // Decided before the reload, and recorded after it.
        asked(&first, &[EXPORT], facts()),
    ];
    let replayed = replayed(
        Replay::new(None, None),
        &entries,
        &archived(&[&first, &second]),
    );
    assert_eq!(replayed.findings, []);
    assert_eq!(
        (
            replayed.entries,
            replayed.decisions,
            replayed.first,
            replayed.last
        ),
        (5, 8, Some(1), Some(7))
    );
    let outcomes: Vec<_> = replayed.outcomes.iter().map(|(o, n)| (&**o, *n)).collect();
    assert_eq!(
        outcomes,
        [("approval_needed", 1), ("deny", 3), ("permit", 4)]
    );
    assert_eq!(replayed.changes, None);
}

#[test]
fn an_approval_is_a_fact_like_any_other() {
    let set = set(POLICIES);
    let approved = quietus_ledger::Facts {
        approved: true,
        ..facts()
    };
    let entry = asked(&set, &[ADMIN], approved);
    assert_eq!(entry.decisions[0].outcome, "permit");
    let replayed = replayed(Replay::new(None, None), &[entry], &archived(&[&set]));
    assert_eq!((replayed.finding_count, replayed.decisions), (0, 1));
}

#[test]
fn an_altered_outcome_is_found() {
    let problem = altered(&[EXPORT, READ], |entry| {
        entry.decisions[1].outcome = "deny".to_owned();
    });
    assert_eq!(
        problem,
        format!(
            "{READ} was recorded as deny by reads, reads-more, and is permit by reads, reads-more"
        )
    );
}

#[test]
fn altered_deciding_policies_are_found() {
    let fewer = altered(&[READ], |entry| drop(entry.decisions[0].deciding.pop()));
    assert!(
        fewer.contains("permit by reads, and is permit by reads, reads-more"),
        "{fewer}"
    );
    altered(&[READ], |entry| entry.decisions[0].deciding.reverse());
    altered(&[EXPORT], |entry| {
        entry.decisions[0].deciding.push("x".to_owned());
    });
}

#[test]
fn altered_facts_are_found_when_they_matter() {
    let facts: [fn(&mut quietus_ledger::Facts); 5] = [
        |facts| facts.ttl = 601,
        |facts| facts.tier = 3,
        |facts| facts.team = "ops".to_owned(),
        |facts| facts.time += 12 * 3_600,
        |facts| facts.ttl = u64::from(u32::MAX),
    ];
    for alter in facts {
        altered(&[READ], |entry| alter(entry.facts.as_mut().unwrap()));
    }
    altered(&[ADMIN], |entry| {
        entry.facts.as_mut().unwrap().approved = true;
    });
}

type Alter = fn(&mut Entry);

#[test]
fn what_cannot_be_decided_again_is_found() {
    let cases: [(Alter, &str); 5] = [
        (|entry| entry.facts = None, "facts that they rest on"),
        (|entry| entry.agent = None, "no agent"),
        (|entry| entry.policy = None, "no digest"),
        (|entry| entry.policy = Some("AB".to_owned()), "no digest"),
        (
            |entry| entry.policy = Some("ab".repeat(32)),
            "is not archived",
        ),
    ];
    for (alter, told) in cases {
        let problem = altered(&[EXPORT], alter);
        assert!(problem.contains(told), "{problem}");
    }
    let problem = altered(&[EXPORT], |entry| {
        entry.decisions[0].scope = "orders-db".to_owned();
    });
    assert!(problem.contains("is no scope"), "{problem}");
}

#[test]
fn a_grant_without_a_permit_is_found() {
    let set = set(POLICIES);
    let archives = archived(&[&set]);
    let mut bare = asked(&set, &[READ], facts());
    bare.decisions.clear();
    let run = |entry: Entry| {
        let replayed = replayed(Replay::new(None, None), &[entry], &archives);
        let told = replayed.findings.iter();
        told.map(|finding| finding.problem.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let told = run(bare);
    assert!(told.contains("no decision is recorded"), "{told}");
    let mut wider = asked(&set, &[READ], facts());
    wider.leases[0].scopes.push(ADMIN.to_owned());
    let told = run(wider);
    assert_eq!(
        told,
        format!("a credential for {ADMIN} was granted, and no decision permits it")
    );
    let mut forced = asked(&set, &[EXPORT], facts());
    forced.event = "lease.renewed".to_owned();
    forced.leases = asked(&set, &[READ], facts()).leases;
    assert!(run(forced).contains(READ));
}

#[test]
fn refusals_and_decisions_go_together() {
    let permitted = altered(&[READ], |entry| {
        entry.event = "request.refused".to_owned();
        entry.refusal = Some("DENIED_BY_POLICY".to_owned());
    });
    assert!(permitted.contains("no decision denies it"), "{permitted}");
    let other = altered(&[EXPORT], |entry| entry.refusal = Some("FROZEN".to_owned()));
    assert!(other.contains("policy did not permit it"), "{other}");
    let bare = altered(&[EXPORT], |entry| {
        entry.decisions.clear();
        entry.refusal = None;
    });
    assert!(bare.contains("it has facts"), "{bare}");
}

#[test]
fn a_grant_by_another_policy_set_than_that_in_force_is_found() {
    let (old, new) = (set(POLICIES), set("permit(principal, action, resource);"));
    let entries = [loaded(&old), loaded(&new), asked(&old, &[READ], facts())];
    let problem = found(&entries, &archived(&[&old, &new]));
    assert!(problem.contains("was in force"), "{problem}");
}

#[test]
fn a_policy_set_under_a_wrong_digest_is_found() {
    let (used, other) = (set(POLICIES), set("permit(principal, action, resource);"));
    let entry = asked(&used, &[READ], facts());
    let name = Digest(used.digest());
    let swapped = [(name, archive::pack(&other).unwrap())];
    let problem = found(std::slice::from_ref(&entry), &swapped);
    let told = format!("its digest is {}", Digest(other.digest()));
    assert!(
        problem.contains(&told) || problem.contains("archived wrongly"),
        "{problem}"
    );
    for broken in [&b"{}"[..], b"[", b"{\"a.cedar\":\"permit\"}"] {
        let archives = [(name, broken.to_vec())];
        found(std::slice::from_ref(&entry), &archives);
    }
    assert!(found(&[entry], &[]).contains("is not archived"));
}

#[test]
fn entries_that_are_none_or_out_of_place_are_found() {
    let mut replay = Replay::new(None, None);
    let bytes = Draft::new(&loaded(&set(""))).unwrap().seal(2);
    assert!(replay.read(1, &bytes).is_none());
    assert!(replay.read(2, b"{}").is_none());
    assert!(replay.read(2, &bytes).is_some());
    let replayed = replay.finish().unwrap();
    assert_eq!(replayed.finding_count, 2);
    assert_eq!((replayed.first, replayed.last), (Some(1), Some(2)));
}

#[test]
fn more_policy_sets_than_are_kept_are_compiled_again() {
    let sets: Vec<_> = (0..20)
        .map(|n| {
            set(&format!(
                "@id(\"p{n}\") permit(principal, action, resource);"
            ))
        })
        .collect();
    let entries: Vec<Entry> = (0..3)
        .flat_map(|_| &sets)
        .flat_map(|set| [loaded(set), asked(set, &[READ], facts())])
        .collect();
    let archives = archived(&sets.iter().collect::<Vec<_>>());
    let replayed = replayed(Replay::new(None, None), &entries, &archives);
    assert_eq!((replayed.finding_count, replayed.decisions), (0, 60));
}

#[test]
fn findings_are_counted_beyond_those_that_are_told() {
    let set = set(POLICIES);
    let mut entry = asked(&set, &[EXPORT], facts());
    entry.decisions[0].deciding.push("x".to_owned());
    let entries = vec![entry; MAX_FINDINGS + 5];
    let replayed = replayed(Replay::new(None, None), &entries, &archived(&[&set]));
    assert_eq!(replayed.finding_count, MAX_FINDINGS as u64 + 5);
    assert_eq!(replayed.findings.len(), MAX_FINDINGS);
}

#[test]
fn another_policy_is_compared_by_agent_and_scope() {
    let was = set(POLICIES);
    let mut other = asked(&was, &[READ], facts());
    other.agent = Some("spiffe://dev.example/agent/another".to_owned());
    let entries = [
        asked(&was, &[READ, EXPORT], facts()),
        asked(&was, &[READ], facts()),
        other,
        asked(&was, &[ADMIN], facts()),
    ];
    let text = r#"
        @id("no-builder") forbid (principal == Agent::"spiffe://dev.example/agent/builder", action == Action::"read", resource);
        @id("exports") permit (principal, action in [Action::"read", Action::"export"], resource);"#;
    // The archive is not asked for anything.
    let told = replayed(Replay::new(None, Some(set(text))), &entries, &[]);
    assert_eq!((told.finding_count, told.decisions), (0, 5));
    let changes: Vec<_> = told
        .changes
        .unwrap()
        .into_iter()
        .map(|c| {
            (
                c.scope,
                c.was,
                c.would_be,
                c.deciding,
                c.decisions,
                c.first,
                c.last,
            )
        })
        .collect();
    let change = |scope: &str, was: &str, would_be: &str, by: &[&str], n, first, last| {
        let by = by.iter().map(ToString::to_string).collect();
        (
            scope.to_owned(),
            was.to_owned(),
            would_be.to_owned(),
            by,
            n,
            first,
            last,
        )
    };
    assert_eq!(
        changes,
        [
            change(ADMIN, "approval_needed", "deny", &[], 1, 4, 4),
            change(EXPORT, "deny", "permit", &["exports"], 1, 1, 1),
            change(READ, "permit", "deny", &["no-builder"], 2, 1, 2),
        ]
    );
}

#[test]
fn under_the_same_policy_nothing_changes() {
    let was = set(POLICIES);
    let entries = [asked(&was, &[READ, EXPORT, ADMIN], facts())];
    let told = replayed(Replay::new(None, Some(set(POLICIES))), &entries, &[]);
    assert_eq!(told.changes, Some(Vec::new()));
}

#[test]
fn of_one_task_only() {
    let set = set(POLICIES);
    let mut other = asked(&set, &[EXPORT], facts());
    let task = other.task.as_mut().unwrap();
    task.id = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a56".to_owned();
    other.decisions[0].outcome = "permit".to_owned();
    let entries = [asked(&set, &[READ], facts()), other];
    let only: TaskId = entries[0].task.as_ref().unwrap().id.parse().unwrap();
    let told = replayed(Replay::new(Some(only), None), &entries, &archived(&[&set]));
    assert_eq!((told.finding_count, told.decisions), (0, 1));
}

#[test]
fn a_sample_replays() {
    let scope = READ.parse().unwrap();
    for text in [POLICIES, ""] {
        let sample = sample::Sample::new(&set(text), &scope, 40).unwrap();
        assert_eq!(sample.replay().unwrap().decisions, 40);
    }
}
