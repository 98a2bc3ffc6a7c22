//! The statements, as text; every name and every text in them goes through [`name`] or [`text`].

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use quietus_core::{LeaseId, TaskId, Timestamp};
use ring::digest::{SHA256, digest};

use super::scopes::{Object, Right, Wanted};
use crate::config::{OnOwned, PostgresTemplate};

/// The longest name that PostgreSQL does not cut off, in bytes.
pub(super) const MAX_NAME: usize = 63;
const PREFIX: &str = "quietus_";
/// Where a template's statements name the role.
const ROLE: &str = "{{role}}";
/// The last second that a timestamp can be written for.
const LATEST: u64 = 253_402_300_799;
/// One at a time changes who may do what: PostgreSQL refuses two changes of one thing's rights at once.
const LOCK_RIGHTS: &str = "SELECT pg_catalog.pg_advisory_xact_lock(1364542793, 1)";

/// How roles of one broker's target are called: `quietus_<tag>_<task>_<number>`.
///
/// The tag keeps brokers and targets apart that share a server; the lease alone finds the role whatever its tag.
#[derive(Clone, Debug)]
pub(super) struct Names {
    tag: String,
}

impl Names {
    pub(super) fn new(broker: &str, target: &str) -> Self {
        let digest = digest(&SHA256, format!("{broker}\n{target}").as_bytes());
        let tag = digest.as_ref().iter().take(4);
        Self {
            tag: tag.map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    pub(super) fn role(&self, lease: LeaseId) -> String {
        format!("{PREFIX}{}{}", self.tag, suffix(lease))
    }

    /// The lease of a role with this broker's and target's tag.
    pub(super) fn lease(&self, role: &str) -> Option<LeaseId> {
        let rest = role.strip_prefix(PREFIX)?.strip_prefix(&self.tag)?;
        let (task, number) = rest.strip_prefix('_')?.split_once('_')?;
        let lease = LeaseId {
            task: TaskId(uuid::Uuid::try_parse(task).ok()?),
            number: number.parse().ok()?,
        };
        // One lease, one name.
        (self.role(lease) == role).then_some(lease)
    }

    /// All of them.
    pub(super) fn list(&self) -> String {
        let start = text(&format!("{PREFIX}{}_", self.tag));
        format!("SELECT rolname FROM pg_roles WHERE starts_with(rolname::text, {start})")
    }
}

fn suffix(lease: LeaseId) -> String {
    format!("_{}_{}", lease.task.0.simple(), lease.number)
}

/// A name, quoted so that it is exactly that name.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text, quoted; whatever `standard_conforming_strings` says.
pub(super) fn text(text: &str) -> String {
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Taken first by whatever makes or unmakes the role of a lease, and kept until that is committed or undone.
fn lock(lease: LeaseId) -> String {
    let digest = digest(&SHA256, format!("quietus {lease}").as_bytes());
    let mut key = [0; 8];
    key.copy_from_slice(&digest.as_ref()[..8]);
    let key = i64::from_be_bytes(key);
    format!("SELECT pg_catalog.pg_advisory_xact_lock({key})")
}

/// Opens a transaction that makes the role. The last row says of each right, in order, whether the role now has it,
/// and before them whether it may connect.
pub(super) fn create(
    lease: LeaseId,
    role: &str,
    attributes: &Attributes<'_>,
    wanted: &Wanted,
) -> String {
    let quoted = name(role);
    let mut sql = format!(
        "BEGIN; {}; CREATE ROLE {quoted} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT \
         NOREPLICATION NOBYPASSRLS CONNECTION LIMIT {} PASSWORD {} VALID UNTIL {};",
        lock(lease),
        attributes.connection_limit,
        text(attributes.verifier),
        until(attributes.until),
    );
    if !wanted.rights.is_empty() {
        let _ = write!(sql, " {LOCK_RIGHTS};");
    }
    let schemas: BTreeSet<&str> = wanted.rights.iter().map(|it| it.schema.as_str()).collect();
    for schema in schemas {
        let _ = write!(sql, " GRANT USAGE ON SCHEMA {} TO {quoted};", name(schema));
    }
    for right in &wanted.rights {
        let _ = write!(sql, " {};", grant(right, &quoted));
    }
    let mut checks = vec![may_connect(role)];
    checks.extend(wanted.rights.iter().map(|right| has(right, role)));
    let _ = write!(sql, " SELECT {}", checks.join(", "));
    sql
}

/// What a role is made with.
pub(super) struct Attributes<'a> {
    pub(super) connection_limit: u32,
    pub(super) verifier: &'a str,
    pub(super) until: Timestamp,
}

/// For a database that `PUBLIC` may not connect to.
pub(super) fn grant_connect(role: &str, database: &str) -> String {
    let (role_name, database) = (name(role), name(database));
    let check = may_connect(role);
    format!("GRANT CONNECT ON DATABASE {database} TO {role_name}; SELECT {check}")
}

fn may_connect(role: &str) -> String {
    format!(
        "has_database_privilege({}, current_database(), 'CONNECT')",
        text(role)
    )
}

fn grant(right: &Right, role: &str) -> String {
    let schema = name(&right.schema);
    let on = match &right.on {
        Object::Table(table) => format!("TABLE {schema}.{}", name(table)),
        Object::AllTables => format!("ALL TABLES IN SCHEMA {schema}"),
        Object::Function(..) => format!("ROUTINE {}", thing(right)),
        Object::AllFunctions => format!("ALL ROUTINES IN SCHEMA {schema}"),
    };
    format!("GRANT {} ON {on} TO {role}", right.privilege)
}

/// PostgreSQL only warns when whoever grants may not; so the outcome is looked at.
fn has(right: &Right, role: &str) -> String {
    let (role, schema) = (text(role), text(&right.schema));
    let (thing, privilege) = (text(&thing(right)), text(right.privilege));
    match &right.on {
        Object::Table(_) => format!("has_table_privilege({role}, {thing}, {privilege})"),
        Object::Function(_, None) => {
            format!("has_function_privilege({role}, {thing}::regproc, {privilege})")
        }
        Object::Function(_, Some(_)) => {
            format!("has_function_privilege({role}, {thing}, {privilege})")
        }
        Object::AllTables => format!(
            "NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace({}) \
             AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT has_table_privilege({role}, oid, {privilege}))",
            text(&name(&right.schema))
        ),
        Object::AllFunctions => format!(
            "NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = \
             {schema}) AND NOT has_function_privilege({role}, oid, {privilege}))"
        ),
    }
}

/// What a right is on, quoted.
pub(super) fn thing(right: &Right) -> String {
    let schema = name(&right.schema);
    match &right.on {
        Object::Table(table) => format!("{schema}.{}", name(table)),
        Object::Function(function, None) => format!("{schema}.{}", name(function)),
        Object::Function(function, Some(types)) => format!("{schema}.{}({types})", name(function)),
        Object::AllTables | Object::AllFunctions => format!("{schema}.*"),
    }
}

/// Remembers with the role which templates it was made with.
pub(super) fn remember(role: &str, templates: &BTreeSet<String>) -> String {
    let names: Vec<&str> = templates.iter().map(String::as_str).collect();
    let comment = text(&names.join(" "));
    format!("COMMENT ON ROLE {} IS {comment}", name(role))
}

/// A template's statements for this role.
pub(super) fn fill<'a>(
    statements: &'a [String],
    role: &str,
) -> impl Iterator<Item = String> + use<'a> {
    let role = name(role);
    statements
        .iter()
        .map(move |statement| statement.replace(ROLE, &role))
}

