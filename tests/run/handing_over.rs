//! What the program gets, and what is left of it.

use std::fs;

use crate::stage::{READ, Stage, free_address, quietus, stderr, stdout};

#[test]
fn a_token_in_the_environment_that_dies_with_the_program() {
    let stage = Stage::new();
    let output = stage.run(&READ, "echo $QUIETUS_TASK_ID; echo $QUIETUS_TOKEN");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stderr(&output), "");
    let lines = stdout(&output);
    assert_eq!(lines[1].split('.').count(), 3, "{lines:?}");
    let shown = stage.operator(&["task", "show", lines[0]]);
    assert_eq!(shown["task"]["ending"]["cause"], "completed");
    assert_eq!(shown["task"]["purpose"], "quietus run sh");
    assert_eq!(
        shown["leases"][0]["scopes"][0],
        "orders-db:read:public.orders"
    );
    assert_eq!(shown["leases"][0]["confirmed"], "refused_by_introspection");
    assert_eq!(stage.left_behind(), 0);
}

#[test]
fn purpose_ticket_and_time_are_the_users() {
    let stage = Stage::new();
    let about = [
        "--purpose",
        "monthly report",
        "--ticket",
        "OPS-9",
        "--for",
        "7m",
        "--ttl",
        "2m",
    ];
    let output = stage.run(&[&READ[..], &about].concat(), "echo $QUIETUS_TASK_ID");
    let shown = stage.operator(&["task", "show", stdout(&output)[0]]);
    assert_eq!(shown["task"]["purpose"], "monthly report");
    assert_eq!(shown["task"]["ticket"], "OPS-9");
    assert_eq!(shown["leases"][0]["bound"], "request");
}

#[test]
fn files_are_private_renewed_and_removed() {
    let stage = Stage::new();
    let options = [&READ[..], &["--token-file", "--ttl", "6s"]].concat();
    let script = "
        stat -c %a $(dirname $QUIETUS_TOKEN_FILE) $QUIETUS_TOKEN_FILE
        echo $QUIETUS_TOKEN_FILE
        echo ${QUIETUS_TOKEN-unset}
        first=$(cat $QUIETUS_TOKEN_FILE) tries=600
        while [ \"$(cat $QUIETUS_TOKEN_FILE)\" = \"$first\" ] && [ $tries -gt 0 ]; do
            sleep 0.1; tries=$((tries - 1))
        done
        echo $first; cat $QUIETUS_TOKEN_FILE; echo
        echo $QUIETUS_TASK_ID";
    let output = stage.run(&options, script);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stderr(&output), "");
    let lines = stdout(&output);
    assert_eq!(lines[..2], ["700", "600"]);
    assert!(
        lines[2].starts_with(stage.path("private").to_str().unwrap()),
        "{lines:?}"
    );
    assert_eq!(lines[3], "unset");
    assert_ne!(lines[4], lines[5]);
    assert!(
        lines[4..6]
            .iter()
            .all(|token| token.split('.').count() == 3)
    );
    let lease = stage.operator(&["lease", "show", &format!("{}.0", lines[6])]);
    assert!(lease["renewals"].as_u64().unwrap() > 0, "{lease}");
    assert_eq!(stage.left_behind(), 0);
}

#[test]
fn a_token_in_the_environment_cannot_be_renewed_and_that_is_said() {
    let stage = Stage::new();
    let mut running = stage.start(&[&READ[..], &["--ttl", "2s"]].concat(), "read line; exit 0");
    let said = running.hears("orders-db ends in");
    assert!(said.contains("hand it over with --token-file"), "{said}");
    running.close_stdin();
    assert_eq!(running.code(), Some(0));
}

#[test]
fn templates() {
    let stage = Stage::new();
    let given = [
        "--env",
        "HEADER=Bearer {{orders-db.token}}",
        "--file",
        "CURLRC=token={{orders-db.token}}",
    ];
    let script =
        "echo \"$HEADER\"; cat $CURLRC; echo; echo ${QUIETUS_TOKEN-unset}; stat -c %a $CURLRC";
    let output = stage.run(&[&READ[..], &given].concat(), script);
    let lines = stdout(&output);
    let token = lines[0].strip_prefix("Bearer ").unwrap();
    assert_eq!(lines[1..], [&format!("token={token}"), "unset", "600"]);
    assert_eq!(stage.left_behind(), 0);
}

