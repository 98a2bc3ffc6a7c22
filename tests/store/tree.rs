//! The tree over the ledger: what it is grown over is what is in it, at every size and across every end.

use std::sync::Arc;

use quietus::store::{Commit, Cosigned, OpenError, Options, Prune, Store, StoreError};
use quietus_core::Timestamp;
use quietus_ledger::merkle::{self, Hash, Leaves, ProofError};
use quietus_ledger::note::{Note, Witness};
use quietus_ledger::tiles::{self, Kind, Tile};
use quietus_ledger::{Draft, Entry, Lease, VERSION};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use ring::signature::Ed25519KeyPair;

use crate::disks::{Platter, Room, options};
use crate::inside::commits::NOW;

const LEDGER: TableDefinition<u64, &[u8]> = TableDefinition::new("ledger");
const TILES: TableDefinition<(u8, u64), &[u8]> = TableDefinition::new("tiles");

fn entry(n: u64) -> Entry {
    Entry {
        broker: "spiffe://dev.example/broker".to_owned(),
        event: "test.counted".to_owned(),
        time: NOW.0 + n,
        v: VERSION,
        ..Entry::default()
    }
}

fn drafts(from: u64, count: u64) -> Vec<Draft> {
    let all = from..from + count;
    all.map(|n| Draft::new(&entry(n)).unwrap()).collect()
}

async fn record(store: &Store, count: u64) {
    let from = store.header().seq + 1;
    let commit = Commit {
        now: NOW,
        entries: drafts(from, count),
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
}

fn signed(store: &Store) {
    store.sign_heads(Box::new(|size, root| {
        Ok(format!("{size} {}\n\n\u{2014} log AAAAAHNpZw==\n", hex(root)).into_bytes())
    }));
}

fn hex(root: &Hash) -> String {
    quietus_core::Digest(*root).to_string()
}

/// The hashes of the entries by another way: from the bytes that were sealed.
fn leaves(size: u64) -> Vec<Hash> {
    let sealed = (1..).zip(drafts(1, size));
    sealed
        .map(|(seq, draft)| merkle::leaf(&draft.seal(seq)))
        .collect()
}

fn is_the_tree_of(store: &Store, size: u64) {
    let snapshot = store.read();
    let leaves = leaves(size);
    let root = merkle::root(&Leaves(&leaves), size).unwrap();
    assert_eq!(snapshot.ledger_size(), size);
    assert_eq!(snapshot.ledger_root(), root);
    for at in [0, 1, 2, 255, 256, 257, 511, 512, size - 1, size] {
        if at <= size {
            assert_eq!(
                snapshot.root_at(at).unwrap(),
                merkle::root(&Leaves(&leaves), at).unwrap()
            );
            let proof = snapshot.prove_consistency(at, size).unwrap();
            let old = merkle::root(&Leaves(&leaves), at).unwrap();
            merkle::verify_consistency(&proof, (at, &old), (size, &root)).unwrap();
        }
        if (1..=size).contains(&at) {
            let proof = snapshot.prove_inclusion(at, size).unwrap();
            let leaf = &leaves[at as usize - 1];
            merkle::verify_inclusion(&proof, leaf, at - 1, size, &root).unwrap();
        }
    }
}

#[tokio::test]
async fn it_grows_with_the_entries_whatever_their_portions_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let mut size = 0;
    let mut store = Store::open(&options).unwrap();
    for portion in [1, 1, 3, 250, 1, 1, 254, 2, 600, 7] {
        record(&store, portion).await;
        size += portion;
        is_the_tree_of(&store, size);
        drop(store);
        store = Store::open(&options).unwrap();
        is_the_tree_of(&store, size);
    }
}