/// Gives the role of a lease a later end.
pub(super) fn renew(lease: LeaseId, role: &str, until_when: Timestamp) -> String {
    let (lock, role, until) = (lock(lease), name(role), until(until_when));
    format!("BEGIN; {lock}; ALTER ROLE {role} VALID UNTIL {until}; COMMIT")
}

/// Opens a transaction and looks for the role of a lease.
pub(super) fn find_locked(lease: LeaseId, role: &str) -> String {
    let named = format!("rolname = {}", text(role));
    format!("BEGIN; {}; {}", lock(lease), find(&named))
}

/// Looks for it by the lease alone, whatever the broker was called when it was made. This looks at every role.
pub(super) fn find_renamed(lease: LeaseId) -> String {
    let (suffix, start) = (suffix(lease), PREFIX.len());
    let (length, suffix, prefix) = (suffix.len(), text(&suffix), text(PREFIX));
    let named = format!(
        "right(rolname::text, {length}) = {suffix} AND left(rolname::text, {start}) = {prefix}"
    );
    find(&named)
}

/// Rows of: name, number, whether we are a superuser, and which templates it was made with.
fn find(named: &str) -> String {
    format!(
        "SELECT rolname, oid, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
         shobj_description(oid, 'pg_authid') FROM pg_roles WHERE {named}"
    )
}

