//! Standing refusals (freezes) and floors, the one-commit kill switch behind a wide revocation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AgentId, TargetName, Timestamp};

/// What a freeze or a wide revocation covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Selector {
    /// Everything.
    All,
    /// Every agent of a trust domain.
    TrustDomain(String),
    /// One agent.
    Agent(AgentId),
    /// Every credential for one target.
    Target(TargetName),
}

/// A standing refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who ordered it.
    pub by: AgentId,
    /// When.
    pub at: Timestamp,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A wide revocation in progress: what was opened or issued before `epoch` is dead at once, and a sweep ends it
/// one by one. The floor goes when the sweep is through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// What is older than this is revoked.
    pub epoch: u64,
    /// The operator who ordered it.
    pub by: AgentId,
}

/// All freezes and floors. They change together under one epoch, which every grant reads: so each grant comes
/// wholly before or wholly after each change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    /// Counts changes.
    pub epoch: u64,
    /// Standing refusals.
    pub freezes: BTreeMap<Selector, Freeze>,
    /// Wide revocations in progress.
    pub floors: BTreeMap<Selector, Floor>,
}

impl Selector {
    /// Whether it covers this agent, or a credential of this agent's for this target.
    pub fn covers(&self, agent: &AgentId, target: Option<&TargetName>) -> bool {
        match self {
            Self::All => true,
            Self::TrustDomain(domain) => agent.trust_domain() == domain,
            Self::Agent(id) => agent == id,
            Self::Target(name) => target == Some(name),
        }
    }
}

impl Guards {
    /// The freeze that forbids this agent a new task, or a credential for this target.
    pub fn frozen(
        &self,
        agent: &AgentId,
        target: Option<&TargetName>,
    ) -> Option<(&Selector, &Freeze)> {
        self.freezes
            .iter()
            .find(|(selector, _)| selector.covers(agent, target))
    }

    /// The floor under which something of this epoch has fallen.
    pub fn fallen(
        &self,
        agent: &AgentId,
        target: Option<&TargetName>,
        epoch: u64,
    ) -> Option<(&Selector, &Floor)> {
        self.floors
            .iter()
            .find(|(selector, floor)| epoch < floor.epoch && selector.covers(agent, target))
    }

    /// With nothing changed but the epoch: grants that were decided before are decided anew.
    pub fn touched(mut self) -> Self {
        self.epoch += 1;
        self
    }

    /// With a freeze added or replaced.
    pub fn freeze(mut self, selector: Selector, freeze: Freeze) -> Self {
        self.epoch += 1;
        self.freezes.insert(selector, freeze);
        self
    }

    /// With a freeze lifted; none if there was none.
    pub fn thaw(mut self, selector: &Selector) -> Option<Self> {
        self.freezes.remove(selector)?;
        self.epoch += 1;
        Some(self)
    }

    /// With everything that the selector covers revoked from here on down.
    pub fn revoke(mut self, selector: Selector, by: AgentId) -> Self {
        self.epoch += 1;
        let floor = Floor {
            epoch: self.epoch,
            by,
        };
        self.floors.insert(selector, floor);
        self
    }

    /// With a floor removed whose sweep is through. A floor that was raised meanwhile stays.
    pub fn swept(mut self, selector: &Selector, epoch: u64) -> Option<Self> {
        let floor = self.floors.get(selector)?;
        if floor.epoch != epoch {
            return None;
        }
        self.floors.remove(selector);
        self.epoch += 1;
        Some(self)
    }
}
