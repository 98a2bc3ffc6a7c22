use std::fmt::Write;

use quietus::config::{ClientConfig, Config, ConfigError, MAX_BYTES};
use tempfile::TempDir;

use crate::{GOOD, load};

/// What is replaced in the good file, by what, and what the error has to say.
const CASES: &[(&str, &str, &str)] = &[
    // Form.
    ("[broker]", "[broker", "quietus.toml:1: "),
    ("[keys]\ndir = \"keys\"", "", "missing field `keys`"),
    ("svid = \"broker.pem\"", "", "missing field `svid`"),
    ("[limits]", "[limit]", "unknown field `limit`"),
    ("svid =", "certificate =", "unknown field `certificate`"),
    (
        "tier = 1",
        "tier = 1\nrisk = 2",
        "quietus.toml:20: unknown field `risk`",
    ),
    ("tier = 1", "tier = 1\ntier = 2", "duplicate key"),
    ("tier = 1", "tier = \"low\"", "in: tier = \"low\""),
    (
        "kind = \"jwt\"",
        "kind = \"ldap\"",
        "unknown variant `ldap`, expected one of `jwt`, `postgres`, `x509`",
    ),
    (
        "[limits]",
        "[log]\nlevel = \"loud\"\n[limits]",
        "unknown variant `loud`",
    ),
    (
        "[limits]",
        "[log]\nformat = \"xml\"\n[limits]",
        "expected `text` or `json`",
    ),
    (
        "\"1h\"",
        "3600",
        "expected a duration in quotes, such as \"90s\"",
    ),
    (
        "\"1h\"",
        "\"soon\"",
        "expected a duration in quotes, such as \"90s\"",
    ),
    ("max_ttl", "max_tll", "unknown field `max_tll`"),
    // Telemetry.
    (
        "[limits]",
        "[telemetry]\nmetrics = \"localhost:9464\"\n[limits]",
        "telemetry.metrics: \"localhost:9464\": write an IP",
    ),
    (
        "[limits]",
        "[telemetry]\nmetrics = \"127.0.0.1\"\n[limits]",
        "telemetry.metrics",
    ),
    (
        "[limits]",
        "[telemetry]\nmetrics = \"\"\n[limits]",
        "telemetry.metrics",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"https://collector.example:4317\"\n[limits]",
        "telemetry.otlp: \"https://collector.example:4317\": TLS is not spoken",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"127.0.0.1:4317\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"http://127.0.0.1\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"http://127.0.0.1:4317/v1/traces\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"http://127.0.0.1:4317?x\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"http://user@127.0.0.1:4317\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"http://:4317\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"grpc://127.0.0.1:4317\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"http://127.0.0.1:99999\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\notlp = \"\"\n[limits]",
        "telemetry.otlp",
    ),
    (
        "[limits]",
        "[telemetry]\nprometheus = true\n[limits]",
        "unknown field `prometheus`",
    ),
    (
        "[limits]",
        "[telemetry]\nmetrics = true\n[limits]",
        "in: metrics = true",
    ),
    // The broker and its files.
    (
        "127.0.0.1:8443",
        "localhost:8443",
        "line 2: broker.listen: \"localhost:8443\": write an IP",
    ),
    ("127.0.0.1:8443", "127.0.0.1", "broker.listen"),
    ("127.0.0.1:8443", "127.0.0.1:65536", "broker.listen"),
    (
        "svid = \"broker.pem\"",
        "svid = \"\"",
        "line 3: broker.svid: not a path: write one",
    ),
    ("/etc/quietus/broker.key", " ", "broker.key: not a path"),
    (
        "[store]",
        "issuer = \"http://q.example\"\n[store]",
        "broker.issuer: \"http://q.example\": write an https",
    ),
    (
        "[store]",
        "issuer = \"https://q.example/?a\"\n[store]",
        "broker.issuer",
    ),
    ("[store]", "issuer = \"https://\"\n[store]", "broker.issuer"),
    (
        "[store]",
        "issuer = \"https://q example\"\n[store]",
        "broker.issuer",
    ),
    ("state/quietus.redb", "", "store.path: not a path"),
    (
        "[keys]",
        "cache_bytes = 0\n[keys]",
        "store.cache_bytes: 0: write a whole number from 1048576",
    ),
    (
        "[keys]",
        "cache_bytes = -1\n[keys]",
        "store.cache_bytes: -1",
    ),
    (
        "[keys]",
        "min_free_bytes = 0\n[keys]",
        "store.min_free_bytes: 0",
    ),
    ("\"keys\"", "\"\"", "keys.dir: not a path"),
    ("\"policies\"", "\"a\\u0000b\"", "policy.dir: not a path"),
    // Trust domains.
    (
        "\"dev.example\"",
        "\"Dev.example\"",
        "trust_domain.name: \"Dev.example\": the trust domain contains upper-case 'D'",
    ),
    (
        "\"dev.example\"",
        "\"spiffe://dev.example\"",
        "trust_domain.name",
    ),
    ("\"bundle.pem\"", "\"\"", "trust_domain.bundle: not a path"),
    (
        "[[agent]]",
        "[[trust_domain]]\nname = \"dev.example\"\nbundle = \"b\"\n[[agent]]",
        "line 15: trust_domain.name: \"dev.example\" is already on line 12: remove one",
    ),
    // Agents.
    (
        "agent/*",
        "agent*",
        "agent.id: \"spiffe://dev.example/agent*\": the path contains '*'",
    ),
    ("agent/*", "*/agent", "agent.id"),
    (
        "agent/*",
        "agent/",
        "agent.id: \"spiffe://dev.example/agent/\": the path ends in a slash",
    ),
    ("agent/*", "agent/**", "agent.id"),
    (
        "spiffe://dev.example/agent/*",
        "spiffe://dev.example",
        "line 15: agent.id: \"spiffe://dev.example\": this names a trust domain",
    ),
    (
        "spiffe://dev.example/agent/*",
        "agent/*",
        "agent.id: \"agent/*\": a SPIFFE ID begins with spiffe://",
    ),
    ("spiffe://dev.example/agent/*", "spiffe://*", "agent.id"),
    (
        "spiffe://dev.example/agent/*",
        "spiffe://prod.example/*",
        "agent.id: \"spiffe://prod.example/*\": its trust domain is not accepted",
    ),
    ("alice@example.com", "", "agent.owner: write 1 to 128 bytes"),
    (
        "\"data\"",
        "\"da\\nta\"",
        "line 17: agent.team: write 1 to 128 bytes",
    ),
    (
        "\"data\"\nenvironment = \"dev\"",
        "\"data\"\nenvironment = \" dev\"",
        "agent.environment",
    ),
    (
        "tier = 1",
        "tier = 10",
        "line 19: agent.tier: 10: write a whole number from 0 to 9",
    ),
    ("tier = 1", "tier = -1", "agent.tier: -1"),
    ("tier = 1", "tier = 256", "agent.tier: 256"),
    (
        "[[operator]]",
        "[[agent]]\nid = \"spiffe://dev.example/agent/*\"\nowner = \"b\"\nteam = \"b\"\nenvironment = \"b\"\ntier = 1\n[[operator]]",
        "line 21: agent.id: \"spiffe://dev.example/agent/*\" is already on line 15",
    ),
    // Operators.
    (
        "[[operator]]\nid = \"spiffe://dev.example/operator/alice\"",
        "",
        "operator: none: nobody could revoke; add an [[operator]]",
    ),
    (
        "operator/alice",
        "operator//alice",
        "operator.id: \"spiffe://dev.example/operator//alice\": the path has an empty segment",
    ),
    (
        "dev.example/operator",
        "else.example/operator",
        "line 21: operator.id",
    ),
    (
        "[[target]]",
        "[[operator]]\nid = \"spiffe://dev.example/operator/alice\"\n[[target]]",
        "operator.id: \"spiffe://dev.example/operator/alice\" is already on line 21",
    ),
    // Targets.
    (
        "\"orders-db\"",
        "\"Orders\"",
        "line 23: target.name: \"Orders\": a target name is",
    ),
    ("\"orders-db\"", "\"orders:db\"", "target.name"),
    (
        "sensitivity = 2",
        "sensitivity = 10",
        "target.sensitivity: 10: write a whole number from 0 to 9",
    ),
    (
        "kind = \"jwt\"\nenvironment = \"dev\"",
        "kind = \"jwt\"\nenvironment = \"\"",
        "target.environment",
    ),
    (
        "rs/orders",
        "rs/*",
        "target.resource_servers: \"spiffe://dev.example/rs/*\"",
    ),
    (
        "spiffe://dev.example/rs/orders",
        "spiffe://dev.example",
        "target.resource_servers",
    ),
    (
        "spiffe://dev.example/rs/orders",
        "spiffe://x.example/rs",
        "line 27: target.resource_servers",
    ),
    (
        "/rs/orders\"",
        "/rs/orders\", \"spiffe://dev.example/rs/orders\"",
        "target.resource_servers: \"spiffe://dev.example/rs/orders\" is already on line 27",
    ),
    (
        "[limits]",
        "[[target]]\nname = \"orders-db\"\nkind = \"jwt\"\nenvironment = \"dev\"\nsensitivity = 2\nresource_servers = []\n[limits]",
        "line 29: target.name: \"orders-db\" is already on line 23",
    ),
    // Limits.
    (
        "max_ttl = \"1h\"",
        "message_bytes = 0",
        "line 29: limits.message_bytes: 0: write a whole number from 1024",
    ),
    (
        "max_ttl = \"1h\"",
        "message_bytes = 1000000000",
        "limits.message_bytes",
    ),
    (
        "max_ttl = \"1h\"",
        "scopes_per_request = 0",
        "limits.scopes_per_request: 0",
    ),
    (
        "max_ttl = \"1h\"",
        "live_leases_per_task = 0",
        "limits.live_leases_per_task: 0",
    ),
    (
        "max_ttl = \"1h\"",
        "leases_per_task = 63",
        "limits.live_leases_per_task: 64 is more than limits.leases_per_task, 63: lower",
    ),
    (
        "max_ttl = \"1h\"",
        "open_tasks_per_agent = 0",
        "limits.open_tasks_per_agent: 0",
    ),
    (
        "max_ttl = \"1h\"",
        "requests_per_second = 0",
        "limits.requests_per_second: 0",
    ),
    (
        "max_ttl = \"1h\"",
        "request_burst = 4294967296",
        "limits.request_burst: 4294967296",
    ),
    (
        "max_ttl = \"1h\"",
        "max_ttl = \"0s\"",
        "limits.max_ttl: 0s: write a duration from 1s to 7days",
    ),
    ("max_ttl = \"1h\"", "max_ttl = \"1y\"", "limits.max_ttl"),
    (
        "max_ttl = \"1h\"",
        "max_ttl = \"1m\"",
        "line 29: limits.default_ttl: 5m is more than limits.max_ttl, 1m: lower",
    ),
    (
        "max_ttl = \"1h\"",
        "default_ttl = \"2h\"",
        "limits.default_ttl: 2h is more than limits.max_ttl, 1h",
    ),
    (
        "max_ttl = \"1h\"",
        "max_task = \"30m\"",
        "limits.default_task: 1h is more than limits.max_task, 30m",
    ),
    ("max_ttl = \"1h\"", "max_task = \"1y\"", "limits.max_task"),
    (
        "max_ttl = \"1h\"",
        "grace = \"999ms\"",
        "limits.grace: 999ms: write a duration from 1s to 10m",
    ),
    ("max_ttl = \"1h\"", "retention = \"0s\"", "limits.retention"),
    (
        "max_ttl = \"1h\"",
        "min_heartbeat = \"0s\"",
        "limits.min_heartbeat: 0s",
    ),
];

