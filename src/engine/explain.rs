//! What policy would say, and why, without granting anything.

use std::time::Duration;

use quietus_core::{Scope, TaskId};
use quietus_policy::{Explanation, TaskFacts};

use super::decide::task_facts;
use super::{Engine, Error};
use crate::question::outcome_word;

/// One scope's explanation.
#[derive(Debug)]
pub struct Explained {
    /// The scope.
    pub scope: Scope,
    /// What policy says of it, and why.
    pub explanation: Explanation,
}

impl Explained {
    /// permit, deny or approval_needed
    pub fn outcome(&self) -> &'static str {
        outcome_word(self.explanation.decision.outcome())
    }
}

impl Engine {
    /// Explains what this agent would be told: under a given task, or under one just opened.
    pub fn explain(
        &self,
        agent: &str,
        scopes: &[Scope],
        ttl: Option<Duration>,
        task: Option<TaskId>,
    ) -> Result<(String, Vec<Explained>), Error> {
        if scopes.is_empty() {
            return Err(Error::invalid("scopes", "name at least one"));
        }
        let most = self.config.limits.scopes_per_request;
        if scopes.len() > most {
            return Err(Error::invalid(
                "scopes",
                format!("at most {most} at a time"),
            ));
        }
        let now = self.now();
        let facts = match task {
            Some(id) => task_facts(&self.show_task(id)?.0, now),
            None => self.fresh_task(agent)?,
        };
        let mut digest = String::new();
        let mut explained = Vec::new();
        for scope in scopes {
            let question = self.question(agent, scope.target(), facts.clone(), ttl, now)?;
            digest = question.digest();
            explained.push(Explained {
                scope: scope.clone(),
                explanation: question.explain(scope),
            });
        }
        Ok((digest, explained))
    }

    fn fresh_task(&self, agent: &str) -> Result<TaskFacts, Error> {
        let entry = self.config.agent(agent).ok_or(Error::NotFound("agent"))?;
        Ok(TaskFacts {
            age_seconds: 0,
            environment: entry.environment.clone(),
            live_leases: 0,
            held: false,
            delegation_depth: 0,
        })
    }
}
