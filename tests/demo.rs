//! The README's first command shows what it says it shows.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn the_demo_shows_the_whole_story_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    // PostgreSQL does not run as root, and whoever it runs as has to get there.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_quietus"))
        .arg("demo")
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    for part in [
        "the resource server accepted it",
        "APPROVAL_NEEDED",
        "DENIED_BY_POLICY",
        "WRONG_CERTIFICATE",
        "Abandoned (hold_lost)",
        "its token is refused: REVOKED",
        "the open session is gone",
        "the receipt is signed and complete: shop-db deleted_at_target",
        "ended 2 tasks and 4 leases",
        "nothing is alive",
        "Everything came out as it must",
    ] {
        assert!(said.contains(part), "not shown: {part}\n{said}");
    }
    assert_eq!(
        said.matches("refused_by_introspection").count(),
        5,
        "{said}"
    );
    assert!(
        !said.contains('\u{1b}'),
        "colours where there is no terminal"
    );
    assert!(!said.contains("eyJ"), "a token is shown");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "something was left behind"
    );
}

#[test]
fn the_demo_keeps_what_it_made_when_asked_to_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let demo = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quietus"));
        command
            .args(["demo", "--keep"])
            .arg(&kept)
            .output()
            .unwrap()
    };
    assert!(demo().status.success());
    assert!(kept.join("quietus.toml").exists());
    assert!(!demo().status.success(), "it overwrote what it had kept");
}