/// Commits that nobody can log in as the role any more, and ends its sessions, with a row for each. Who is no superuser takes the role's rights, to be able to
/// end its sessions and to drop what it owns.
pub(super) fn shut(found: &Standing) -> String {
    let role = name(&found.role);
    let join = match found.by_superuser {
        true => String::new(),
        false => format!(" GRANT {role} TO CURRENT_USER;"),
    };
    format!(
        "ALTER ROLE {role} NOLOGIN;{join} COMMIT; {}",
        terminate(found.oid)
    )
}

/// A role that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) role: String,
    pub(super) oid: u32,
    pub(super) by_superuser: bool,
    pub(super) templates: Vec<String>,
}

/// Ends the role's sessions; a row for each that is still there. (Not by way of the view `pg_stat_activity`, which
/// looks up names of all.)
pub(super) fn terminate(oid: u32) -> String {
    format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_get_activity(NULL) WHERE usesysid = {oid}"
    )
}

/// Opens a transaction for the end of a role.
pub(super) fn begin_drop(lease: LeaseId) -> String {
    format!("BEGIN; {}; {LOCK_RIGHTS}", lock(lease))
}

/// The role, what it owns here and what it may do here.
pub(super) fn drop(role: &str, on_owned: &OnOwned) -> String {
    format!(
        "{}; DROP ROLE {}; COMMIT",
        drop_owned(role, on_owned),
        name(role)
    )
}

/// What it owns in this database and what it may do here.
pub(super) fn drop_owned(role: &str, on_owned: &OnOwned) -> String {
    let role = name(role);
    match on_owned {
        OnOwned::Drop => format!("DROP OWNED BY {role}"),
        OnOwned::Reassign(owner) => {
            let owner = name(owner);
            format!("REASSIGN OWNED BY {role} TO {owner}; DROP OWNED BY {role}")
        }
    }
}

/// A row for the role if it is still there, and one for each of its sessions.
pub(super) fn leftovers(found: &Standing) -> String {
    format!(
        "SELECT 'the role' FROM pg_roles WHERE rolname = {} \
         UNION ALL SELECT 'a session' FROM pg_stat_get_activity(NULL) WHERE usesysid = {}",
        text(&found.role),
        found.oid
    )
}

/// The other databases that have something of the role's in them.
pub(super) fn elsewhere(oid: u32) -> String {
    format!(
        "SELECT DISTINCT datname FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid WHERE \
         d.refclassid = 'pg_authid'::regclass AND d.refobjid = {oid} AND datname <> current_database() LIMIT 64"
    )
}

/// One row: the server's version, whether we may make roles, and whether we may end sessions.
pub(super) const CHECK: &str = "SELECT current_setting('server_version'), rolsuper OR rolcreaterole, \
     rolsuper OR rolcreaterole OR pg_has_role(current_user, 'pg_signal_backend', 'USAGE'), pg_is_in_recovery() \
     FROM pg_roles WHERE rolname = current_user";

/// What templates ask to be run before the role's rights go.
pub(super) fn undo<'a>(
    found: &'a Standing,
    templates: &'a std::collections::BTreeMap<String, PostgresTemplate>,
) -> Result<Vec<String>, &'a str> {
    let mut statements = Vec::new();
    for named in &found.templates {
        let template = templates.get(named).ok_or(named.as_str())?;
        statements.extend(fill(&template.revoke, &found.role));
    }
    Ok(statements)
}

fn until(time: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(time.seconds().min(LATEST));
    text(&humantime::format_rfc3339_seconds(time).to_string())
}