#[test]
fn what_cannot_be_handed_over_is_told_before_the_program_starts() {
    let stage = Stage::new();
    let cases: [(&[&str], i32, &str); 6] = [
        (
            &["--env", "X={{orders-db.tokn}}"],
            2,
            "(jwt) has no field tokn: there are token, token_file",
        ),
        (
            &["--env", "X={{cache.token}}"],
            2,
            "names none of the targets: orders-db",
        ),
        (&["--env", "QUIETUS_IDENTITY=x"], 2, "quietus itself"),
        (
            &["--scope", "admin:public.orders"],
            3,
            "reason: APPROVAL_NEEDED",
        ),
        (
            &["--scope", "nowhere:read:x"],
            1,
            "there is no target nowhere",
        ),
        (&["--purpose", "a\nb"], 1, "reason: INVALID_ARGUMENT"),
    ];
    let started = stage.path("started");
    for (options, code, told) in cases {
        let script = format!("touch {}", started.display());
        let output = stage.run(&[&READ[..], options].concat(), &script);
        assert_eq!(output.status.code(), Some(code), "{options:?} {output:?}");
        assert!(stderr(&output).contains(told), "{options:?} {output:?}");
        assert!(!started.exists(), "{options:?}");
    }
    let causes = stage.causes();
    assert!(causes.iter().all(|cause| cause == "failed"), "{causes:?}");
    assert_eq!((causes.len(), stage.left_behind()), (4, 0));
}

#[test]
fn the_program_goes_on_within_the_trace_of_its_task() {
    let stage = Stage::new();
    let script = "echo $QUIETUS_TASK_ID $TRACEPARENT ${TRACESTATE-unset}";
    let with = |context: &str| {
        let mut command = stage.around(&READ, &["sh", "-c", script]);
        command.env("TRACEPARENT", context).env("TRACESTATE", "x=y");
        let output = command.output().unwrap();
        let words = stdout(&output)[0];
        let words: Vec<String> = words.split(' ').map(ToOwned::to_owned).collect();
        let id = words[0].replace('-', "");
        (id, words[1].clone(), words[2].clone())
    };
    let (id, context, state) = with("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    let task = &id[16..];
    let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{task}-00");
    assert_eq!((context, state), (expected, "x=y".to_owned()));
    let (id, context, state) = with("00-not-sound-00");
    let expected = format!("00-{id}-{}-01", &id[16..]);
    assert_eq!((context, state), (expected, "unset".to_owned()));
}

#[test]
fn the_users_environment_stays_but_for_what_is_ours() {
    let stage = Stage::new();
    let script = "echo $HOME_GROWN ${QUIETUS_STALE-unset} ${QUIETUS_IDENTITY-unset}";
    let with = |options: &[&str]| {
        let options = [&READ[..], options].concat();
        let mut command = stage.around(&options, &["sh", "-c", script]);
        command.env("HOME_GROWN", "kept").env("QUIETUS_STALE", "x");
        command.output().unwrap()
    };
    assert_eq!(stdout(&with(&[])), ["kept unset unset"]);
    let identity = fs::canonicalize(stage.path("dev/agent.toml")).unwrap();
    let expected = format!("kept unset {}", identity.display());
    assert_eq!(stdout(&with(&["--pass-identity"])), [expected]);
}

#[test]
fn without_a_broker_or_an_identity_nothing_is_started() {
    let output = quietus(&["run", "--scope", "a:read:b", "--", "true"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let folder = tempfile::tempdir().unwrap();
    let dev = folder.path().join("dev");
    quietus(&["init", dev.to_str().unwrap(), "--listen", &free_address()]);
    let identity = dev.join("agent.toml");
    let identity = identity.to_str().unwrap();
    let output = quietus(&[
        "run",
        "--identity",
        identity,
        "--scope",
        "a:read:b",
        "--",
        "true",
    ]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    for wrong in [
        &["run", "--", "true"][..],
        &["run", "--scope", "a:read:b"],
        &["run", "--scope", "read:b", "--", "true"],
    ] {
        assert_eq!(quietus(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
