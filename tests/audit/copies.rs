//! `quietus audit copy`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quietus_ledger::merkle;
use quietus_ledger::tiles::{self, Kind, Tile};

use crate::common::*;
use crate::hall::*;
use crate::help::*;

/// Every file of a copy.
pub fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => {
                    let name = path.strip_prefix(dir).unwrap().to_str().unwrap();
                    found.insert(name.to_owned(), fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

/// That a copy is whole and of one piece, by the layout and the hashes alone.
#[track_caller]
fn is_whole(world: &World, dir: &Path) -> u64 {
    let there = files(dir);
    let note = str::from_utf8(&there["checkpoint"]).unwrap();
    let newest = believed(world, note);
    let mut leaves = Vec::new();
    for index in 0..newest.size.div_ceil(256) {
        let bundle = Tile::of(Kind::Entries, index, newest.size).unwrap();
        let entries = tiles::entries(&there[&bundle.to_string()], bundle.width()).unwrap();
        leaves.extend(entries.into_iter().map(merkle::leaf));
    }
    assert_eq!(
        merkle::root(&merkle::Leaves(&leaves), newest.size).unwrap(),
        newest.root
    );
    for tile in tiles::grown(0, newest.size) {
        assert!(there.contains_key(&tile.to_string()), "{tile}");
    }
    assert!(
        there.keys().all(|name| !name.contains(".new")),
        "{:?}",
        there.keys()
    );
    for (name, note) in there
        .iter()
        .filter(|(name, _)| name.starts_with("checkpoints/"))
    {
        let saved = believed(world, str::from_utf8(note).unwrap());
        assert_eq!(name, &format!("checkpoints/{}", saved.size));
        let nodes = merkle::Leaves(&leaves);
        assert_eq!(
            merkle::root(&nodes, saved.size).unwrap(),
            saved.root,
            "{name}"
        );
    }
    newest.size
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_whole_and_grows_by_what_is_new() {
    let mut stage = hall().await;
    let dir = stage.world.path("copy");
    let shown = dir.to_str().unwrap().to_owned();
    let key = key_file(&stage.world);
    let copy = ["copy", &shown, "--key", key.to_str().unwrap()];
    let digest = stage.status().await.policy_digest;
    for size in [10, 200, 256, 300, 512, 800] {
        grow_to(&stage, size.max(stage.seq() + 1)).await;
        settled(&stage).await;
        let before = match dir.exists() {
            true => files(&dir),
            false => BTreeMap::new(),
        };
        let told = told_json(&stage, &copy);
        assert_eq!(told["signature"], "verified");
        assert_eq!(told["missing"], serde_json::json!([]));
        let now = is_whole(&stage.world, &dir);
        assert_eq!(told["entries"], now);
        let after = files(&dir);
        for (name, bytes) in &before {
            let kept =
                name == "checkpoint" || name.contains(".p/") || after.get(name) == Some(bytes);
            assert!(kept, "{name} was changed");
        }
        let partial: Vec<_> = after.keys().filter(|name| name.contains(".p/")).collect();
        assert!(partial.len() <= 3, "{partial:?}");
        assert!(after.contains_key(&format!("policies/{digest}")));
    }
    // Nothing is new the second time.
    settled(&stage).await;
    told(&stage, &copy);
    let before = files(&dir);
    let again = told_json(&stage, &copy);
    assert_eq!(
        (&again["bundles_fetched"], &again["objects_fetched"]),
        (&0.into(), &0.into())
    );
    assert_eq!(files(&dir), before);
    // Whoever verifies copies finds nothing wrong with it.
    let verified = run(&stage, &["verify", &shown, "--key", key.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_were_too_large_for_their_entries_are_copied() {
    use quietus::store::Commit;
    use quietus_ledger::{Draft, Entry, Lease, VERSION};
    let stage = hall().await;
    let engine = &stage.serving.engine;
    let lease = |n: u64| Lease {
        id: format!("{NOBODYS}.{n}"),
        state: "Ended".to_owned(),
        target: "orders-db".to_owned(),
        ..Lease::default()
    };
    let entry = Entry {
        broker: BROKER.to_owned(),
        event: "task.ended".to_owned(),
        time: engine.now().0,
        v: VERSION,
        leases: (0..2000).map(lease).collect(),
        ..Entry::default()
    };
    let draft = Draft::new(&entry).unwrap();
    let attachment = draft.attachments()[0].clone();
    let commit = Commit {
        now: engine.now(),
        entries: vec![draft],
        ..Commit::default()
    };
    engine.store().commit(commit).await.unwrap();
    settled(&stage).await;
    let dir = stage.world.path("copy");
    told(&stage, &["copy", dir.to_str().unwrap()]);
    let name = format!("attachments/{}", hex(&attachment.digest));
    assert_eq!(files(&dir)[&name], attachment.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_may_stop_at_an_earlier_checkpoint_but_not_go_back() {
    let stage = hall().await;
    grow_to(&stage, 600).await;
    settled(&stage).await;
    let dir = stage.world.path("copy");
    let shown = dir.to_str().unwrap();
    assert_eq!(
        told_json(&stage, &["copy", shown, "--to", "300"])["entries"],
        256
    );
    is_whole(&stage.world, &dir);
    told(&stage, &["copy", shown]);
    let before = files(&dir);
    let told = complaint(&stage, &["copy", shown, "--to", "300"], 1);
    assert!(told.contains("Nothing was changed"), "{told}");
    assert_eq!(files(&dir), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ledger_changes_nothing_in_a_copy() {
    let stage = hall().await;
    grow_to(&stage, 300).await;
    settled(&stage).await;
    let dir = stage.world.path("copy");
    let shown = dir.to_str().unwrap();
    told(&stage, &["copy", shown]);
    let before = files(&dir);

    // Of the same name, but shorter; then longer, with another history.
    let other = hall().await;
    settled(&other).await;
    let told_of = complaint(&other, &["copy", shown], 1);
    assert!(told_of.contains("it was cut"), "{told_of}");
    assert_eq!(files(&dir), before);
    for size in [stage.seq() + 1, 600, 1200] {
        grow_to(&other, size).await;
        settled(&other).await;
        let told_of = complaint(&other, &["copy", shown], 1);
        assert!(told_of.contains("it was rewritten"), "{told_of}");
        assert_eq!(files(&dir), before);
    }
    // Of another name.
    let world = World::new();
    config(&world);
    let named = Stage::on(world, |config| {
        config.ledger.origin = Some("log.example/other".to_owned())
    })
    .await;
    grow_to(&named, 600).await;
    settled(&named).await;
    let told_of = complaint(&named, &["copy", shown], 1);
    assert!(told_of.contains("log.example/other"), "{told_of}");
    assert_eq!(files(&dir), before);
    // The own one is still good.
    grow(&stage, 100).await;
    settled(&stage).await;
    told(&stage, &["copy", shown]);
    is_whole(&stage.world, &dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_not_the_logs() {
    let stage = hall().await;
    settled(&stage).await;
    let dir = stage.world.path("copy");
    let shown = dir.to_str().unwrap();
    let other = hall().await;
    let key = log_key(&other.world).to_string();
    let told_of = complaint(&stage, &["copy", shown, "--key", &key], 1);
    assert!(
        told_of.contains("not signed by any of the keys"),
        "{told_of}"
    );
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let strange = quietus_ledger::Signer::new("log.example/strange", &pair).unwrap();
    let strange = strange.verifier().to_string();
    let told_of = complaint(&stage, &["copy", shown, "--key", &strange], 1);
    assert!(told_of.contains("log.example/strange"), "{told_of}");
    complaint(&stage, &["copy", shown, "--key", "nonsense"], 2);
    assert!(!dir.join("checkpoint").exists());
    // The broker's own name stands for the same key.
    let path = stage.world.config().keys.dir.join("evidence.vkey");
    told(&stage, &["copy", shown, "--key", path.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_something_else_in_it_is_left_alone() {
    let stage = hall().await;
    settled(&stage).await;
    let dir = stage.world.path("home");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("letters.txt"), "mine").unwrap();
    let told_of = complaint(&stage, &["copy", dir.to_str().unwrap()], 1);
    assert!(told_of.contains("letters.txt"), "{told_of}");
    assert_eq!(files(&dir).len(), 1);
    let file = dir.join("letters.txt");
    complaint(&stage, &["copy", file.to_str().unwrap()], 1);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    // A checkpoint that is none is not overwritten either.
    let broken = stage.world.path("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("checkpoint"), "what is this?\n").unwrap();
    complaint(&stage, &["copy", broken.to_str().unwrap()], 1);
    assert_eq!(files(&broken).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_or_left_half_done_is_mended() {
    let stage = hall().await;
    grow_to(&stage, 700).await;
    settled(&stage).await;
    let dir = stage.world.path("copy");
    let shown = dir.to_str().unwrap();
    told(&stage, &["copy", shown]);
    let whole = files(&dir);
    for name in ["tile/0/000", "tile/entries/001"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    told(&stage, &["copy", shown]);
    assert_eq!(files(&dir), whole);
    // As if the first copy had been interrupted while it wrote, and what it wrote had been lost in a power failure.
    fs::remove_file(dir.join("checkpoint")).unwrap();
    fs::write(dir.join("tile/entries/000"), "").unwrap();
    fs::write(dir.join("tile/0/001"), [0; 32 * 256]).unwrap();
    fs::write(dir.join(".checkpoint.new"), "half").unwrap();
    told(&stage, &["copy", shown]);
    let mended = is_whole(&stage.world, &dir);
    assert!(mended >= 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_prefix_is_absent_and_its_hashes_are_there() {
    let stage = hall().await;
    grow_to(&stage, 700).await;
    settled(&stage).await;
    let early = stage.world.path("early");
    told(&stage, &["copy", early.to_str().unwrap()]);
    prune(&stage, 256).await;
    let late = stage.world.path("late");
    let told_of = told_json(&stage, &["copy", late.to_str().unwrap()]);
    assert_eq!(told_of["pruned_through"], 256);
    let there = files(&late);
    assert!(there.contains_key("tile/0/000") && there.contains_key("tile/entries/001"));
    assert!(!there.contains_key("tile/entries/000"));
    // A copy that was made before keeps what it has.
    grow(&stage, 10).await;
    settled(&stage).await;
    assert_eq!(
        told_json(&stage, &["copy", early.to_str().unwrap()])["pruned_through"],
        0
    );
    is_whole(&stage.world, &early);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_do_not_write_at_once() {
    let stage = hall().await;
    settled(&stage).await;
    let dir = stage.world.path("copy");
    fs::create_dir(&dir).unwrap();
    let held = fs::File::open(&dir).unwrap();
    held.lock().unwrap();
    let told_of = complaint(&stage, &["copy", dir.to_str().unwrap()], 1);
    assert!(told_of.contains("another process"), "{told_of}");
    drop(held);
    told(&stage, &["copy", dir.to_str().unwrap()]);
}
