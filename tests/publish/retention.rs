//! Retention: what is old goes, from the front, in whole bundles and announced; nothing else changes.

use std::sync::Arc;
use std::time::Duration;

use quietus::broker::Options;
use quietus::config::{Config, LedgerClients, LedgerHttps};
use quietus::engine::{Engine, Entries, Error};
use quietus::store::{Commit, CommitError, Prune, SALT, SaltedText, SignedHead};
use quietus_core::{Digest, Timestamp};
use quietus_ledger::Sealed;
use quietus_ledger::audit::Finding;
use quietus_ledger::merkle::Hash;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::common::{READ, Serving, World, is_active, ledger, open, request, wants};
use crate::logs::{self, entry, fill, large, verify, with_text, write};
use crate::reader::Reader;

const DAY: Duration = Duration::from_secs(86_400);
const KEPT: Duration = Duration::from_secs(10 * 86_400);

fn config(world: &World) -> Config {
    let mut config = world.config();
    config.ledger.retention = Some(KEPT);
    config.ledger.https = Some(LedgerHttps {
        listen: "127.0.0.1:0".parse().unwrap(),
        certificate: None,
        clients: LedgerClients::Svid,
    });
    config
}

async fn serve(world: &World) -> Serving {
    world
        .serve_with(config(world), Options::default())
        .await
        .unwrap()
}

fn pruned(engine: &Engine) -> u64 {
    engine.store().header().pruned
}

fn announced(engine: &Engine) -> Vec<Sealed> {
    let size = engine.store().header().seq;
    let left = engine.store().read().entries(1, usize::MAX).unwrap();
    let left = left.iter().map(|entry| Sealed::parse(entry).unwrap());
    let found: Vec<_> = left
        .filter(|sealed| sealed.entry.event == "ledger.pruned")
        .collect();
    assert!(found.iter().all(|sealed| sealed.seq <= size));
    found
}

