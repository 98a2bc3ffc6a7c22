//! An SSH agent of the run's own.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long its tools may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An `ssh-agent` that ends when this does, be it by SIGKILL: it lives as long as a `cat` of our end of a pipe.
pub struct Agent {
    socket: PathBuf,
    pid: Option<Pid>,
    /// Holds the pipe.
    _keeper: Child,
}

impl Agent {
    /// Starts one that listens there; none if it is not installed.
    pub async fn start(socket: &Path) -> anyhow::Result<Option<Self>> {
        let mut command = Command::new("ssh-agent");
        command
            .arg("-a")
            .arg(socket)
            .args(["sh", "-c", "echo $SSH_AGENT_PID; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A terminal's Ctrl-C is for the program, which may go on after it.
            .process_group(0)
            .kill_on_drop(true);
        let mut keeper = match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            spawned => spawned.context("cannot start ssh-agent")?,
        };
        let mut line = String::new();
        let lines = keeper.stdout.take().context("ssh-agent says nothing")?;
        let mut lines = BufReader::new(lines);
        let read = tokio::time::timeout(PATIENCE, lines.read_line(&mut line)).await;
        read.context("ssh-agent did not start in time")??;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        Ok(Some(Self {
            socket: socket.to_owned(),
            pid: Some(pid.context("ssh-agent did not start")?),
            _keeper: keeper,
        }))
    }

    /// Adds a key, and the certificate that lies beside it, for so many seconds.
    pub async fn add(&self, key: &str, seconds: u64) -> anyhow::Result<()> {
        let mut command = Command::new("ssh-add");
        command
            .args(["-q", "-t", &seconds.max(1).to_string(), key])
            .env("SSH_AUTH_SOCK", &self.socket)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.context("ssh-add did not answer in time")?;
        let output = output.context("cannot run ssh-add")?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            bail!("ssh-add refused the key: {}", told.trim());
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It lives as long as its keeper, which dies after this: the number is still its own.
        if let Some(pid) = self.pid.take() {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}
