use std::fs;

use super::*;
use crate::api::v1::credential::Kind;
use crate::cli::run::args::Assignment;

fn target(name: &str) -> TargetName {
    name.parse().unwrap()
}

fn jwt(token: &str) -> v1::Credential {
    v1::Credential {
        kind: Some(Kind::Jwt(token.to_owned())),
    }
}

fn postgres(host: &str) -> v1::Credential {
    v1::Credential {
        kind: Some(Kind::Postgres(v1::PostgresCredential {
            host: host.to_owned(),
            password: "secret".to_owned(),
            ..v1::PostgresCredential::default()
        })),
    }
}

fn template(name: &str, text: &str, goes: Goes) -> Template {
    let given = Assignment {
        name: name.to_owned(),
        template: text.to_owned(),
    };
    let targets = ["a", "b"].map(target);
    Template::read(&given, goes, &targets.iter().collect::<Vec<_>>()).unwrap()
}

fn handover(templates: Vec<Template>, all: Vec<(&str, v1::Credential)>) -> Handover {
    let mut handover = Handover::new(Style::default(), templates).unwrap();
    for (name, credential) in all {
        handover.take(&target(name), credential).unwrap();
    }
    handover
}

fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.set.get(name).map(Secret::expose)
}

#[test]
fn two_targets_that_want_the_same_variables_are_refused() {
    let both = handover(vec![], vec![("a", postgres("one")), ("b", postgres("two"))]);
    let told = both.variables().unwrap_err().to_string();
    assert!(told.starts_with("a and b would both set PGHOST"), "{told}");
    let mixed = handover(vec![], vec![("a", postgres("one")), ("b", jwt("x"))]);
    assert_eq!(mixed.variables().unwrap().set.len(), 4);
}

#[test]
fn a_target_that_a_template_names_is_handed_over_by_templates_alone() {
    let templates = vec![template("B_HOST", "{{b.host}}", Goes::Inline)];
    let both = handover(
        templates,
        vec![("a", postgres("one")), ("b", postgres("two"))],
    );
    let variables = both.variables().unwrap();
    assert_eq!(value(&variables, "PGHOST"), Some("one"));
    assert_eq!(value(&variables, "B_HOST"), Some("two"));
    let alone = handover(
        vec![template("X", "{{a.host}}", Goes::Inline)],
        vec![("a", postgres("one"))],
    );
    let variables = alone.variables().unwrap();
    assert_eq!(variables.set.len(), 1);
    assert!(variables.unset.is_empty());
}

#[test]
fn variables_that_clash_with_templates_are_refused() {
    let cases = [
        (
            vec![("PGHOST", "{{b.token}}")],
            "--env PGHOST and a would both set PGHOST",
        ),
        (
            vec![("X", "1"), ("X", "2")],
            "--env X and --env X would both set X",
        ),
        (
            vec![("QUIETUS_IDENTITY", "x")],
            "quietus itself and --env QUIETUS_IDENTITY would",
        ),
        (
            vec![("QUIETUS_TASK_ID", "x")],
            "quietus itself and --env QUIETUS_TASK_ID would",
        ),
    ];
    for (given, expected) in cases {
        let templates = given
            .iter()
            .map(|(name, text)| template(name, text, Goes::Inline));
        let all = handover(
            templates.collect(),
            vec![("a", postgres("one")), ("b", jwt("x"))],
        );
        let told = all.variables().unwrap_err().to_string();
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn an_issuers_field_cannot_stand_in_for_our_own_settings() {
    let fields = [("identity".to_owned(), "/tmp/x.toml".to_owned())].into();
    let secret = v1::StaticCredential {
        fields,
        ..v1::StaticCredential::default()
    };
    let kind = Some(Kind::StaticSecret(secret));
    let all = handover(vec![], vec![("a", v1::Credential { kind })]);
    let told = all.variables().unwrap_err().to_string();
    assert!(
        told.starts_with("quietus itself and a would both set QUIETUS_IDENTITY"),
        "{told}"
    );
}

#[test]
fn fields_that_are_not_there_are_told_with_those_that_are() {
    let all = handover(
        vec![template("X", "{{a.pasword}}", Goes::Inline)],
        vec![("a", postgres("one"))],
    );
    let told = all.variables().unwrap_err().to_string();
    let expected = "X: a (postgres) has no field pasword: there are ca, database, host, password";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn a_zero_byte_fits_into_a_file_only() {
    let zero = || vec![("a", jwt("x\0y"))];
    let inline = handover(vec![template("X", "{{a.token}}", Goes::Inline)], zero());
    assert!(
        inline
            .variables()
            .unwrap_err()
            .to_string()
            .contains("use --file")
    );
    assert!(handover(vec![], zero()).variables().is_err());
    let file = handover(vec![template("X", "{{a.token}}", Goes::File)], zero());
    assert!(file.variables().is_ok());
}

#[test]
fn only_files_that_are_used_are_written_and_a_newer_credential_replaces_them() {
    let mut plain = handover(vec![], vec![("a", jwt("one"))]);
    plain.write().unwrap();
    assert!(!plain.is_in_files(&target("a")));
    assert!(!plain.folder.join("").exists());

    let mut all = handover(
        vec![template("X", "<{{a.token}}>", Goes::File)],
        vec![("a", jwt("one"))],
    );
    let variables = all.variables().unwrap();
    all.write().unwrap();
    let path = value(&variables, "X").unwrap().to_owned();
    assert_eq!(fs::read_to_string(&path).unwrap(), "<one>");
    assert_eq!(fs::read_dir(all.folder.join("")).unwrap().count(), 1);
    assert!(all.is_in_files(&target("a")));

    all.take(&target("a"), jwt("two")).unwrap();
    all.write().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "<two>");
    assert_eq!(all.variables().unwrap().set, variables.set);
    drop(all);
    assert!(!fs::exists(path).unwrap());
}

/// With the real tools, where they are installed.
#[tokio::test]
async fn an_ssh_key_is_used_through_an_agent_that_goes_with_us() {
    let Some((private_key, certificate)) = ssh_key() else {
        return;
    };
    let kind = Some(Kind::Ssh(v1::SshCredential {
        private_key,
        certificate,
        ..v1::SshCredential::default()
    }));
    let mut all = handover(vec![], vec![("a", v1::Credential { kind })]);
    all.start_agent().await.unwrap();
    all.write().unwrap();
    all.add_key(&target("a"), Duration::from_secs(60))
        .await
        .unwrap();
    let variables = all.variables().unwrap();
    let socket = value(&variables, "SSH_AUTH_SOCK").unwrap().to_owned();
    let listed = ssh("ssh-add", &["-l"], &socket).unwrap();
    assert!(listed.contains("ED25519-CERT"), "{listed}");
    drop(all);
    assert!(!fs::exists(socket).unwrap());
}

fn ssh(program: &str, args: &[&str], socket: &str) -> Option<String> {
    let mut command = std::process::Command::new(program);
    let output = command
        .args(args)
        .env("SSH_AUTH_SOCK", socket)
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A key, and a certificate for it that it signed itself.
fn ssh_key() -> Option<(String, String)> {
    ssh("ssh-agent", &["true"], "")?;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("id");
    let name = key.to_str().unwrap();
    ssh(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", name],
        "",
    )?;
    let public = format!("{name}.pub");
    ssh(
        "ssh-keygen",
        &["-q", "-s", name, "-I", "x", "-n", "deploy", &public],
        "",
    )?;
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
    Some((read("id")?, read("id-cert.pub")?))
}
