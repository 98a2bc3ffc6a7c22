//! Secrets that cannot be made short-lived: how they are kept, handed out, and got rid of.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]
#![cfg(feature = "static-secrets")]

#[path = "redis_users/orders.rs"]
mod orders;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use quietus::issuers::{Credential, Doomed, Failure, Issuer};
use quietus_core::{Confirmation, IssueOrder};
use tempfile::TempDir;

use orders::{build, order, target};

const KEY: &str = "stripe:read:api_key";
const QUIETUS: &str = env!("CARGO_BIN_EXE_quietus");

/// A folder with a key and what is sealed with it.
struct Vault(TempDir);

impl Vault {
    fn new() -> Self {
        let vault = Self(TempDir::new().unwrap());
        let output = vault.quietus(&["keygen", "--out", "key"], "");
        assert!(output.status.success(), "{output:?}");
        vault.seal(r#"{"api_key": "first", "other": "unasked"}"#);
        vault
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn quietus(&self, args: &[&str], stdin: &str) -> Output {
        let mut child = Command::new(QUIETUS)
            .arg("secret")
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have complained and gone before it read anything.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn try_seal(&self, more: &[&str], stdin: &str) -> Output {
        let args = [
            "seal",
            "--key-file",
            "key",
            "--target",
            "stripe",
            "--out",
            "sealed",
        ];
        self.quietus(&[&args[..], more].concat(), stdin)
    }

    fn seal(&self, json: &str) {
        let output = self.try_seal(&[], json);
        assert!(output.status.success(), "{output:?}");
        let told = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8(told).unwrap().contains("first"));
    }

    fn table(&self, more: &str) -> String {
        format!(
            "[[target]]\nname = \"stripe\"\nkind = \"static\"\nenvironment = \"dev\"\nsensitivity = 5\n\
             resource_servers = []\ntimeout = \"60s\"\n[target.static]\nsealed = \"sealed\"\n{more}\n"
        )
    }

    fn try_issuer(&self, more: &str) -> Result<Arc<dyn Issuer>, String> {
        let table = self.table(&format!("key_file = \"key\"\n{more}"));
        build(&self.0, &table).map_err(|error| error.to_string())
    }

    fn issuer(&self, more: &str) -> Arc<dyn Issuer> {
        self.try_issuer(more).unwrap()
    }

    /// With a program that is this script; it stands in the vault's folder.
    fn rotated_by(&self, script: &str) -> Arc<dyn Issuer> {
        let script = format!("cd {} && {script}", self.0.path().display());
        self.issuer(&format!(
            "rotate_command = [\"/bin/sh\", \"-c\", '''{script}''']"
        ))
    }

    /// Words for a script that seal this.
    fn sealing(&self, value: &str) -> String {
        let seal = "secret seal --key-file key --target stripe --out sealed";
        format!("printf '{{\"api_key\": \"%s\"}}' \"{value}\" | {QUIETUS} {seal}")
    }

    fn refusal(&self) -> String {
        self.try_issuer("").err().unwrap()
    }
}

/// What is handed out, and what the lease would have to be ended by.
async fn hand_out(issuer: &dyn Issuer, order: &IssueOrder) -> (Credential, Doomed) {
    let made = issuer.issue(order, None).unwrap().run().await.unwrap();
    let doomed = Doomed {
        fingerprint: made.fingerprint,
        ..Doomed::from(order.lease())
    };
    (made.credential, doomed)
}

fn fields(credential: &Credential) -> Vec<(&str, &str)> {
    let Credential::Static { fields, .. } = credential else {
        panic!("another kind");
    };
    let shown = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()));
    shown.collect()
}

#[tokio::test]
async fn only_the_fields_that_were_asked_for_are_handed_out() {
    let vault = Vault::new();
    let issuer = vault.issuer("");
    let both = order(1, &[KEY, "stripe:execute:api_key"]);
    let (credential, _) = hand_out(&*issuer, &both).await;
    assert_eq!(fields(&credential), [("api_key", "first")]);
    assert!(!format!("{credential:?}").contains("first"));
    for scope in [
        "stripe:read:missing",
        "stripe:read:*",
        "stripe:admin:Api_key",
    ] {
        let refused = issuer.issue(&order(1, &[KEY, scope]), None);
        assert_eq!(refused.err().unwrap().field, "scopes", "{scope}");
    }
    assert!(issuer.check().await.unwrap().ends_with("fields: 2"));
    assert_eq!(issuer.list().await.unwrap(), None);
}

