//! From scopes to the rules of an ACL user. Pure.
//!
//! Every pattern of keys has a selector of its own (Redis 7), so what may be done to one is not what may be done to
//! another. A command is allowed if one selector allows all of it.

use std::collections::{BTreeMap, BTreeSet};

use quietus_core::{Action, Scope};

use crate::config::RedisSettings;
use crate::issuers::Unfit;

/// What a client needs to talk at all. None of them touches a key or tells of another client.
const BASE: [&str; 12] = [
    "+auth",
    "+hello",
    "+ping",
    "+echo",
    "+quit",
    "+reset",
    "+multi",
    "+exec",
    "+discard",
    "+unwatch",
    "+client|setname",
    "+client|getname",
];

const READ: [&str; 3] = ["+@read", "+watch", "-dump"];

/// Takes away keys, what is inside them, or sets a time for them to go.
const REMOVING: [&str; 33] = [
    "del",
    "unlink",
    "getdel",
    "getex",
    "expire",
    "pexpire",
    "expireat",
    "pexpireat",
    "lpop",
    "rpop",
    "blpop",
    "brpop",
    "lmpop",
    "blmpop",
    "lrem",
    "ltrim",
    "hdel",
    "srem",
    "spop",
    "zrem",
    "zpopmin",
    "zpopmax",
    "bzpopmin",
    "bzpopmax",
    "zmpop",
    "bzmpop",
    "zremrangebyscore",
    "zremrangebyrank",
    "zremrangebylex",
    "xdel",
    "xtrim",
    "xgroup|destroy",
    "xgroup|delconsumer",
];

/// Takes away here and puts there: for `write` and `delete` together.
const MOVING: [&str; 7] = [
    "rename",
    "renamenx",
    "smove",
    "lmove",
    "blmove",
    "rpoplpush",
    "brpoplpush",
];

const EXPORT: [&str; 13] = [
    "+scan",
    "+dump",
    "+type",
    "+get",
    "+mget",
    "+hgetall",
    "+hscan",
    "+lrange",
    "+smembers",
    "+sscan",
    "+zrange",
    "+zscan",
    "+xrange",
];

/// Tells of keys outside the pattern, or reaches into another database.
const OUTSIDE: [&str; 7] = [
    "scan",
    "randomkey",
    "dbsize",
    "lolwut",
    "move",
    "copy",
    "select",
];

/// Wins over everything but a template.
const NEVER: [&str; 3] = ["-@dangerous", "-@scripting", "-@admin"];

const FIELD: &str = "scopes";

/// The rules that follow `reset on #…`.
pub(super) fn rules(settings: &RedisSettings, scopes: &[Scope]) -> Result<Vec<String>, Unfit> {
    let mut patterns: BTreeMap<&str, BTreeSet<Action>> = BTreeMap::new();
    let mut selectors = Vec::new();
    for scope in scopes {
        match scope.action() {
            Action::Execute => selectors.push(function(scope.resource())?),
            Action::Admin => selectors.push(template(settings, scope.resource())?),
            action => {
                pattern(scope.resource())?;
                patterns.entry(scope.resource()).or_default().insert(action);
            }
        }
    }
    let of_keys = patterns
        .iter()
        .map(|(pattern, actions)| keys(settings, pattern, actions));
    selectors.extend(of_keys);
    let base = ["resetchannels", "resetkeys", "-@all"].iter().chain(&BASE);
    let mut rules: Vec<String> = base.map(ToString::to_string).collect();
    rules.extend(selectors);
    Ok(rules)
}

/// One pattern, and all that may be done to its keys.
fn keys(settings: &RedisSettings, pattern: &str, actions: &BTreeSet<Action>) -> String {
    let reads = actions.contains(&Action::Read) || actions.contains(&Action::Export);
    let writes = actions.contains(&Action::Write) || actions.contains(&Action::Delete);
    let access = match (reads, writes) {
        (true, true) => "%RW~",
        (true, false) => "%R~",
        _ => "%W~",
    };
    let mut rules = vec!["resetchannels".to_owned(), format!("{access}{pattern}")];
    rules.extend(commands(settings, actions));
    rules.extend(NEVER.map(ToOwned::to_owned));
    format!("({})", rules.join(" "))
}

