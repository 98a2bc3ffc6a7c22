//! A log such as a broker writes, and the copy of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use quietus_ledger::audit::{self, Beside, Report, Trust};
use quietus_ledger::merkle::{Leaves, leaf, root};
use quietus_ledger::tiles::{Kind, bundle};
use quietus_ledger::*;
use ring::signature::Ed25519KeyPair;

pub const ORIGIN: &str = "audit.example/broker";
pub const BROKER: &str = "spiffe://audit.example/broker";
pub const START: u64 = 1_800_000_000_000;
pub const POLICY: &str = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";

/// A copy, by path.
#[derive(Clone, Debug, Default)]
pub struct Copy(pub BTreeMap<String, Vec<u8>>);

impl Copy {
    pub fn verify(&self) -> Report {
        self.verify_beside(&Beside::default())
    }

    pub fn verify_beside(&self, beside: &Beside) -> Report {
        audit::verify(&self.0, trust(), beside, |_, _| ()).unwrap()
    }

    /// The words of what is found.
    pub fn words(&self) -> Vec<&'static str> {
        words(&self.verify())
    }
}

pub fn words(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(audit::Finding::word).collect()
}

pub fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub fn verifier() -> Verifier {
    let pair = pair(1);
    Signer::new(ORIGIN, &pair).unwrap().verifier().clone()
}

pub fn trust() -> Trust {
    Trust {
        log: vec![verifier()],
        origin: Some(ORIGIN.to_owned()),
        ..Trust::default()
    }
}

/// The policy set as it is archived.
const ARCHIVE: &[u8] = b"{\"readers.cedar\":\"permit (principal, action, resource);\"}";

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digits = digest.as_ref().iter();
    digits.map(|byte| format!("{byte:02x}")).collect()
}

/// The task that an entry is about: each has eight entries.
pub fn task(number: u64) -> String {
    format!("0192f0c1-7d7e-7c3a-9b1d-{:012x}", number / 8)
}

/// Eight kinds of entries, one after the other: the life of a task with two leases.
pub fn entry(number: u64) -> Entry {
    let text = |text: &str| Some(text.to_owned());
    let agent = format!("spiffe://audit.example/agent/{}", number / 8 % 7);
    let task = Task {
        id: task(number),
        previous: number % 8,
        state: if number % 8 < 5 { "Open" } else { "Closed" }.to_owned(),
        version: number % 8 + 1,
        ..Task::default()
    };
    let base = Entry {
        agent: Some(agent.clone()),
        broker: BROKER.to_owned(),
        task: Some(task.clone()),
        time: START + 100 * number,
        v: VERSION,
        ..Entry::default()
    };
    let caller = Some(Caller {
        certificate: POLICY.chars().rev().collect(),
        id: agent,
    });
    match number % 8 {
        0 => Entry {
            caller,
            event: "task.opened".to_owned(),
            task: Some(Task {
                deadline: Some(base.time + 600_000),
                environment: text("dev"),
                purpose: text("restart \"orders\" – ☃\n"),
                ticket: text("OPS-1"),
                ..task
            }),
            ..base
        },
        at @ (1 | 2) => Entry {
            caller,
            decisions: vec![Decision {
                deciding: vec!["readers".to_owned()],
                outcome: "permit".to_owned(),
                scope: "orders-db:read:public.orders".to_owned(),
            }],
            event: "lease.issued".to_owned(),
            facts: Some(facts(base.time)),
            leases: vec![Lease {
                bound: text("policy"),
                expires_at: Some(base.time + 300_000),
                scopes: vec!["orders-db:read:public.orders".to_owned()],
                ..lease(number, at - 1, "Active")
            }],
            policy: text(POLICY),
            request: text(POLICY),
            ..base
        },
        3 => Entry {
            caller,
            event: "request.refused".to_owned(),
            facts: Some(facts(base.time)),
            decisions: vec![Decision {
                deciding: vec![],
                outcome: "deny".to_owned(),
                scope: "orders-db:write:public.orders".to_owned(),
            }],
            policy: text(POLICY),
            refusal: text("DENIED_BY_POLICY"),
            ..base
        },
        4 => Entry {
            event: "lease.renewed".to_owned(),
            leases: vec![lease(number, 0, "Active")],
            ..base
        },
        5 => Entry {
            caller,
            cause: text("completed"),
            event: "task.ended".to_owned(),
            leases: vec![
                Lease {
                    confirmed: text("refused_by_introspection"),
                    ..ended(number, 0, "Ended")
                },
                ended(number, 1, "Revoking"),
            ],
            ..base
        },
        6 => Entry {
            event: "lease.settled".to_owned(),
            leases: vec![Lease {
                confirmed: text("deleted_at_target"),
                ..ended(number, 1, "Ended")
            }],
            ..base
        },
        _ if number == 7 => Entry {
            agent: None,
            detail: BTreeMap::from([("archive".to_owned(), sha256(ARCHIVE))]),
            event: "policy.loaded".to_owned(),
            policy: text(POLICY),
            task: None,
            ..base
        },
        _ => Entry {
            agent: None,
            detail: BTreeMap::from([
                ("reason".to_owned(), "drill".to_owned()),
                ("target".to_owned(), "orders-db".to_owned()),
            ]),
            event: "target.swept".to_owned(),
            task: None,
            ..base
        },
    }
}

fn lease(number: u64, of_task: u64, state: &str) -> Lease {
    Lease {
        id: format!("{}.{of_task}", task(number)),
        state: state.to_owned(),
        target: "orders-db".to_owned(),
        ..Lease::default()
    }
}

