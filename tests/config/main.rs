//! Configuration files, the samples that are shipped, and what `quietus init` makes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod broken;
mod init;
mod lookups;
mod policies;
mod postgres;
mod samples;
mod svids;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use quietus::config::{Config, ConfigError};
use tempfile::TempDir;

const GOOD: &str = r#"[broker]
listen = "127.0.0.1:8443"
svid = "broker.pem"
key = "/etc/quietus/broker.key"
[store]
path = "state/quietus.redb"
[keys]
dir = "keys"
[policy]
dir = "policies"
[[trust_domain]]
name = "dev.example"
bundle = "bundle.pem"
[[agent]]
id = "spiffe://dev.example/agent/*"
owner = "alice@example.com"
team = "data"
environment = "dev"
tier = 1
[[operator]]
id = "spiffe://dev.example/operator/alice"
[[target]]
name = "orders-db"
kind = "jwt"
environment = "dev"
sensitivity = 2
resource_servers = ["spiffe://dev.example/rs/orders"]
[limits]
max_ttl = "1h"
"#;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn load(text: impl AsRef<[u8]>) -> Result<Config, ConfigError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("quietus.toml");
    fs::write(&path, text).unwrap();
    Config::load(path)
}
