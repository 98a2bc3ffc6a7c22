//! A broker as a process of its own, and programs that are run with credentials of it.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub const READ: [&str; 4] = ["--target", "orders-db", "--scope", "read:public.orders"];

/// A trust domain with a broker, all of it gone when the test is over.
pub struct Stage {
    kept: tempfile::TempDir,
    broker: Child,
}

/// A `quietus run` that goes on, and what its program says and hears.
pub struct Running {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Stage {
    pub fn new() -> Self {
        Self::with_grace("10s")
    }

    /// With a broker whose grace is this.
    pub fn with_grace(grace: &str) -> Self {
        let grace = format!("grace = \"{grace}\"");
        Self::with_config(|config| config.replace("grace = \"10s\"", &grace))
    }

    /// With a broker whose configuration is changed like this.
    pub fn with_config(change: impl FnOnce(String) -> String) -> Self {
        let kept = tempfile::tempdir().unwrap();
        fs::create_dir(kept.path().join("private")).unwrap();
        let dev = kept.path().join("dev");
        let made = quietus(&["init", dev.to_str().unwrap(), "--listen", &free_address()]);
        assert!(made.status.success(), "{made:?}");
        let config = fs::read_to_string(dev.join("quietus.toml")).unwrap();
        // A developer's disk may be nearly full.
        let config = config.replace("min_free_bytes = 268435456", "min_free_bytes = 1048576");
        fs::write(dev.join("quietus.toml"), change(config)).unwrap();
        let broker = serve(&dev);
        Self { kept, broker }
    }

    /// `quietus run` with these options around a shell script, as the agent.
    pub fn run(&self, options: &[&str], script: &str) -> Output {
        self.around(options, &["sh", "-c", script])
            .output()
            .unwrap()
    }

    /// The same around any program.
    pub fn around(&self, options: &[&str], program: &[&str]) -> Command {
        let mut command = command(&[&["run"], options, &["--"], program].concat());
        command
            .env("QUIETUS_IDENTITY", self.path("dev/agent.toml"))
            .env("XDG_RUNTIME_DIR", self.path("private"))
            .process_group(0);
        command
    }

    pub fn start(&self, options: &[&str], script: &str) -> Running {
        let mut command = undisturbed(&self.around(options, &["sh", "-c", script]));
        let piped = Stdio::piped;
        let mut process = command
            .stdin(piped())
            .stdout(piped())
            .stderr(piped())
            .spawn()
            .unwrap();
        Running {
            stdin: process.stdin.take(),
            stdout: BufReader::new(process.stdout.take().unwrap()).lines(),
            stderr: BufReader::new(process.stderr.take().unwrap()).lines(),
            process,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }

    /// What lies about in the folder for private files.
    pub fn left_behind(&self) -> usize {
        fs::read_dir(self.path("private")).unwrap().count()
    }

    /// What an operator is told.
    pub fn operator(&self, args: &[&str]) -> Value {
        let output = command(&[args, &["-o", "json"]].concat())
            .env("QUIETUS_IDENTITY", self.path("dev/operator.toml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?} {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Each task's cause of its end, in the order of opening; null while it is open.
    pub fn causes(&self) -> Vec<Value> {
        let tasks = self.operator(&["task", "list"]);
        let cause = |task: &Value| task["ending"]["cause"].clone();
        tasks.as_array().unwrap().iter().map(cause).collect()
    }

    pub fn kill_broker(&mut self) {
        self.broker.kill().unwrap();
        self.broker.wait().unwrap();
    }

    pub fn restart_broker(&mut self) {
        self.broker = serve(&self.path("dev"));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.broker.kill();
        let _ = self.broker.wait();
    }
}

impl Running {
    /// The next line on the program's standard output.
    pub fn line(&mut self) -> String {
        self.stdout.next().unwrap().unwrap()
    }

    /// The first line on standard error that holds this.
    pub fn hears(&mut self, text: &str) -> String {
        let lines = self.stderr.by_ref().map(Result::unwrap);
        let mut seen = Vec::new();
        for line in lines {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("{text:?} is not in {seen:?}");
    }

    /// Nothing comes on the program's standard input any more.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    pub fn code(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn quietus(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quietus"));
    command
        .args(args)
        .env_remove("QUIETUS_IDENTITY")
        .env_remove("QUIETUS_OUTPUT")
        .stdin(Stdio::null());
    command
}

pub fn free_address() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

pub fn stdout(output: &Output) -> Vec<&str> {
    str::from_utf8(&output.stdout).unwrap().lines().collect()
}

pub fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Waits for an event, for a minute at most.
pub fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{what} did not happen"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn serve(dev: &Path) -> Child {
    let config = dev.join("quietus.toml");
    let mut process = command(&["serve", "--config", config.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let lines = process.stdout.as_mut().unwrap();
    BufReader::new(lines).read_line(&mut ready).unwrap();
    assert!(ready.contains("is ready on"), "{ready:?}");
    process
}

/// The same command with the usual signals, whatever those who run the tests ignore (as under nohup).
fn undisturbed(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP,INT,QUIT,TERM")
        .arg(command.get_program())
        .args(command.get_args())
        .process_group(0);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => env.env(name, value),
            None => env.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        env.current_dir(dir);
    }
    env
}
