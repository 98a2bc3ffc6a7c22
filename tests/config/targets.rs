use std::time::Duration;

use quietus::config::Target;

use crate::{GOOD, load};

/// The table that each kind needs, with the least that it has to say.
const TABLES: [(&str, &str); 6] = [
    ("postgres", POSTGRES),
    ("x509", X509),
    ("ssh", SSH),
    ("redis", REDIS),
    ("static", STATIC),
    ("external", EXTERNAL),
];

const POSTGRES: &str = r#"host = "db.internal"
database = "orders"
user = "quietus"
password_file = "orders-db.password"
tls = "verify-full"
ca_file = "orders-db-ca.pem""#;

const X509: &str = r#"ca_cert = "ca.pem"
ca_key = "ca.key"
crl = "ca.crl"
usage = "client"
san = ["uri:{agent}"]"#;

const SSH: &str = r#"ca_key = "ca"
krl = "krl"
[[target.ssh.principal]]
name = "deploy""#;

const REDIS: &str = r#"host = "127.0.0.1"
tls = false
user = "quietus"
password_file = "redis.password""#;

const STATIC: &str = r#"sealed = "stripe.sealed"
key_file = "static.key""#;

const EXTERNAL: &str = r#"kind = "api-key"
socket = "issuer.sock"
can_revoke = true
confirms_by = "deleted_at_target"
expires_at_target = false
renewable = false"#;

const KIND_LINE: &str = "line 24: ";

/// The good file with its target of this kind and with these lines added to it.
fn file(kind: &str, more: &str) -> String {
    GOOD.replace("kind = \"jwt\"", &format!("kind = {kind:?}"))
        .replace("[limits]", &format!("{more}\n[limits]"))
}

fn table(kind: &str, body: &str) -> String {
    format!("[target.{kind}]\n{body}")
}

fn target(text: &str) -> Target {
    let config = load(text).unwrap();
    config
        .target(&"orders-db".parse().unwrap())
        .unwrap()
        .clone()
}

fn refusal(text: &str) -> String {
    load(text).expect_err(text).to_string()
}

#[test]
fn every_kind_loads_with_its_own_table_and_is_called_by_its_name() {
    assert_eq!(target(GOOD).kind().as_str(), "jwt");
    for (kind, body) in TABLES {
        let target = target(&file(kind, &table(kind, body)));
        assert_eq!(target.kind().as_str(), kind);
    }
}

#[test]
fn a_kind_without_its_table_is_refused_at_the_kind() {
    for (kind, _) in TABLES {
        let error = refusal(&file(kind, ""));
        let expected = format!(
            "{KIND_LINE}target.{kind}: missing: add the table [target.{kind}] to this target"
        );
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_table_of_another_kind_is_refused() {
    let kinds = TABLES.map(|(kind, _)| kind);
    for kind in kinds.into_iter().chain(["jwt"]) {
        for (other, body) in TABLES.into_iter().filter(|(other, _)| *other != kind) {
            let error = refusal(&file(kind, &table(other, body)));
            let expected = format!(
                "target.{other}: the settings of another kind than {kind:?}: \
                 remove the table, or change the kind"
            );
            assert!(error.contains(&expected), "{error}");
        }
    }
}

#[test]
fn the_table_of_another_kind_does_not_stand_in_for_the_missing_one() {
    let error = refusal(&file("ssh", &table("redis", TABLES[3].1)));
    for part in [
        "target.ssh: missing",
        "target.redis: the settings of another",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_table_of_another_kind_beside_the_right_one_is_refused_all_the_same() {
    for (at, (kind, body)) in TABLES.into_iter().enumerate() {
        let (other, others) = TABLES[(at + 1) % TABLES.len()];
        let both = format!("{}\n{}", table(kind, body), table(other, others));
        let error = refusal(&file(kind, &both));
        assert!(
            error.contains(&format!("target.{other}: the settings")),
            "{error}"
        );
        assert!(!error.contains("missing"), "{error}");
    }
}

#[test]
fn an_unknown_key_in_a_table_is_refused_with_its_line() {
    for (kind, _) in TABLES {
        let error = refusal(&file(kind, &table(kind, "colour = \"red\"")));
        assert!(error.contains("quietus.toml:29: "), "{error}");
        assert!(error.contains("unknown field `colour`"), "{error}");
    }
}

#[test]
fn a_table_that_is_no_table_or_of_no_kind_is_refused() {
    for (kind, _) in TABLES {
        let error = refusal(&file(kind, &format!("{kind} = 7")));
        assert!(error.contains("quietus.toml:28: "), "{error}");
    }
    for stranger in ["jwt", "ldap", "static_secret", "Postgres"] {
        let error = refusal(&file("jwt", &table(stranger, "")));
        let expected = format!("unknown field `{stranger}`");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_kind_is_written_exactly() {
    for kind in [
        "",
        "JWT",
        "Postgres",
        "postgresql",
        "static-secrets",
        "x.509",
    ] {
        let error = refusal(&file(kind, ""));
        assert!(
            error.contains(&format!("unknown variant `{kind}`")),
            "{error}"
        );
    }
}

#[test]
fn who_says_nothing_gets_eight_calls_at_once_of_ten_seconds() {
    let target = target(GOOD);
    assert_eq!(target.concurrency.get(), 8);
    assert_eq!(target.timeout, Duration::from_secs(10));
}

#[test]
fn calls_may_be_as_many_and_as_long_as_the_edges_say() {
    for (calls, timeout, millis) in [(1, "100ms", 100), (256, "5m", 300_000)] {
        let lines = format!("concurrency = {calls}\ntimeout = \"{timeout}\"");
        let target = target(&file("jwt", &lines));
        assert_eq!(target.concurrency.get(), calls);
        assert_eq!(target.timeout, Duration::from_millis(millis));
    }
}

#[test]
fn calls_beyond_the_edges_are_refused() {
    for wrong in ["0", "-1", "257", "4294967297", "9223372036854775807"] {
        let error = refusal(&file("jwt", &format!("concurrency = {wrong}")));
        let expected =
            format!("line 28: target.concurrency: {wrong}: write a whole number from 1 to 256");
        assert!(error.contains(&expected), "{error}");
    }
    for wrong in ["0s", "99ms", "5m 1ms", "1h"] {
        let error = refusal(&file("jwt", &format!("timeout = \"{wrong}\"")));
        let expected =
            format!("line 28: target.timeout: {wrong}: write a duration from 100ms to 5m");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn calls_that_are_no_numbers_and_no_durations_are_refused() {
    for line in [
        "concurrency = \"8\"",
        "concurrency = 8.0",
        "timeout = 10",
        "timeout = \"soon\"",
        "timeout = \"-1s\"",
        "retries = 3",
    ] {
        let error = refusal(&file("jwt", line));
        assert!(error.contains("quietus.toml:28: "), "{line}: {error}");
    }
}
