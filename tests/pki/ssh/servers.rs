//! A real sshd decides who comes in.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quietus::issuers::{Issuer, KeyRequest, Made};
use quietus_core::Confirmation;

use super::{TABLE, keygen, make_ca, parts};
use crate::world::{Server, World, doomed, free_port, issue, run, said, secs, until};

const DEPLOY: &[&str] = &["box:execute:deploy"];

#[tokio::test]
async fn a_certificate_logs_in_until_it_is_revoked() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    let (one, other) = (
        world.order(DEPLOY, secs(600)),
        world.order(DEPLOY, secs(600)),
    );
    let first = issue(&*host.issuer, &one, None).await.unwrap();
    let second = issue(&*host.issuer, &other, None).await.unwrap();
    assert_eq!(host.login(&first, "echo in"), "in\n");
    assert_eq!(host.login(&second, "echo in"), "in\n");

    let confirmed = host.issuer.revoke(&doomed(&one)).await.unwrap();
    assert_eq!(confirmed, Confirmation::OnKrl);
    host.refused(&first, "revoked");
    assert_eq!(host.login(&second, "echo in"), "in\n");
}

#[tokio::test]
async fn a_session_that_has_begun_goes_on_after_a_revocation() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    let order = world.order(DEPLOY, secs(600));
    let made = issue(&*host.issuer, &order, None).await.unwrap();
    let mut client = host.command(&made, "cat");
    let mut client = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    let client = Server(client);
    let mut echo = |text: &str| {
        stdin.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(echo("before\n"), "before\n");
    host.issuer.revoke(&doomed(&order)).await.unwrap();
    host.refused(&made, "revoked");
    assert_eq!(echo("after\n"), "after\n");
    drop(client);
}

#[tokio::test]
async fn agents_keys_of_every_kind_log_in() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    let kinds: [&[&str]; 4] = [
        &["-t", "ed25519"],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "rsa", "-b", "2048"],
    ];
    for (number, kind) in kinds.iter().enumerate() {
        let name = format!("agent{number}");
        let key = KeyRequest::SshPublicKey(keygen(&world, &name, kind));
        let order = world.order(DEPLOY, secs(600));
        let made = issue(&*host.issuer, &order, Some(&key)).await.unwrap();
        assert_eq!(parts(&made).1, None);
        let said = host.login_with(&made, world.path(&name), "echo in");
        assert!(said.ends_with("in\n"), "{kind:?}: {said}");
    }
}

#[tokio::test]
async fn a_forced_command_is_run_instead_of_what_was_asked_for() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    let order = world.order(&["box:execute:report"], secs(600));
    let made = issue(&*host.issuer, &order, None).await.unwrap();
    assert_eq!(host.login(&made, "echo free"), "forced\n");
}

#[tokio::test]
async fn a_terminal_is_not_given_unless_configured() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    let order = world.order(DEPLOY, secs(600));
    let made = issue(&*host.issuer, &order, None).await.unwrap();
    host.write("user", &parts(&made).1.unwrap());
    let mut client = host.client(&made, host.folder.join("user"), &["-tt"], "tty");
    let said = said(&client.output().unwrap());
    assert!(said.contains("PTY allocation request failed"), "{said}");
}

#[tokio::test]
async fn another_source_address_is_refused() {
    let world = World::new();
    let table = TABLE.replacen("host =", "source_address = [\"192.0.2.0/24\"]\nhost =", 1);
    let host = Host::start(&world, &table).await;
    let order = world.order(DEPLOY, secs(600));
    let made = issue(&*host.issuer, &order, None).await.unwrap();
    host.refused(&made, "permitted source address");
    let near = TABLE.replacen("host =", "source_address = [\"127.0.0.0/8\"]\nhost =", 1);
    let near = world.build(&world.target("ssh", &near)).unwrap();
    let made = issue(&*near, &world.order(DEPLOY, secs(600)), None)
        .await
        .unwrap();
    assert_eq!(host.login(&made, "echo in"), "in\n");
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    world.back(Duration::from_secs(3600));
    let order = world.order(DEPLOY, secs(600));
    let made = issue(&*host.issuer, &order, None).await.unwrap();
    host.refused(&made, "expired");
    world.forward(Duration::from_secs(3600));
    let confirmed = host.issuer.revoke(&doomed(&order)).await.unwrap();
    assert_eq!(confirmed, Confirmation::ExpiredAtTarget);
}

#[tokio::test]
async fn a_principal_that_the_host_does_not_list_is_refused() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    let order = world.order(&["box:admin:root-shell"], secs(600));
    let made = issue(&*host.issuer, &order, None).await.unwrap();
    host.refused(&made, "not contain an authorized principal");
}

