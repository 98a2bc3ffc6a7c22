//! What was done with a credential, as those say who did it or saw it done.

use std::fmt;

use quietus_core::{Digest, LeaseId, Task, TaskId, Timestamp};
use quietus_identity::VerifiedSvid;
use quietus_ledger as ledger;
use ring::rand::{SecureRandom, SystemRandom};

use super::open::{bounded, with_request};
use super::record::{drafts, trace_of, untouched};
use super::{Engine, Error, Once, Plan};
use crate::store::{Answer, Commit, Read, SALT, SaltedText};
use crate::telemetry::ToolCall;

const MAX_TOOL: usize = 256;
const MAX_RESOURCE: usize = 1024;
const MAX_CALL: usize = 256;
const MAX_TEXT: usize = 65_536;
const NANOSECONDS: u64 = 1_000_000;

/// What somebody says was done with a credential. Nothing of it is checked; who says so is recorded with it.
#[derive(Clone)]
pub struct ActionReport {
    /// Under which task.
    pub task: TaskId,
    /// The lease whose credential was used.
    pub lease: Option<LeaseId>,
    /// The tool.
    pub tool: String,
    /// What it was done to.
    pub resource: String,
    /// How it went.
    pub result: ActionResult,
    /// The reporter's own name for the call.
    pub call: String,
    /// When the tool was called.
    pub started_at: Option<Timestamp>,
    /// When it had answered.
    pub ended_at: Option<Timestamp>,
    /// SHA-256 of the prompt that led to it.
    pub prompt: Option<Digest>,
    /// SHA-256 of the arguments.
    pub arguments: Option<Digest>,
    /// SHA-256 of the answer.
    pub response: Option<Digest>,
    /// Whatever else is worth keeping; empty for nothing.
    pub text: String,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// It was done.
    Succeeded,
    /// It was tried, and failed.
    Failed,
    /// Somebody would not do it.
    Refused,
}

/// What came of a report.
struct Recorded {
    commitment: Option<Digest>,
    /// The task, if it was recorded only now.
    newly_of: Option<Task>,
}

impl Engine {
    /// Records what was done with a credential; the commitment to the text that came with it, if one did.
    ///
    /// The task's agent may report, and the resource servers of the lease's target: as long as the task is kept, so
    /// that evidence may come late. The task itself does not change by it, nor is it a sign of life.
    pub async fn record_action(
        &self,
        svid: &VerifiedSvid,
        report: ActionReport,
        once: Once,
    ) -> Result<Option<Digest>, Error> {
        self.not_in_maintenance()?;
        report.check()?;
        let text = salted(&report.text)?;
        let plan = || {
            let now = self.now();
            if let Some(answer) = self.answered(&once, now)? {
                return self.recorded_before(&answer, &report).map(Plan::nothing);
            }
            self.plan_record(svid, &report, text.as_ref(), &once, now)
        };
        match self.settle(plan).await {
            Ok(recorded) => {
                if let Some(task) = &recorded.newly_of {
                    self.trace_action(task, &report);
                }
                Ok(recorded.commitment)
            }
            Err(error) => Err(self
                .refused_early(svid, Some(report.task), &once, error)
                .await),
        }
    }

    fn plan_record(
        &self,
        svid: &VerifiedSvid,
        report: &ActionReport,
        text: Option<&SaltedText>,
        once: &Once,
        now: Timestamp,
    ) -> Result<Plan<Recorded>, Error> {
        let task = self.reported_on(svid, report)?;
        let commitment = text.map(SaltedText::commitment);
        let mut entry = with_request(self.entry("action.recorded", Some(svid), now), once);
        entry.agent = Some(task.agent.0.clone());
        entry.action = Some(report.fact(commitment));
        entry.task = Some(untouched(&task));
        entry.trace = Some(trace_of(&task, true));
        let mut commit = Commit {
            now,
            // The entry shows the task, so it must be as it is shown.
            reads: vec![Read::Task(task.id, task.version)],
            entries: drafts(Some(entry))?,
            texts: commitment
                .into_iter()
                .map(|commitment| (commitment, text.cloned()))
                .collect(),
            // Whoever reports without end must not fill the last of the disk.
            grant: true,
            ..Commit::default()
        };
        self.answer_once(&mut commit, once, Answer::Action(commitment));
        let answer = Recorded {
            commitment,
            newly_of: Some(task),
        };
        Ok(Plan { commit, answer })
    }