fn ended(number: u64, of_task: u64, state: &str) -> Lease {
    Lease {
        cause: Some("task_ended".to_owned()),
        ..lease(number, of_task, state)
    }
}

fn facts(time: u64) -> Facts {
    Facts {
        agent_environment: "dev".to_owned(),
        approved: false,
        delegation_depth: 0,
        owner: "alice".to_owned(),
        target_environment: "dev".to_owned(),
        target_kind: "postgres".to_owned(),
        target_sensitivity: -1,
        task_age: 3,
        task_environment: "dev".to_owned(),
        task_held: true,
        task_leases: 2,
        team: "data".to_owned(),
        tier: 1,
        time: time / 1000,
        ttl: 300,
    }
}

/// The receipt that belongs to a task of [`entry`].
pub fn receipt(number: u64) -> Receipt {
    let first = START + 100 * (number / 8 * 8);
    let credential = |at: u64, end| Credential {
        attempts: 0,
        can_revoke: true,
        cause: "task_ended".to_owned(),
        end,
        ended_at: first + 500,
        expires_at: first + 300_000,
        fingerprint: None,
        issued_at: first + 100 * (at + 1),
        kind: "postgres".to_owned(),
        lease: format!("{}.{at}", task(number)),
        renewals: 0,
        scopes: vec!["orders-db:read:public.orders".to_owned()],
        target: "orders-db".to_owned(),
    };
    let (how, at) = (How::RefusedByIntrospection, first + 500);
    let second = End::Confirmed {
        at: first + 600,
        how: How::DeletedAtTarget,
    };
    Receipt {
        agent: format!("spiffe://audit.example/agent/{}", number / 8 % 7),
        at: first + 700,
        cause: "completed".to_owned(),
        complete: true,
        credentials: vec![
            credential(0, End::Confirmed { at, how }),
            credential(1, second),
        ],
        ended: "Completed".to_owned(),
        ended_at: first + 500,
        environment: "dev".to_owned(),
        issuer: BROKER.to_owned(),
        ledger: pin(100),
        opened_at: first,
        parents: Vec::new(),
        state: receipt::State::Closed,
        task: task(number),
        v: receipt::VERSION,
        version: 1,
    }
}

/// The head of the log of so many entries.
pub fn pin(size: u64) -> receipt::Head {
    let root = head(&leaves(&entries(size)));
    receipt::Head {
        root: root.iter().map(|byte| format!("{byte:02x}")).collect(),
        size,
    }
}

pub fn seal(entry: &Entry, seq: u64) -> Vec<u8> {
    Draft::new(entry).unwrap().seal(seq)
}

/// A log of so many entries.
pub fn entries(count: u64) -> Vec<Vec<u8>> {
    let numbers = 0..count;
    numbers.map(|n| seal(&entry(n), n + 1)).collect()
}

pub fn leaves(entries: &[Vec<u8>]) -> Vec<Hash> {
    entries.iter().map(|entry| leaf(entry)).collect()
}

pub fn head(leaves: &[Hash]) -> Hash {
    root(&Leaves(leaves), leaves.len() as u64).unwrap()
}

pub fn signed(leaves: &[Hash], seed: u8, origin: &str) -> Vec<u8> {
    signed_head(leaves.len() as u64, head(leaves), seed, origin)
}

pub fn signed_head(size: u64, root: Hash, seed: u8, origin: &str) -> Vec<u8> {
    let pair = pair(seed);
    let signer = Signer::new(origin, &pair).unwrap();
    let note = Checkpoint::new(origin, size, root).sign(&[signer]);
    note.unwrap().into_bytes()
}

/// The checkpoint over these entries.
pub fn checkpoint(entries: &[Vec<u8>]) -> Vec<u8> {
    signed(&leaves(entries), 1, ORIGIN)
}

/// Everything but checkpoints: what somebody can make without the log's key.
pub fn unsigned(entries: &[Vec<u8>]) -> Copy {
    let mut row = leaves(entries);
    let mut files = BTreeMap::new();
    for (index, entries) in entries.chunks(256).enumerate() {
        let path = path(Kind::Entries, index, entries.len());
        files.insert(path, bundle(entries).unwrap());
    }
    for level in 0.. {
        if row.is_empty() {
            break;
        }
        for (index, hashes) in row.chunks(256).enumerate() {
            files.insert(
                path(Kind::Hashes(level), index, hashes.len()),
                hashes.concat(),
            );
        }
        let full = row.chunks_exact(256);
        row = full.map(head).collect();
    }
    files.insert(format!("policies/{POLICY}"), ARCHIVE.to_vec());
    Copy(files)
}

/// The copy of this log, with its checkpoints.
pub fn copy(entries: &[Vec<u8>]) -> Copy {
    with_checkpoints(unsigned(entries), entries)
}

/// Puts the checkpoints of one log into a copy.
pub fn with_checkpoints(mut copy: Copy, entries: &[Vec<u8>]) -> Copy {
    let mut tree = Frontier::default();
    for leaf in leaves(entries) {
        tree.push(leaf, |_, _, _| ());
        if tree.size().is_multiple_of(256) {
            let path = format!("checkpoints/{}", tree.size());
            copy.0
                .insert(path, signed_head(tree.size(), tree.root(), 1, ORIGIN));
        }
    }
    let newest = signed_head(tree.size(), tree.root(), 1, ORIGIN);
    copy.0.insert("checkpoint".to_owned(), newest);
    copy
}

fn path(kind: Kind, index: usize, width: usize) -> String {
    let width = u16::try_from(width).unwrap();
    Tile::new(kind, index as u64, width).unwrap().to_string()
}
