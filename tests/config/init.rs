use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Parser;
use quietus::cli::init::{InitArgs, run};
use quietus::config::{ClientConfig, Config};
use quietus::dev::{DevDomain, DevDomainOptions, DevError};
use tempfile::TempDir;

const CLIENTS: [&str; 4] = ["agent", "reader", "operator", "resource-server"];

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    init: InitArgs,
}

fn init(folder: &Path, more: &[&str]) -> anyhow::Result<()> {
    let folder = folder.to_str().unwrap();
    let words = ["init", folder].into_iter().chain(more.iter().copied());
    run(Command::try_parse_from(words)?.init)
}

fn options() -> DevDomainOptions {
    DevDomainOptions {
        trust_domain: "dev.example".parse().unwrap(),
        listen: "127.0.0.1:8443".parse().unwrap(),
        now: SystemTime::now(),
        lifetime: Duration::from_secs(3600),
        force: false,
    }
}

#[test]
fn what_init_writes_is_configuration_that_loads() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("a/b");
    init(
        &folder,
        &["--trust-domain", "x.test", "--listen", "0.0.0.0:9443"],
    )
    .unwrap();
    let config = Config::load(folder.join("quietus.toml")).unwrap();
    assert_eq!(config.broker.listen.to_string(), "0.0.0.0:9443");
    assert_eq!(config.trust_domains()[0].name.as_str(), "x.test");
    assert!(config.agent("spiffe://x.test/agent/builder").is_some());
    assert!(config.is_operator("spiffe://x.test/operator/dev"));
    let named = [
        &config.broker.svid,
        &config.broker.key,
        &config.trust_domains()[0].bundle,
    ];
    assert!(named.into_iter().all(|path| path.is_file()));
    assert!(config.policy.dir.is_dir() && config.keys.dir.is_dir());
    for name in CLIENTS {
        let client = ClientConfig::load(folder.join(format!("{name}.toml"))).unwrap();
        assert_eq!(client.address, "127.0.0.1:9443");
        assert_eq!(client.broker.as_str(), "spiffe://x.test/broker");
        assert_eq!(client.svid, folder.join(format!("{name}.pem")));
        assert!(
            [client.svid, client.key, client.bundle]
                .iter()
                .all(|path| path.is_file())
        );
    }
}

#[test]
fn init_ships_every_sample_policy_in_the_name_of_its_trust_domain() {
    let outer = TempDir::new().unwrap();
    init(outer.path(), &["--trust-domain", "x.test"]).unwrap();
    let samples = crate::samples().join("policies");
    for entry in fs::read_dir(samples).unwrap() {
        let sample = entry.unwrap().path();
        let shipped = outer
            .path()
            .join("policies")
            .join(sample.file_name().unwrap());
        let expected = fs::read_to_string(&sample)
            .unwrap()
            .replace("dev.example", "x.test");
        assert_eq!(fs::read_to_string(&shipped).unwrap(), expected);
    }
}

#[test]
fn nothing_is_readable_by_others_that_should_not_be() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("dev");
    init(&folder, &[]).unwrap();
    assert_eq!(mode(&folder), 0o700);
    let files = tree(&folder);
    assert_eq!(files.keys().filter(|path| is_key(path)).count(), 6);
    for path in files.keys() {
        let expected = if is_key(path) { 0o600 } else { 0o644 };
        assert_eq!(
            mode(&folder.join(path)) | 0o044 & expected,
            expected,
            "{}",
            path.display()
        );
    }
    for name in ["policies", "state", "state/keys"] {
        assert_eq!(mode(&folder.join(name)), 0o700, "{name}");
    }
}