    /// The task, if this caller may report on it. Others learn nothing of it.
    fn reported_on(&self, svid: &VerifiedSvid, report: &ActionReport) -> Result<Task, Error> {
        let snapshot = self.store.read();
        let task = snapshot.task(report.task)?.ok_or(Error::NotFound("task"))?;
        let lease = match report.lease {
            Some(id) if id.task == task.id => snapshot.lease(id)?,
            _ => None,
        };
        let id = svid.id().as_str();
        if task.agent.0 == id {
            let unknown = report.lease.is_some() && lease.is_none();
            return match unknown {
                true => Err(Error::NotFound("lease")),
                false => Ok(task),
            };
        }
        let target = lease.and_then(|lease| self.config.target(&lease.target));
        match target.is_some_and(|target| target.is_served_by(id)) {
            true => Ok(task),
            false => Err(Error::NotFound("task")),
        }
    }

    /// The digest of a request does not cover its text, or it would tell of it for ever. So the text is compared with
    /// the one that was kept, as long as it is.
    fn recorded_before(&self, answer: &Answer, report: &ActionReport) -> Result<Recorded, Error> {
        let Answer::Action(commitment) = answer else {
            return Err(Error::KeyStale);
        };
        match commitment {
            None if report.text.is_empty() => {}
            None => return Err(Error::KeyReused),
            Some(commitment) => {
                let kept = self
                    .store
                    .read()
                    .text(*commitment)?
                    .ok_or(Error::KeyStale)?;
                if kept.text() != report.text {
                    return Err(Error::KeyReused);
                }
            }
        }
        Ok(Recorded {
            commitment: *commitment,
            newly_of: None,
        })
    }

    /// Tells telemetry of the call. Who does not say when it was called is taken to say that it is just over.
    fn trace_action(&self, task: &Task, report: &ActionReport) {
        // What is reported may be any time; spans of other times than these are of no use to a collector.
        let now = self.now();
        let ended = report.ended_at.map_or(now, |at| at.min(now));
        let started = report.started_at.unwrap_or(ended);
        let started = started.max(task.opened_at).min(ended);
        let call = ToolCall {
            tool: &report.tool,
            call: (!report.call.is_empty()).then_some(report.call.as_str()),
            agent: &task.agent.0,
            error: report.result.error(),
            start: started.0.saturating_mul(NANOSECONDS),
            end: ended.0.saturating_mul(NANOSECONDS),
        };
        self.trace_tool_call(task.id, &call);
    }
}

impl ActionReport {
    fn check(&self) -> Result<(), Error> {
        if self.tool.is_empty() {
            return Err(Error::invalid("tool", "must say what was called"));
        }
        bounded("tool", &self.tool, MAX_TOOL)?;
        bounded("resource", &self.resource, MAX_RESOURCE)?;
        bounded("call_id", &self.call, MAX_CALL)?;
        if self.text.len() > MAX_TEXT {
            let message = format!("is longer than {MAX_TEXT} bytes");
            return Err(Error::invalid("text", message));
        }
        let reversed = |(start, end)| end < start;
        if self.started_at.zip(self.ended_at).is_some_and(reversed) {
            return Err(Error::invalid("ended_at", "is before started_at"));
        }
        Ok(())
    }

    fn fact(&self, text: Option<Digest>) -> ledger::Action {
        let hex = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
        ledger::Action {
            arguments: hex(self.arguments),
            call: (!self.call.is_empty()).then(|| self.call.clone()),
            ended_at: self.ended_at.map(|at| at.0),
            lease: self.lease.map(|id| id.to_string()),
            prompt: hex(self.prompt),
            resource: self.resource.clone(),
            response: hex(self.response),
            result: self.result.as_str().to_owned(),
            started_at: self.started_at.map(|at| at.0),
            text: hex(text),
            tool: self.tool.clone(),
        }
    }
}

/// Without the text.
impl fmt::Debug for ActionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionReport")
            .field("task", &self.task)
            .field("tool", &self.tool)
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

impl ActionResult {
    /// The word that the ledger has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    fn error(self) -> Option<&'static str> {
        (self != Self::Succeeded).then(|| self.as_str())
    }
}

/// A text under a new salt.
fn salted(text: &str) -> Result<Option<SaltedText>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut salt = [0; SALT];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| Error::Stopped)?;
    Ok(Some(SaltedText::new(salt, text)))
}