#[tokio::test]
async fn every_tile_of_a_tree_of_three_levels_is_that_of_its_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let platter = Platter::default();
    let options = options(folder.path());
    let store = platter.open(&Room::plenty(), &options).unwrap();
    let size = 65_536 + 700;
    for portion in [60_000, 5_536, 255, 445] {
        record(&store, portion).await;
    }
    let leaves = leaves(size);
    let snapshot = store.read();
    let mut seen = 0;
    for tile in tiles::grown(0, size) {
        let bytes = snapshot.tile(tile).unwrap().expect("a tile");
        match tile.kind() {
            Kind::Entries => assert_eq!(
                tiles::entries(&bytes, tile.width()).unwrap().len(),
                usize::from(tile.width())
            ),
            Kind::Hashes(level) => {
                let hashes = tile.hashes(&bytes).unwrap();
                let last = hashes.len() - 1;
                let index = tile.start() + last as u64;
                let width = 1_u64 << (8 * level);
                let over = &leaves[(index * width) as usize..((index + 1) * width) as usize];
                assert_eq!(hashes[last], merkle::root(&Leaves(over), width).unwrap());
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 259 + 2 + 1 + 259);
    drop(snapshot);
    drop(store);
    let store = platter.open(&Room::plenty(), &options).unwrap();
    is_the_tree_of(&store, size);
    for beyond in [(0, size / 256 + 1), (1, 2), (2, 1), (3, 0)] {
        let tile = Tile::new(Kind::Hashes(beyond.0), beyond.1, 1).unwrap();
        assert_eq!(store.read().tile(tile).unwrap(), None, "{tile}");
    }
}

#[tokio::test]
async fn proofs_beyond_the_tree_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    record(&store, 5).await;
    let snapshot = store.read();
    for (entry, size) in [(0, 5), (6, 5), (1, 6), (u64::MAX, 5), (1, u64::MAX)] {
        let refused = snapshot.prove_inclusion(entry, size).unwrap_err();
        assert!(matches!(refused, StoreError::Proof(_)), "{refused}");
    }
    for (old, new) in [(3, 2), (1, 6), (6, 5), (u64::MAX, u64::MAX)] {
        let refused = snapshot.prove_consistency(old, new).unwrap_err();
        assert!(
            matches!(refused, StoreError::Proof(ProofError::Sizes { .. })),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn the_head_is_signed_at_the_end_of_each_bundle_and_when_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let store = Store::open(&options).unwrap();
    record(&store, 3).await;
    assert_eq!(store.read().checkpoint().unwrap(), None, "nobody signs yet");
    signed(&store);
    let ask = || Commit {
        now: NOW,
        checkpoint: true,
        ..Commit::default()
    };
    store.commit(ask()).await.unwrap();
    store.commit(ask()).await.unwrap();
    let sizes = || {
        let kept = store.read().checkpoints(0, 100).unwrap();
        kept.iter().map(|head| head.size).collect::<Vec<_>>()
    };
    assert_eq!(sizes(), [3]);
    record(&store, 600).await;
    assert_eq!(sizes(), [256, 512], "what is superseded goes");
    store.commit(ask()).await.unwrap();
    assert_eq!(sizes(), [256, 512, 603]);
    let at = |size| {
        store
            .read()
            .checkpoint_at_most(size)
            .unwrap()
            .map(|head| head.size)
    };
    assert_eq!(
        (at(255), at(256), at(602), at(u64::MAX)),
        (None, Some(256), Some(512), Some(603))
    );
    for head in store.read().checkpoints(0, 100).unwrap() {
        let root = store.read().root_at(head.size).unwrap();
        let expected = format!("{} {}\n", head.size, hex(&root));
        assert!(head.note.starts_with(expected.as_bytes()));
    }
}

#[tokio::test]
async fn a_checkpoint_that_others_have_signed_as_well_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    signed(&store);
    let ask = |cosigned| Commit {
        now: NOW,
        checkpoint: true,
        cosigned,
        ..Commit::default()
    };
    record(&store, 3).await;
    store.commit(ask(None)).await.unwrap();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let witness = Witness::new("witness.example/w1", &pair).unwrap();
    let head = store.read().checkpoint().unwrap().unwrap();
    let text = format!("3 {}\n", hex(&store.read().root_at(3).unwrap()));
    // It is superseded, and gone, before the witness answers.
    record(&store, 1).await;
    store.commit(ask(None)).await.unwrap();
    assert_eq!(store.read().checkpoints(0, 9).unwrap().len(), 1);
    let cosigned = Cosigned {
        size: 3,
        note: head.note.clone(),
        lines: witness.cosign(&text, 7).into_bytes(),
        witness: witness.cosigner().clone(),
    };
    store.commit(ask(Some(cosigned.clone()))).await.unwrap();
    let false_line = Cosigned {
        size: 4,
        note: store.read().checkpoint().unwrap().unwrap().note,
        ..cosigned
    };
    store.commit(ask(Some(false_line))).await.unwrap();
    record(&store, 1).await;
    store.commit(ask(None)).await.unwrap();
    let kept = store.read().checkpoints(0, 9).unwrap();
    assert_eq!(
        kept.iter().map(|head| head.size).collect::<Vec<_>>(),
        [3, 5]
    );
    let cosigned = Note::parse(&kept[0].note).unwrap();
    assert_eq!(witness.cosigner().verify(&cosigned), Ok(Some(7)));
}

#[tokio::test]
async fn a_signer_that_fails_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    store.sign_heads(Box::new(|_, _| Err("no key today".to_owned())));
    record(&store, 300).await;
    assert_eq!(store.header().seq, 300);
    assert_eq!(store.read().checkpoint().unwrap(), None);
}

type Damage = fn(&redb::WriteTransaction);