/// All that must be the same before and after.
fn proofs(engine: &Engine, size: u64) -> (Hash, Vec<Vec<Hash>>, Vec<SignedHead>) {
    let snapshot = engine.store().read();
    let included = (1..=size).step_by(37);
    let mut proofs: Vec<_> = included
        .map(|seq| snapshot.prove_inclusion(seq, size).unwrap())
        .collect();
    let olds = (1..=size).step_by(101);
    proofs.extend(olds.map(|old| snapshot.prove_consistency(old, size).unwrap()));
    let mut heads = snapshot.checkpoints(0, 1000).unwrap();
    heads.retain(|head| head.size <= size && head.size.is_multiple_of(256));
    (snapshot.root_at(size).unwrap(), proofs, heads)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_bundles_go_and_tree_and_proofs_and_checkpoints_stay() {
    let world = World::new();
    let serving = serve(&world).await;
    let engine = &serving.engine;
    fill(engine, 2600).await;
    world.time.advance(6 * DAY);
    fill(engine, 2900).await;
    let before = proofs(engine, 2900);
    logs::forgets(engine, 0).await;
    world.time.advance(5 * DAY);
    // Bundles up to 2560 are old as a whole; the one behind them only in part.
    logs::forgets(engine, 2560).await;
    assert_eq!(proofs(engine, 2900), before);
    let left = engine.store().read().entries(1, 1).unwrap();
    assert_eq!(Sealed::parse(&left[0]).unwrap().seq, 2561);
    let said = announced(engine);
    let detail = |at: usize, name: &str| said[at].entry.detail[name].clone();
    assert_eq!(said.len(), 3, "a portion is four bundles");
    for (n, (from, through)) in [(1, 1024), (1025, 2048), (2049, 2560)]
        .into_iter()
        .enumerate()
    {
        let root = Digest(engine.store().read().root_at(through).unwrap());
        assert_eq!(detail(n, "from"), from.to_string());
        assert_eq!(detail(n, "through"), through.to_string());
        assert_eq!(detail(n, "root"), root.to_string());
    }
    logs::forgets(engine, 2560).await;
    assert_eq!(announced(engine).len(), 3);
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_is_gone_from_the_file_and_after_a_restart() {
    const LEDGER: TableDefinition<u64, &[u8]> = TableDefinition::new("ledger");
    let world = World::new();
    let serving = serve(&world).await;
    fill(&serving.engine, 700).await;
    let before = proofs(&serving.engine, 700);
    world.time.advance(KEPT + DAY);
    logs::forgets(&serving.engine, 512).await;
    serving.stop().await.unwrap();
    {
        let db = redb::Database::open(world.store()).unwrap();
        let table = db.begin_read().unwrap().open_table(LEDGER).unwrap();
        assert_eq!(table.first().unwrap().unwrap().0.value(), 513);
        let last = table.last().unwrap().unwrap().0.value();
        assert_eq!(table.len().unwrap(), last - 512);
    }
    let serving = serve(&world).await;
    assert_eq!(proofs(&serving.engine, 700), before);
    fill(&serving.engine, 1300).await;
    logs::sign(&serving.engine).await;
    world.time.advance(KEPT + DAY);
    logs::forgets(&serving.engine, 1280).await;
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_log_verifies_and_only_with_its_announcement() {
    let world = World::new();
    let serving = serve(&world).await;
    let engine = &serving.engine;
    fill(engine, 512).await;
    world.time.advance(KEPT + DAY);
    fill(engine, 800).await;
    write(engine, vec![large(engine.now(), "young")]).await;
    engine.prune().await.unwrap();
    let size = logs::sign(engine).await;
    world.add_svid("auditor", "/auditor/one", DAY * 90);
    let reader = Reader::known(&world, &serving, "auditor");
    let trust = || logs::trust(&world, Vec::new());
    let report = verify(&reader, trust());
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.pruned, report.attachments), (512, 1));
    for (path, status) in [
        ("/tile/entries/000", 410),
        ("/tile/entries/001", 410),
        ("/tile/entries/001.p/9", 410),
        ("/tile/0/000", 200),
        ("/tile/0/001", 200),
        ("/checkpoints/256", 200),
        ("/tile/entries/003", 404),
        ("/tile/entries/004.p/1", 404),
    ] {
        assert_eq!(reader.status(path), status, "{path}");
    }
    // The same log, from which more is missing than was announced; and then the announcement as well.
    let found = |bundle: &str| {
        let robbed = Robbed(reader.clone(), format!("tile/entries/{bundle}"));
        verify(&robbed, trust()).findings
    };
    let missing = |first, last| Finding::Missing { first, last };
    assert_eq!(found("002"), [missing(513, 768)]);
    assert_eq!(found("003"), [missing(1, 512), missing(769, size)]);
    let asked = |from| Entries {
        from,
        to: None,
        task: None,
    };
    for from in [1, 512] {
        let refused = engine.entries(&asked(from)).unwrap_err();
        assert!(matches!(refused, Error::Refused(refused) if refused.reason == "PRUNED"));
    }
    assert_eq!(
        Sealed::parse(&engine.entries(&asked(513)).unwrap().entries[0])
            .unwrap()
            .seq,
        513
    );
    serving.stop().await.unwrap();
}

/// A copy from which every bundle of this index is missing.
struct Robbed(Reader, String);

impl quietus_ledger::audit::Files for Robbed {
    type Error = String;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match path.starts_with(&self.1) {
            true => Ok(None),
            false => self.0.read(path),
        }
    }

    fn paths(&self) -> Result<Vec<String>, String> {
        self.0.paths()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_texts_go_with_their_entries_but_not_while_another_names_them() {
    let world = World::new();
    let serving = serve(&world).await;
    let engine = &serving.engine;
    let now = engine.now();
    let lists = write(engine, vec![large(now, "old"), large(now, "shared")]).await;
    let [old_text, young_text] = [Digest([1; 32]), Digest([2; 32])];
    let salted = |text| SaltedText::new([3; SALT], text);
    let texts = Commit {
        now,
        texts: vec![
            (old_text, Some(salted("old"))),
            (young_text, Some(salted("young"))),
        ],
        ..Commit::default()
    };
    engine.store().commit(texts).await.unwrap();
    write(engine, vec![with_text(now, old_text)]).await;
    fill(engine, 256).await;
    world.time.advance(KEPT + DAY);
    let now = engine.now();
    let young = write(
        engine,
        vec![large(now, "shared"), with_text(now, young_text)],
    )
    .await;
    assert_eq!(young[0], lists[1]);
    logs::forgets(engine, 256).await;
    assert!(engine.attachment(lists[0]).is_err());
    engine.attachment(lists[1]).unwrap();
    let snapshot = engine.store().read();
    assert_eq!(snapshot.text(old_text).unwrap(), None);
    assert_eq!(snapshot.text(young_text).unwrap(), Some(salted("young")));
    drop(snapshot);
    // Once the other is old as well it goes.
    fill(engine, 512).await;
    world.time.advance(KEPT + DAY);
    logs::forgets(engine, 512).await;
    assert!(engine.attachment(lists[1]).is_err());
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_without_a_retention_nor_behind_a_young_entry_nor_unsigned() {
    let world = World::new();
    let serving = world.serve().await;
    fill(&serving.engine, 600).await;
    world.time.advance(1000 * DAY);
    logs::forgets(&serving.engine, 0).await;
    serving.stop().await.unwrap();

    let world = World::new();
    let serving = serve(&world).await;
    let engine = &serving.engine;
    // The clock of whoever wrote it was ahead: it is young for longer, and keeps what is behind it.
    let ahead = Timestamp(engine.now().0).after(5 * DAY);
    write(engine, vec![entry(ahead)]).await;
    fill(engine, 600).await;
    world.time.advance(KEPT + DAY);
    logs::forgets(engine, 0).await;
    // To the millisecond.
    world.time.set_wall(ahead.after(KEPT));
    logs::forgets(engine, 0).await;
    world.time.set_wall(Timestamp(ahead.after(KEPT).0 + 1));
    logs::forgets(engine, 512).await;
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_forgets_no_parts_of_bundles_and_nothing_that_is_not_signed() {
    let world = World::new();
    let serving = serve(&world).await;
    let engine = &serving.engine;
    fill(engine, 600).await;
    let signed = engine.store().header().checkpoint;
    let prune = |through| Commit {
        now: engine.now(),
        entries: vec![quietus_ledger::Draft::new(&entry(engine.now())).unwrap()],
        prune: Some(Prune {
            through,
            attachments: Vec::new(),
        }),
        ..Commit::default()
    };
    for through in [0, 1, 255, 257, 600, 768, 1024, signed + 1, u64::MAX] {
        let before = engine.store().header().seq;
        let refused = engine.store().commit(prune(through)).await;
        assert_eq!(refused, Err(CommitError::Conflict), "{through}");
        assert_eq!(engine.store().header().seq, before);
    }
    engine.store().commit(prune(256)).await.unwrap();
    let again = engine.store().commit(prune(256)).await;
    assert_eq!(again, Err(CommitError::Conflict));
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_are_alive_do_not_notice() {
    let world = World::new();
    let serving = serve(&world).await;
    let engine = &serving.engine;
    fill(engine, 600).await;
    world.time.advance(KEPT + DAY);
    let mut agent = world.broker(&serving, "agent").await;
    let mut verification = world.verification(&serving).await;
    let task = open(&mut agent).await;
    let (_, token) = request(&mut agent, &task).await;
    let minting = async {
        for _ in 0..20 {
            agent
                .request_credential(wants(&task, &[READ]))
                .await
                .unwrap();
        }
    };
    tokio::join!(logs::forgets(engine, 512), minting);
    assert!(is_active(&mut verification, &token).await);
    let asked = Entries {
        from: 1,
        to: None,
        task: Some(task.id.parse().unwrap()),
    };
    // The story of a task that began after the pruned part is whole though it is asked for from the first entry on.
    let asked = Entries { from: 513, ..asked };
    assert!(engine.entries(&asked).unwrap().entries.len() >= 22);
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_prune_at_once_announce_everything_once() {
    let world = World::new();
    let serving = serve(&world).await;
    let engine = &serving.engine;
    fill(engine, 2600).await;
    world.time.advance(KEPT + DAY);
    let both = [Arc::clone(engine), Arc::clone(engine)]
        .map(|engine| tokio::spawn(async move { engine.prune().await }));
    for one in both {
        one.await.unwrap().unwrap();
    }
    engine.prune().await.unwrap();
    assert_eq!(pruned(engine), 2560);
    let mut next = 1;
    for sealed in announced(engine) {
        assert_eq!(sealed.entry.detail["from"], next.to_string());
        next = sealed.entry.detail["through"].parse::<u64>().unwrap() + 1;
    }
    assert_eq!(next, 2561);
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_happens_by_itself_at_the_start_and_never_in_maintenance() {
    let world = World::new();
    let serving = serve(&world).await;
    fill(&serving.engine, 600).await;
    serving.stop().await.unwrap();
    world.time.advance(KEPT + DAY);
    let maintenance = Options {
        no_revoke: true,
        ..Options::default()
    };
    let serving = world.serve_with(config(&world), maintenance).await.unwrap();
    assert!(matches!(
        serving.engine.prune().await,
        Err(Error::Maintenance)
    ));
    assert_eq!(pruned(&serving.engine), 0);
    serving.stop().await.unwrap();
    let serving = serve(&world).await;
    logs::until(|| pruned(&serving.engine) == 512).await;
    let left = ledger_from(&serving.engine, 513);
    assert!(left.iter().any(|it| it.entry.event == "ledger.pruned"));
    serving.stop().await.unwrap();
}

fn ledger_from(engine: &Engine, from: u64) -> Vec<Sealed> {
    let left = ledger(engine);
    assert_eq!(left[0].seq, from);
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_in_between_leaves_whole_portions() {
    let world = World::new();
    let serving = serve(&world).await;
    fill(&serving.engine, 3000).await;
    world.time.advance(KEPT + DAY);
    let engine = Arc::clone(&serving.engine);
    let mut grown = engine.store().grown();
    grown.mark_unchanged();
    let pruning = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.prune().await }
    });
    grown.changed().await.unwrap();
    pruning.abort();
    let _ = pruning.await;
    drop(engine);
    serving.stop().await.unwrap();
    let mut config = config(&world);
    config.ledger.retention = None;
    let serving = world.serve_with(config, Options::default()).await.unwrap();
    let through = pruned(&serving.engine);
    assert!(through > 0 && through.is_multiple_of(256));
    let last = announced(&serving.engine).pop().unwrap();
    assert_eq!(last.entry.detail["through"], through.to_string());
    assert_eq!(ledger(&serving.engine)[0].seq, through + 1);
    serving.stop().await.unwrap();
}
