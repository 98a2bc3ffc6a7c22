//! The list outlives restarts, is signed anew in time, and is never silently begun anew.

use std::fs;

use quietus::issuers::Doomed;
use quietus_core::Confirmation;

use super::{TABLE, ca, ca_params, issuer, make_ca, open};
use crate::world::{World, doomed, issue, run, said, secs};

const READ: &[&str] = &["box:read:invoices"];

#[tokio::test]
async fn a_stray_is_listed_before_it_was_ever_made_and_for_as_long_as_it_can_live() {
    let world = World::new();
    let issuer = issuer(&world);
    let order = world.order(READ, secs(600));
    let stray = Doomed::stray(order.lease().id);
    assert_eq!(issuer.revoke(&stray).await, Ok(Confirmation::OnCrl));
    assert_eq!(issuer.revoke(&stray).await, Ok(Confirmation::OnCrl));
    assert_eq!(listed(&world), 1);
    for (after, left) in [(7 * 86_400, 1), (7_200, 0)] {
        world.forward(secs(after));
        issuer.upkeep().await.unwrap();
        let other = world.order(READ, secs(60));
        issuer.revoke(&doomed(&other)).await.unwrap();
        assert_eq!(listed(&world), left + 1);
        world.forward(secs(3_700));
    }
}

#[tokio::test]
async fn what_has_expired_needs_no_entry_and_loses_the_one_it_has() {
    let world = World::new();
    let issuer = issuer(&world);
    let (one, other) = (world.order(READ, secs(600)), world.order(READ, secs(600)));
    issuer.revoke(&doomed(&one)).await.unwrap();
    world.forward(secs(600));
    let confirmed = issuer.revoke(&doomed(&other)).await;
    assert_eq!(confirmed, Ok(Confirmation::ExpiredAtTarget));
    assert_eq!(listed(&world), 1);
    // Another process reads when it ends from the file.
    drop(issuer);
    let issuer = open(&world).unwrap();
    for (after, left) in [(3_000, 2), (700, 2)] {
        world.forward(secs(after));
        let order = world.order(READ, secs(60));
        issuer.revoke(&doomed(&order)).await.unwrap();
        assert_eq!(listed(&world), left);
    }
}

#[tokio::test]
async fn an_entry_without_a_known_end_stays() {
    let world = World::new();
    let issuer = issuer(&world);
    issuer
        .revoke(&doomed(&world.order(READ, secs(60))))
        .await
        .unwrap();
    let path = world.path("ca.crl").display().to_string();
    let rewritten = run("openssl", &["crl", "-in", &path, "-out", &path]);
    assert!(rewritten.status.success());
    drop(issuer);
    let issuer = open(&world).unwrap();
    world.forward(secs(86_400));
    issuer.upkeep().await.unwrap();
    assert_eq!(listed(&world), 1);
}

#[tokio::test]
async fn revocations_at_the_same_time_are_all_listed_and_outlive_a_restart() {
    let world = World::new();
    let issuer = issuer(&world);
    let orders: Vec<_> = (0..40).map(|_| world.order(READ, secs(600))).collect();
    let running = orders.iter().map(|order| {
        let (issuer, doomed) = (issuer.clone(), doomed(order));
        tokio::spawn(async move { issuer.revoke(&doomed).await })
    });
    for confirmed in running.collect::<Vec<_>>() {
        assert_eq!(confirmed.await.unwrap(), Ok(Confirmation::OnCrl));
    }
    assert_eq!(listed(&world), 40);
    let before = number(&world);
    drop(issuer);
    let issuer = open(&world).unwrap();
    issuer
        .revoke(&doomed(&world.order(READ, secs(600))))
        .await
        .unwrap();
    assert_eq!(listed(&world), 41);
    assert!(number(&world) > before);
}

#[tokio::test]
async fn the_list_is_signed_anew_when_half_of_its_life_has_passed() {
    let world = World::new();
    let issuer = issuer(&world);
    assert!(issuer.check().await.is_err(), "not written yet");
    issuer.upkeep().await.unwrap();
    let first = number(&world);
    world.forward(secs(11 * 3600));
    issuer.upkeep().await.unwrap();
    assert_eq!(number(&world), first);
    world.forward(secs(3600));
    issuer.upkeep().await.unwrap();
    assert!(number(&world) > first);
    world.forward(secs(25 * 3600));
    let failure = issuer.check().await.unwrap_err();
    assert!(failure.to_string().contains("run out"), "{failure}");
}

