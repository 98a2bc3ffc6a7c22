//! Of an agent's public key only the key counts, and not every key.

use quietus::issuers::{KeyRequest, Made};
use quietus_core::Digest;
use ring::digest::{SHA256, digest};

use super::{issuer, keygen, parts};
use crate::world::{World, issue, run, said, secs, unfit};

const DEPLOY: &[&str] = &["box:execute:deploy"];

#[tokio::test]
async fn unfit_keys_are_refused() {
    let world = World::new();
    let issuer = issuer(&world);
    let good = keygen(&world, "good", &["-t", "ed25519"]);
    let mut bad = vec![
        String::new(),
        "garbage".to_owned(),
        "ssh-ed25519".to_owned(),
        "ssh-ed25519 AAAA".to_owned(),
        format!("command=\"id\" {good}"),
        format!("no-pty {good}"),
        format!("cert-authority {good}"),
        format!("{good}{good}"),
        format!("\n{good}"),
        format!("{}\0", good.trim_end()),
        format!("{} {}", good.trim_end(), "x".repeat(5000)),
        good.replacen("ssh-ed25519", "ssh-rsa", 1),
        good.replacen("AAAAC3", "AAAAC4", 1),
        good.replacen(" AAAAC3", " AAAAC3AAAA", 1),
    ];
    let weak: [&[&str]; 3] = [
        &["-t", "rsa", "-b", "1024"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "dsa"],
    ];
    for (number, kind) in weak.iter().enumerate() {
        // What this ssh-keygen no longer makes need not be tried.
        let path = world.path(&format!("weak{number}")).display().to_string();
        let made = run(
            "ssh-keygen",
            &[&["-q", "-N", "", "-f", &path], *kind].concat(),
        );
        if made.status.success() {
            bad.push(std::fs::read_to_string(format!("{path}.pub")).unwrap());
        }
    }
    let order = world.order(DEPLOY, secs(600));
    let made = issue(&*issuer, &order, None).await.unwrap();
    bad.push(parts(&made).0);
    for key in bad {
        let request = KeyRequest::SshPublicKey(key.clone());
        let refused = issuer.issue(&order, Some(&request)).err();
        let refused = refused.unwrap_or_else(|| panic!("taken: {key:?}"));
        assert_eq!(refused.field, "ssh_public_key", "{key:?}");
    }
}

#[tokio::test]
async fn a_request_for_another_kind_is_refused() {
    let world = World::new();
    let order = world.order(DEPLOY, secs(600));
    let request = KeyRequest::Csr(vec![0x30, 0]);
    let refused = unfit(issue(&*issuer(&world), &order, Some(&request)).await);
    assert_eq!(refused.field, "key");
}

#[tokio::test]
async fn a_certificate_says_what_was_ordered_and_nothing_of_the_agents() {
    let world = World::new();
    let issuer = issuer(&world);
    let order = world.order(DEPLOY, secs(600));
    let key = KeyRequest::SshPublicKey(keygen(&world, "agent", &["-t", "ed25519"]));
    let made = issue(&*issuer, &order, Some(&key)).await.unwrap();
    let text = listed(&world, &made);
    let id = order.lease().id.to_string();
    for expected in [
        "user certificate".to_owned(),
        format!("Key ID: \"{id}\""),
        "Critical Options: (none)".to_owned(),
        "Extensions: (none)".to_owned(),
        "Principals: \n                deploy\n".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected:?} in {text}");
    }
    assert!(!text.contains("someone@example.com"), "{text}");
    let bytes = parts(&made).0;
    let bytes = bytes.split(' ').nth(1).unwrap();
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(bytes)
        .unwrap();
    let hash: [u8; 32] = digest(&SHA256, &bytes).as_ref().try_into().unwrap();
    assert_eq!(made.fingerprint, Some(Digest(hash)));
    let read = ssh_key::Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(read.valid_before(), order.lease().expires_at.seconds());
    assert_eq!(read.valid_after(), order.issued_at().seconds() - 60);
}

#[tokio::test]
async fn what_is_configured_is_in_the_certificate() {
    let world = World::new();
    let issuer = issuer(&world);
    let order = world.order(&["box:admin:root-shell"], secs(600));
    let text = listed(&world, &issue(&*issuer, &order, None).await.unwrap());
    assert!(
        text.contains("permit-port-forwarding\n                permit-pty\n"),
        "{text}"
    );
    assert!(!text.contains("permit-agent-forwarding"), "{text}");
    let order = world.order(&["box:execute:report"], secs(600));
    let text = listed(&world, &issue(&*issuer, &order, None).await.unwrap());
    assert!(text.contains("force-command echo forced"), "{text}");
}

/// What `ssh-keygen` reads in a certificate.
fn listed(world: &World, made: &Made) -> String {
    let path = world.write("listed-cert.pub", parts(made).0, 0o600);
    let output = run("ssh-keygen", &["-L", "-f", &path.display().to_string()]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}
