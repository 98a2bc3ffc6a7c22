//! Finds the policies whose scope clauses a request meets, without looking at the others.

use std::collections::HashMap;

use quietus_core::Action;

use crate::facts::Request;
use crate::scope::{Principal, Resource, ScopeClauses, resource_id};

/// Policies by the actions, principals and resources that they are about.
#[derive(Default)]
pub(crate) struct Index {
    actions: [Bits; Action::ALL.len()],
    any_principal: Bits,
    agents: Keyed,
    teams: Keyed,
    trust_domains: Keyed,
    any_resource: Bits,
    resources: Keyed,
    targets: Keyed,
}

type Keyed = HashMap<String, Vec<usize>>;

impl Index {
    /// Indexes policies by their position.
    pub(crate) fn new<'a>(policies: impl ExactSizeIterator<Item = &'a ScopeClauses>) -> Self {
        let empty = Bits::with_room_for(policies.len());
        let mut index = Self {
            actions: std::array::from_fn(|_| empty.clone()),
            any_principal: empty.clone(),
            any_resource: empty,
            ..Self::default()
        };
        for (position, clauses) in policies.enumerate() {
            index.insert(position, clauses);
        }
        index
    }

    /// The positions of every policy whose scope clauses the request meets, in order.
    pub(crate) fn candidates(&self, request: &Request<'_>) -> impl Iterator<Item = usize> {
        let agent = request.agent;
        let mut found = self.any_principal.clone();
        found.set_all(self.agents.get(&agent.id));
        found.set_all(self.teams.get(&agent.team));
        found.set_all(self.trust_domains.get(&agent.trust_domain));
        let mut about = self.any_resource.clone();
        about.set_all(self.resources.get(&resource_id(request)));
        about.set_all(self.targets.get(request.scope.target().as_str()));
        found.keep(&about);
        found.keep(&self.actions[request.scope.action() as usize]);
        found.into_positions()
    }

    fn insert(&mut self, position: usize, clauses: &ScopeClauses) {
        for action in &clauses.actions {
            self.actions[*action as usize].set(position);
        }
        match &clauses.principal {
            Principal::Any => self.any_principal.set(position),
            Principal::Agent(id) => push(&mut self.agents, id, position),
            Principal::Team(id) => push(&mut self.teams, id, position),
            Principal::TrustDomain(id) => push(&mut self.trust_domains, id, position),
        }
        match &clauses.resource {
            Resource::Any => self.any_resource.set(position),
            Resource::One(id) => push(&mut self.resources, id, position),
            Resource::InTarget(id) => push(&mut self.targets, id, position),
        }
    }
}

fn push(keyed: &mut Keyed, id: &str, position: usize) {
    keyed.entry(id.to_owned()).or_default().push(position);
}

/// A set of small numbers.
#[derive(Clone, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn with_room_for(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn set(&mut self, position: usize) {
        self.0[position / 64] |= 1 << (position % 64);
    }

    fn set_all(&mut self, positions: Option<&Vec<usize>>) {
        for position in positions.into_iter().flatten() {
            self.set(*position);
        }
    }

    fn keep(&mut self, other: &Self) {
        for (word, mask) in self.0.iter_mut().zip(&other.0) {
            *word &= mask;
        }
    }

    fn into_positions(self) -> impl Iterator<Item = usize> {
        let words = self.0.into_iter().enumerate();
        words.flat_map(|(at, word)| ones(word).map(move |bit| at * 64 + bit))
    }
}

fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then_some(word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_in_order() {
        let mut bits = Bits::with_room_for(200);
        let positions = vec![199, 0, 64, 63, 128, 1];
        bits.set_all(Some(&positions));
        let back: Vec<usize> = bits.into_positions().collect();
        assert_eq!(back, [0, 1, 63, 64, 128, 199]);
    }
}
