//! `[target.external]` in a configuration file.

use std::fs;
use std::path::Path;

use quietus::config::{Config, ConfigError, ExternalEndpoint, ExternalSettings, Settings};
use quietus_core::Confirmation;

const SOCKET: &str = r#"
kind = "api-key"
socket = "run/issuer.sock"
can_revoke = true
confirms_by = "deleted_at_target"
expires_at_target = true
renewable = false
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(target: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quietus.toml");
    let sample = fs::read_to_string(root().join("config/quietus.toml")).unwrap();
    fs::write(&path, format!("{sample}\n{target}")).unwrap();
    Config::load(path)
}

fn external(settings: &str) -> Result<ExternalSettings, ConfigError> {
    let target = format!(
        "[[target]]\nname = \"x\"\nkind = \"external\"\nenvironment = \"dev\"\nsensitivity = 1\n\
         resource_servers = []\n[target.external]\n{settings}"
    );
    let config = load(&target)?;
    match &config.target(&"x".parse().unwrap()).unwrap().settings {
        Settings::External(settings) => Ok(ExternalSettings::clone(settings)),
        other => panic!("{other:?}"),
    }
}

fn without(key: &str) -> String {
    let lines = SOCKET.lines().filter(|line| !line.starts_with(key));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_loads_both_ways() {
    let sample = fs::read_to_string(root().join("config/targets/external.toml")).unwrap();
    let config = load(&sample).unwrap();
    let target = config.target(&"billing-keys".parse().unwrap()).unwrap();
    let Settings::External(settings) = &target.settings else {
        panic!("{target:?}");
    };
    assert_eq!(settings.kind, "api-key");
    assert!(matches!(settings.endpoint, ExternalEndpoint::Socket { .. }));
    let over_tls = sample
        .replace("socket =", "# socket =")
        .replace("# address =", "address =")
        .replace("# issuer_id =", "issuer_id =")
        .replace("# bundle =", "bundle =");
    let config = load(&over_tls).unwrap();
    let target = config.target(&"billing-keys".parse().unwrap()).unwrap();
    let Settings::External(settings) = &target.settings else {
        panic!("{target:?}");
    };
    let ExternalEndpoint::Tls { address, .. } = &settings.endpoint else {
        panic!("{settings:?}");
    };
    assert_eq!(address, "issuer.dev.example:9443");
}

#[test]
fn a_socket_is_relative_to_the_file() {
    let settings = external(SOCKET).unwrap();
    assert_eq!(settings.confirms_by, Some(Confirmation::DeletedAtTarget));
    let ExternalEndpoint::Socket { path, uid } = settings.endpoint else {
        panic!();
    };
    assert!(path.is_absolute() && path.ends_with("run/issuer.sock"));
    assert_eq!(uid, None);
}

#[test]
fn nothing_but_what_is_known_is_confirmed() {
    let mut settings =
        external(&without("confirms_by").replace("can_revoke = true", "can_revoke = false"));
    assert_eq!(settings.unwrap().confirms_by, None);
    for word in ["on_crl", "on_krl", "rotated_at_target"] {
        settings = external(&SOCKET.replace("deleted_at_target", word));
        assert_eq!(settings.unwrap().confirms_by.unwrap().as_str(), word);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let add = |line: &str| format!("{SOCKET}{line}\n");
    let swap = |from: &str, to: &str| SOCKET.replace(from, to);
    let tls = "address = \"https://issuer.example:9443\"";
    let cases = [
        (without("socket"), "write either address"),
        (add(tls), "write either address"),
        (
            swap("socket = \"run/issuer.sock\"", tls),
            "needs issuer_id and bundle",
        ),
        (
            add("issuer_id = \"spiffe://dev.example/x\""),
            "a socket has no SVID",
        ),
        (add("bundle = \"bundle.pem\""), "a socket has no SVID"),
        (add("uid = -1"), "a whole number"),
        (without("confirms_by"), "with can_revoke write"),
        (
            swap("can_revoke = true", "can_revoke = false"),
            "remove the key",
        ),
        (
            swap("deleted_at_target", "refused_by_introspection"),
            "write deleted_at_target",
        ),
        (
            swap("deleted_at_target", "expired_at_target"),
            "write deleted_at_target",
        ),
        (
            swap("deleted_at_target", "surely"),
            "write deleted_at_target",
        ),
        (swap("api-key", "API key"), "write 1 to 64"),
        (swap("api-key", ""), "write 1 to 64"),
        (swap("run/issuer.sock", ""), "not a path"),
        (without("can_revoke"), "can_revoke"),
        (without("expires_at_target"), "expires_at_target"),
        (without("renewable"), "renewable"),
        (add("retries = 3"), "retries"),
    ];
    for (settings, expected) in cases {
        let error = external(&settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, not {expected}");
    }
}

#[test]
fn an_address_is_a_url_with_a_port_and_the_issuer_a_workload() {
    let tls = |address: &str, id: &str| {
        let keys = format!("address = {address:?}\nissuer_id = {id:?}\nbundle = \"bundle.pem\"");
        external(&SOCKET.replace("socket = \"run/issuer.sock\"", &keys))
    };
    let (url, id) = ("https://[::1]:9443", "spiffe://other.example/issuer");
    assert!(tls(url, id).is_ok());
    for bad in [
        "issuer:9443",
        "http://issuer:9443",
        "https://issuer",
        "https://issuer:0",
        "https://issuer:1/x",
    ] {
        assert!(tls(bad, id).is_err(), "{bad}");
    }
    for bad in ["spiffe://dev.example", "https://dev.example/x", ""] {
        assert!(tls(url, bad).is_err(), "{bad}");
    }
}
