//! `[target.postgres]`

use std::fs;

use quietus::config::{OnOwned, PostgresSettings, PostgresTls, Settings, SslMode};

use crate::{GOOD, load, samples};

/// What is replaced in the sample, by what, and what the error has to say.
const CASES: &[(&str, &str, &str)] = &[
    ("host = \"db.internal\"", "", "missing field `host`"),
    (
        "host = \"db.internal\"",
        "host = \"\"",
        "target.postgres.host",
    ),
    ("host = \"db.internal\"", "host = \"a,b\"", "one host name"),
    ("host = \"db.internal\"", "host = \"a b\"", "one host name"),
    ("port = 5432", "port = 0", "a whole number from 1 to 65535"),
    ("port = 5432", "port = 65536", "target.postgres.port"),
    (
        "database = \"orders\"",
        "database = \"\"",
        "target.postgres.database",
    ),
    (
        "user = \"quietus\"",
        "user = \"a\\u0000b\"",
        "target.postgres.user",
    ),
    (
        "user = \"quietus\"",
        "user = \"0123456789012345678901234567890123456789012345678901234567890123\"",
        "63 bytes",
    ),
    (
        "password_file = \"/etc",
        "password = \"/etc",
        "unknown field `password`",
    ),
    (
        "password_file = \"/etc/quietus/orders-db.password\"",
        "password_file = \"\"",
        "not a path",
    ),
    (
        "tls = \"verify-full\"",
        "tls = \"prefer\"",
        "unknown variant `prefer`",
    ),
    (
        "tls = \"verify-full\"",
        "tls = \"disable\"",
        "only to this machine",
    ),
    (
        "ca_file = \"/etc/quietus/orders-db-ca.pem\"",
        "",
        "target.postgres.ca_file: missing",
    ),
    (
        "ca_file = \"/etc/quietus/orders-db-ca.pem\"",
        "ca_file = \" \"",
        "not a path",
    ),
    (
        "# agent_host = \"db.example.com\"",
        "agent_host = \" \"",
        "target.postgres.agent_host",
    ),
    (
        "# agent_port = 5432",
        "agent_port = -1",
        "target.postgres.agent_port",
    ),
    (
        "# agent_sslmode = \"verify-full\"",
        "agent_sslmode = \"prefer\"",
        "unknown variant",
    ),
    (
        "# connection_limit = 5",
        "connection_limit = 0",
        "from 1 to 1000",
    ),
    (
        "# connection_limit = 5",
        "connection_limit = -1",
        "target.postgres.connection_limit",
    ),
    (
        "# on_owned = \"reassign\"",
        "on_owned = \"keep\"",
        "unknown variant `keep`",
    ),
    (
        "# on_owned = \"reassign\"",
        "on_owned = \"reassign\"",
        "target.postgres.owner: missing",
    ),
    (
        "# owner = \"orders_owner\"",
        "owner = \"orders_owner\"",
        "on_owned = \"reassign\"",
    ),
];

/// Statements that no template may have.
const STATEMENTS: &[(&str, &str)] = &[
    ("", "one SQL statement"),
    ("GRANT a TO b", "names no role"),
    ("GRANT {{group}} TO {{role}}", "only {{role}}"),
    ("COMMIT /* {{role}} */", "may not end it"),
    ("rollback; GRANT a TO {{role}}", "may not end it"),
    ("End; -- {{role}}", "may not end it"),
];

#[test]
fn the_sample_loads_with_and_without_what_is_commented_out() {
    let bare = settings(&sample()).unwrap();
    assert_eq!((bare.connection_limit, &bare.on_owned), (5, &OnOwned::Drop));
    assert_eq!(
        (bare.agents.host.as_str(), bare.agents.port),
        ("db.internal", 5432)
    );
    assert_eq!(bare.agents.sslmode, SslMode::VerifyFull);
    assert!(bare.templates.is_empty());

    let full = settings(&uncommented()).unwrap();
    assert_eq!(full.agents.host, "db.example.com");
    assert_eq!(full.on_owned, OnOwned::Reassign("orders_owner".to_owned()));
    assert_eq!(full.templates["migrate"].grant.len(), 2);
    assert_eq!(full.connection_limit, bare.connection_limit);
}

#[test]
fn a_server_on_this_machine_may_go_without_tls() {
    for host in ["127.0.0.1", "::1", "localhost", "/run/postgresql"] {
        let text = sample()
            .replace("db.internal", host)
            .replace("tls = \"verify-full\"", "tls = \"disable\"")
            .replace("ca_file = \"/etc/quietus/orders-db-ca.pem\"", "");
        let read = settings(&text).unwrap();
        assert_eq!(
            (read.tls, read.agents.sslmode),
            (PostgresTls::Disable, SslMode::Disable)
        );
    }
    let pointless = sample()
        .replace("db.internal", "localhost")
        .replace("tls = \"verify-full\"", "tls = \"disable\"");
    assert!(
        settings(&pointless)
            .unwrap_err()
            .contains("no TLS, so no authority")
    );
}

#[test]
fn every_mistake_is_refused_by_name() {
    for (part, with, expected) in CASES {
        let sample = sample();
        assert!(sample.contains(part), "{part}");
        let error = settings(&sample.replacen(part, with, 1)).unwrap_err();
        assert!(error.contains(expected), "{part} → {with}: {error}");
    }
}

#[test]
fn templates_cannot_end_their_transaction_or_forget_the_role() {
    let long = format!("GRANT {} TO {{{{role}}}}", "x".repeat(4096));
    let cases = STATEMENTS
        .iter()
        .copied()
        .chain([(long.as_str(), "4096 bytes")]);
    for (sql, expected) in cases {
        for key in ["grant = [\"ALTER ROLE {{role}} INHERIT\", ", "revoke = ["] {
            let text = uncommented().replacen(key, &format!("{key}{sql:?}, "), 1);
            let error = settings(&text).unwrap_err();
            assert!(error.contains(expected), "{sql}: {error}");
        }
    }
    for (name, expected) in [("", "a-z"), ("A", "a-z"), ("a b", "a-z"), ("a.b", "a-z")] {
        let text = uncommented().replace("name = \"migrate\"", &format!("name = {name:?}"));
        assert!(settings(&text).unwrap_err().contains(expected), "{name:?}");
    }
}

fn sample() -> String {
    fs::read_to_string(samples().join("targets/postgres.toml")).unwrap()
}

/// With all that is commented out and looks like a setting.
fn uncommented() -> String {
    let is_setting = |line: &str| line.starts_with("[[") || line.contains(" = ");
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) && !rest.ends_with(['.', ',']) => rest.to_owned(),
        _ => line.to_owned(),
    };
    sample().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn settings(target: &str) -> Result<PostgresSettings, String> {
    let (before, after) = GOOD.split_once("[[target]]").unwrap();
    let (_, limits) = after.split_once("[limits]").unwrap();
    let text = format!("{before}{target}\n[limits]{limits}");
    let config = load(text).map_err(|error| error.to_string())?;
    let target = config.targets().next().unwrap();
    match &target.settings {
        Settings::Postgres(settings) => Ok((**settings).clone()),
        other => panic!("{other:?}"),
    }
}