/// What is taken away comes after what a category gives, and a command that an action names after that.
fn commands(settings: &RedisSettings, actions: &BTreeSet<Action>) -> Vec<String> {
    let mut all: Vec<String> = OUTSIDE.iter().map(|name| format!("-{name}")).collect();
    for action in actions {
        match settings.commands.get(action) {
            Some(own) => all.extend(own.iter().cloned()),
            None => all.extend(default_commands(*action, actions)),
        }
    }
    let rank = |rule: &String| match rule.as_bytes() {
        [b'+', b'@', ..] => 0,
        [b'-', ..] => 1,
        _ => 2,
    };
    all.sort_by_key(rank);
    all
}

fn default_commands(action: Action, actions: &BTreeSet<Action>) -> Vec<String> {
    let with = |start: &str, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("{start}{name}")).collect()
    };
    match action {
        Action::Read => with("", &READ),
        Action::Write if actions.contains(&Action::Delete) => with("", &["+@write"]),
        Action::Write => {
            let taken = with("-", &[&REMOVING[..], &MOVING[..]].concat());
            [with("", &["+@write"]), taken].concat()
        }
        Action::Delete => with("+", &REMOVING),
        Action::Export => with("", &EXPORT),
        Action::Execute | Action::Admin => Vec::new(),
    }
}

/// `name`, or `name@pattern` for one that is given keys.
fn function(resource: &str) -> Result<String, Unfit> {
    let (name, keys) = match resource.split_once('@') {
        Some((name, keys)) => (name, Some(keys)),
        None => (resource, None),
    };
    let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || !name.bytes().all(sound) {
        let message = format!(
            "{resource:?}: execute names a function (letters, digits, _), and after @ a pattern of \
             its keys, such as settle@orders:*"
        );
        return Err(Unfit::new(FIELD, message));
    }
    let keys = match keys {
        Some(keys) => {
            pattern(keys)?;
            format!("%RW~{keys} ")
        }
        None => String::new(),
    };
    Ok(format!(
        "(resetchannels {keys}+fcall|{name} +fcall_ro|{name})"
    ))
}

fn template(settings: &RedisSettings, resource: &str) -> Result<String, Unfit> {
    match settings.templates.get(resource) {
        Some(rules) => Ok(format!("(resetchannels {})", rules.join(" "))),
        None => {
            let message = format!(
                "{resource:?}: admin names a template; this target has none of that name in \
                 [target.redis.templates]"
            );
            Err(Unfit::new(FIELD, message))
        }
    }
}

/// Only what can stand in an ACL rule and in an ACL file as it is. Parentheses would end a selector.
fn pattern(text: &str) -> Result<(), Unfit> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b":._-/{}@+=,#$!|*?[]^".contains(&b);
    if text.is_empty() || !text.bytes().all(sound) {
        let message = format!(
            "{text:?}: a pattern of keys is made of letters, digits and : . _ - / {{ }} @ + = , # $ ! | * ? [ ] ^"
        );
        return Err(Unfit::new(FIELD, message));
    }
    match brackets_close(text) {
        true => Ok(()),
        false => Err(Unfit::new(
            FIELD,
            format!("{text:?}: every [ in a pattern of keys needs its ]"),
        )),
    }
}

fn brackets_close(text: &str) -> bool {
    let mut open = false;
    for byte in text.bytes() {
        match (byte, open) {
            (b'[', false) => open = true,
            (b']', true) => open = false,
            (b'[', true) | (b']', false) => return false,
            _ => {}
        }
    }
    !open
}