#[test]
fn keys_are_where_keys_belong() {
    let outer = TempDir::new().unwrap();
    init(outer.path(), &[]).unwrap();
    for (path, text) in tree(outer.path()) {
        let expected = usize::from(is_key(&path));
        assert_eq!(
            text.matches("PRIVATE KEY-----\n").count(),
            2 * expected,
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_is_there_is_not_overwritten() {
    let outer = TempDir::new().unwrap();
    init(outer.path(), &[]).unwrap();
    let before = tree(outer.path());
    let error = init(outer.path(), &[]).unwrap_err().to_string();
    assert!(
        error.contains("ca.key") && error.contains("--force"),
        "{error}"
    );
    assert_eq!(tree(outer.path()), before);
}

#[test]
fn one_file_in_the_way_keeps_everything_from_being_written() {
    let outer = TempDir::new().unwrap();
    fs::write(outer.path().join("reader.toml"), "mine").unwrap();
    let error = init(outer.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("already has reader.toml:"), "{error}");
    assert_eq!(tree(outer.path()).len(), 1);
}

#[test]
fn force_replaces_files_and_leaves_others_alone() {
    let outer = TempDir::new().unwrap();
    init(outer.path(), &[]).unwrap();
    let before = tree(outer.path());
    let mine = [
        outer.path().join("mine"),
        outer.path().join("state/quietus.redb"),
    ];
    mine.iter()
        .for_each(|path| fs::write(path, "mine").unwrap());
    fs::set_permissions(
        outer.path().join("ca.key"),
        PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    init(outer.path(), &["--force"]).unwrap();
    let after = tree(outer.path());
    assert_ne!(after[Path::new("ca.key")], before[Path::new("ca.key")]);
    assert_eq!(mode(&outer.path().join("ca.key")), 0o600);
    assert!(
        mine.iter()
            .all(|path| fs::read_to_string(path).unwrap() == "mine")
    );
}

#[test]
fn links_are_not_followed_out_of_the_folder() {
    let outer = TempDir::new().unwrap();
    let (folder, elsewhere) = (outer.path().join("dev"), outer.path().join("elsewhere"));
    init(&folder, &[]).unwrap();
    fs::write(&elsewhere, "mine").unwrap();
    fs::remove_file(folder.join("agent.key")).unwrap();
    symlink(&elsewhere, folder.join("agent.key")).unwrap();
    init(&folder, &["--force"]).unwrap();
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    assert!(
        fs::symlink_metadata(folder.join("agent.key"))
            .unwrap()
            .is_file()
    );
}

#[test]
fn a_link_that_leads_nowhere_counts_as_there() {
    let outer = TempDir::new().unwrap();
    symlink("/nowhere/at/all", outer.path().join("ca.key")).unwrap();
    let error = init(outer.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("already has ca.key:"), "{error}");
}

#[test]
fn a_linked_folder_inside_is_refused() {
    let outer = TempDir::new().unwrap();
    let (folder, elsewhere) = (outer.path().join("dev"), outer.path().join("elsewhere"));
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(&elsewhere).unwrap();
    symlink(&elsewhere, folder.join("policies")).unwrap();
    for more in [&[][..], &["--force"]] {
        let error = init(&folder, more).unwrap_err().to_string();
        assert!(error.contains("policies is not a folder"), "{error}");
    }
    assert_eq!(tree(&elsewhere).len(), 0);
}

#[test]
fn nothing_is_written_outside_the_folder() {
    let outer = TempDir::new().unwrap();
    fs::write(outer.path().join("beside"), "mine").unwrap();
    init(&outer.path().join("dev"), &[]).unwrap();
    let outside: Vec<_> = tree(outer.path())
        .into_iter()
        .filter(|(path, _)| !path.starts_with("dev"))
        .collect();
    assert_eq!(outside, [(PathBuf::from("beside"), "mine".to_owned())]);
}

#[test]
fn a_folder_that_others_may_write_in_is_refused() {
    let outer = TempDir::new().unwrap();
    fs::set_permissions(outer.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let error = init(outer.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("run chmod go-w"), "{error}");
    assert_eq!(tree(outer.path()).len(), 0);
}

#[test]
fn a_file_where_the_folder_should_be_is_refused() {
    let outer = TempDir::new().unwrap();
    let path = outer.path().join("file");
    fs::write(&path, "mine").unwrap();
    let error = init(&path, &[]).unwrap_err().to_string();
    assert!(error.contains("is not a folder"), "{error}");
}

#[test]
fn arguments_that_cannot_be_meant_are_refused() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("dev");
    let wrong: [&[&str]; 6] = [
        &["--days", "0"],
        &["--days", "366"],
        &["--trust-domain", "X.test"],
        &["--trust-domain", "../x"],
        &["--listen", "localhost:8443"],
        &["--listen", "127.0.0.1:0"],
    ];
    for more in wrong {
        assert!(init(&folder, more).is_err(), "{more:?}");
    }
    assert!(!folder.exists());
}

#[test]
fn a_domain_that_was_written_can_be_opened_again() {
    let outer = TempDir::new().unwrap();
    let made = DevDomain::create(outer.path(), &options()).unwrap();
    let opened = DevDomain::open(outer.path(), options().trust_domain).unwrap();
    assert_eq!(opened.ca.bundles().digest(), made.ca.bundles().digest());
    opened
        .ca
        .svid("/agent/third", SystemTime::now(), Duration::from_secs(60))
        .unwrap();
    let other = DevDomain::open(outer.path(), "other.example".parse().unwrap());
    assert!(matches!(other.err(), Some(DevError::Bundle(_))));
    assert!(
        made.config().is_file()
            && CLIENTS
                .iter()
                .all(|name| made.client_config(name).is_file())
    );
}

fn is_key(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "key")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Every file below the folder, by its path in it.
fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_owned();
                    files.insert(name, fs::read_to_string(path).unwrap_or_default());
                }
            }
        }
    }
    files
}
