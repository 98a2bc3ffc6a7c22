//! The operator's program that puts another secret in place.

use std::process::Stdio;
use std::time::Duration;

use quietus_core::{LeaseId, TargetName};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::issuers::Failure;

/// A process in a group of its own; dropped before its end, the whole group is killed.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs it to its end. It inherits the environment and gets nothing to read; what it prints is thrown away.
pub(super) async fn run(
    words: &[String],
    target: &TargetName,
    lease: LeaseId,
    timeout: Duration,
) -> Result<(), Failure> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Failure::said("rotate_command is empty"))?;
    let child = Command::new(program)
        .args(arguments)
        .env("QUIETUS_TARGET", target.as_str())
        .env("QUIETUS_LEASE", lease.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::away(format_args!("rotate_command cannot be run: {error}")))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let mut running = Running {
        group: group.and_then(Pid::from_raw),
        child,
    };
    let ended = tokio::time::timeout(timeout, running.child.wait()).await;
    let limit = humantime::format_duration(timeout);
    let ended = ended
        .map_err(|_| Failure::away(format_args!("rotate_command had not ended after {limit}")))?;
    // Its number may be another's from now on.
    running.group = None;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::said(format_args!(
            "rotate_command failed: {status}"
        ))),
        Err(error) => Err(Failure::away(format_args!(
            "rotate_command is lost: {error}"
        ))),
    }
}
