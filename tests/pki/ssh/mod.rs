//! OpenSSH certificates.

mod keys;
mod revocation;
mod servers;
mod settings;

use std::sync::Arc;

use quietus::issuers::{Credential, Issuer, Made};

use crate::world::{World, run, said};

/// The settings that most cases use.
pub const TABLE: &str = r#"
ca_key = "ca"
krl = "krl"
host = "localhost"
[[target.ssh.principal]]
name = "deploy"
[[target.ssh.principal]]
name = "report"
force_command = "echo forced"
[[target.ssh.principal]]
name = "root-shell"
actions = ["admin"]
permit = ["pty", "port-forwarding"]
"#;

/// A CA in the world's folder, and an issuer in its name.
pub fn issuer(world: &World) -> Arc<dyn Issuer> {
    make_ca(world);
    open(world).unwrap()
}

pub fn open(world: &World) -> Result<Arc<dyn Issuer>, String> {
    world.build(&world.target("ssh", TABLE))
}

pub fn make_ca(world: &World) {
    keygen(world, "ca", &["-t", "ed25519"]);
}

/// A key pair of this name; its public half.
pub fn keygen(world: &World, name: &str, kind: &[&str]) -> String {
    let path = world.path(name).display().to_string();
    let arguments = [
        &["-q", "-N", "", "-C", "someone@example.com", "-f", &path],
        kind,
    ]
    .concat();
    let output = run("ssh-keygen", &arguments);
    assert!(output.status.success(), "{}", said(&output));
    std::fs::read_to_string(world.path(&format!("{name}.pub"))).unwrap()
}

/// Certificate and key.
pub fn parts(made: &Made) -> (String, Option<String>) {
    match &made.credential {
        Credential::Ssh {
            certificate,
            private_key,
            ..
        } => {
            let key = private_key.as_ref().map(|key| key.expose().to_owned());
            (certificate.clone(), key)
        }
        other => panic!("{other:?}"),
    }
}
