//! What a certificate says, and when none is made.

use quietus_core::Digest;
use rcgen::date_time_ymd;
use ring::digest::{SHA256, digest};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{TABLE, ca, ca_params, issuer, make_ca};
use crate::world::{World, doomed, failure, issue, run, said, secs, unfit, x509};

const READ: &[&str] = &["box:read:invoices"];

#[tokio::test]
async fn a_certificate_says_what_was_ordered() {
    let world = World::new();
    make_ca(&world);
    let table = TABLE.replace("\"client\"", "\"server\"").replace(
        "[\"uri:{agent}\"]",
        "[\"dns:orders.internal\", \"ip:::1\", \"uri:urn:lease:{task}:{lease}\"]",
    );
    let issuer = world.build(&world.target("x509", &table)).unwrap();
    let order = world.order(&["box:write:a:b/c"], secs(600));
    let made = issue(&*issuer, &order, None).await.unwrap();
    let (pem, ca_pem, _) = x509(&made);
    assert_eq!(
        ca_pem.trim(),
        std::fs::read_to_string(world.path("ca.pem"))
            .unwrap()
            .replace("\r", "")
            .trim()
    );
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let hash: [u8; 32] = digest(&SHA256, &pem.contents).as_ref().try_into().unwrap();
    assert_eq!(made.fingerprint, Some(Digest(hash)));
    let (_, read) = X509Certificate::from_der(&pem.contents).unwrap();
    let lease = order.lease();
    let serial = [
        &lease.id.task.to_bytes()[..],
        &lease.id.number.to_be_bytes(),
    ]
    .concat();
    let zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    assert_eq!(read.serial.to_bytes_be(), serial[zeros..]);
    let seconds = |seconds: u64| i64::try_from(seconds).unwrap();
    let validity = read.validity();
    assert_eq!(
        validity.not_after.timestamp(),
        seconds(lease.expires_at.seconds())
    );
    let behind = seconds(order.issued_at().seconds()) - validity.not_before.timestamp();
    assert!((0..=60).contains(&behind), "{behind}");
    let names = read.subject_alternative_name().unwrap().unwrap().value;
    let names: Vec<String> = names
        .general_names
        .iter()
        .map(ToString::to_string)
        .collect();
    let own = format!("URI(urn:lease:{}:{})", lease.id.task, lease.id);
    assert_eq!(names[0], "DNSName(orders.internal)");
    assert_eq!(
        names[2..],
        [own, "URI(urn:quietus:scope:box:write:a%3Ab%2Fc)".to_owned()]
    );
    let usage = read.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
}

#[tokio::test]
async fn scopes_are_left_out_if_so_configured() {
    let world = World::new();
    make_ca(&world);
    let target = world.target("x509", &format!("{TABLE}\nscope_names = false"));
    let issuer = world.build(&target).unwrap();
    let made = issue(&*issuer, &world.order(READ, secs(600)), None)
        .await
        .unwrap();
    let path = world
        .write("leaf.pem", x509(&made).0, 0o644)
        .display()
        .to_string();
    let text = said(&run("openssl", &["x509", "-noout", "-text", "-in", &path]));
    assert!(
        text.contains("URI:spiffe://dev.example/agent/coder\n"),
        "{text}"
    );
    assert!(!text.contains("urn:quietus"), "{text}");
}

#[tokio::test]
async fn a_chain_leads_from_the_leaf_to_what_peers_trust() {
    let world = World::new();
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root_params = ca_params();
    root_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root_params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Root");
    let root = root_params.self_signed(&root_key).unwrap().pem();
    let root_issuer = rcgen::Issuer::new(root_params, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = ca_params();
    params.use_authority_key_identifier_extension = true;
    let issuing = params.signed_by(&key, &root_issuer).unwrap().pem();
    world.write("ca.pem", format!("{issuing}{root}"), 0o644);
    world.write("ca.key", key.serialize_pem(), 0o600);
    let issuer = super::open(&world).unwrap();
    let order = world.order(READ, secs(600));
    let made = issue(&*issuer, &order, None).await.unwrap();
    let (chain, trusted, _) = x509(&made);
    let chain = world.write("chain.pem", chain, 0o644).display().to_string();
    let trusted = world
        .write("root.pem", trusted, 0o644)
        .display()
        .to_string();
    let verified = run(
        "openssl",
        &["verify", "-CAfile", &trusted, "-untrusted", &chain, &chain],
    );
    assert!(verified.status.success(), "{}", said(&verified));
}

#[tokio::test]
async fn lives_that_do_not_fit_are_refused() {
    let world = World::new();
    let issuer = issuer(&world);
    let long = world.order(READ, secs(8 * 86_400));
    assert_eq!(unfit(issue(&*issuer, &long, None).await).field, "ttl");
    let scope = |n: u32| format!("box:read:{n:02}{}", "/".repeat(250));
    let many: Vec<String> = (0..16).map(scope).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let large = world.order(&many, secs(600));
    assert_eq!(unfit(issue(&*issuer, &large, None).await).field, "scopes");
}

#[tokio::test]
async fn a_ca_that_ends_first_or_has_not_begun_makes_nothing() {
    let world = World::new();
    for (from, until, says) in [(2020, 2021, "ends before"), (2200, 2201, "not valid yet")] {
        let mut params = ca_params();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let (certificate, key) = ca(&params);
        world.write("ca.pem", certificate, 0o644);
        world.write("ca.key", key, 0o600);
        let issuer = super::open(&world).unwrap();
        let order = world.order(READ, secs(600));
        let refused = format!("{:?}", issue(&*issuer, &order, None).await.unwrap_err());
        assert!(refused.contains(says), "{refused}");
        assert!(issuer.check().await.is_err());
    }
}

#[tokio::test]
async fn a_credential_that_is_not_run_makes_nothing() {
    let world = World::new();
    let issuer = issuer(&world);
    let order = world.order(READ, secs(600));
    drop(issuer.issue(&order, None).unwrap());
    assert!(!world.path("ca.crl").exists());
    assert!(issuer.renew(&order).is_err());
    assert!(issuer.repeat(&order).is_none());
}

#[tokio::test]
async fn no_certificate_is_handed_out_while_the_list_cannot_be_written() {
    let world = World::new();
    let issuer = issuer(&world);
    // A folder cannot be replaced by a file, whoever asks.
    std::fs::create_dir(world.path("ca.crl")).unwrap();
    let order = world.order(READ, secs(600));
    let refused = failure(issue(&*issuer, &order, None).await);
    assert!(refused.contains("ca.crl"), "{refused}");
    assert!(issuer.revoke(&doomed(&order)).await.is_err());
    std::fs::remove_dir(world.path("ca.crl")).unwrap();
    issue(&*issuer, &order, None).await.unwrap();
    assert!(
        issuer.check().await.unwrap().contains("1 entries"),
        "it was asked for before"
    );
}