#[tokio::test]
async fn another_ca_and_another_key_are_refused() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    let elsewhere = World::new();
    let order = world.order(DEPLOY, secs(600));
    let forged = issue(&*super::issuer(&elsewhere), &order, None)
        .await
        .unwrap();
    host.refused(&forged, "");
    let made = issue(&*host.issuer, &order, None).await.unwrap();
    keygen(&world, "thief", &["-t", "ed25519"]);
    let output = host
        .command_with(&made, world.path("thief"), "echo in")
        .output()
        .unwrap();
    assert!(
        said(&output).contains("Permission denied"),
        "{}",
        said(&output)
    );
}

#[tokio::test]
async fn a_host_without_the_list_lets_nobody_in() {
    let world = World::new();
    let host = Host::start(&world, TABLE).await;
    let made = issue(&*host.issuer, &world.order(DEPLOY, secs(600)), None)
        .await
        .unwrap();
    std::fs::remove_file(world.path("krl")).unwrap();
    host.refused(&made, "");
    host.issuer.upkeep().await.unwrap();
    assert_eq!(host.login(&made, "echo in"), "in\n");
}

/// sshd, which trusts the CA and reads the list.
struct Host {
    issuer: Arc<dyn Issuer>,
    folder: PathBuf,
    port: u16,
    user: String,
    _server: Server,
}

impl Host {
    async fn start(world: &World, table: &str) -> Self {
        make_ca(world);
        let issuer = world.build(&world.target("ssh", table)).unwrap();
        issuer.upkeep().await.unwrap();
        keygen(world, "host", &["-t", "ed25519"]);
        world.write("principals", "deploy\nreport\n", 0o644);
        let user = said(&run("id", &["-un"])).trim().to_owned();
        if user == "root" {
            // Where sshd puts itself before anyone is known; it will not start without.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = free_port();
        let conf = world.write("sshd_config", sshd_config(world, port), 0o600);
        let log = std::fs::File::create(world.path("sshd.log")).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"])
            .arg(conf)
            .stdout(Stdio::null())
            .stderr(log);
        let sshd = sshd
            .spawn()
            .expect("sshd is needed: apt install openssh-server");
        let log = world.path("sshd.log");
        until("sshd is up", || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains("listening"))
        });
        Self {
            issuer,
            folder: world.folder.path().to_owned(),
            port,
            user,
            _server: Server(sshd),
        }
    }

    /// What the command said that was run with the key that came with the certificate.
    fn login(&self, made: &Made, command: &str) -> String {
        let output = self.command(made, command).output().unwrap();
        assert!(output.status.success(), "{}\n{}", said(&output), self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    fn login_with(&self, made: &Made, key: PathBuf, command: &str) -> String {
        said(&self.command_with(made, key, command).output().unwrap())
    }

    fn refused(&self, made: &Made, why: &str) {
        let output: Output = self.command(made, "echo in").output().unwrap();
        let text = said(&output);
        assert!(text.contains("Permission denied"), "{text}\n{}", self.log());
        until(why, || self.log().contains(why));
    }

    fn command(&self, made: &Made, command: &str) -> Command {
        let key = self.folder.join("user");
        self.write("user", &parts(made).1.unwrap());
        self.command_with(made, key, command)
    }

    fn command_with(&self, made: &Made, key: PathBuf, command: &str) -> Command {
        self.client(made, key, &[], command)
    }

    fn client(&self, made: &Made, key: PathBuf, options: &[&str], command: &str) -> Command {
        self.write("user-cert.pub", &parts(made).0);
        let certificate = self.folder.join("user-cert.pub");
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
        ])
        .args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ])
        .args(["-o", "LogLevel=ERROR", "-o", "IdentityAgent=none"])
        .arg("-o")
        .arg(format!("CertificateFile={}", certificate.display()))
        .arg("-i")
        .arg(key)
        .args(options)
        .args([
            "-p",
            &self.port.to_string(),
            "-l",
            &self.user,
            "127.0.0.1",
            command,
        ])
        .env_remove("SSH_AUTH_SOCK");
        ssh.stdin(Stdio::null());
        ssh
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("sshd.log")).unwrap()
    }
}

fn sshd_config(world: &World, port: u16) -> String {
    let folder = world.folder.path().display();
    format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         AuthorizedKeysFile none\nTrustedUserCAKeys {folder}/ca.pub\nRevokedKeys {folder}/krl\n\
         AuthorizedPrincipalsFile {folder}/principals\nLogLevel VERBOSE\nMaxStartups 100\n"
    )
}