#[tokio::test]
async fn a_ledger_that_was_altered_behind_its_last_bundle_is_not_gone_on_with() {
    let alter: Damage = |write| {
        let mut ledger = write.open_table(LEDGER).unwrap();
        let mut entry = ledger.get(290).unwrap().unwrap().value().to_vec();
        entry[40] ^= 1;
        ledger.insert(290, entry.as_slice()).unwrap();
    };
    let drop_last: Damage = |write| {
        write.open_table(LEDGER).unwrap().remove(300).unwrap();
    };
    let swap: Damage = |write| {
        let mut ledger = write.open_table(LEDGER).unwrap();
        let [a, b] = [270, 271].map(|n| ledger.get(n).unwrap().unwrap().value().to_vec());
        ledger.insert(270, b.as_slice()).unwrap();
        ledger.insert(271, a.as_slice()).unwrap();
    };
    let tile: Damage = |write| {
        let mut tiles = write.open_table(TILES).unwrap();
        let mut tile = tiles.get((1, 0)).unwrap().unwrap().value().to_vec();
        tile[7] ^= 1;
        tiles.insert((1, 0), tile.as_slice()).unwrap();
    };
    let no_tile: Damage = |write| {
        write.open_table(TILES).unwrap().remove((1, 0)).unwrap();
    };
    let short_tile: Damage = |write| {
        let mut tiles = write.open_table(TILES).unwrap();
        tiles.insert((1, 0), &[7_u8; 31][..]).unwrap();
    };
    for (n, damage) in [alter, drop_last, swap, tile, no_tile, short_tile]
        .into_iter()
        .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let store = Store::open(&options).unwrap();
        record(&store, 300).await;
        drop(store);
        damage_file(&options, damage);
        let refused = Store::open(&options)
            .err()
            .unwrap_or_else(|| panic!("damage {n}"));
        assert!(
            matches!(
                refused,
                OpenError::Altered { seq: 300 }
                    | OpenError::Broken(StoreError::Tile(_) | StoreError::Tree(_))
            ),
            "{refused}"
        );
    }
}

fn damage_file(options: &Options, damage: Damage) {
    let db = redb::Database::open(&options.path).unwrap();
    let write = db.begin_write().unwrap();
    damage(&write);
    write.commit().unwrap();
}

#[tokio::test]
async fn entries_that_are_pruned_leave_their_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let store = Store::open(&options).unwrap();
    signed(&store);
    record(&store, 700).await;
    let prune = |through| Commit {
        now: NOW,
        prune: Some(Prune {
            through,
            attachments: Vec::new(),
        }),
        ..Commit::default()
    };
    store.commit(prune(256)).await.unwrap();
    store.commit(prune(512)).await.unwrap();
    drop(store);
    let store = Store::open(&options).unwrap();
    is_the_tree_of(&store, 700);
    let snapshot = store.read();
    assert_eq!(snapshot.pruned(), 512);
    let first = snapshot.entries(1, 1).unwrap();
    assert_eq!(quietus_ledger::Sealed::parse(&first[0]).unwrap().seq, 513);
    let bundle = |index| Tile::of(Kind::Entries, index, 700).unwrap();
    assert_eq!(snapshot.tile(bundle(0)).unwrap(), None);
    assert_eq!(snapshot.tile(bundle(1)).unwrap(), None);
    assert!(snapshot.tile(bundle(2)).unwrap().is_some());
    drop(snapshot);
    record(&store, 100).await;
    is_the_tree_of(&store, 800);
    let db = {
        drop(store);
        redb::Database::open(&options.path).unwrap()
    };
    let ledger = db.begin_read().unwrap().open_table(LEDGER).unwrap();
    assert_eq!(ledger.first().unwrap().unwrap().0.value(), 513);
}

#[tokio::test]
async fn a_list_that_was_too_large_is_kept_beside_its_entry_and_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    let mut large = entry(1);
    large.leases = (0..2_000)
        .map(|n| Lease {
            id: format!("0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.{n}"),
            state: "Revoking".to_owned(),
            target: "orders-db".to_owned(),
            ..Lease::default()
        })
        .collect();
    let commit = Commit {
        now: Timestamp(NOW.0),
        entries: vec![Draft::new(&large).unwrap()],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    let snapshot = store.read();
    let raw = &snapshot.entries(1, 1).unwrap()[0];
    assert!(raw.len() < 1_000);
    assert_eq!(snapshot.whole_entries(1, 1).unwrap()[0].entry, large);
    assert_eq!(
        snapshot.attachment(quietus_core::Digest([9; 32])).unwrap(),
        None
    );
}

#[tokio::test]
async fn nothing_that_was_not_committed_is_in_the_tree() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&options(folder.path())).unwrap());
    record(&store, 2).await;
    let refused = Commit {
        now: NOW,
        reads: vec![quietus::store::Read::Guards(77)],
        entries: drafts(3, 300),
        ..Commit::default()
    };
    store.commit(refused).await.unwrap_err();
    is_the_tree_of(&store, 2);
    record(&store, 1).await;
    is_the_tree_of(&store, 3);
}
