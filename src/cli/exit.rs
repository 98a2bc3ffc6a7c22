//! How the command ends: exit codes, and errors as they are told.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::style::{Palette, Tone, When};
use super::text::{length, safe};
use crate::api::DOMAIN;
use crate::client::ConnectError;

/// Every exit code and what it means.
pub const CODES: [(Exit, &str); 13] = [
    (Exit::Done, "done"),
    (Exit::Failed, "failed"),
    (Exit::Usage, "wrong usage"),
    (Exit::Refused, "refused by policy, lifecycle or a freeze"),
    (
        Exit::Degraded,
        "the broker or a target is degraded (status, target check)",
    ),
    (Exit::NotFound, "not found"),
    (
        Exit::Unreachable,
        "the broker cannot be reached, or refuses the identity",
    ),
    (
        Exit::Unconfirmed,
        "some credential is not confirmed dead (task close --wait, receipt verify)",
    ),
    (
        Exit::Unproven,
        "the evidence does not verify, or a decision replays differently (audit verify, replay, report)",
    ),
    (
        Exit::Different,
        "another policy would decide differently (audit replay --policies)",
    ),
    (Exit::StoreFailed, "the store failed (serve)"),
    (Exit::Interrupted, "interrupted"),
    (Exit::BrokenPipe, "nobody reads the output any more"),
];

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
    Degraded = 4,
    NotFound = 5,
    Unreachable = 6,
    Unconfirmed = 7,
    Unproven = 8,
    Different = 9,
    StoreFailed = 74,
    Interrupted = 130,
    BrokenPipe = 141,
}

/// What the command line itself has to complain of.
#[derive(Debug, thiserror::Error)]
pub enum Complaint {
    #[error("no identity to call the broker with")]
    NoIdentity,
    #[error("{what}, and there is no terminal to ask on")]
    Unconfirmed { what: String },
    #[error("nothing was {0}")]
    Declined(&'static str),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("{0}")]
    Usage(String),
    #[error("no answer within {}", length(*.0))]
    TimedOut(Duration),
    #[error("the broker's answer lacks its {0}: is it of another version?")]
    Incomplete(&'static str),
    #[error("interrupted")]
    Interrupted,
}

/// An error as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub exit: Exit,
    message: String,
    reason: Option<String>,
    hint: Option<&'static str>,
}

/// The exit codes as a part of `--help`.
pub fn help() -> String {
    let line = |(exit, meaning): &(Exit, &str)| format!("\n  {:>3}  {meaning}", *exit as u8);
    let lines: String = CODES.iter().map(line).collect();
    format!("Exit codes:{lines}")
}

/// The stable name of why the broker refused, empty if it is not the broker that did.
pub fn reason(error: &anyhow::Error) -> String {
    let status = error.downcast_ref::<Status>();
    let info = status.and_then(StatusExt::get_details_error_info);
    let info = info.filter(|info| info.domain == DOMAIN);
    info.map(|info| info.reason).unwrap_or_default()
}

impl Report {
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(problem) = ConnectError::within(error.as_ref()) {
            return Self::unreachable(problem);
        }
        if let Some(status) = error.downcast_ref::<Status>() {
            return Self::answered(status);
        }
        if let Some(complaint) = error.downcast_ref::<Complaint>() {
            return Self::complained(complaint);
        }
        let pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        let exit = match error.downcast_ref::<io::Error>().is_some_and(pipe) {
            true => Exit::BrokenPipe,
            false => Exit::Failed,
        };
        Self::new(exit, format!("{error:#}"))
    }

    /// Prints it on standard error, unless nobody wants to know.
    pub fn tell(&self, when: When) {
        if matches!(self.exit, Exit::BrokenPipe | Exit::Interrupted) {
            return;
        }
        let palette = Palette::new(when, io::stderr().is_terminal());
        // There is nowhere else to say that this failed.
        let _ = io::stderr().lock().write_all(self.text(palette).as_bytes());
    }

