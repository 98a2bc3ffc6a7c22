//! The program: how it is started, sent signals, and how its end becomes an exit code.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child as Process, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::handover::Variables;

/// What is passed on to the program.
const FORWARDED: [Signal; 7] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// What a terminal sends to every process in its foreground by itself.
const FROM_TERMINALS: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::WINCH];

/// The program while it runs.
pub struct Child(Process);

/// The signals that this process gets, but for those that it was started to ignore.
pub struct Signals(mpsc::Receiver<Signal>);

/// Why the program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {program}")]
pub struct NotStarted {
    program: String,
    #[source]
    error: io::Error,
}

impl Child {
    pub fn start(command: &[OsString], variables: &Variables) -> Result<Self, NotStarted> {
        let (program, arguments) = command.split_first().ok_or_else(|| NotStarted {
            program: String::new(),
            error: io::ErrorKind::NotFound.into(),
        })?;
        let mut child = Command::new(program);
        child.args(arguments);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("QUIETUS_")) {
            child.env_remove(name);
        }
        for name in &variables.unset {
            child.env_remove(name);
        }
        for (name, value) in &variables.set {
            child.env(name, value.expose());
        }
        let inherit = Stdio::inherit;
        let spawned = child
            .stdin(inherit())
            .stdout(inherit())
            .stderr(inherit())
            .spawn();
        spawned.map(Self).map_err(|error| NotStarted {
            program: program.to_string_lossy().into_owned(),
            error,
        })
    }

    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Sends a signal, unless it is gone.
    pub fn send(&self, signal: Signal) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // It may be dead already, and may be somebody else's if it is setuid: there is nothing to be done then.
            let _ = kill_process(pid, signal);
        }
    }
}

impl NotStarted {
    /// As shells have it.
    pub fn code(&self) -> u8 {
        match self.error.kind() {
            io::ErrorKind::NotFound => 127,
            _ => 126,
        }
    }
}

/// The exit code that passes a program's end on, as shells have it.
pub fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

impl Signals {
    /// From now on none of them ends this process.
    pub fn listen() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(64);
        let ignored = ignored();
        for kind in FORWARDED {
            // Such as SIGHUP under nohup: the program is to ignore it as well.
            if ignored & (1 << (kind.as_raw() - 1)) != 0 {
                continue;
            }
            let mut stream = signal(SignalKind::from_raw(kind.as_raw()))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() && sender.send(kind).await.is_ok() {}
            });
        }
        Ok(Self(receiver))
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    /// The next one that asks this process to end; others are forgotten.
    pub async fn asked_to_end(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&signal) {
                return signal;
            }
        }
    }
}

/// Whether the program gets this one without us: it came from the terminal that both are in the foreground of.
pub fn reaches_the_child(signal: Signal) -> bool {
    FROM_TERMINALS.contains(&signal) && in_foreground()
}

fn in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

/// The signals that this process was started to ignore, as bits.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_become_exit_codes() {
        let cases = [
            (0, 0),
            (1 << 8, 1),
            (255 << 8, 255),
            (15, 143),
            (9, 137),
            (0x80 | 6, 134),
        ];
        for (raw, expected) in cases {
            assert_eq!(code(ExitStatus::from_raw(raw)), expected, "{raw}");
        }
    }

    #[test]
    fn what_cannot_be_started_has_the_codes_of_shells() {
        let cases = [
            ("/nowhere/at/all", 127),
            ("no-such-program-anywhere", 127),
            ("/", 126),
            ("/etc/passwd", 126),
        ];
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        for (program, code) in cases {
            let refused = Child::start(&[program.into()], &Variables::default())
                .err()
                .unwrap();
            assert_eq!(refused.code(), code, "{refused}");
        }
    }
}
