//! `quietus serve` as a process of its own.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

use crate::inside::Inside;

pub struct Process {
    child: Mutex<Child>,
    pub address: String,
}

/// Ports are taken by whoever comes first, so the system chooses; and agents are in a hurry.
pub fn listen_anywhere(inside: &Inside) {
    let file = inside.world.domain.config();
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text
        .replace("127.0.0.1:8443", "127.0.0.1:0")
        .replace("min_free_bytes = 268435456", "min_free_bytes = 1048576");
    let mut config: toml::Table = text.parse().unwrap();
    let limits = config.entry("limits").or_insert(toml::Table::new().into());
    let limits = limits.as_table_mut().unwrap();
    for name in [
        "requests_per_second",
        "request_burst",
        "open_tasks_per_agent",
    ] {
        limits.insert(name.to_owned(), 100_000.into());
    }
    std::fs::write(file, config.to_string()).unwrap();
}

fn serve(inside: &Inside) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quietus"));
    command
        .arg("serve")
        .arg("--config")
        .arg(inside.world.domain.config());
    command
}

/// What a broker says that cannot start.
pub fn refused(inside: &Inside) -> String {
    let output = serve(inside).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

impl Process {
    pub fn start(inside: &Inside) -> Self {
        Self::run(serve(inside))
    }

    /// None of its files may grow beyond 3 MiB; a write beyond fails with EFBIG.
    pub fn start_with_small_files(inside: &Inside) -> Self {
        let mut command = Command::new("bash");
        let script = "trap '' XFSZ; ulimit -f 3072; exec \"$0\" serve --config \"$1\"";
        command.args(["-c", script, env!("CARGO_BIN_EXE_quietus")]);
        command.arg(inside.world.domain.config());
        Self::run(command)
    }

    /// It kills itself at that place, `place:n`; none if it did so before it was ready.
    pub fn start_to_die_at(inside: &Inside, failpoint: &str) -> Option<Self> {
        let mut command = serve(inside);
        command.env("QUIETUS_FAILPOINT", failpoint);
        match Self::try_run(command) {
            Ok(process) => Some(process),
            Err((Some(9), _)) => None,
            Err((_, log)) => panic!("not ready: {log}"),
        }
    }

    fn run(command: Command) -> Self {
        Self::try_run(command).unwrap_or_else(|(_, log)| panic!("not ready: {log}"))
    }

    /// Or the signal that ended it, and what it said.
    fn try_run(mut command: Command) -> Result<Self, (Option<i32>, String)> {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let mut errors = child.stderr.take().unwrap();
        let Some((_, address)) = line.trim().split_once(" is ready on ") else {
            let mut log = String::new();
            errors.read_to_string(&mut log).unwrap();
            return Err((child.wait().unwrap().signal(), line + &log));
        };
        // So that it never waits for somebody to read its log.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Ok(Self {
            address: address.to_owned(),
            child: Mutex::new(child),
        })
    }

    /// Whether SIGKILL has ended it, by whomever it was sent.
    pub fn was_killed(&self) -> bool {
        let ended = self.child.lock().unwrap().try_wait().unwrap();
        ended.is_some_and(|status| status.signal() == Some(9))
    }

    /// SIGKILL.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let id = self.child.lock().unwrap().id();
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    pub fn exit_code(&self) -> Option<i32> {
        self.child.lock().unwrap().wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
