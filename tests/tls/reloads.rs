//! Files that change while the broker serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quietus::tls::{CredentialError, Credentials, ServerSvid, SvidChange};
use quietus::trust::{BundleFileError, Trust, TrustError};
use quietus_identity::TrustDomain;
use tokio::sync::mpsc;

use crate::authority::{Authority, NOON};
use crate::broker::{Broker, check_health};

const POLL: Duration = Duration::from_millis(5);

#[tokio::test]
async fn a_broken_bundle_leaves_the_old_one_in_force() {
    let broker = Broker::start().await;
    let channel = broker.client().connect().await.expect("connection");
    fs::write(broker.bundle_path(), "not a bundle").expect("written");
    let changes = broker.trust.reload(NOON + 60);
    let outcome = changes[0].outcome.as_ref();
    assert!(matches!(outcome, Err(BundleFileError::Content(_))));
    check_health(&channel).await.expect("answer");
    broker.client().connect().await.expect("another connection");

    let status = &broker.trust.status()[0];
    assert_eq!((status.anchors, status.loaded_at), (1, NOON));
    assert!(status.error.is_some());
    assert!(broker.trust.reload(NOON + 61).is_empty(), "said only once");
}

#[test]
fn a_missing_bundle_leaves_the_old_one_in_force_until_it_is_back() {
    let (folder, authority, trust) = trust();
    let bundle = folder.path().join("bundle.pem");
    let before = trust.current();
    fs::remove_file(&bundle).expect("removed");
    let outcome = &trust.reload(NOON + 60)[0].outcome;
    assert!(matches!(outcome, Err(BundleFileError::File(_))));
    assert!(Arc::ptr_eq(&before, &trust.current()));

    authority.write_bundle(&bundle);
    assert!(matches!(trust.reload(NOON + 61)[0].outcome, Ok(1)));
    let status = &trust.status()[0];
    assert_eq!(
        (status.loaded_at, status.error.as_deref()),
        (NOON + 61, None)
    );
}

#[test]
fn an_unchanged_bundle_is_left_alone() {
    let (folder, authority, trust) = trust();
    authority.write_bundle(&folder.path().join("bundle.pem"));
    let before = trust.current();
    assert!(trust.reload(NOON + 60).is_empty());
    assert!(Arc::ptr_eq(&before, &trust.current()));
}

#[test]
fn a_broker_does_not_start_on_a_broken_bundle() {
    let (folder, _, _) = trust();
    let good = folder.path().join("bundle.pem");
    let bad = folder.path().join("bad.pem");
    fs::write(&bad, "not a bundle").expect("written");
    let loaded = Trust::load(
        vec![(domain("prod.example"), good), (domain("x"), bad)],
        NOON,
    );
    assert!(matches!(loaded, Err(TrustError::Bundle { .. })));
}

#[test]
fn a_trust_domain_has_one_file() {
    let (folder, _, _) = trust();
    let bundle = folder.path().join("bundle.pem");
    let twice = vec![
        (domain("prod.example"), bundle.clone()),
        (domain("prod.example"), bundle),
    ];
    assert!(matches!(
        Trust::load(twice, NOON),
        Err(TrustError::Repeated { .. })
    ));
}

#[test]
fn a_bundle_file_that_is_too_large_or_no_file_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let large = folder.path().join("large.pem");
    fs::write(&large, vec![b'\n'; 1024 * 1024 + 1]).expect("written");
    for path in [large, folder.path().to_owned()] {
        let Err(TrustError::Bundle { problem, .. }) = Trust::load(vec![(domain("x"), path)], NOON)
        else {
            panic!("loaded");
        };
        assert!(matches!(problem, BundleFileError::File(_)));
    }
}

#[tokio::test]
async fn a_watch_sees_the_symbolic_link_that_kubernetes_swaps() {
    let folder = tempfile::tempdir().expect("folder");
    let (old, new) = (
        Authority::new("prod.example"),
        Authority::new("prod.example"),
    );
    publish(folder.path(), "v1", &old);
    let path = folder.path().join("..data/bundle.pem");
    let trust = Trust::load(vec![(domain("prod.example"), path)], NOON).expect("trust");
    let trust = Arc::new(trust);
    let before = trust.current().digest();

    let (changed, mut changes) = mpsc::unbounded_channel();
    let tell = move |change| drop(changed.send(change));
    let watch = tokio::spawn(Arc::clone(&trust).watch(POLL, Arc::new(|| NOON + 60), tell));
    publish(folder.path(), "v2", &new);
    let change = changes.recv().await.expect("a change");
    assert!(matches!(change[0].outcome, Ok(1)));
    assert_ne!(trust.current().digest(), before);
    watch.abort();
}

