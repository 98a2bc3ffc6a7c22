//! From entries to their story.

use quietus_ledger as ledger;
use quietus_ledger::{Entry, Sealed};

use super::{
    Action, At, Credentials, Decision, Ended, LeaseEvent, LeaseStory, Opened, Step, Story,
};

impl Story {
    /// What these entries tell of a task, in their order; none if they do not name it. Lists that were too large for
    /// their entries must have been put back.
    pub fn of(task: &str, entries: &[Sealed]) -> Option<Self> {
        let mut story = Self {
            task: task.to_owned(),
            ..Self::default()
        };
        // Anybody can write the name of another's task into a text.
        let own = entries
            .iter()
            .filter(|sealed| concerns(&sealed.entry, task));
        let mut own = own.peekable();
        let start = own.peek()?.entry.time;
        for sealed in own {
            story.add(sealed, start);
        }
        story.credentials = story.count();
        Some(story)
    }

    fn add(&mut self, sealed: &Sealed, start: u64) {
        let entry = &sealed.entry;
        let at = at(sealed, start);
        if let Some(facts) = &entry.facts {
            self.owner.get_or_insert_with(|| facts.owner.clone());
            self.team.get_or_insert_with(|| facts.team.clone());
        }
        if let Some(trace) = &entry.trace {
            self.trace.get_or_insert_with(|| trace.id.clone());
        }
        let own = entry.task.as_ref().filter(|task| task.id == self.task);
        if let Some(task) = own {
            self.state = Some(task.state.clone());
        }
        match (entry.event.as_str(), own) {
            ("task.opened", Some(task)) => self.opened = Some(opened(entry, task, at)),
            ("task.ended", Some(_)) => {
                self.change(entry, &at, start);
                let cause = entry.cause.clone();
                self.ended = Some(Ended {
                    at: at.clone(),
                    cause,
                });
                self.steps.push(step(entry, at));
            }
            ("lease.issued", _) => {
                let leases = entry.leases.iter().map(|lease| granted(lease, start));
                let leases = leases.collect();
                self.steps.push(Step {
                    leases,
                    ..step(entry, at)
                });
            }
            ("lease.renewed" | "lease.settled", _) => self.change(entry, &at, start),
            ("lease.ended", _) => {
                self.change(entry, &at, start);
                self.steps.push(step(entry, at));
            }
            ("action.recorded", _) => self.act(entry, at),
            _ => self.steps.push(step(entry, at)),
        }
    }

    /// Tells the leases of an entry what happened to them. One that was granted before the story begins is granted here.
    fn change(&mut self, entry: &Entry, at: &At, start: u64) {
        for lease in &entry.leases {
            let event = lease_event(entry, lease, at, start);
            let known = self.lease(&lease.id);
            if known.is_none() {
                let leases = vec![granted(lease, start)];
                self.steps.push(Step {
                    leases,
                    ..step(entry, at.clone())
                });
            }
            if let Some(known) = self.lease(&lease.id) {
                known.change(lease, event, start);
            }
        }
    }

    fn act(&mut self, entry: &Entry, at: At) {
        let Some(reported) = &entry.action else {
            return self.steps.push(step(entry, at));
        };
        let action = action(reported);
        let lease = reported.lease.as_deref().and_then(|id| self.lease(id));
        match lease {
            Some(lease) => lease.events.push(LeaseEvent {
                at,
                action: Some(action),
                ..LeaseEvent::default()
            }),
            None => self.steps.push(Step {
                action: Some(action),
                ..step(entry, at)
            }),
        }
    }

    fn lease(&mut self, id: &str) -> Option<&mut LeaseStory> {
        let leases = self.steps.iter_mut().flat_map(|step| &mut step.leases);
        leases.into_iter().find(|lease| lease.id == id)
    }

    fn count(&self) -> Credentials {
        let mut counted = Credentials::default();
        for lease in self.steps.iter().flat_map(|step| &step.leases) {
            counted.issued += 1;
            match (lease.state.as_str(), &lease.confirmed) {
                (_, Some(_)) => counted.confirmed += 1,
                ("Active" | "Issuing", None) => counted.live += 1,
                _ => counted.unconfirmed += 1,
            }
        }
        counted
    }
}

