//! With a real server and its real tool.

use std::fs;
use std::process::Command;

use quietus::dev::{DevPostgres, DevPostgresOptions, POSTGRES_ADMIN};

use crate::stage::{READ, Stage, stderr, stdout};

const TABLE: &str = "CREATE TABLE public.orders (id int); INSERT INTO public.orders VALUES (7)";
const ROLES: &str = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'q%'";

#[test]
fn psql_logs_in_by_itself_and_its_role_dies_with_it() {
    let server = DevPostgres::launch(&DevPostgresOptions::default()).unwrap();
    admin(&server, TABLE);
    let before = admin(&server, ROLES);
    let settings = server.target_settings("postgres");
    let stage = Stage::with_config(|config| {
        let section =
            format!("\n[target.postgres]\n{settings}\n[[target]]\nname = \"payments-api\"");
        config
            .replacen("kind = \"jwt\"", "kind = \"postgres\"", 1)
            .replacen("\n[[target]]\nname = \"payments-api\"", &section, 1)
    });
    for options in [&[][..], &["--pgpass"]] {
        let script = "psql -XAtc 'SELECT id FROM public.orders' -c 'DELETE FROM public.orders'";
        let output = stage.run(&[&READ[..], options].concat(), script);
        assert_eq!(stdout(&output), ["7"], "{output:?}");
        assert!(stderr(&output).contains("permission denied"), "{output:?}");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(admin(&server, ROLES), before);
    }
    assert_eq!(stage.left_behind(), 0);
}

/// What the superuser is told.
fn admin(server: &DevPostgres, sql: &str) -> String {
    let password = fs::read_to_string(server.password_file()).unwrap();
    let output = Command::new("psql")
        .args([
            "-XAtc",
            sql,
            "-h",
            "127.0.0.1",
            "-U",
            POSTGRES_ADMIN,
            "postgres",
        ])
        .env("PGPORT", server.port().to_string())
        .env("PGPASSWORD", password.trim_end())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
