//! Whose socket it is.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use quietus::config::ExternalEndpoint;
use quietus::issuers::Issuer;
use rustix::process::geteuid;
use tokio::process::Command;

use crate::orders::order;
use crate::process::{example, start};
use crate::stage::{PATIENT, Served, away, issue, issuer, settings};

const NOBODY: u32 = 65_534;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_folder_that_others_may_write_in_is_refused() {
    let served = Served::sound();
    for open in [0o777, 0o1777, 0o770, 0o702] {
        mode(served.folder.path(), open);
        let issuer = served.issuer();
        let text = away(issue(&issuer, &order().order).await);
        assert!(text.contains("run chmod go-w on it"), "{text}");
        away(issuer.check().await);
    }
    mode(served.folder.path(), 0o755);
    issue(&served.issuer(), &order().order).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_opened_later_is_refused_by_the_next_connection() {
    let served = Served::sound();
    let issuer = served.issuer();
    issuer.check().await.unwrap();
    mode(served.folder.path(), 0o777);
    away(issuer.check().await);
}

#[tokio::test]
async fn a_folder_of_another_user_is_refused_unless_named() {
    // Only root can give a folder away; others cannot have one here.
    if !geteuid().is_root() {
        return;
    }
    let served = Served::sound();
    chown(served.folder.path(), Some(NOBODY), None).unwrap();
    let text = away(issue(&served.issuer(), &order().order).await);
    assert!(text.contains("belongs to user 65534"), "{text}");
    let named = ExternalEndpoint::Socket {
        path: served.socket.clone(),
        uid: Some(NOBODY),
    };
    let issuer = issuer(settings(named), PATIENT);
    issue(&issuer, &order().order).await.unwrap();
}

#[tokio::test]
async fn a_process_of_another_user_is_refused_unless_named() {
    if !geteuid().is_root() {
        // Root may stand in for anybody, and only root can start processes of others.
        return refused_by_its_own_user().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("external_issuer");
    fs::copy(example().await, &copy).unwrap();
    mode(folder.path(), 0o755);
    chown(folder.path(), Some(NOBODY), None).unwrap();
    let mut command = Command::new(copy);
    command.arg(folder.path()).uid(NOBODY);
    let _child = start(command).await;
    chown(folder.path(), Some(0), None).unwrap();
    let at = |uid| ExternalEndpoint::Socket {
        path: folder.path().join("issuer.sock"),
        uid,
    };
    for uid in [None, Some(1)] {
        let issuer = issuer(settings(at(uid)), PATIENT);
        let text = away(issue(&issuer, &order().order).await);
        assert!(text.contains("user 65534 listens at"), "{text}");
    }
    let named = issuer(settings(at(Some(NOBODY))), PATIENT);
    named.check().await.unwrap();
}

async fn refused_by_its_own_user() {
    let served = Served::sound();
    let named = ExternalEndpoint::Socket {
        path: served.socket.clone(),
        uid: Some(NOBODY),
    };
    let issuer = issuer(settings(named), PATIENT);
    let text = away(issue(&issuer, &order().order).await);
    assert!(text.contains("listens at"), "{text}");
}

#[tokio::test]
async fn what_is_no_socket_is_away() {
    let served = Served::sound();
    let file = served.folder.path().join("keys.json");
    fs::write(&file, "{}").unwrap();
    let file = ExternalEndpoint::Socket {
        path: file,
        uid: None,
    };
    away(issue(&issuer(settings(file), PATIENT), &order().order).await);
}
