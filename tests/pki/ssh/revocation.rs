//! The list is what `ssh-keygen` reads in it, survives a restart, and is never silently begun anew.

use std::fs;

use quietus::issuers::{Doomed, Made};
use quietus_core::{Confirmation, Timestamp};

use super::{issuer, keygen, open, parts};
use crate::world::{World, doomed, failure, issue, run, said, secs};

const DEPLOY: &[&str] = &["box:execute:deploy"];

#[tokio::test]
async fn ssh_keygen_finds_what_was_revoked_and_nothing_else() {
    let world = World::new();
    let issuer = issuer(&world);
    let orders: Vec<_> = (0..3).map(|_| world.order(DEPLOY, secs(600))).collect();
    let mut made = Vec::new();
    for order in &orders {
        made.push(issue(&*issuer, order, None).await.unwrap());
    }
    assert!(!is_revoked(&world, &made[0]));
    for order in &orders[..2] {
        assert_eq!(issuer.revoke(&doomed(order)).await, Ok(Confirmation::OnKrl));
        assert_eq!(issuer.revoke(&doomed(order)).await, Ok(Confirmation::OnKrl));
    }
    let revoked: Vec<bool> = made.iter().map(|it| is_revoked(&world, it)).collect();
    assert_eq!(revoked, [true, true, false]);
}

#[tokio::test]
async fn a_stray_is_listed_before_it_was_ever_made() {
    let world = World::new();
    let issuer = issuer(&world);
    let order = world.order(DEPLOY, secs(600));
    let stray = Doomed::stray(order.lease().id);
    assert_eq!(issuer.revoke(&stray).await, Ok(Confirmation::OnKrl));
    let made = issue(&*issuer, &order, None).await.unwrap();
    assert!(is_revoked(&world, &made));
    world.forward(secs(7 * 86_400));
    issuer.upkeep().await.unwrap();
    assert!(is_revoked(&world, &made));
    world.forward(secs(7_200));
    issuer.upkeep().await.unwrap();
    assert!(!is_revoked(&world, &made));
}

#[tokio::test]
async fn what_has_expired_needs_no_entry_and_loses_the_one_it_has() {
    let world = World::new();
    let issuer = issuer(&world);
    let (one, other) = (
        world.order(DEPLOY, secs(600)),
        world.order(DEPLOY, secs(600)),
    );
    let made = issue(&*issuer, &one, None).await.unwrap();
    issuer.revoke(&doomed(&one)).await.unwrap();
    world.forward(secs(600));
    let confirmed = issuer.revoke(&doomed(&other)).await;
    assert_eq!(confirmed, Ok(Confirmation::ExpiredAtTarget));
    issuer.upkeep().await.unwrap();
    assert!(is_revoked(&world, &made), "kept for clocks that are behind");
    world.forward(secs(3_700));
    issuer.upkeep().await.unwrap();
    assert!(!is_revoked(&world, &made));
    assert!(issuer.check().await.unwrap().contains("0 entries"));
}

#[tokio::test]
async fn revocations_at_the_same_time_are_all_listed_and_outlive_a_restart() {
    let world = World::new();
    let issuer = issuer(&world);
    let orders: Vec<_> = (0..40).map(|_| world.order(DEPLOY, secs(600))).collect();
    let running = orders.iter().map(|order| {
        let (issuer, doomed) = (issuer.clone(), doomed(order));
        tokio::spawn(async move { issuer.revoke(&doomed).await })
    });
    for confirmed in running.collect::<Vec<_>>() {
        assert_eq!(confirmed.await.unwrap(), Ok(Confirmation::OnKrl));
    }
    drop(issuer);
    let issuer = open(&world).unwrap();
    assert!(issuer.check().await.unwrap().contains("40 entries"));
    let late = world.order(DEPLOY, secs(600));
    issuer.revoke(&doomed(&late)).await.unwrap();
    assert!(issuer.check().await.unwrap().contains("41 entries"));
}

