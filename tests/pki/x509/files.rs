//! Files that do not fit, settings that do not hold.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use quietus::config::Config;
use rcgen::{IsCa, KeyPair, KeyUsagePurpose};

use super::{TABLE, ca, ca_params, make_ca, open};
use crate::world::World;

#[test]
fn a_key_that_others_can_read_is_refused() {
    let world = World::new();
    make_ca(&world);
    for mode in [0o640, 0o604, 0o660, 0o777] {
        fs::set_permissions(world.path("ca.key"), fs::Permissions::from_mode(mode)).unwrap();
        let refused = open(&world).err().unwrap();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(world.path("ca.key"), fs::Permissions::from_mode(mode)).unwrap();
        open(&world).unwrap();
    }
}

#[test]
fn files_that_are_not_a_ca_are_refused() {
    let world = World::new();
    make_ca(&world);
    let mut leaf = ca_params();
    leaf.is_ca = IsCa::ExplicitNoCa;
    let mut no_lists = ca_params();
    no_lists.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mut no_usage = ca_params();
    no_usage.key_usages = vec![];
    for (params, says) in [
        (leaf, "basic constraints"),
        (no_lists, "cRLSign"),
        (no_usage, "cRLSign"),
    ] {
        let (certificate, key) = ca(&params);
        world.write("ca.pem", certificate, 0o644);
        world.write("ca.key", key, 0o600);
        let refused = open(&world).err().unwrap();
        assert!(refused.contains(says), "{refused}");
    }
    make_ca(&world);
    let good = fs::read_to_string(world.path("ca.pem")).unwrap();
    for bad in [
        String::new(),
        "garbage".to_owned(),
        good.replace("MII", "MIJ"),
        good.repeat(5),
    ] {
        world.write("ca.pem", bad, 0o644);
        assert!(open(&world).err().unwrap().contains("ca.pem"));
    }
    world.write("ca.pem", &good, 0o644);
    let other = KeyPair::generate().unwrap().serialize_pem();
    world.write("ca.key", other, 0o600);
    assert!(
        open(&world)
            .err()
            .unwrap()
            .contains("not the certificate of the key")
    );
    world.write("ca.key", "garbage", 0o600);
    assert!(open(&world).err().unwrap().contains("PKCS#8"));
    fs::remove_file(world.path("ca.key")).unwrap();
    assert!(open(&world).is_err());
}

#[test]
fn settings_that_do_not_hold_are_refused() {
    let world = World::new();
    let san = "[\"uri:{agent}\"]";
    for (from, to, key) in [
        ("crl = \"ca.crl\"\n", "", "crl"),
        ("\"ca.crl\"", "\" \"", "crl"),
        ("\"client\"", "\"any\"", "usage"),
        (san, "[]", "san"),
        (san, "[\"uri:{someone}\"]", "san"),
        (san, "[\"uri:relative/path\"]", "san"),
        (san, "[\"uri:a b\"]", "san"),
        (san, "[\"dns:{agent}\"]", "san"),
        (san, "[\"dns:-x.example\"]", "san"),
        (san, "[\"dns:a..b\"]", "san"),
        (san, "[\"dns:*\"]", "san"),
        (san, "[\"ip:1.2.3\"]", "san"),
        (san, "[\"email:a@b\"]", "san"),
        (san, "[\"orders.internal\"]", "san"),
        ("usage =", "crl_lifetime = \"1m\"\nusage =", "crl_lifetime"),
        ("usage =", "crl_lifetime = \"90d\"\nusage =", "crl_lifetime"),
        ("usage =", "reload_command = []\nusage =", "reload_command"),
        (
            "usage =",
            "reload_command = [\"\"]\nusage =",
            "reload_command",
        ),
        (
            "usage =",
            "reload_command = \"nginx -s reload\"\nusage =",
            "reload_command",
        ),
        ("usage =", "unknown = 1\nusage =", "unknown"),
    ] {
        assert!(TABLE.contains(from), "{from}");
        let table = TABLE.replacen(from, to, 1);
        let base = include_str!("../../../config/quietus.toml");
        let target = "[[target]]\nname = \"box\"\nkind = \"x509\"\nenvironment = \"dev\"\nsensitivity = 1\nresource_servers = []";
        let path = world.write(
            "bad.toml",
            format!("{base}\n{target}\n[target.x509]\n{table}"),
            0o600,
        );
        let refused = Config::load(path)
            .err()
            .unwrap_or_else(|| panic!("taken: {to}"));
        assert!(refused.to_string().contains(key), "{to}: {refused}");
    }
}
