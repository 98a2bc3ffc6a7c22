//! Keys that others can read, scopes that nobody configured, settings that do not hold.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use quietus::config::Config;

use super::{TABLE, issuer, keygen, make_ca, open};
use crate::world::{World, issue, run, secs, unfit};

#[tokio::test]
async fn scopes_that_no_principal_takes_are_refused() {
    let world = World::new();
    let issuer = issuer(&world);
    for scopes in [
        &["box:read:deploy"][..],
        &["box:write:deploy"],
        &["box:admin:deploy"],
        &["box:execute:root-shell"],
        &["box:execute:root"],
        &["box:execute:deploy,root"],
        &["box:execute:DEPLOY"],
        &["box:execute:*"],
        &["box:execute:deploy", "box:execute:root"],
        // Their sessions may do different things.
        &["box:execute:deploy", "box:execute:report"],
    ] {
        let order = world.order(scopes, secs(600));
        let refused = unfit(issue(&*issuer, &order, None).await);
        assert_eq!(refused.field, "scopes", "{scopes:?}");
    }
}

#[tokio::test]
async fn a_life_longer_than_a_week_is_refused() {
    let world = World::new();
    let order = world.order(&["box:execute:deploy"], secs(8 * 86_400));
    let refused = unfit(issue(&*issuer(&world), &order, None).await);
    assert_eq!(refused.field, "ttl");
}

#[tokio::test]
async fn a_credential_that_is_not_run_makes_nothing() {
    let world = World::new();
    let issuer = issuer(&world);
    let order = world.order(&["box:execute:deploy"], secs(600));
    drop(issuer.issue(&order, None).unwrap());
    assert!(!world.path("krl").exists());
    assert!(issuer.check().await.is_err());
    assert!(issuer.renew(&order).is_err());
    assert!(!issuer.abilities().renewable);
}

#[test]
fn a_ca_key_that_does_not_fit_is_refused() {
    let world = World::new();
    make_ca(&world);
    fs::set_permissions(world.path("ca"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(open(&world).err().unwrap().contains("chmod 600"));
    let kinds: [&[&str]; 2] = [&["-t", "rsa", "-b", "2048"], &["-t", "ecdsa"]];
    for (number, kind) in kinds.iter().enumerate() {
        let name = format!("ca{number}");
        keygen(&world, &name, kind);
        fs::rename(world.path(&name), world.path("ca")).unwrap();
        assert!(open(&world).err().unwrap().contains("not an Ed25519 key"));
    }
    let path = world.path("locked").display().to_string();
    run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "secret", "-f", &path],
    );
    fs::rename(&path, world.path("ca")).unwrap();
    assert!(open(&world).err().unwrap().contains("passphrase"));
    world.write("ca", "garbage", 0o600);
    assert!(open(&world).is_err());
    fs::remove_file(world.path("ca")).unwrap();
    assert!(open(&world).is_err());
}

#[test]
fn a_ca_key_in_pkcs8_is_taken() {
    let world = World::new();
    let path = world.path("ca").display().to_string();
    let made = run(
        "openssl",
        &["genpkey", "-algorithm", "ed25519", "-out", &path],
    );
    assert!(made.status.success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    open(&world).unwrap();
}

#[test]
fn settings_that_do_not_hold_are_refused() {
    let world = World::new();
    for (from, to, key) in [
        ("krl = \"krl\"\n", "", "krl"),
        ("krl = \"krl\"", "krl = \" \"", "krl"),
        ("\"localhost\"", "\"local host\"", "host"),
        ("\"localhost\"", "\"-oProxyCommand=x\"", "host"),
        ("host =", "port = 0\nhost =", "port"),
        (
            "host =",
            "source_address = [\"10.0.0.1/8\"]\nhost =",
            "source_address",
        ),
        (
            "host =",
            "source_address = [\"10.0.0.0/33\"]\nhost =",
            "source_address",
        ),
        (
            "host =",
            "source_address = [\"::1/0\"]\nhost =",
            "source_address",
        ),
        (
            "host =",
            "source_address = [\"anywhere\"]\nhost =",
            "source_address",
        ),
        (
            "host =",
            "source_address = [\"10.0.0.0/8,0.0.0.0/0\"]\nhost =",
            "source_address",
        ),
        ("\"deploy\"", "\"deploy,root\"", "name"),
        ("\"deploy\"", "\"\"", "name"),
        ("\"deploy\"", "\"report\"", "name"),
        ("\"echo forced\"", "\"a\\nb\"", "force_command"),
        ("\"echo forced\"", "\"\"", "force_command"),
        ("[\"admin\"]", "[\"read\"]", "actions"),
        ("[\"admin\"]", "[]", "actions"),
        ("\"pty\"", "\"everything\"", "permit"),
        ("host =", "unknown = 1\nhost =", "unknown"),
    ] {
        assert!(TABLE.contains(from), "{from}");
        let table = TABLE.replacen(from, to, 1);
        let base = include_str!("../../../config/quietus.toml");
        let target = "[[target]]\nname = \"box\"\nkind = \"ssh\"\nenvironment = \"dev\"\nsensitivity = 1\nresource_servers = []";
        let path = world.write(
            "bad.toml",
            format!("{base}\n{target}\n[target.ssh]\n{table}"),
            0o600,
        );
        let refused = Config::load(path)
            .err()
            .unwrap_or_else(|| panic!("taken: {to}"));
        assert!(refused.to_string().contains(key), "{to}: {refused}");
    }
}