#[tokio::test]
async fn the_brokers_own_svid_is_replaced() {
    let broker = Broker::start().await;
    let before = broker_certificate(&broker).await;
    broker.authority.svid("/broker", broker.folder.path());
    let change = broker.svid.reload(NOON + 60);
    assert!(matches!(change, Some(SvidChange::Replaced)));
    assert_ne!(broker_certificate(&broker).await, before);
    assert!(broker.svid.reload(NOON + 61).is_none());
    assert_eq!(broker.svid.status().loaded_at, NOON + 60);
}

#[tokio::test]
async fn half_a_new_svid_leaves_the_brokers_old_one_in_use() {
    let broker = Broker::start().await;
    let before = broker_certificate(&broker).await;
    let elsewhere = tempfile::tempdir().expect("folder");
    let new = broker.authority.svid("/broker", elsewhere.path());
    fs::copy(&new.chain, broker.folder.path().join("broker.pem")).expect("copied");
    let change = broker.svid.reload(NOON + 60);
    assert!(matches!(
        change,
        Some(SvidChange::Kept(CredentialError::Mismatch { .. }))
    ));
    assert!(broker.svid.status().error.is_some());
    assert_eq!(broker_certificate(&broker).await, before);

    fs::copy(&new.key, broker.folder.path().join("broker.key")).expect("copied");
    assert!(matches!(
        broker.svid.reload(NOON + 61),
        Some(SvidChange::Replaced)
    ));
    assert_ne!(broker_certificate(&broker).await, before);
}

#[tokio::test]
async fn a_watch_sees_the_brokers_new_svid() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("prod.example");
    let files = authority.svid("/broker", folder.path());
    let svid = Arc::new(ServerSvid::load(files, NOON).expect("SVID"));
    let (changed, mut changes) = mpsc::unbounded_channel();
    let tell = move |change| drop(changed.send(change));
    let watch = tokio::spawn(Arc::clone(&svid).watch(POLL, Arc::new(|| NOON), tell));
    authority.svid("/broker", folder.path());
    // A poll between the two files finds a key that does not belong.
    while !matches!(
        changes.recv().await.expect("a change"),
        SvidChange::Replaced
    ) {}
    watch.abort();
}

#[test]
fn credentials_are_refused_for_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().expect("folder");
    let good = Authority::new("prod.example").svid("/agent", folder.path());
    let garbage = folder.path().join("garbage");
    fs::write(
        &garbage,
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    .expect("written");
    let with_chain = |path: &Path| {
        let mut files = good.clone();
        files.chain = path.to_owned();
        Credentials::load(&files).expect_err("bad chain")
    };
    let with_key = |path: &Path| {
        let mut files = good.clone();
        files.key = path.to_owned();
        Credentials::load(&files).expect_err("bad key")
    };
    assert!(matches!(
        with_chain(&garbage),
        CredentialError::NoCertificate { .. }
    ));
    assert!(matches!(
        with_key(&garbage),
        CredentialError::KeyUnsupported { .. }
    ));
    assert!(matches!(
        with_key(&good.chain),
        CredentialError::NoKey { .. }
    ));
    assert!(matches!(
        with_key(folder.path()),
        CredentialError::File { .. }
    ));
}

fn trust() -> (tempfile::TempDir, Authority, Trust) {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("prod.example");
    let bundle = folder.path().join("bundle.pem");
    authority.write_bundle(&bundle);
    let trust = Trust::load(vec![(domain("prod.example"), bundle)], NOON).expect("trust");
    (folder, authority, trust)
}

fn domain(name: &str) -> TrustDomain {
    name.parse().expect("trust domain")
}

/// Writes a version into a folder of its own, then puts a new link in the place of the old.
fn publish(folder: &Path, version: &str, authority: &Authority) {
    fs::create_dir(folder.join(version)).expect("folder");
    authority.write_bundle(&folder.join(version).join("bundle.pem"));
    symlink(version, folder.join("..data_tmp")).expect("link");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("swap");
}

async fn broker_certificate(broker: &Broker) -> Vec<u8> {
    let stream = broker.raw(|_| {}).await;
    let chain = stream.get_ref().1.peer_certificates();
    chain.expect("certificates")[0].to_vec()
}
