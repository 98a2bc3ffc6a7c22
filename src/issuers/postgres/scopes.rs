//! What scopes mean in a database: which rights on which things.
//!
//! | scope | right |
//! |---|---|
//! | `db:read:schema.table` | `SELECT` |
//! | `db:write:schema.table` | `INSERT`, `UPDATE` |
//! | `db:delete:schema.table` | `DELETE` |
//! | `db:export:schema.table` | `SELECT`, which is what `COPY … TO STDOUT` takes; files on the server need more |
//! | `db:execute:schema.function` | `EXECUTE`; `schema.function(int4,text)` if there are several of the name |
//! | `db:admin:template` | what the operator's template of that name says |
//!
//! `schema.*` is every table (or function) that is in the schema when the role is made. Names are exact: upper case
//! counts. With each comes `USAGE` on the schema, and nothing else: not on sequences, which identity columns do
//! without. What `PUBLIC` may do every role may.

use std::collections::{BTreeMap, BTreeSet};

use quietus_core::{Action, Scope};

use super::sql::MAX_NAME;
use crate::config::PostgresTemplate;
use crate::issuers::Unfit;

/// What a role is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) rights: BTreeSet<Right>,
    pub(super) templates: BTreeSet<String>,
}

/// One right on one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    pub(super) privilege: &'static str,
    pub(super) schema: String,
    pub(super) on: Object,
}

/// What is in a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    Table(String),
    AllTables,
    /// With the types of its arguments, if they were named: checked to be plain type names.
    Function(String, Option<String>),
    AllFunctions,
}

/// Reads what the scopes ask for.
pub(super) fn read(
    scopes: &[Scope],
    templates: &BTreeMap<String, PostgresTemplate>,
) -> Result<Wanted, Unfit> {
    let mut wanted = Wanted::default();
    for scope in scopes {
        let resource = scope.resource();
        match scope.action() {
            Action::Admin => {
                wanted.templates.insert(template(resource, templates)?);
            }
            Action::Execute => wanted.rights.extend([function(resource)?]),
            action => wanted.rights.extend(table(action, resource)?),
        }
    }
    Ok(wanted)
}

fn template(name: &str, templates: &BTreeMap<String, PostgresTemplate>) -> Result<String, Unfit> {
    match templates.contains_key(name) {
        true => Ok(name.to_owned()),
        false => Err(unfit(
            name,
            "admin takes the name of one of the target's templates",
        )),
    }
}

fn table(action: Action, resource: &str) -> Result<Vec<Right>, Unfit> {
    let (schema, name) = split(resource)?;
    let on = match name {
        "*" => Object::AllTables,
        name => Object::Table(sound(resource, name)?),
    };
    let privileges: &[_] = match action {
        Action::Write => &["INSERT", "UPDATE"],
        Action::Delete => &["DELETE"],
        _ => &["SELECT"],
    };
    let right = |privilege: &&'static str| Right {
        privilege,
        schema: schema.to_owned(),
        on: on.clone(),
    };
    Ok(privileges.iter().map(right).collect())
}

fn function(resource: &str) -> Result<Right, Unfit> {
    let (path, types) = match resource.split_once('(') {
        Some((path, rest)) => (path, Some(types(resource, rest)?)),
        None => (resource, None),
    };
    let (schema, name) = split(path)?;
    let on = match (name, types) {
        ("*", None) => Object::AllFunctions,
        (name, types) => Object::Function(sound(resource, name)?, types),
    };
    Ok(Right {
        privilege: "EXECUTE",
        schema: schema.to_owned(),
        on,
    })
}

fn split(resource: &str) -> Result<(&str, &str), Unfit> {
    let expected = "write schema.name, with one dot and the exact names";
    let (schema, name) = resource
        .split_once('.')
        .ok_or_else(|| unfit(resource, expected))?;
    if name.contains('.') || schema == "*" {
        return Err(unfit(resource, expected));
    }
    sound(resource, schema)?;
    Ok((schema, name))
}

/// PostgreSQL would cut a longer name off, and mean another thing by it.
fn sound(resource: &str, name: &str) -> Result<String, Unfit> {
    match (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0') {
        true => Ok(name.to_owned()),
        false => Err(unfit(resource, "a name has 1 to 63 bytes")),
    }
}

/// `int4,public.money[])`: nothing but plain names can get into a statement unquoted.
fn types(resource: &str, rest: &str) -> Result<String, Unfit> {
    let expected =
        "write the types of the arguments as plain names, such as schema.function(int4,text[])";
    let list = rest
        .strip_suffix(')')
        .ok_or_else(|| unfit(resource, expected))?;
    match list.is_empty() || list.split(',').all(is_type) {
        true => Ok(list.to_owned()),
        false => Err(unfit(resource, expected)),
    }
}

