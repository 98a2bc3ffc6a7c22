//! The README's tour is true: its commands run as written, and say what it shows.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// A command, and the lines that the README shows of its output.
struct Step {
    command: String,
    shown: Vec<String>,
}

#[test]
fn the_tour_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let steps = steps();
    assert!(steps.len() >= 10);
    let said = play(folder.path(), &steps);
    for (number, step) in steps.iter().enumerate() {
        let output =
            fs::read_to_string(folder.path().join(format!("said.{number}"))).unwrap_or_default();
        let lines: Vec<String> = output.lines().map(steady).collect();
        for shown in &step.shown {
            let found = lines.iter().any(|line| *line == steady(shown));
            assert!(
                found,
                "`{}` does not say\n{shown}\nbut\n{output}\n{said}",
                step.command
            );
        }
    }
}

#[test]
fn the_two_commands_are_the_ones_that_are_checked() {
    let readme = read("README.md");
    let ci = read(".ci/run");
    assert!(readme.contains("\ncargo run --release -- demo\n"));
    assert!(readme.contains("\ncargo test --workspace\n"));
    assert!(ci.contains("\ncargo test --workspace"));
}

/// The commands of every `console` block.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in read("README.md").split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    shown: Vec::new(),
                }),
                (None, Some(step)) => step.shown.push(line.to_owned()),
                (None, None) => panic!("output before the first command: {line}"),
            }
        }
    }
    steps
}

/// Runs them all in one shell; each one's output goes to a file of its own.
fn play(folder: &Path, steps: &[Step]) -> String {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut script = String::from("trap 'kill $(jobs -p) 2>/dev/null' EXIT\n");
    for (number, step) in steps.iter().enumerate() {
        let mut command = step.command.clone();
        if command.starts_with("quietus init") {
            command.push_str(&format!(" --listen 127.0.0.1:{port}"));
        }
        match command.strip_suffix(" &") {
            // What goes on in the background is ready once it has said so.
            Some(command) => script.push_str(&format!(
                "{command} > said.{number} &\nuntil grep -q ready said.{number}; do kill -0 $! || exit 1; sleep 0.05; done\n"
            )),
            None => script.push_str(&format!("{{ {command}; }} > said.{number} 2>&1\n")),
        }
    }
    let bin = Path::new(env!("CARGO_BIN_EXE_quietus")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("QUIETUS_IDENTITY")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Without what differs from run to run: ids, spans of time, digits, and the widths that follow from them.
fn steady(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let is_id = word.len() > 30 && word.contains('-') && !word.contains("//");
        match is_id {
            true => "ID".to_owned(),
            false if is_span(word) => "SPAN".to_owned(),
            false => digitless(word),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Such as `14m59s,`: whether a second has passed by then is chance.
fn is_span(word: &str) -> bool {
    let word = word.trim_end_matches(',');
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(['d', 'h', 'm', 's'])
        && word
            .chars()
            .all(|c| c.is_ascii_digit() || "dhms".contains(c))
}

fn digitless(word: &str) -> String {
    let mut out = String::new();
    for c in word.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(c),
        }
    }
    out
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}