#[test]
fn every_mistake_is_refused_by_name() {
    load(GOOD).unwrap();
    for (from, to, expected) in CASES {
        assert!(GOOD.contains(from), "{from}");
        let error = load(GOOD.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_in_the_order_of_the_file() {
    let text = GOOD
        .replace("127.0.0.1:8443", "x")
        .replace("tier = 1", "tier = 11")
        .replace("sensitivity = 2", "sensitivity = 12")
        .replace("max_ttl = \"1h\"", "max_ttl = \"0s\"");
    let Err(ConfigError::Invalid { problems, .. }) = load(text) else {
        panic!("not refused");
    };
    let found: Vec<_> = problems.iter().map(|it| (it.line, it.key)).collect();
    let expected = [
        (Some(2), "broker.listen"),
        (Some(19), "agent.tier"),
        (Some(26), "target.sensitivity"),
        (Some(29), "limits.max_ttl"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_file_without_trust_domain_is_refused() {
    let text = GOOD.replace(
        "[[trust_domain]]\nname = \"dev.example\"\nbundle = \"bundle.pem\"",
        "",
    );
    let error = load(text).unwrap_err().to_string();
    assert!(
        error.contains("trust_domain: none: nobody could connect"),
        "{error}"
    );
}

#[test]
fn files_are_bounded() {
    let padding = MAX_BYTES as usize - GOOD.len() - 1;
    let exact = format!("{GOOD}#{}", "x".repeat(padding));
    load(&exact).unwrap();
    let error = load(exact + "x").unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
}

#[test]
fn entries_are_bounded() {
    let mut text = GOOD.to_owned();
    for n in 0..10_000 {
        write!(text, "[[operator]]\nid='spiffe://dev.example/o/{n}'\n").unwrap();
    }
    let error = load(text).unwrap_err().to_string();
    assert!(
        error.contains("operator: 10001 entries: at most 10000"),
        "{error}"
    );
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let error = load(b"\xff\xfe").unwrap_err();
    assert!(matches!(error, ConfigError::NotText { .. }), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    for path in [folder.path().join("none.toml"), folder.path().to_owned()] {
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

const CLIENT: &str = r#"address = "127.0.0.1:8443"
broker = "spiffe://dev.example/broker"
svid = "agent.pem"
key = "agent.key"
bundle = "bundle.pem"
"#;

const CLIENT_CASES: &[(&str, &str, &str)] = &[
    (
        "127.0.0.1:8443",
        "https://127.0.0.1:8443",
        "line 1: address",
    ),
    (
        "127.0.0.1:8443",
        "127.0.0.1",
        "address: \"127.0.0.1\": write a host and a port",
    ),
    ("127.0.0.1:8443", "127.0.0.1:0", "address"),
    ("127.0.0.1:8443", ":8443", "address"),
    ("127.0.0.1:8443", "::1:8443", "address"),
    ("127.0.0.1:8443", "[::x]:8443", "address"),
    (
        "spiffe://dev.example/broker",
        "https://dev.example",
        "broker: \"https://dev.example\"",
    ),
    (
        "spiffe://dev.example/broker",
        "spiffe://dev.example",
        "broker: \"spiffe://dev.example\": this names a trust domain",
    ),
    ("\"agent.pem\"", "\"\"", "line 3: svid: not a path"),
    ("key = \"agent.key\"", "", "missing field `key`"),
    ("bundle =", "ca =", "unknown field `ca`"),
];

#[test]
fn every_mistake_in_a_client_file_is_refused_by_name() {
    load_client(CLIENT).unwrap();
    for address in ["broker.example:443", "[::1]:8443"] {
        load_client(&CLIENT.replace("127.0.0.1:8443", address)).unwrap();
    }
    for (from, to, expected) in CLIENT_CASES {
        let error = load_client(&CLIENT.replacen(from, to, 1))
            .expect_err(to)
            .to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
}

fn load_client(text: &str) -> Result<ClientConfig, ConfigError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    ClientConfig::load(path)
}