#[tokio::test]
async fn without_a_program_it_cannot_be_revoked_until_somebody_seals_another() {
    let vault = Vault::new();
    let issuer = vault.issuer("");
    let abilities = issuer.abilities();
    assert!(!abilities.can_revoke && !abilities.expires_at_target && abilities.renewable);
    assert_eq!(abilities.confirms_by, None);
    let (_, doomed) = hand_out(&*issuer, &order(1, &[KEY])).await;
    for doomed in [&doomed, &Doomed::stray(doomed.id)] {
        let refused = issuer.revoke(doomed).await.unwrap_err();
        let said = matches!(&refused, Failure::Said(why) if why.contains("quietus secret seal"));
        assert!(said, "{refused}");
    }
    vault.seal(r#"{"api_key": "second"}"#);
    assert_eq!(
        issuer.revoke(&doomed).await,
        Ok(Confirmation::RotatedAtTarget)
    );
    // What was handed out since is not ended by that.
    let later = order(2, &[KEY]);
    let (credential, since) = hand_out(&*issuer, &later).await;
    assert_eq!(fields(&credential), [("api_key", "second")]);
    assert!(issuer.revoke(&since).await.is_err());
    let renewed = issuer.renew(&later).unwrap().run().await.unwrap();
    assert_eq!(fields(&renewed.credential), [("api_key", "second")]);
}

#[tokio::test]
async fn a_program_rotates_it_once_for_all_leases_of_a_version() {
    let vault = Vault::new();
    let seal = vault.sealing("$QUIETUS_LEASE-at-$QUIETUS_TARGET");
    let issuer = vault.rotated_by(&format!("echo run >> runs; {seal}"));
    let abilities = issuer.abilities();
    assert!(abilities.can_revoke);
    assert_eq!(abilities.confirms_by, Some(Confirmation::RotatedAtTarget));
    let (_, one) = hand_out(&*issuer, &order(1, &[KEY])).await;
    let (_, two) = hand_out(&*issuer, &order(2, &[KEY])).await;
    let (first, second) = tokio::join!(issuer.revoke(&one), issuer.revoke(&two));
    assert_eq!(first, Ok(Confirmation::RotatedAtTarget));
    assert_eq!(second, Ok(Confirmation::RotatedAtTarget));
    assert_eq!(fs::read_to_string(vault.path("runs")).unwrap(), "run\n");
    let (credential, _) = hand_out(&*issuer, &order(3, &[KEY])).await;
    let expected = format!("{}-at-stripe", one.id);
    assert_eq!(fields(&credential), [("api_key", expected.as_str())]);
}

#[tokio::test]
async fn a_program_that_does_not_do_it_confirms_nothing() {
    let vault = Vault::new();
    let scripts = [
        ("exit 3", "failed"),
        ("kill -9 $$", "failed"),
        // Exits with 0, and the same version is there.
        ("true", "same version"),
        // The very same content again.
        (
            &format!("{}; true", vault.sealing("first")),
            "rotate_command",
        ),
        // Garbage, or nothing, in its place.
        ("cp sealed kept; echo x > sealed", "no sealed secret"),
        ("rm sealed", "cannot be read"),
    ];
    for (script, word) in scripts {
        vault.seal(&format!(r#"{{"api_key": "for {}"}}"#, script.len()));
        if script.contains("first") {
            vault.seal(r#"{"api_key": "first"}"#);
        }
        let issuer = vault.rotated_by(script);
        let (_, doomed) = hand_out(&*issuer, &order(1, &[KEY])).await;
        let failure = issuer.revoke(&doomed).await.unwrap_err().to_string();
        assert!(failure.contains(word), "{script}: {failure}");
    }
    let issuer = {
        vault.seal(r#"{"api_key": "again"}"#);
        vault.issuer("rotate_command = [\"nowhere\"]")
    };
    let (_, doomed) = hand_out(&*issuer, &order(1, &[KEY])).await;
    let failure = issuer.revoke(&doomed).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Away(why) if why.contains("cannot be run")),
        "{failure}"
    );
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_it_started() {
    let vault = Vault::new();
    let kept_open = vault.path("open");
    fs::write(&kept_open, "").unwrap();
    // The shell and what it starts both have the file open.
    let issuer = vault.rotated_by("exec 3<open; (while :; do sleep 60; done) & wait");
    let (_, doomed) = hand_out(&*issuer, &order(1, &[KEY])).await;
    tokio::select! {
        ended = issuer.revoke(&doomed) => panic!("{ended:?}"),
        () = until(|| processes_with(&kept_open) > 1) => {}
    }
    until(|| processes_with(&kept_open) == 0).await;

    let more = "key_file = \"key\"\nrotate_command = [\"/bin/sh\", \"-c\", \"sleep 600\"]";
    let table = vault.table(more).replace("60s", "500ms");
    let issuer = build(&vault.0, &table).unwrap();
    let failure = issuer.revoke(&doomed).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Away(why) if why.contains("had not ended")),
        "{failure}"
    );
}

/// Looks again until it is so. Bounded.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..2400 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("it never came about");
}

/// How many processes have this file open.
fn processes_with(path: &std::path::Path) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let has_it = |entry: &fs::DirEntry| {
        let open = fs::read_dir(entry.path().join("fd")).into_iter().flatten();
        let mut open = open.flatten();
        open.any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path))
    };
    entries.filter(has_it).count()
}

