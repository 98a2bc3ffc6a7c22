use super::*;

fn kit_with(kind: Kind, style: Style) -> Result<Kit, Complaint> {
    kit_after(None, kind, style)
}

fn kit_after(before: Option<&Kit>, kind: Kind, style: Style) -> Result<Kit, Complaint> {
    let target = "t1".parse().unwrap();
    let path = |name: &str| PathBuf::from("/run/x").join(name);
    let place = Place {
        target: &target,
        path: &path,
    };
    Kit::new(v1::Credential { kind: Some(kind) }, before, &place, style)
}

fn kit(kind: Kind) -> Kit {
    kit_with(kind, Style::default()).unwrap()
}

/// What the program would find in its environment.
fn environment(kit: &Kit) -> Vec<(String, String)> {
    let value = |field| kit.field(field).unwrap().expose().to_owned();
    kit.variables()
        .map(|(name, field)| (name.to_owned(), value(field)))
        .collect()
}

/// What would be written.
fn files(kit: &Kit) -> Vec<(String, String)> {
    let used = kit.variables().map(|(_, field)| field).collect();
    let files = kit.files(&used);
    files
        .map(|file| (file.name.clone(), file.content.expose().to_owned()))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

fn role() -> v1::PostgresCredential {
    v1::PostgresCredential {
        host: "db.example".to_owned(),
        port: 5432,
        database: "orders".to_owned(),
        user: "q_1".to_owned(),
        password: "a:b\\c@d".to_owned(),
        sslmode: "verify-full".to_owned(),
        ca_pem: "CA\n".to_owned(),
    }
}

#[test]
fn tokens() {
    let plain = kit(Kind::Jwt("a.b.c".to_owned()));
    assert_eq!(environment(&plain), pairs(&[("QUIETUS_TOKEN", "a.b.c")]));
    assert_eq!(files(&plain), []);
    let style = Style {
        token_file: true,
        ..Style::default()
    };
    let in_file = kit_with(Kind::Jwt("a.b.c".to_owned()), style).unwrap();
    assert_eq!(
        environment(&in_file),
        pairs(&[("QUIETUS_TOKEN_FILE", "/run/x/t1.jwt")])
    );
    assert_eq!(files(&in_file), pairs(&[("t1.jwt", "a.b.c")]));
}

#[test]
fn postgres_by_libpqs_variables() {
    let kit = kit(Kind::Postgres(role()));
    let expected = [
        ("PGHOST", "db.example"),
        ("PGPORT", "5432"),
        ("PGDATABASE", "orders"),
        ("PGUSER", "q_1"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/run/x/t1.ca.pem"),
        ("PGPASSWORD", "a:b\\c@d"),
    ];
    assert_eq!(environment(&kit), pairs(&expected));
    assert_eq!(files(&kit), pairs(&[("t1.ca.pem", "CA\n")]));
    let url = kit.field("url").unwrap();
    assert_eq!(
        url.expose(),
        "postgres://q_1:a%3Ab%5Cc%40d@db.example:5432/orders"
    );
    for redirecting in ["PGHOSTADDR", "PGSERVICE", "PGPASSFILE"] {
        assert!(kit.unset().contains(&redirecting), "{redirecting}");
    }
}

#[test]
fn postgres_with_a_password_file() {
    let style = Style {
        pgpass: true,
        ..Style::default()
    };
    let kit = kit_with(Kind::Postgres(role()), style).unwrap();
    let variables = environment(&kit);
    assert!(!variables.iter().any(|(name, _)| name == "PGPASSWORD"));
    assert!(kit.unset().contains(&"PGPASSWORD"));
    assert!(variables.contains(&("PGPASSFILE".to_owned(), "/run/x/t1.pgpass".to_owned())));
    let line = "db.example:5432:orders:q_1:a\\:b\\\\c@d\n";
    assert!(files(&kit).contains(&("t1.pgpass".to_owned(), line.to_owned())));
}

#[test]
fn postgres_without_an_authority_of_its_own() {
    let root = |sslmode: &str| {
        let kit = kit(Kind::Postgres(v1::PostgresCredential {
            ca_pem: String::new(),
            sslmode: sslmode.to_owned(),
            ..role()
        }));
        assert_eq!(files(&kit), [], "{sslmode}");
        let mut variables = environment(&kit).into_iter();
        variables
            .find(|(name, _)| name == "PGSSLROOTCERT")
            .map(|(_, value)| value)
    };
    assert_eq!(root("verify-full").as_deref(), Some("system"));
    assert_eq!(root("require"), None);
    assert_eq!(root(""), None);
}

#[test]
fn addresses_in_urls() {
    let cases = [
        ("db", "@db:5432/"),
        ("::1", "@[::1]:5432/"),
        ("a,b", "@a:5432,b:5432/"),
        ("/var/run", "@%2Fvar%2Frun:5432/"),
    ];
    for (host, expected) in cases {
        let host = host.to_owned();
        let kit = kit(Kind::Postgres(v1::PostgresCredential { host, ..role() }));
        let url = kit.field("url").unwrap();
        assert!(url.expose().contains(expected), "{}", url.expose());
    }
}

#[test]
fn redis() {
    let user = v1::RedisCredential {
        host: "::1".to_owned(),
        port: 6379,
        user: "q_1".to_owned(),
        password: "p/w".to_owned(),
        tls: true,
        ca_pem: "CA".to_owned(),
    };
    let kit = kit(Kind::Redis(user));
    let expected = [
        ("REDISCLI_AUTH", "p/w"),
        ("REDIS_HOST", "::1"),
        ("REDIS_PORT", "6379"),
        ("REDIS_USER", "q_1"),
        ("REDIS_URL", "rediss://q_1:p%2Fw@[::1]:6379"),
        ("REDIS_CA_FILE", "/run/x/t1.ca.pem"),
    ];
    assert_eq!(environment(&kit), pairs(&expected));
}

#[test]
fn certificates() {
    let certificate = v1::X509Credential {
        certificate_pem: "LEAF".to_owned(),
        ca_pem: "CA".to_owned(),
        key_pem: "KEY".to_owned(),
    };
    let kit = kit(Kind::X509(certificate));
    let expected = [
        ("QUIETUS_CERT_FILE", "/run/x/t1.cert.pem"),
        ("QUIETUS_KEY_FILE", "/run/x/t1.key.pem"),
        ("QUIETUS_CA_FILE", "/run/x/t1.ca.pem"),
    ];
    assert_eq!(environment(&kit), pairs(&expected));
    let expected = [
        ("t1.ca.pem", "CA"),
        ("t1.cert.pem", "LEAF"),
        ("t1.key.pem", "KEY"),
    ];
    assert_eq!(files(&kit), pairs(&expected));
}

fn login() -> v1::SshCredential {
    v1::SshCredential {
        certificate: "ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(),
        private_key: "KEY\n".to_owned(),
        principals: vec!["deploy".to_owned(), "web".to_owned()],
        host: "web".to_owned(),
        port: 22,
    }
}

#[test]
fn ssh_keys_lie_beside_their_certificates() {
    let mut kit = kit(Kind::Ssh(login()));
    let expected = [
        ("SSH_AUTH_SOCK", "/run/x/agent.sock"),
        ("SSH_IDENTITY_FILE", "/run/x/t1.id"),
        ("SSH_CERTIFICATE_FILE", "/run/x/t1.id-cert.pub"),
    ];
    assert_eq!(environment(&kit), pairs(&expected));
    let line = "ssh-ed25519-cert-v01@openssh.com AAAA\n";
    let expected = [("t1.id-cert.pub", line), ("t1.id", "KEY\n")];
    assert_eq!(files(&kit), pairs(&expected));
    for used in [AGENT, KEY_FILE] {
        assert_eq!(kit.files(&BTreeSet::from([used])).count(), 2, "{used}");
    }
    assert_eq!(kit.field("principals").unwrap().expose(), "deploy,web");
    kit.forget_agent();
    assert!(kit.field(AGENT).is_none());
    assert_eq!(environment(&kit).len(), 2);
}

#[test]
fn other_kinds_have_a_variable_a_field() {
    let fields = |pairs: &[(&str, &str)]| {
        let owned = pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        owned.collect()
    };
    let secret = kit(Kind::StaticSecret(v1::StaticCredential {
        version: "7".to_owned(),
        fields: fields(&[("api-key", "k")]),
    }));
    assert_eq!(environment(&secret), pairs(&[("QUIETUS_API_KEY", "k")]));
    assert_eq!(secret.field("version").unwrap().expose(), "7");
    let external = kit(Kind::External(v1::ExternalCredential {
        kind: "vpn".to_owned(),
        public_fields: fields(&[("user.name", "u")]),
        secret_fields: fields(&[("psk", "s")]),
    }));
    let expected = [("QUIETUS_USER_NAME", "u"), ("QUIETUS_PSK", "s")];
    assert_eq!(environment(&external), pairs(&expected));
}

/// Credentials without what makes them usable.
fn without_secret() -> [Kind; 4] {
    let private_key = String::new();
    let password = String::new();
    [
        Kind::Ssh(v1::SshCredential {
            private_key,
            ..login()
        }),
        Kind::X509(v1::X509Credential::default()),
        Kind::Redis(v1::RedisCredential::default()),
        Kind::Postgres(v1::PostgresCredential { password, ..role() }),
    ]
}

#[test]
fn what_is_not_whole_is_refused() {
    for kind in without_secret() {
        assert!(
            kit_with(kind.clone(), Style::default()).is_err(),
            "{kind:?}"
        );
    }
    let place = Place {
        target: &"t1".parse().unwrap(),
        path: &|name| PathBuf::from(name),
    };
    let nothing = v1::Credential { kind: None };
    assert!(Kit::new(nothing, None, &place, Style::default()).is_err());
}

#[test]
fn a_renewed_credential_keeps_the_secret_that_the_broker_does_not_know() {
    let [ssh, _, _, postgres] = without_secret();
    let before = kit(Kind::Postgres(role()));
    let after = kit_after(Some(&before), postgres, Style::default()).unwrap();
    assert_eq!(environment(&after), environment(&before));
    let before = kit(Kind::Ssh(login()));
    let after = kit_after(Some(&before), ssh, Style::default()).unwrap();
    assert_eq!(files(&after), files(&before));
}

#[test]
fn nothing_shows_in_debug() {
    let shown = format!("{:?}", kit(Kind::Postgres(role())));
    assert!(
        !shown.contains("a:b") && !shown.contains("a%3Ab"),
        "{shown}"
    );
}
