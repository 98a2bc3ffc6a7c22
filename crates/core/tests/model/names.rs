//! A few agents, targets and scopes, by number.

use std::time::Duration;

use quietus_core::{AgentId, Digest, Scope, Selector, TargetName};

pub const AGENTS: [&str; 3] = [
    "spiffe://prod.example/coder",
    "spiffe://prod.example/tester",
    "spiffe://lab.example/coder",
];
pub const TARGETS: [&str; 2] = ["orders-db", "mail"];
pub const SCOPES: [&str; 2] = ["read:a", "write:a"];
pub const SELECTORS: u8 = 9;
pub const REASON: &str = "drill";

pub fn operator() -> AgentId {
    AgentId("spiffe://prod.example/operator".to_owned())
}

pub fn agent(who: usize) -> AgentId {
    AgentId(AGENTS[who].to_owned())
}

pub fn target(number: usize) -> TargetName {
    TARGETS[number].parse().unwrap()
}

pub fn scopes(target: usize, scope: usize) -> Vec<Scope> {
    vec![
        format!("{}:{}", TARGETS[target], SCOPES[scope])
            .parse()
            .unwrap(),
    ]
}

pub fn selector(number: u8) -> Selector {
    match number {
        0 => Selector::All,
        1 => Selector::TrustDomain("prod.example".to_owned()),
        2 => Selector::TrustDomain("lab.example".to_owned()),
        3 => Selector::TrustDomain("prod".to_owned()),
        4..=6 => Selector::Agent(agent(usize::from(number) - 4)),
        _ => Selector::Target(target(usize::from(number) - 7)),
    }
}

/// What identifies a credential, by number.
pub fn digest(mark: u8) -> Digest {
    Digest([mark; 32])
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