#[tokio::test]
async fn a_flipped_byte_anywhere_or_a_shorter_file_does_not_open() {
    let vault = Vault::new();
    let issuer = vault.issuer("");
    let good = fs::read(vault.path("sealed")).unwrap();
    assert!(!String::from_utf8_lossy(&good).contains("first"));
    let flipped = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    });
    let shorter = (0..good.len()).map(|length| good[..length].to_vec());
    let longer = [good.clone(), vec![0]].concat();
    for bytes in flipped.chain(shorter).chain([longer]) {
        fs::write(vault.path("sealed"), &bytes).unwrap();
        assert!(issuer.check().await.is_err());
        assert!(issuer.issue(&order(1, &[KEY]), None).is_err());
        let failure = issuer
            .revoke(&Doomed::stray(order(1, &[KEY]).lease().id))
            .await;
        assert!(matches!(failure, Err(Failure::Away(_))), "{failure:?}");
    }
    fs::write(vault.path("sealed"), &good).unwrap();
    issuer.check().await.unwrap();
}

#[test]
fn another_key_another_target_and_too_much_do_not_open() {
    let vault = Vault::new();
    let good = fs::read(vault.path("sealed")).unwrap();
    let args = [
        "seal",
        "--key-file",
        "key",
        "--target",
        "paypal",
        "--out",
        "sealed",
    ];
    assert!(vault.quietus(&args, r#"{"api_key": "x"}"#).status.success());
    assert!(vault.refusal().contains("another target"));
    fs::write(vault.path("sealed"), vec![0; 200_000]).unwrap();
    assert!(vault.refusal().contains("more than"));
    fs::write(vault.path("sealed"), &good).unwrap();
    vault.issuer("");
    fs::remove_file(vault.path("key")).unwrap();
    assert!(
        vault
            .quietus(&["keygen", "--out", "key"], "")
            .status
            .success()
    );
    assert!(vault.refusal().contains("another key"));
}

#[test]
fn a_key_that_others_may_read_or_of_another_length_is_refused() {
    let vault = Vault::new();
    let path = vault.path("key");
    let good = fs::read_to_string(&path).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(vault.refusal().contains("chmod 600"), "{mode:o}");
        let output = vault.try_seal(&[], r#"{"a": "b"}"#);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let shorter = &good[4..];
    let longer = format!("AAAA{good}");
    for text in [
        "",
        "\n",
        shorter,
        &longer,
        "!",
        &good.to_lowercase()[1..],
        &"A".repeat(1000),
    ] {
        fs::write(&path, text).unwrap();
        let refusal = vault.refusal();
        assert!(refusal.starts_with("target stripe: "), "{refusal}");
        assert!(
            text.len() < 8 || !refusal.contains(text.trim()),
            "{refusal}"
        );
    }
    fs::remove_file(&path).unwrap();
    assert!(vault.refusal().contains("cannot be read"));
}

#[test]
fn a_key_in_the_environment_must_be_there_and_be_one() {
    let vault = Vault::new();
    let refusal = |name: &str| {
        let table = vault.table(&format!("key_env = \"{name}\""));
        build(&vault.0, &table).err().unwrap().to_string()
    };
    assert!(refusal("QUIETUS_NOT_SET").contains("not set"));
    assert!(refusal("PATH").contains("no key of 32 bytes"));
    let key = fs::read_to_string(vault.path("key")).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "with_the_key_in_the_environment", "--ignored"])
        .env("QUIETUS_TEST_KEY", key.trim())
        .env("QUIETUS_TEST_SEALED", vault.path("sealed"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

#[test]
#[ignore = "run by the test above, with an environment"]
fn with_the_key_in_the_environment() {
    let folder = TempDir::new().unwrap();
    let sealed = std::env::var("QUIETUS_TEST_SEALED").unwrap();
    fs::copy(sealed, folder.path().join("sealed")).unwrap();
    let vault = Vault(folder);
    build(&vault.0, &vault.table("key_env = \"QUIETUS_TEST_KEY\"")).unwrap();
}

#[test]
fn what_the_configuration_must_say() {
    let vault = Vault::new();
    let cases = [
        ("", "key_file"),
        ("key_file = \"key\"\nkey_env = \"A\"", "key_file"),
        ("key_env = \"AB=C\"", "key_env"),
        ("key_env = \"1A\"", "key_env"),
        ("key_env = \"\"", "key_env"),
        ("key_file = \"key\"\nrotate_command = []", "rotate_command"),
        (
            "key_file = \"key\"\nrotate_command = [\"\"]",
            "rotate_command",
        ),
        (
            "key_file = \"key\"\nrotate_command = \"rotate it\"",
            "rotate_command",
        ),
        ("key_file = \"key\"\nvalue = \"the secret\"", "value"),
    ];
    for (more, word) in cases {
        let error = target(vault.0.path(), &vault.table(more))
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{more}: {error}");
    }
    let sample = include_str!("../config/targets/static.toml");
    let sample = target(vault.0.path(), sample).unwrap();
    assert_eq!(sample.kind().as_str(), "static");
}

#[test]
fn a_secret_never_stands_on_the_command_line() {
    let vault = Vault::new();
    for field in ["api_key=second", "api_key=", "=second"] {
        let output = vault.try_seal(&["--field", field], "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("second"));
    }
    // There is no terminal to ask on.
    let output = vault.try_seal(&["--field", "api_key"], "second\n");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test]
async fn fields_come_from_files_too() {
    let vault = Vault::new();
    fs::write(vault.path("pem"), "two\nlines\n").unwrap();
    let output = vault.try_seal(&["--field", "api_key=@pem"], "");
    assert!(output.status.success(), "{output:?}");
    let (credential, _) = hand_out(&*vault.issuer(""), &order(1, &[KEY])).await;
    assert_eq!(fields(&credential), [("api_key", "two\nlines")]);
    let mode = fs::metadata(vault.path("sealed"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let twice = ["--field", "a=@pem", "--field", "a=@pem"];
    assert_eq!(vault.try_seal(&twice, "").status.code(), Some(2));
    assert_eq!(
        vault.try_seal(&["--field", "a=@nowhere"], "").status.code(),
        Some(1)
    );
}

#[test]
fn what_is_no_secret_is_not_sealed_and_the_old_one_stays() {
    let vault = Vault::new();
    let before = fs::read(vault.path("sealed")).unwrap();
    let many: Vec<String> = (0..65).map(|n| format!("\"f{n}\": \"v\"")).collect();
    let cases = [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "\"first\"".to_owned(),
        r#"{"a": 1}"#.to_owned(),
        r#"{"a": {"b": "c"}}"#.to_owned(),
        r#"{"a": "b", "a": "c"}"#.to_owned(),
        r#"{"a": "b"} x"#.to_owned(),
        r#"{"a": ""}"#.to_owned(),
        r#"{"": "b"}"#.to_owned(),
        r#"{"a b": "c"}"#.to_owned(),
        r#"{"ä": "c"}"#.to_owned(),
        format!("{{\"{}\": \"b\"}}", "a".repeat(65)),
        format!("{{\"a\": \"{}\"}}", "b".repeat(64 * 1024)),
        format!("{{\"a\": \"{}\"}}", "b".repeat(200_000)),
        format!("{{{}}}", many.join(", ")),
        // Nothing has changed.
        r#"{"other": "unasked", "api_key": "first"}"#.to_owned(),
    ];
    for json in cases {
        let output = vault.try_seal(&[], &json);
        assert_eq!(output.status.code(), Some(1), "{json:.80} {output:?}");
        assert_eq!(fs::read(vault.path("sealed")).unwrap(), before);
    }
    let output = vault.try_seal(&[], r#"{"a": "the secret", "a": 1}"#);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("the secret"));
    assert_eq!(fs::read_dir(vault.0.path()).unwrap().count(), 2);
    // A key is never overwritten.
    let key = fs::read(vault.path("key")).unwrap();
    let output = vault.quietus(&["keygen", "--out", "key"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read(vault.path("key")).unwrap(), key);
}
