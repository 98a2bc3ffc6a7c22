//! The list decides at nginx and at openssl.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use quietus::issuers::{Issuer, Made};
use quietus_core::Confirmation;

use super::{TABLE, make_ca};
use crate::world::{Server, World, doomed, free_port, issue, run, said, secs, until, x509};

const SCOPES: &[&str] = &["box:read:invoices", "box:write:invoices"];

#[tokio::test]
async fn nginx_takes_a_certificate_until_it_is_revoked() {
    let world = World::new();
    let site = Site::start(&world).await;
    let (one, other) = (
        world.order(SCOPES, secs(600)),
        world.order(SCOPES, secs(600)),
    );
    let first = issue(&*site.issuer, &one, None).await.unwrap();
    let second = issue(&*site.issuer, &other, None).await.unwrap();
    until("nginx answers", || {
        site.get(&world, &first).contains("200 OK")
    });
    assert!(
        site.get(&world, &first)
            .contains(&one.lease().id.to_string())
    );
    assert!(site.get(&world, &second).contains("200 OK"));

    let confirmed = site.issuer.revoke(&doomed(&one)).await.unwrap();
    assert_eq!(confirmed, Confirmation::OnCrl);
    // The processes that began before the reload finish what they have.
    until("refused", || {
        site.get(&world, &first).contains("400 Bad Request")
    });
    assert!(site.get(&world, &second).contains("200 OK"));
}

#[tokio::test]
async fn nginx_that_cannot_be_told_keeps_a_revocation_unconfirmed() {
    let world = World::new();
    let site = Site::start(&world).await;
    let order = world.order(SCOPES, secs(600));
    let made = issue(&*site.issuer, &order, None).await.unwrap();
    until("nginx answers", || {
        site.get(&world, &made).contains("200 OK")
    });
    let conf = std::fs::read_to_string(world.path("nginx.conf")).unwrap();
    world.write("nginx.conf", "nonsense", 0o644);
    let failure = site.issuer.revoke(&doomed(&order)).await.unwrap_err();
    assert!(
        failure.to_string().contains("\"nginx\" failed"),
        "{failure}"
    );
    assert!(site.get(&world, &made).contains("200 OK"));
    world.write("nginx.conf", conf, 0o644);
    let confirmed = site.issuer.revoke(&doomed(&order)).await;
    assert_eq!(confirmed, Ok(Confirmation::OnCrl));
    until("refused", || {
        site.get(&world, &made).contains("400 Bad Request")
    });
}

#[tokio::test]
async fn openssl_verifies_a_certificate_until_it_is_revoked() {
    let world = World::new();
    let issuer = super::issuer(&world);
    let order = world.order(SCOPES, secs(600));
    let made = issue(&*issuer, &order, None).await.unwrap();
    let leaf = world.write("leaf.pem", x509(&made).0, 0o644);
    let verify = || {
        let text = |name: &str| world.path(name).display().to_string();
        let (ca, crl) = (text("ca.pem"), text("ca.crl"));
        let leaf = leaf.display().to_string();
        let purpose = ["-purpose", "sslclient", "-x509_strict"];
        let files = ["-crl_check", "-CAfile", &ca, "-CRLfile", &crl, &leaf];
        let arguments: Vec<&str> = ["verify"]
            .iter()
            .chain(&purpose)
            .chain(&files)
            .copied()
            .collect();
        said(&run("openssl", &arguments))
    };
    assert!(verify().contains("leaf.pem: OK"), "{}", verify());
    issuer.revoke(&doomed(&order)).await.unwrap();
    assert!(verify().contains("certificate revoked"), "{}", verify());
}

/// nginx, which asks every client for a certificate and looks it up in the list.
struct Site {
    issuer: Arc<dyn Issuer>,
    port: u16,
    _server: Server,
}

impl Site {
    async fn start(world: &World) -> Self {
        make_ca(world);
        let conf = world.path("nginx.conf").display().to_string();
        let prefix = world.folder.path().display().to_string();
        let table = TABLE
            .replace("\"client\"", "\"both\"")
            .replace("[\"uri:{agent}\"]", "[\"uri:{agent}\", \"dns:localhost\"]");
        let reload = format!(
            "reload_command = [\"nginx\", \"-p\", {prefix:?}, \"-e\", \"stderr\", \"-c\", {conf:?}, \"-s\", \"reload\"]"
        );
        let quiet = world.build(&world.target("x509", &table)).unwrap();
        let own = world.order(&["box:admin:nginx"], secs(6000));
        let (certificate, _, key) = x509(&issue(&*quiet, &own, None).await.unwrap());
        world.write("server.pem", certificate, 0o644);
        world.write("server.key", key.unwrap(), 0o600);
        let port = free_port();
        world.write("nginx.conf", nginx_conf(world, port), 0o644);
        let mut nginx = Command::new("nginx");
        nginx
            .args(["-p", &prefix, "-e", "stderr", "-c", &conf])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = Server(
            nginx
                .spawn()
                .expect("nginx is needed: apt install nginx-light"),
        );
        until("nginx is up", || world.path("nginx.pid").exists());
        let issuer = world
            .build(&world.target("x509", &format!("{table}\n{reload}")))
            .unwrap();
        Self {
            issuer,
            port,
            _server: server,
        }
    }

    /// A request with this certificate; all that came back.
    fn get(&self, world: &World, made: &Made) -> String {
        let (certificate, _, key) = x509(made);
        let certificate = world.write("client.pem", certificate, 0o644);
        let key = world.write("client.key", key.unwrap(), 0o600);
        let mut client = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-verify_return_error",
                "-verify_hostname",
                "localhost",
            ])
            .args([
                "-connect",
                &format!("127.0.0.1:{}", self.port),
                "-servername",
                "localhost",
            ])
            .arg("-CAfile")
            .arg(world.path("ca.pem"))
            .arg("-cert")
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        let _ = stdin.write_all(b"GET / HTTP/1.0\r\n\r\n");
        let output = client.wait_with_output().unwrap();
        drop(stdin);
        said(&output)
    }
}

fn nginx_conf(world: &World, port: u16) -> String {
    let folder = world.folder.path().display();
    let user = match said(&run("id", &["-u"])).trim() {
        "0" => "user root;",
        _ => "",
    };
    format!(
        "daemon off; worker_processes 1; {user} pid {folder}/nginx.pid;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n\
           access_log off; ssl_session_cache off; ssl_session_tickets off;\n\
           client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;\n\
           uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;\n\
           server {{\n\
             listen 127.0.0.1:{port} ssl;\n\
             ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;\n\
             ssl_client_certificate {folder}/ca.pem; ssl_crl {folder}/ca.crl; ssl_verify_client on;\n\
             location / {{ return 200 \"$ssl_client_s_dn\\n\"; }}\n\
           }}\n\
         }}\n"
    )
}