#[tokio::test]
async fn a_list_that_is_taken_away_or_put_back_is_written_again() {
    let world = World::new();
    let issuer = issuer(&world);
    issuer.upkeep().await.unwrap();
    let old = fs::read(world.path("ca.crl")).unwrap();
    let order = world.order(READ, secs(600));
    issuer.revoke(&doomed(&order)).await.unwrap();
    fs::write(world.path("ca.crl"), &old).unwrap();
    issuer.upkeep().await.unwrap();
    assert_eq!(listed(&world), 1);
    fs::remove_file(world.path("ca.crl")).unwrap();
    issuer.upkeep().await.unwrap();
    assert_eq!(listed(&world), 1);
    fs::write(world.path("ca.crl"), &old).unwrap();
    assert_eq!(
        issuer.revoke(&doomed(&order)).await,
        Ok(Confirmation::OnCrl)
    );
    assert_eq!(listed(&world), 1);
}

#[tokio::test]
async fn the_broker_does_not_begin_from_a_list_that_is_not_its_own() {
    let world = World::new();
    let issuer = issuer(&world);
    issuer
        .revoke(&doomed(&world.order(READ, secs(600))))
        .await
        .unwrap();
    let good = fs::read(world.path("ca.crl")).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let middle = text.find("-----END").unwrap() - 20;
    let mut changed = good.clone();
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let certificate = fs::read(world.path("ca.pem")).unwrap();
    let bad = [
        vec![],
        b"garbage".to_vec(),
        good[..good.len() / 2].to_vec(),
        changed,
        certificate,
    ];
    for file in bad {
        fs::write(world.path("ca.crl"), &file).unwrap();
        let refused = open(&world).err().unwrap();
        assert!(refused.contains("move it away"), "{refused}");
        assert_eq!(fs::read(world.path("ca.crl")).unwrap(), file, "left alone");
    }
    // The same name, another key.
    fs::write(world.path("ca.crl"), good).unwrap();
    let (certificate, key) = ca(&ca_params());
    world.write("ca.pem", certificate, 0o644);
    world.write("ca.key", key, 0o600);
    assert!(open(&world).err().unwrap().contains("not signed by the CA"));
}

#[tokio::test]
async fn a_reload_that_hangs_or_fails_leaves_the_revocation_unconfirmed() {
    let world = World::new();
    make_ca(&world);
    let order = world.order(READ, secs(600));
    for (command, says) in [
        (r#"["sleep", "1000"]"#, "did not end in time"),
        (r#"["false"]"#, "failed"),
        (r#"["/nonexistent/program"]"#, "could not be run"),
    ] {
        let mut target = world.target("x509", &format!("{TABLE}\nreload_command = {command}"));
        target.timeout = secs(1);
        let issuer = world.build(&target).unwrap();
        let failure = issuer.revoke(&doomed(&order)).await.unwrap_err();
        assert!(failure.to_string().contains(says), "{failure}");
        assert!(issuer.revoke(&doomed(&order)).await.is_err(), "and again");
    }
    assert_eq!(listed(&world), 1);
}

#[tokio::test]
async fn the_target_is_told_once_for_every_change() {
    let world = World::new();
    make_ca(&world);
    let told = world.path("told").display().to_string();
    let command = format!("reload_command = [\"sh\", \"-c\", \"echo x >> {told}\"]");
    let issuer = world
        .build(&world.target("x509", &format!("{TABLE}\n{command}")))
        .unwrap();
    let count = || fs::read_to_string(&told).unwrap().len() / 2;
    issuer.upkeep().await.unwrap();
    issuer.upkeep().await.unwrap();
    assert_eq!(count(), 1);
    let order = world.order(READ, secs(600));
    issuer.revoke(&doomed(&order)).await.unwrap();
    issuer.revoke(&doomed(&order)).await.unwrap();
    assert_eq!(count(), 2);
    // A process that died may have died before it told.
    let issuer = world
        .build(&world.target("x509", &format!("{TABLE}\n{command}")))
        .unwrap();
    issuer.revoke(&doomed(&order)).await.unwrap();
    assert_eq!(count(), 3);
}

#[tokio::test]
async fn a_list_is_valid_before_anything_was_revoked() {
    let world = World::new();
    let issuer = issuer(&world);
    issue(&*issuer, &world.order(READ, secs(600)), None)
        .await
        .unwrap();
    assert_eq!(listed(&world), 0);
    let (ca, crl) = (world.path("ca.pem"), world.path("ca.crl"));
    let (ca, crl) = (ca.display().to_string(), crl.display().to_string());
    let output = run("openssl", &["crl", "-in", &crl, "-CAfile", &ca, "-noout"]);
    assert!(said(&output).contains("verify OK"), "{}", said(&output));
}

/// How many entries openssl sees.
fn listed(world: &World) -> usize {
    text(world).matches("Serial Number:").count()
}

fn number(world: &World) -> u64 {
    let text = text(world);
    let after = text.split("X509v3 CRL Number:").nth(1).unwrap();
    let number = after.split_whitespace().next().unwrap();
    match number.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => number.parse().unwrap(),
    }
}

fn text(world: &World) -> String {
    let crl = world.path("ca.crl").display().to_string();
    let output = run("openssl", &["crl", "-noout", "-text", "-in", &crl]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}
