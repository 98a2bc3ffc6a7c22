//! The order in the ledger: the judge of everything that happened at once.

use std::collections::BTreeMap;

use quietus_core::{AgentId, Selector};
use quietus_ledger::{Entry, Sealed};

use crate::inside::replay::{selector_of, task_of};

/// Where in the ledger a lease began and ended.
struct Life {
    agent: AgentId,
    target: String,
    opened: u64,
    issued: u64,
    ended: Option<u64>,
}

/// For each wide revocation: what it covers and was there before it had ended when its sweep was through, and what
/// came after belongs to a task (for a target: is a lease) from after it. Between a freeze and its thaw nothing
/// that it covers is granted.
pub fn every_lease_is_wholly_before_or_after(entries: &[Sealed]) {
    let lives = lives(entries);
    let mut revocations = 0;
    for (at, selector, through) in orders(entries, "revoke.ordered", "revoke.swept") {
        revocations += 1;
        for life in lives.iter().filter(|life| life.is_covered_by(&selector)) {
            let root = match selector {
                Selector::Target(_) => life.issued,
                _ => life.opened,
            };
            let before =
                root < at && life.issued < at && life.ended.is_some_and(|end| end < through);
            assert!(
                before || root > at,
                "a lease of entry {} lived through {at}",
                life.issued
            );
        }
    }
    assert!(revocations > 500);
    for (at, selector, through) in orders(entries, "freeze.set", "freeze.lifted") {
        for sealed in &entries[at as usize..through as usize] {
            let grants = ["task.opened", "lease.issued", "lease.renewed"];
            let granted = grants.contains(&sealed.entry.event.as_str());
            assert!(
                !(granted && covers(&selector, &sealed.entry)),
                "entry {}",
                sealed.seq
            );
        }
    }
}

fn lives(entries: &[Sealed]) -> Vec<Life> {
    let mut opened = BTreeMap::new();
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for Sealed { entry, seq } in entries {
        if entry.event == "task.opened" {
            opened.insert(task_of(entry).id.clone(), *seq);
        }
        for lease in &entry.leases {
            let life = lives.entry(lease.id.clone()).or_insert_with(|| Life {
                agent: AgentId(entry.agent.clone().unwrap()),
                target: lease.target.clone(),
                opened: opened[&task_of(entry).id],
                issued: *seq,
                ended: None,
            });
            if lease.state == "Ended" {
                life.ended = life.ended.or(Some(*seq));
            }
        }
    }
    lives.into_values().collect()
}

/// Each order, what it covers, and where it was through.
fn orders(entries: &[Sealed], from: &str, to: &str) -> Vec<(u64, Selector, u64)> {
    let mut standing = BTreeMap::new();
    let mut orders = Vec::new();
    for Sealed { entry, seq } in entries {
        if entry.event == from {
            // An order given again counts from its first time.
            standing.entry(selector_of(entry)).or_insert(*seq);
        } else if entry.event == to {
            let name = selector_of(entry);
            let at = standing.remove(&name).unwrap();
            orders.push((at, parse(&name), *seq));
        }
    }
    assert!(standing.is_empty());
    orders
}

fn parse(name: &str) -> Selector {
    match name.split_once('=').unwrap() {
        ("all", _) => Selector::All,
        ("trust_domain", domain) => Selector::TrustDomain(domain.to_owned()),
        ("agent", id) => Selector::Agent(AgentId(id.to_owned())),
        (_, target) => Selector::Target(target.parse().unwrap()),
    }
}

fn covers(selector: &Selector, entry: &Entry) -> bool {
    let agent = AgentId(entry.agent.clone().unwrap());
    let target = entry
        .leases
        .first()
        .map(|lease| lease.target.parse().unwrap());
    selector.covers(&agent, target.as_ref())
}

impl Life {
    fn is_covered_by(&self, selector: &Selector) -> bool {
        selector.covers(&self.agent, Some(&self.target.parse().unwrap()))
    }
}
