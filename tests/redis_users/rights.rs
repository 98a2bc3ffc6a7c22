//! What a user may do, and what it may not.

use std::collections::BTreeSet;

use quietus::issuers::Unfit;
use redis::Value;

use crate::orders::{make, order};
use crate::server::{Server, log_in, parts, says, text};

/// Each line is tried; the word is what the server says to it.
async fn tried(server: &Server, more: &str, scopes: &[&str], cases: &[(&str, &str)]) {
    let issuer = server.issuer_at(server.port, more);
    let credential = make(&*issuer, &order(1, scopes)).await.unwrap();
    let mut inside = log_in(&credential).await.unwrap();
    for (line, expected) in cases {
        assert_eq!(
            says(&mut inside, line).await,
            *expected,
            "{line} with {scopes:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_looking_at_these_keys() {
    let server = Server::new().await;
    let cases = [
        ("PING", "ok"),
        ("GET a:1", "ok"),
        ("MGET a:1 a:2", "ok"),
        ("HGETALL a:h", "ok"),
        ("TTL a:1", "ok"),
        ("WATCH a:1", "ok"),
        ("MULTI", "ok"),
        ("GET a:1", "ok"),
        ("EXEC", "ok"),
        ("GET b:1", "NOPERM"),
        ("MGET a:1 b:1", "NOPERM"),
        ("SET a:1 x", "NOPERM"),
        ("DEL a:1", "NOPERM"),
        ("EXPIRE a:1 1", "NOPERM"),
        ("GETEX a:1 EX 1", "NOPERM"),
        ("DUMP a:1", "NOPERM"),
        ("KEYS *", "NOPERM"),
        ("SCAN 0", "NOPERM"),
        ("RANDOMKEY", "NOPERM"),
        ("DBSIZE", "NOPERM"),
        ("SELECT 1", "NOPERM"),
        ("EVAL return(1) 0", "NOPERM"),
        ("FCALL f 0", "NOPERM"),
        ("CONFIG GET *", "NOPERM"),
        ("ACL USERS", "NOPERM"),
        ("CLIENT LIST", "NOPERM"),
        ("CLIENT KILL TYPE normal", "NOPERM"),
        ("CLIENT TRACKING ON BCAST", "NOPERM"),
        ("MONITOR", "NOPERM"),
        ("PUBLISH c x", "NOPERM"),
        ("SUBSCRIBE c", "NOPERM"),
        ("FLUSHALL", "NOPERM"),
    ];
    tried(&server, "", &["cache:read:a:*"], &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_is_neither_reading_nor_removing() {
    let server = Server::new().await;
    let cases = [
        ("SET a:1 x", "ok"),
        ("HSET a:h f v", "ok"),
        ("LPUSH a:l v", "ok"),
        ("GET a:1", "NOPERM"),
        ("SET a:1 x GET", "NOPERM"),
        ("INCR a:n", "NOPERM"),
        ("SET b:1 x", "NOPERM"),
        ("DEL a:1", "NOPERM"),
        ("UNLINK a:1", "NOPERM"),
        ("EXPIRE a:1 1", "NOPERM"),
        ("HDEL a:h f", "NOPERM"),
        ("LTRIM a:l 1 0", "NOPERM"),
        ("LREM a:l 0 v", "NOPERM"),
        ("RENAME a:1 a:2", "NOPERM"),
        ("COPY a:1 a:2", "NOPERM"),
        ("MOVE a:1 1", "NOPERM"),
        ("FLUSHDB", "NOPERM"),
        ("SWAPDB 0 1", "NOPERM"),
        ("RESTORE a:1 0 x", "NOPERM"),
        ("FUNCTION FLUSH", "NOPERM"),
        ("FUNCTION DELETE f", "NOPERM"),
        ("SORT a:l STORE a:m", "NOPERM"),
    ];
    tried(&server, "", &["cache:write:a:*"], &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_and_exporting_are_what_they_say() {
    let server = Server::new().await;
    let cases = [
        ("DEL a:1", "ok"),
        ("UNLINK a:1 a:2", "ok"),
        ("EXPIRE a:1 1", "ok"),
        ("HDEL a:h f", "ok"),
        ("GETDEL a:1", "NOPERM"),
        ("LPOP a:l", "NOPERM"),
        ("GET a:1", "NOPERM"),
        ("SET a:1 x", "NOPERM"),
        ("DEL b:1", "NOPERM"),
        ("FLUSHDB", "NOPERM"),
    ];
    tried(&server, "", &["cache:delete:a:*"], &cases).await;
    let cases = [
        ("SCAN 0", "ok"),
        ("DUMP a:1", "ok"),
        ("HGETALL a:h", "ok"),
        ("DUMP b:1", "NOPERM"),
        ("TTL a:1", "NOPERM"),
        ("KEYS *", "NOPERM"),
        ("SET a:1 x", "NOPERM"),
    ];
    tried(&server, "", &["cache:export:a:*"], &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_on_one_pattern_go_together_and_on_two_they_do_not() {
    let server = Server::new().await;
    let both = ["cache:read:a:*", "cache:write:a:*"];
    let cases = [
        ("INCR a:n", "ok"),
        ("DEL a:n", "NOPERM"),
        ("DUMP a:n", "NOPERM"),
    ];
    tried(&server, "", &both, &cases).await;
    let apart = ["cache:read:a:*", "cache:write:b:*", "cache:delete:c:*"];
    let cases = [
        ("GET a:1", "ok"),
        ("SET b:1 x", "ok"),
        ("DEL c:1", "ok"),
        ("SET a:1 x", "NOPERM"),
        ("DEL a:1", "NOPERM"),
        ("GET b:1", "NOPERM"),
        ("INCR b:1", "NOPERM"),
        ("DEL b:1", "NOPERM"),
        ("GET c:1", "NOPERM"),
        ("SET c:1 x", "NOPERM"),
        ("SUNIONSTORE b:1 a:1", "NOPERM"),
        ("DEL a:1 c:1", "NOPERM"),
    ];
    tried(&server, "", &apart, &cases).await;
    let all = [
        "cache:read:a:*",
        "cache:write:a:*",
        "cache:delete:a:*",
        "cache:export:a:*",
    ];
    let cases = [
        ("SET a:1 x", "ok"),
        ("RENAME a:1 a:2", "ok"),
        ("DUMP a:2", "ok"),
        ("SCAN 0", "ok"),
        ("LPOP a:l", "ok"),
        ("FLUSHDB", "NOPERM"),
        ("KEYS *", "NOPERM"),
        ("EVAL return(1) 0", "NOPERM"),
        ("COPY a:1 a:2 DB 1", "NOPERM"),
    ];
    tried(&server, "", &all, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executing_is_one_function_and_what_other_scopes_allow_inside() {
    let server = Server::new().await;
    let library = "#!lua name=lib\n\
        redis.register_function('settle', function(k, a) return redis.call('SET', k[1], 'x') end)\n\
        redis.register_function('other', function(k, a) return 1 end)\n\
        redis.register_function('plain', function(k, a) return 1 end)";
    server.ask(&["FUNCTION", "LOAD", library]).await;
    let cases = [
        ("FCALL settle 1 a:1", "ok"),
        ("FCALL plain 0", "ok"),
        ("FCALL settle 1 b:1", "NOPERM"),
        ("FCALL other 1 a:1", "NOPERM"),
        ("FCALL plain 1 a:1", "NOPERM"),
        ("GET a:1", "NOPERM"),
        ("EVAL return(1) 0", "NOPERM"),
        ("FUNCTION LIST", "NOPERM"),
    ];
    let scopes = [
        "cache:execute:settle@a:*",
        "cache:execute:plain",
        "cache:write:a:*",
    ];
    tried(&server, "", &scopes, &cases).await;
    // Without leave to write, the function itself is stopped inside.
    let cases = [("FCALL settle 1 a:1", "ERR")];
    tried(&server, "", &["cache:execute:settle@a:*"], &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_is_a_template_by_name_or_nothing() {
    let server = Server::new().await;
    let more =
        "[target.redis.templates]\nflush = [\"+flushdb\"]\nfeed = [\"&news:*\", \"+publish\"]\n";
    let cases = [
        ("FLUSHDB", "ok"),
        ("PUBLISH news:1 x", "ok"),
        ("PUBLISH other x", "NOPERM"),
        ("FLUSHALL", "NOPERM"),
        ("GET a:1", "NOPERM"),
    ];
    tried(
        &server,
        more,
        &["cache:admin:flush", "cache:admin:feed"],
        &cases,
    )
    .await;
    let issuer = server.issuer_at(server.port, more);
    for scope in ["cache:admin:*", "cache:admin:Flush", "cache:admin:+@all"] {
        let unfit = issuer.issue(&order(1, &[scope]), None).err().unwrap();
        assert_eq!(unfit.field, "scopes", "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_own_rules_stand_in_for_an_actions() {
    let server = Server::new().await;
    let more = "[target.redis.commands]\nread = [\"+get\", \"+keys\"]\n";
    let cases = [
        ("GET a:1", "ok"),
        ("HGETALL a:h", "NOPERM"),
        // In @dangerous, which wins.
        ("KEYS *", "NOPERM"),
    ];
    tried(&server, more, &["cache:read:a:*"], &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_leave_the_rule_is_refused_before_the_server_hears_of_it() {
    let server = Server::new().await;
    let issuer = server.issuer();
    let resources = [
        "a)",
        "(a",
        "a)(~*",
        "a:*)+@all",
        "a'b",
        "'",
        "a[bc",
        "a]b",
        "a[b[c]]",
        "a%b",
        "a~b&c",
        "a;b",
        "a<b>",
        "`id`",
    ];
    for resource in resources {
        for action in ["read", "write", "delete", "export", "execute", "admin"] {
            let scope = format!("cache:{action}:{resource}");
            let refused = issuer.issue(&order(1, &[&scope]), None);
            assert!(
                matches!(
                    refused,
                    Err(Unfit {
                        field: "scopes",
                        ..
                    })
                ),
                "{scope}"
            );
        }
    }
    for resource in ["", "@a", "set tle", "f@", "f@(", "f-g", "f|g", "f@a)", "*"] {
        if let Ok(scope) = format!("cache:execute:{resource}").parse::<quietus_core::Scope>() {
            let refused = issuer.issue(&order(1, &[&scope.to_string()]), None);
            assert!(refused.is_err(), "{scope}");
        }
    }
    // Space, newline, NUL, quote, backslash and too great a length never get so far.
    let long = "a".repeat(257);
    for resource in ["a b", "a\nb", "a\0b", "a\"b", "a\\b", "ä", &long] {
        let scope = format!("cache:read:{resource}");
        assert!(scope.parse::<quietus_core::Scope>().is_err(), "{scope:?}");
    }
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_patterns_mean_themselves_also_after_a_restart() {
    let mut server = Server::new().await;
    let issuer = server.issuer_at(server.port, "persist = \"aclfile\"");
    let longest = "a".repeat(256);
    let patterns = [
        "{tag}:$#!|x",
        "+@all",
        "-@all",
        "allkeys",
        "#x",
        "on",
        "a[bc]?",
        &longest,
    ];
    let scopes: Vec<String> = patterns
        .iter()
        .map(|it| format!("cache:read:{it}"))
        .collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let credential = make(&*issuer, &order(1, &scopes)).await.unwrap();
    server.restart().await;
    let mut inside = log_in(&credential).await.unwrap();
    for key in [
        "{tag}:$#!|x",
        "+@all",
        "-@all",
        "allkeys",
        "#x",
        "on",
        "abz",
        &longest,
    ] {
        assert_eq!(
            says(&mut inside, &format!("GET {key}")).await,
            "ok",
            "{key}"
        );
    }
    for line in ["GET other", "GET adz", "SET on x", "FLUSHALL"] {
        assert_eq!(says(&mut inside, line).await, "NOPERM", "{line}");
    }
}

/// A pattern holds nothing back from a command that names no key.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_without_keys_is_allowed_but_harmless_ones() {
    let server = Server::new().await;
    let issuer = server.issuer();
    let scopes = ["cache:read:a:*", "cache:write:b:*", "cache:delete:c:*"];
    let credential = make(&*issuer, &order(1, &scopes)).await.unwrap();
    let user = parts(&credential).1;
    let mut allowed = BTreeSet::new();
    for (name, words, has_keys) in described(server.ask(&["COMMAND"]).await) {
        let mut line = vec!["ACL", "DRYRUN", user];
        line.extend(name.split('|'));
        line.resize(3 + words.max(line.len() - 3), "1");
        if !has_keys && text(server.ask(&line).await) == "OK" {
            allowed.insert(name);
        }
    }
    let harmless = [
        "auth",
        "client|getname",
        "client|setname",
        "discard",
        "echo",
        "exec",
        "hello",
        "multi",
        "ping",
        "quit",
        "reset",
        "unwatch",
    ];
    assert_eq!(allowed, harmless.map(ToOwned::to_owned).into());
}

/// Every command that can be called: its name, how many words it has at least, and whether it names keys.
fn described(commands: Value) -> Vec<(String, usize, bool)> {
    let Value::Array(commands) = commands else {
        panic!("no list");
    };
    let each = commands.into_iter().flat_map(|command| {
        let Value::Array(facts) = command else {
            panic!("no facts");
        };
        let (Value::Int(arity), Value::Int(_)) = (&facts[1], &facts[3]) else {
            panic!("{facts:?}");
        };
        let below = described(facts[9].clone());
        if !below.is_empty() {
            return below;
        }
        let words = usize::try_from(arity.abs()).unwrap();
        let has_keys = facts[8] != Value::Array(Vec::new());
        vec![(text(facts[0].clone()), words, has_keys)]
    });
    each.collect()
}