    fn text(&self, palette: Palette) -> String {
        let label = palette.paint(Tone::Bad, "error:");
        let mut text = format!("{label} {}\n", lines(&self.message));
        if let Some(reason) = &self.reason {
            text.push_str(&format!("reason: {}\n", safe(reason)));
        }
        if let Some(hint) = self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            reason: None,
            hint: None,
        }
    }

    fn unreachable(problem: &ConnectError) -> Self {
        let reason = problem.reason();
        Self {
            reason: Some(reason.to_owned()),
            hint: hint(reason),
            ..Self::new(Exit::Unreachable, problem.to_string())
        }
    }

    fn answered(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let reason = info.map(|info| info.reason.clone());
        Self {
            hint: reason.as_deref().and_then(hint),
            message: message(status),
            exit: exit_of(status.code(), reason.is_some()),
            reason,
        }
    }

    fn complained(complaint: &Complaint) -> Self {
        Self {
            hint: complaint.hint(),
            ..Self::new(complaint.exit(), complaint.to_string())
        }
    }
}

impl Complaint {
    fn exit(&self) -> Exit {
        match self {
            Self::NoIdentity | Self::Unconfirmed { .. } | Self::Usage(_) => Exit::Usage,
            Self::Declined(_) | Self::Incomplete(_) => Exit::Failed,
            Self::NotFound(_) => Exit::NotFound,
            Self::TimedOut(_) => Exit::Unreachable,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoIdentity => Some(
                "pass --identity DIR/operator.toml, made by `quietus init DIR`, or set QUIETUS_IDENTITY",
            ),
            Self::Unconfirmed { .. } => Some("look at it with --dry-run, then pass --yes"),
            Self::TimedOut(_) => Some(
                "what was asked for may have been done: look before asking again, or wait longer with --timeout",
            ),
            _ => None,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// For commands that are either done or fail.
impl From<()> for Exit {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// Only the broker itself refuses; a proxy on the way that says the same has merely failed us.
fn exit_of(code: Code, from_broker: bool) -> Exit {
    match code {
        Code::PermissionDenied | Code::FailedPrecondition if from_broker => Exit::Refused,
        Code::NotFound => Exit::NotFound,
        Code::Unavailable | Code::Unauthenticated => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

/// On one line, so that nothing in it can pass for another of ours.
fn message(status: &Status) -> String {
    match status.message() {
        "" => format!("the broker answered {:?}", status.code()),
        message => safe(message),
    }
}

/// What to do, by the reason's name.
fn hint(reason: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 16] = [
        (
            "AGENT_NOT_REGISTERED",
            "have an [[agent]] entry added to the broker's configuration",
        ),
        (
            "APPROVAL_NEEDED",
            "an operator sees why with `quietus policy explain`",
        ),
        (
            "BROKER_UNREACHABLE",
            "is the broker running? `quietus serve --config FILE` starts one",
        ),
        ("BUSY", "try again"),
        (
            "CREDENTIALS_UNUSABLE",
            "check svid and key in the file that --identity names",
        ),
        (
            "BUNDLE_UNUSABLE",
            "check bundle in the file that --identity names",
        ),
        (
            "DENIED_BY_POLICY",
            "an operator sees why with `quietus policy explain`",
        ),
        (
            "DISK_SHORT_OF_SPACE",
            "make room on the broker's disk; revoking works all the same",
        ),
        (
            "FROZEN",
            "an operator sees freezes with `quietus status` and lifts them with `quietus thaw`",
        ),
        (
            "LEASE_ENDED",
            "request a new credential with `quietus request`",
        ),
        (
            "NOT_AN_OPERATOR",
            "pass the --identity of an operator, such as DIR/operator.toml",
        ),
        (
            "POLICY_NOT_LOADED",
            "find what is wrong with `quietus policy check DIR`; the old policies stay in force",
        ),
        ("TASK_ENDED", "open another task with `quietus task open`"),
        (
            "TASK_NOT_YOURS",
            "pass the --identity of the agent that opened the task",
        ),
        (
            "TOO_MANY_LIVE_LEASES",
            "give one back with `quietus lease revoke`",
        ),
        ("TOO_MANY_OPEN_TASKS", "close one with `quietus task close`"),
    ];
    let known = HINTS.iter().find(|(name, _)| *name == reason);
    known.map(|(_, hint)| *hint)
}

/// Keeps the line breaks of our own messages, such as lists of problems in a file, and nothing else.
fn lines(message: &str) -> String {
    let lines: Vec<String> = message.lines().map(safe).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