#[tokio::test]
async fn a_list_that_is_taken_away_or_put_back_is_written_again() {
    let world = World::new();
    let issuer = issuer(&world);
    issuer.upkeep().await.unwrap();
    let old = fs::read(world.path("krl")).unwrap();
    let order = world.order(DEPLOY, secs(600));
    let made = issue(&*issuer, &order, None).await.unwrap();
    issuer.revoke(&doomed(&order)).await.unwrap();
    for replaced in [Some(&old), None] {
        match replaced {
            Some(old) => fs::write(world.path("krl"), old).unwrap(),
            None => fs::remove_file(world.path("krl")).unwrap(),
        }
        issuer.upkeep().await.unwrap();
        assert!(is_revoked(&world, &made));
    }
    fs::write(world.path("krl"), &old).unwrap();
    assert_eq!(
        issuer.revoke(&doomed(&order)).await,
        Ok(Confirmation::OnKrl)
    );
    assert!(is_revoked(&world, &made));
}

#[tokio::test]
async fn a_list_that_cannot_be_written_confirms_nothing() {
    let world = World::new();
    let issuer = issuer(&world);
    // A folder cannot be replaced by a file, whoever asks.
    fs::create_dir(world.path("krl")).unwrap();
    let order = world.order(DEPLOY, secs(600));
    assert!(issuer.revoke(&doomed(&order)).await.is_err());
    assert!(issuer.upkeep().await.is_err());
    assert!(issuer.check().await.is_err());
    let refused = failure(issue(&*issuer, &order, None).await);
    assert!(refused.contains("krl"), "{refused}");
    fs::remove_dir(world.path("krl")).unwrap();
    let made = issue(&*issuer, &order, None).await.unwrap();
    assert!(is_revoked(&world, &made), "it was asked for before");
    assert_eq!(
        issuer.revoke(&doomed(&order)).await,
        Ok(Confirmation::OnKrl)
    );
    assert!(is_revoked(&world, &made));
}

#[tokio::test]
async fn the_broker_does_not_begin_from_a_list_that_is_not_its_own() {
    let world = World::new();
    let issuer = issuer(&world);
    let order = world.order(DEPLOY, secs(600));
    issuer.revoke(&doomed(&order)).await.unwrap();
    let good = fs::read(world.path("krl")).unwrap();
    let public = keygen(&world, "someone", &["-t", "ed25519"]);
    let foreign = world.path("foreign").display().to_string();
    let listed = world
        .write("listed.pub", public, 0o644)
        .display()
        .to_string();
    assert!(
        run("ssh-keygen", &["-q", "-k", "-f", &foreign, &listed])
            .status
            .success()
    );
    let bad = [
        Vec::new(),
        b"garbage".to_vec(),
        good[..good.len() - 1].to_vec(),
        [good.as_slice(), b"x"].concat(),
        fs::read(foreign).unwrap(),
    ];
    for file in bad {
        fs::write(world.path("krl"), &file).unwrap();
        let refused = open(&world).err().unwrap();
        assert!(refused.contains("move it away"), "{refused}");
        assert_eq!(fs::read(world.path("krl")).unwrap(), file, "left alone");
    }
    keygen(&world, "other", &["-t", "ed25519"]);
    fs::write(world.path("krl"), good).unwrap();
    fs::rename(world.path("other"), world.path("ca")).unwrap();
    assert!(open(&world).err().unwrap().contains("another CA"));
}

#[tokio::test]
async fn the_version_grows_even_when_the_list_was_lost() {
    let world = World::new();
    let issuer = issuer(&world);
    issuer.upkeep().await.unwrap();
    let first = version(&world);
    fs::remove_file(world.path("krl")).unwrap();
    world.forward(secs(1));
    open(&world).unwrap().upkeep().await.unwrap();
    assert!(version(&world) > first);
    drop(issuer);
}

fn version(world: &World) -> Timestamp {
    let file = fs::read(world.path("krl")).unwrap();
    Timestamp(u64::from_be_bytes(file[12..20].try_into().unwrap()))
}

/// What `ssh-keygen -Q` says of a certificate.
fn is_revoked(world: &World, made: &Made) -> bool {
    let certificate = world.write("asked-cert.pub", parts(made).0, 0o600);
    let (krl, certificate) = (world.path("krl"), certificate.display().to_string());
    let output = run(
        "ssh-keygen",
        &["-Q", "-f", &krl.display().to_string(), &certificate],
    );
    let text = said(&output);
    assert!(text.contains("ok") || text.contains("REVOKED"), "{text}");
    text.contains("REVOKED")
}
