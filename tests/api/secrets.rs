//! Secrets leave by the one door: neither the store, nor the ledger, nor the log has any of them.

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use quietus::api::v1;
use quietus::api::v1::selector::Of;
use tracing::Metadata;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::common::*;
use crate::help::*;

thread_local! {
    /// What this thread logs, while somebody wants to know.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct OwnThread;

impl Write for OwnThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.get_or_insert_default().extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps whatever this thread logs from now on, in every detail.
///
/// For the whole process, though other threads keep nothing: where they come first to a line that logs, it would
/// otherwise be settled for all that nobody listens.
fn keep_log() {
    let wanted = |_: &Metadata<'_>, _: &Context<'_, Registry>| {
        LOG.try_with(|log| log.borrow().is_some()).unwrap_or(false)
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(|| OwnThread)
        .with_filter(dynamic_filter_fn(wanted));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    LOG.set(Some(Vec::new()));
}

/// Everything that must be found nowhere, by what it is.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, what: &str, bytes: &[u8]) {
        assert!(bytes.len() >= 16, "{what} could be found by chance");
        self.0.push((what.to_owned(), bytes.to_vec()));
    }

    fn add_token(&mut self, token: &str) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
        self.add("a token", token.as_bytes());
        self.add("what is signed of a token", signed.as_bytes());
        self.add("a signature", signature.as_bytes());
        self.add_bytes("a signature", &raw);
    }

    /// In every form in which somebody could have written it down.
    fn add_bytes(&mut self, what: &str, raw: &[u8]) {
        self.add(what, raw);
        self.add(what, hex(raw).as_bytes());
        self.add(what, hex(raw).to_uppercase().as_bytes());
        self.add(what, STANDARD.encode(raw).as_bytes());
        self.add(what, STANDARD_NO_PAD.encode(raw).as_bytes());
        self.add(what, URL_SAFE_NO_PAD.encode(raw).as_bytes());
        let listed: Vec<String> = raw.iter().map(u8::to_string).collect();
        self.add(what, listed.join(", ").as_bytes());
    }

    /// PKCS#8 of an Ed25519 key has the key itself in the 32 bytes from the 16th on (RFC 8410).
    fn add_keys(&mut self, dir: &Path) {
        for file in std::fs::read_dir(dir).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            self.add_bytes("a signing key", &bytes[16..48]);
        }
    }

    #[track_caller]
    fn assert_absent_from(&self, place: &str, haystack: &[u8]) {
        for (what, secret) in &self.0 {
            assert!(!contains(haystack, secret), "{what} is in {place}");
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Calls of every kind, refused ones among them; every token there was.
async fn a_busy_day(stage: &mut Stage) -> Vec<String> {
    let mut tokens = Vec::new();
    let task = open(&mut stage.agent).await;
    let mut ask = wants(&task, &[READ]);
    ask.idempotency_key = "k".to_owned();
    let reply = stage
        .agent
        .request_credential(ask.clone())
        .await
        .unwrap()
        .into_inner();
    let lease = reply.lease.unwrap();
    tokens.push(jwt(reply.credential));
    stage.agent.request_credential(ask).await.unwrap();
    stage.advance(1);
    let renewed = stage
        .agent
        .renew_lease(renews(&lease))
        .await
        .unwrap()
        .into_inner();
    tokens.push(jwt(renewed.credential));
    stage
        .operator
        .rotate_keys(v1::RotateKeysRequest::default())
        .await
        .unwrap();
    tokens.push(request(&mut stage.agent, &task).await.1);
    for token in &tokens {
        assert!(stage.is_active(token).await);
    }
    // Tokens where none belongs, as a careless caller puts them.
    for field in ["task_id", "scope", "key"] {
        let mut ask = wants(&task, &[READ]);
        match field {
            "task_id" => ask.task_id.clone_from(&tokens[0]),
            "scope" => ask.scopes = vec![tokens[0].clone()],
            _ => ask.idempotency_key = tokens[0].clone(),
        }
        stage.agent.request_credential(ask).await.unwrap_err();
    }
    let admin = wants(&task, &["orders-db:admin:x"]);
    stage.agent.request_credential(admin).await.unwrap_err();
    stage.agent.revoke_lease(returns(&lease)).await.unwrap();
    stage.revoke(Of::All(true)).await;
    for token in &tokens {
        assert!(!stage.is_active(token).await);
    }
    tokens
}

// On one thread, so that its log is the test's own.
#[tokio::test]
async fn no_token_and_no_key_is_stored_recorded_or_logged() {
    keep_log();
    let mut stage = Stage::new().await;
    let tokens = a_busy_day(&mut stage).await;

    let mut secrets = Secrets::default();
    tokens.iter().for_each(|token| secrets.add_token(token));
    secrets.add_keys(&stage.world.path("state/keys"));
    let svid_key = std::fs::read_to_string(stage.world.path("broker.key")).unwrap();
    for line in svid_key.lines().filter(|line| !line.starts_with('-')) {
        secrets.add("the broker's own key", line.as_bytes());
    }
    stage.advance(2 * 3600);
    stage.serving.engine.retire_keys().unwrap();

    let entries = stage
        .serving
        .engine
        .store()
        .read()
        .entries(1, usize::MAX)
        .unwrap();
    assert!(entries.len() > 10);
    for entry in &entries {
        secrets.assert_absent_from("the ledger", entry);
    }
    let shown = format!("{:?} {:?}", stage.status().await, stage.serving.trust);
    secrets.assert_absent_from("the status", shown.as_bytes());

    let world = stage.stop().await;
    for file in std::fs::read_dir(world.path("state")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.is_empty());
            secrets.assert_absent_from(&path.display().to_string(), &bytes);
        }
    }
    let log = LOG.take().unwrap();
    assert!(
        contains(&log, b"signing keys retired"),
        "the log was not kept"
    );
    secrets.assert_absent_from("the log", &log);
}

#[test]
fn the_search_for_secrets_finds_them() {
    let mut secrets = Secrets::default();
    secrets.add_bytes("a key", &[7; 32]);
    let found = |text: &[u8]| secrets.0.iter().any(|(_, secret)| contains(text, secret));
    assert!(found(&[&[1, 7][..], &[7; 32]].concat()));
    assert!(found(
        format!("key={}", STANDARD.encode([7; 32])).as_bytes()
    ));
    assert!(found(format!("{:?}", [7; 32]).as_bytes()));
    assert!(!found(&[7; 31]));
}
