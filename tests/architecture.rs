//! What `ARCHITECTURE.md` says is absent, is absent.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Licences that go with Apache-2.0.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// One TLS stack, one cryptographic provider, nothing that is no longer kept.
const BANNED: [&str; 8] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "aws-lc-rs",
    "aws-lc-sys",
    "atty",
    "failure",
    "serde_yaml",
];

#[test]
fn core_depends_on_next_to_nothing() {
    assert_eq!(
        dependencies_of("quietus-core"),
        set(&["serde", "thiserror", "uuid"])
    );
}

#[test]
fn crates_do_not_know_each_other_but_for_policy_and_core() {
    for (name, allowed) in [
        ("quietus-core", &[][..]),
        ("quietus-identity", &[]),
        ("quietus-ledger", &[]),
        ("quietus-token", &[]),
        ("quietus-policy", &["quietus-core"]),
    ] {
        let ours = dependencies_of(name)
            .into_iter()
            .filter(|name| name.starts_with("quietus"));
        assert_eq!(ours.collect::<BTreeSet<_>>(), set(allowed), "{name}");
    }
}

#[test]
fn the_token_library_knows_no_grpc_no_store_and_no_policy_language() {
    let all = everything_below("quietus-token");
    for absent in ["tonic", "prost", "redb", "cedar-policy", "tokio", "rustls"] {
        assert!(!all.contains(absent), "quietus-token depends on {absent}");
    }
}

#[test]
fn pure_crates_have_no_runtime_and_no_sockets_below_them() {
    for name in [
        "quietus-core",
        "quietus-identity",
        "quietus-ledger",
        "quietus-policy",
    ] {
        let all = everything_below(name);
        for absent in ["tokio", "mio", "hyper", "tonic", "redb"] {
            assert!(!all.contains(absent), "{name} depends on {absent}");
        }
    }
}

#[test]
fn no_dependency_is_banned_and_every_licence_fits() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        assert!(
            !BANNED.contains(&name) || !is_built(&metadata, package),
            "{name} is banned"
        );
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(fits(licence), "{name} is under {licence}");
        let source = package["source"].as_str();
        let from_registry = source.is_none_or(|source| source.starts_with("registry+"));
        assert!(from_registry, "{name} comes from {source:?}");
    }
}

#[test]
fn redb_is_named_in_the_store_only() {
    for file in sources(&["src"]) {
        let inside = file.starts_with("src/store");
        assert!(
            inside || !names(&file, "redb::"),
            "{} names redb",
            file.display()
        );
    }
}

#[test]
fn protobuf_types_are_named_in_the_api_only() {
    for file in sources(&["src"]) {
        let inside = file.starts_with("src/api");
        let names = names(&file, "prost::") || names(&file, "prost_types::");
        assert!(inside || !names, "{} names protobuf types", file.display());
    }
}

#[test]
fn clocks_are_read_in_one_place() {
    // Those beside it measure, or make certificates for development; nothing of the broker decides by them.
    // How long a target that did not answer is left alone is paced by the runtime's timer: no credential lives longer
    // or dies sooner by it.
    let exempt = ["src/clock.rs", "src/cli", "src/dev", "src/engine/targets"];
    for file in sources(&["src", "crates"]) {
        let is_test = file
            .components()
            .any(|part| ["tests", "examples"].contains(&part.as_os_str().to_str().unwrap()));
        if is_test || exempt.iter().any(|exempt| file.starts_with(exempt)) {
            continue;
        }
        for clock in ["SystemTime::now", "Instant::now", "Utc::now"] {
            assert!(!names(&file, clock), "{} reads a clock", file.display());
        }
    }
}

#[test]
fn every_document_names_files_that_exist() {
    for document in [
        "ARCHITECTURE.md",
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "docs/external-issuers.md",
        "docs/telemetry.md",
    ] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for named in text.split('`').skip(1).step_by(2) {
            let looks_like_a_path = [
                "src/",
                "crates/",
                "tests/",
                "config/",
                "proto/",
                "docs/",
                "examples/",
            ]
            .iter()
            .any(|start| named.starts_with(start))
                && !named.contains([' ', '*', '{']);
            if looks_like_a_path {
                let path = root().join(named);
                let exists = path.exists() || path.with_extension("rs").exists();
                assert!(exists, "{document} names {named}");
            }
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn dependencies_of(name: &str) -> BTreeSet<String> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == name)
        .unwrap();
    let normal = package["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["kind"].is_null());
    normal
        .map(|d| d["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The names of all packages that are built for this one, at any depth.
fn everything_below(name: &str) -> BTreeSet<String> {
    let metadata = metadata();
    let graph = graph(&metadata);
    let names = package_names(&metadata);
    let start = names.iter().find(|(_, found)| *found == name).unwrap().0;
    let mut waiting = vec![start.clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if seen.insert(id.clone()) {
            waiting.extend(graph[&id].iter().cloned());
        }
    }
    seen.into_iter().map(|id| names[&id].clone()).collect()
}

/// Package id → ids of its normal and build dependencies, as resolved on this platform.
fn graph(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| {
            let deps = node["deps"].as_array().unwrap().iter();
            let shipped = deps.filter(|dep| {
                dep["dep_kinds"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|kind| kind["kind"] != "dev")
            });
            let ids = shipped.map(|dep| dep["pkg"].as_str().unwrap().to_owned());
            (node["id"].as_str().unwrap().to_owned(), ids.collect())
        })
        .collect()
}

fn package_names(metadata: &Value) -> BTreeMap<String, String> {
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let text = |key: &str| package[key].as_str().unwrap().to_owned();
            (text("id"), text("name"))
        })
        .collect()
}

/// Whether a package is reached at all: the lock file also names what other platforms would need.
fn is_built(metadata: &Value, package: &Value) -> bool {
    let id = package["id"].as_str().unwrap();
    graph(metadata)
        .values()
        .flatten()
        .any(|reached| reached == id)
}

/// An SPDX expression of AND, OR and the licences above.
fn fits(licence: &str) -> bool {
    let licence = licence.replace('/', " OR ");
    let all = licence.split(" AND ");
    all.map(|part| part.trim_matches(['(', ')'])).all(|part| {
        part.split(" OR ")
            .any(|one| LICENCES.contains(&one.trim().trim_matches(['(', ')'])))
    })
}

fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    assert!(!found.is_empty());
    found
        .iter()
        .map(|file| file.strip_prefix(root()).unwrap().to_owned())
        .collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, found),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
}

/// Whether code (not a comment) names it.
fn names(file: &Path, what: &str) -> bool {
    let text = fs::read_to_string(root().join(file)).unwrap();
    text.lines()
        .any(|line| !line.trim_start().starts_with("//") && line.contains(what))
}