impl LeaseStory {
    fn change(&mut self, lease: &ledger::Lease, event: LeaseEvent, start: u64) {
        let now = event.at.time_ms;
        self.state.clone_from(&lease.state);
        if let Some(expires) = lease.expires_at {
            self.expires_at_ms = Some(expires);
            self.expires_after_ms = Some(expires.saturating_sub(start));
            self.bound.clone_from(&lease.bound);
        }
        if lease.fingerprint.is_some() {
            self.fingerprint.clone_from(&lease.fingerprint);
        }
        if matches!(lease.state.as_str(), "Revoking" | "Ended") {
            self.ended_at_ms.get_or_insert(now);
        }
        if self.confirmed.is_none() && lease.confirmed.is_some() {
            self.confirmed.clone_from(&lease.confirmed);
            self.lag_ms = self.ended_at_ms.map(|ended| now.saturating_sub(ended));
        }
        self.events.push(event);
    }
}

fn concerns(entry: &Entry, task: &str) -> bool {
    let own = entry.task.as_ref().is_some_and(|fact| fact.id == task);
    own || entry.detail.get("task").is_some_and(|id| id == task)
}

fn at(sealed: &Sealed, start: u64) -> At {
    let entry = &sealed.entry;
    At {
        entry: sealed.seq,
        event: entry.event.clone(),
        time_ms: entry.time,
        after_ms: entry.time.saturating_sub(start),
        by: entry.caller.as_ref().map(|caller| caller.id.clone()),
    }
}

fn opened(entry: &Entry, task: &ledger::Task, at: At) -> Opened {
    let caller = entry.caller.as_ref();
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Opened {
        agent: entry
            .agent
            .clone()
            .or_else(|| at.by.clone())
            .unwrap_or_default(),
        at,
        certificate: caller.map(|caller| caller.certificate.clone()),
        purpose: filled(&task.purpose),
        ticket: filled(&task.ticket),
        environment: filled(&task.environment),
        deadline_ms: task.deadline,
        prompt: task.prompt.clone(),
    }
}

fn step(entry: &Entry, at: At) -> Step {
    let decisions = entry.decisions.iter().map(|decision| Decision {
        scope: decision.scope.clone(),
        outcome: decision.outcome.clone(),
        deciding: decision.deciding.clone(),
    });
    Step {
        at,
        refusal: entry.refusal.clone(),
        cause: entry.cause.clone(),
        policy: entry.policy.clone(),
        decisions: decisions.collect(),
        detail: entry.detail.clone(),
        ..Step::default()
    }
}

fn granted(lease: &ledger::Lease, start: u64) -> LeaseStory {
    LeaseStory {
        id: lease.id.clone(),
        target: lease.target.clone(),
        scopes: lease.scopes.clone(),
        expires_at_ms: lease.expires_at,
        expires_after_ms: lease.expires_at.map(|at| at.saturating_sub(start)),
        bound: lease.bound.clone(),
        fingerprint: lease.fingerprint.clone(),
        certificate: lease.certificate.clone(),
        state: lease.state.clone(),
        ..LeaseStory::default()
    }
}

fn lease_event(entry: &Entry, lease: &ledger::Lease, at: &At, start: u64) -> LeaseEvent {
    let renewed = entry.event == "lease.renewed";
    let expires = lease.expires_at.filter(|_| renewed);
    LeaseEvent {
        at: at.clone(),
        state: Some(lease.state.clone()),
        cause: lease.cause.clone(),
        attempts: lease.attempts,
        error: lease.error.clone(),
        confirmed: lease.confirmed.clone(),
        expires_after_ms: expires.map(|at| at.saturating_sub(start)),
        action: None,
    }
}

fn action(reported: &ledger::Action) -> Action {
    Action {
        tool: reported.tool.clone(),
        resource: reported.resource.clone(),
        result: reported.result.clone(),
        call: reported.call.clone(),
        prompt: reported.prompt.clone(),
        arguments: reported.arguments.clone(),
        response: reported.response.clone(),
        commitment: reported.text.clone(),
        ..Action::default()
    }
}

#[cfg(test)]
mod tests;
