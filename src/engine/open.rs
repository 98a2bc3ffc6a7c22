//! Opening tasks.

use std::time::Duration;

use quietus_core::{Digest, OpenOrder, Outcome, Task, TaskId, Timestamp, open};
use quietus_identity::VerifiedSvid;
use quietus_ledger::Entry;
use ring::rand::{SecureRandom, SystemRandom};

use super::record::drafts;
use super::{Engine, Error, Once, Plan, caller_of};
use crate::store::{Answer, Read};
use crate::telemetry::current;

/// What an agent asks for when it opens a task.
#[derive(Clone, Debug, Default)]
pub struct OpenRequest {
    /// Untrusted text.
    pub purpose: String,
    /// Untrusted text.
    pub ticket: String,
    /// How long it may last.
    pub duration: Option<Duration>,
    /// How often a heartbeat is promised.
    pub heartbeat: Option<Duration>,
    /// SHA-256 of the prompt that it is to carry out.
    pub prompt: Option<Digest>,
}

/// A task, as its agent is told of it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The task.
    pub task: Task,
    /// Which limit set its deadline.
    pub bound: &'static str,
}

const MAX_PURPOSE: usize = 1024;
const MAX_TICKET: usize = 128;

impl Engine {
    /// Opens a task for the agent that this SVID names.
    pub async fn open_task(
        &self,
        svid: &VerifiedSvid,
        request: OpenRequest,
        once: Once,
    ) -> Result<Opened, Error> {
        self.check_open(&request)?;
        let id = self.new_task_id()?;
        let begun = self.begin();
        let plan = || {
            let now = self.now();
            if let Some(Answer::Task(id)) = self.answered(&once, now)? {
                return self.opened_before(id, &request).map(Plan::nothing);
            }
            self.plan_open(svid, id, &request, &once, now)
        };
        match self.settle(plan).await {
            Ok(opened) => {
                let opened = opened?;
                self.trace_opened(begun, &opened.task);
                Ok(opened)
            }
            Err(error) => Err(self.refused_early(svid, None, &once, error).await),
        }
    }

    fn plan_open(
        &self,
        svid: &VerifiedSvid,
        id: TaskId,
        request: &OpenRequest,
        once: &Once,
        now: Timestamp,
    ) -> Result<Plan<Result<Opened, Error>>, Error> {
        let agent = self.registered(svid)?;
        let guards = self.store.guards();
        let order = OpenOrder {
            id,
            caller: caller_of(svid),
            purpose: request.purpose.clone(),
            ticket: request.ticket.clone(),
            environment: agent.environment.clone(),
            // A trace of its own, if its caller works within none, is named after the task.
            trace: current().map_or_else(|| id.to_bytes(), |said| said.trace()),
            duration: request.duration,
            heartbeat: request.heartbeat,
        };
        let limit = self.config.limits.open_tasks_per_agent;
        let caller = order.caller.agent.clone();
        let step = open(&self.rules, &guards, order, now);
        let mut commit = crate::store::Commit {
            now,
            reads: vec![Read::Guards(guards.epoch)],
            grant: true,
            ..Default::default()
        };
        let answer = match (&step.outcome, &step.task) {
            (Outcome::Opened { bound }, Some(task)) => {
                let mut entry = self.entry_of(task, &step, Some(svid), now);
                if let Some(fact) = entry.as_mut().and_then(|entry| entry.task.as_mut()) {
                    fact.prompt = request.prompt.map(|digest| digest.to_string());
                }
                commit.entries = drafts(entry.map(|entry| with_request(entry, once)))?;
                commit.change = self.commit_of(task, &step, now).change;
                // First the key: who repeats a request is told of its task, and not that there is no room for another.
                self.answer_once(&mut commit, once, Answer::Task(id));
                commit.reads.push(Read::OpenTasksBelow(caller, limit));
                Ok(Opened {
                    task: task.clone(),
                    bound: bound.as_str(),
                })
            }
            (Outcome::Refused(refusal), _) => {
                let mut entry = with_request(self.entry("request.refused", Some(svid), now), once);
                entry.agent = Some(caller.0);
                entry.refusal = Some(refusal.reason().to_owned());
                commit.entries = drafts(Some(entry))?;
                let refused = (refusal.reason().to_owned(), refusal.to_string());
                let answer = Answer::Refused(refused.0.clone(), refused.1.clone());
                self.answer_once(&mut commit, once, answer);
                Err(Error::refused(refused.0, refused.1))
            }
            _ => return Err(Error::Busy),
        };
        Ok(Plan { commit, answer })
    }

    fn opened_before(
        &self,
        id: TaskId,
        request: &OpenRequest,
    ) -> Result<Result<Opened, Error>, Error> {
        let task = self.store.read().task(id)?.ok_or(Error::KeyStale)?;
        let as_asked = request
            .duration
            .is_some_and(|asked| asked <= self.rules.max_task);
        let bound = if as_asked { "request" } else { "config" };
        Ok(Ok(Opened { task, bound }))
    }

    fn check_open(&self, request: &OpenRequest) -> Result<(), Error> {
        bounded("purpose", &request.purpose, MAX_PURPOSE)?;
        bounded("ticket", &request.ticket, MAX_TICKET)?;
        if request
            .duration
            .is_some_and(|duration| duration < Duration::from_secs(1))
        {
            return Err(Error::invalid("duration", "must be at least 1 s"));
        }
        let least = self.config.limits.min_heartbeat;
        if request.heartbeat.is_some_and(|every| every < least) {
            let message = format!("must be at least {}", humantime::format_duration(least));
            return Err(Error::invalid("heartbeat_interval", message));
        }
        if request
            .heartbeat
            .is_some_and(|every| every > self.rules.max_task)
        {
            return Err(Error::invalid(
                "heartbeat_interval",
                "is longer than any task",
            ));
        }
        Ok(())
    }

    fn new_task_id(&self) -> Result<TaskId, Error> {
        let mut random = [0; 10];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| Error::Stopped)?;
        let id = uuid::Builder::from_unix_timestamp_millis(self.now().0, &random).into_uuid();
        Ok(TaskId(id))
    }
}

/// Text from outside: bounded, and without control characters, so that no terminal or log is led astray.
pub(super) fn bounded(field: &'static str, text: &str, most: usize) -> Result<(), Error> {
    if text.len() > most {
        return Err(Error::invalid(
            field,
            format!("is longer than {most} bytes"),
        ));
    }
    if text.chars().any(misleads) {
        return Err(Error::invalid(field, "has control characters"));
    }
    Ok(())
}

/// Control characters, line separators, and those that make text show in another order than it has.
fn misleads(c: char) -> bool {
    let unseen =
        matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    unseen || c.is_control()
}

pub(super) fn with_request(mut entry: Entry, once: &Once) -> Entry {
    entry.request = Some(once.body().to_string());
    entry
}
