//! However it ends: the exit code, the task, and what is left behind.

use std::fs;

use rustix::process::Signal;

use crate::stage::{READ, Stage, stderr, until};

const UNTIL_STDIN_ENDS: &str = "echo $QUIETUS_TASK_ID; read line; exit 0";

/// Says when it is ready, and waits for this signal, in steps that a signal interrupts.
fn trapping(signal: &str) -> String {
    format!("trap 'exit 3' {signal}; echo ready; while :; do sleep 0.05; done")
}

#[test]
fn the_exit_code_is_the_programs() {
    let stage = Stage::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 254", 254),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let output = stage.run(&READ, script);
        assert_eq!(output.status.code(), Some(code), "{script} {output:?}");
        assert_eq!(stderr(&output), "");
    }
    assert_eq!(
        stage.causes(),
        ["completed", "failed", "failed", "failed", "failed"]
    );
}

#[test]
fn what_cannot_be_run_has_the_codes_of_shells() {
    let stage = Stage::new();
    let plain = stage.path("plain");
    fs::write(&plain, "no program").unwrap();
    for (program, code) in [
        ("no-such-program-anywhere", 127),
        ("/nowhere/x", 127),
        (plain.to_str().unwrap(), 126),
    ] {
        let options = [&READ[..], &["--token-file"]].concat();
        let output = stage.around(&options, &[program]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let told = format!("error: cannot run {program}: ");
        assert!(stderr(&output).starts_with(&told), "{output:?}");
    }
    assert_eq!(stage.causes(), ["failed"; 3]);
    assert_eq!(stage.left_behind(), 0);
}

#[test]
fn signals_are_passed_on() {
    let stage = Stage::new();
    let signals = [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
    ];
    for (name, signal) in signals {
        let mut running = stage.start(&READ, &trapping(name));
        assert_eq!(running.line(), "ready");
        running.signal(signal);
        assert_eq!(running.code(), Some(3), "{name}");
    }
    assert_eq!(stage.causes(), ["failed"; 6]);
}

#[test]
fn a_program_that_a_signal_kills_is_told_as_shells_do_and_leaves_nothing() {
    let stage = Stage::new();
    let options = [&READ[..], &["--token-file"]].concat();
    let mut running = stage.start(&options, "echo ready; exec sleep 300");
    assert_eq!(running.line(), "ready");
    assert_eq!(stage.left_behind(), 1);
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(143));
    assert_eq!(stage.causes(), ["failed"]);
    assert_eq!(stage.left_behind(), 0);
}

#[test]
fn a_signal_that_we_were_started_to_ignore_is_ignored_by_both() {
    let stage = Stage::new();
    let run = stage.around(
        &READ,
        &["sh", "-c", "kill -HUP $PPID; kill -HUP $$; exit 5"],
    );
    let words = std::iter::once(run.get_program()).chain(run.get_args());
    let quoted: Vec<String> = words
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut nohup = std::process::Command::new("sh");
    nohup.args(["-c", &format!("trap '' HUP; exec {}", quoted.join(" "))]);
    nohup.envs(
        run.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let output = nohup.output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}

#[test]
fn a_task_that_ends_first_takes_the_program_with_it() {
    let stage = Stage::new();
    let mut running = stage.start(&READ, "echo $QUIETUS_TASK_ID; exec sleep 300");
    let task = running.line();
    stage.operator(&["revoke", "--task", &task]);
    let said = running.hears("the task has ended");
    assert!(
        said.contains("revoked by spiffe://dev.example/operator/dev"),
        "{said}"
    );
    assert_eq!(running.code(), Some(124));
    assert_eq!(stage.causes(), ["revoked"]);
}

#[test]
fn a_program_that_ignores_sigterm_is_killed() {
    let stage = Stage::new();
    let options = [&READ[..], &["--grace", "100ms"]].concat();
    let script = "trap '' TERM; echo $QUIETUS_TASK_ID; while :; do sleep 0.05; done";
    let mut running = stage.start(&options, script);
    let task = running.line();
    stage.operator(&["revoke", "--task", &task]);
    assert_eq!(running.code(), Some(124));
}

#[test]
fn a_deadline_that_passes_ends_the_program() {
    let stage = Stage::new();
    let options = [&READ[..], &["--for", "5s"]].concat();
    let output = stage.run(&options, "exec sleep 300");
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    assert!(
        stderr(&output).contains("the task has ended: expired"),
        "{output:?}"
    );
    assert_eq!(stage.causes(), ["expired"]);
}

#[test]
fn killed_it_leaves_a_task_that_ends_and_a_folder_that_the_next_run_removes() {
    let stage = Stage::with_grace("3s");
    let options = [&READ[..], &["--token-file"]].concat();
    let mut running = stage.start(&options, UNTIL_STDIN_ENDS);
    let task = running.line();
    running.signal(Signal::KILL);
    until("the end of the task", || {
        stage.causes()[0] != serde_json::Value::Null
    });
    let shown = stage.operator(&["task", "show", &task]);
    assert_eq!(shown["task"]["ending"]["cause"], "abandoned", "{shown}");
    assert_eq!(shown["task"]["ending"]["reason"], "hold_lost", "{shown}");
    assert_eq!(
        shown["leases"][0]["confirmed"], "refused_by_introspection",
        "{shown}"
    );
    assert_eq!(stage.left_behind(), 1);

    let living = stage.start(&options, UNTIL_STDIN_ENDS);
    let mut living = living;
    living.line();
    assert_eq!(stage.left_behind(), 1);
    assert!(stage.run(&options, "exit 0").status.success());
    assert_eq!(stage.left_behind(), 1);
    living.close_stdin();
    living.code();
    assert_eq!(stage.left_behind(), 0);
}

#[test]
fn a_broker_that_restarts_is_found_again() {
    let mut stage = Stage::new();
    let mut running = stage.start(&READ, UNTIL_STDIN_ENDS);
    running.line();
    stage.kill_broker();
    running.hears("the broker is away");
    stage.restart_broker();
    running.hears("the broker is back");
    running.close_stdin();
    assert_eq!(running.code(), Some(0));
    assert_eq!(stage.causes(), ["completed"]);
}

#[test]
fn a_broker_that_stays_away_costs_the_program_nothing() {
    let mut stage = Stage::new();
    let options = [&READ[..], &["--wait", "0s"]].concat();
    let mut running = stage.start(&options, UNTIL_STDIN_ENDS);
    running.line();
    stage.kill_broker();
    running.close_stdin();
    running.hears("cannot tell whether task");
    assert_eq!(running.code(), Some(0));
}