fn is_type(text: &str) -> bool {
    let name = text.trim_end_matches("[]");
    let mut parts = name.split('.');
    parts.clone().count() <= 2 && parts.all(is_plain)
}

fn is_plain(name: &str) -> bool {
    let letter = |b: &u8| b.is_ascii_lowercase() || *b == b'_';
    let bytes = name.as_bytes();
    bytes.len() <= MAX_NAME
        && bytes.first().is_some_and(letter)
        && bytes.iter().all(|b| letter(b) || b.is_ascii_digit())
}

fn unfit(what: &str, message: &str) -> Unfit {
    Unfit::new("scopes", format!("{what:?}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(scope: &str) -> Result<Wanted, Unfit> {
        let template = PostgresTemplate {
            grant: vec!["GRANT x TO {{role}}".to_owned()],
            revoke: vec![],
        };
        let templates = [("migrate".to_owned(), template)].into();
        read(
            &[scope.parse().map_err(|_| unfit(scope, "no scope"))?],
            &templates,
        )
    }

    fn right(privilege: &'static str, on: Object) -> Right {
        Right {
            privilege,
            schema: "public".to_owned(),
            on,
        }
    }

    fn rights(scope: &str) -> Result<Vec<Right>, Unfit> {
        read_one(scope).map(|wanted| wanted.rights.into_iter().collect())
    }

    #[test]
    fn each_action_is_its_own_right_and_no_more() {
        let orders = || Object::Table("orders".to_owned());
        for (action, privileges) in [
            ("read", vec!["SELECT"]),
            ("write", vec!["INSERT", "UPDATE"]),
            ("delete", vec!["DELETE"]),
            ("export", vec!["SELECT"]),
        ] {
            let expected: Vec<_> = privileges.iter().map(|it| right(it, orders())).collect();
            assert_eq!(rights(&format!("db:{action}:public.orders")), Ok(expected));
        }
    }

    #[test]
    fn functions_are_named_with_or_without_their_arguments() {
        let total = |types: Option<&str>| {
            let on = Object::Function("total".to_owned(), types.map(str::to_owned));
            Ok(vec![right("EXECUTE", on)])
        };
        assert_eq!(rights("db:execute:public.total"), total(None));
        assert_eq!(rights("db:execute:public.total()"), total(Some("")));
        let types = "int4,text[],pg_catalog.int8";
        assert_eq!(
            rights(&format!("db:execute:public.total({types})")),
            total(Some(types))
        );
    }

    #[test]
    fn a_star_is_all_of_a_schema() {
        assert_eq!(
            rights("db:read:public.*"),
            Ok(vec![right("SELECT", Object::AllTables)])
        );
        let all = right("EXECUTE", Object::AllFunctions);
        assert_eq!(rights("db:execute:public.*"), Ok(vec![all]));
    }

    #[test]
    fn administration_is_by_a_known_template_alone() {
        let wanted = read_one("db:admin:migrate").map(|it| (it.rights.len(), it.templates.len()));
        assert_eq!(wanted, Ok((0, 1)));
        for name in ["other", "public.orders", "*", "Migrate"] {
            assert!(read_one(&format!("db:admin:{name}")).is_err(), "{name}");
        }
    }

    #[test]
    fn what_names_nothing_in_particular_is_refused() {
        let long = "x".repeat(64);
        for resource in [
            "orders",
            "*",
            "*.*",
            "*.orders",
            ".orders",
            "public.",
            "a.b.c",
            &format!("public.{long}"),
            &format!("{long}.orders"),
        ] {
            for action in ["read", "write", "delete", "export", "execute"] {
                let scope = format!("db:{action}:{resource}");
                assert!(read_one(&scope).is_err(), "{scope}");
            }
        }
    }

    #[test]
    fn only_plain_types_get_through() {
        for types in [
            "int4",
            "(int4",
            "(int4)x",
            "(int4);drop",
            "(int4,)",
            "(,)",
            "(Int4)",
            "(int4[)",
            "([])",
            "(a.b.c)",
            "(1a)",
            "('x')",
            "($1)",
            "(int4--)",
            "(*)",
        ] {
            let scope = format!("db:execute:public.total{types}");
            let named_so = types == "int4";
            assert_eq!(read_one(&scope).is_ok(), named_so, "{scope}");
        }
        assert!(
            read_one("db:execute:public.*(int4)").is_ok(),
            "a function of that name"
        );
    }
}
