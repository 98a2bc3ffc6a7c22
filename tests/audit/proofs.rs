//! That what the broker proves can be verified by who has nothing but its public key.

use quietus::api::v1;
use quietus_ledger::merkle::{self, Hash};
use quietus_ledger::tiles::{self, Kind, Tile};
use tonic::Code;

use crate::common::*;
use crate::hall::*;
use crate::help::*;

fn hashes(bytes: &[Vec<u8>]) -> Vec<Hash> {
    bytes
        .iter()
        .map(|hash| hash.as_slice().try_into().unwrap())
        .collect()
}

fn root(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_of_a_tree_is_proven_to_be_in_it_and_no_other() {
    let stage = hall().await;
    grow_to(&stage, 700).await;
    let mut client = audit(&stage, "auditor").await;
    let newest = believed(&stage.world, &settled(&stage).await.note);
    let entries = read(&client, v1::ReadEntriesRequest::default())
        .await
        .unwrap();
    for size in [1, 2, 3, 7, 255, 256, 257, 511, 512, 513, 700] {
        for entry in [1, 2, size / 2, size - 1, size] {
            if !(1..=size).contains(&entry) {
                continue;
            }
            let request = v1::ProveInclusionRequest { entry, size };
            let proof = client.prove_inclusion(request).await.unwrap().into_inner();
            assert_eq!(proof.size, size);
            let bytes = &entries[entry as usize - 1];
            let (leaf, path) = (merkle::leaf(bytes), hashes(&proof.hashes));
            let expected = root(&proof.root);
            merkle::verify_inclusion(&path, &leaf, entry - 1, size, &expected).unwrap();
            assert!(merkle::verify_inclusion(&path, &leaf, entry, size, &expected).is_err());
            let mut altered = bytes.clone();
            altered[20] ^= 1;
            let altered = merkle::leaf(&altered);
            assert!(merkle::verify_inclusion(&path, &altered, entry - 1, size, &expected).is_err());
            if size == newest.size {
                assert_eq!(expected, newest.root);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_is_proven_to_be_the_beginning_of_every_later_one() {
    let stage = hall().await;
    grow_to(&stage, 600).await;
    settled(&stage).await;
    let mut client = audit(&stage, "auditor").await;
    let sizes = [1, 2, 3, 5, 64, 255, 256, 257, 300, 511, 512, 599, 600];
    for (place, old) in sizes.iter().enumerate() {
        for new in &sizes[place..] {
            let (old, new) = (*old, *new);
            let request = v1::ProveConsistencyRequest { old, new };
            let proof = client
                .prove_consistency(request)
                .await
                .unwrap()
                .into_inner();
            let path = hashes(&proof.hashes);
            let (before, after) = (root(&proof.old_root), root(&proof.new_root));
            merkle::verify_consistency(&path, (old, &before), (new, &after)).unwrap();
            let mut other = before;
            other[0] ^= 1;
            assert!(merkle::verify_consistency(&path, (old, &other), (new, &after)).is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_signed_at_every_256_entries_and_soon_after_anything_happens() {
    let mut stage = hall().await;
    let mut client = audit(&stage, "auditor").await;
    for size in [256, 512, 768] {
        grow_to(&stage, size).await;
    }
    open(&mut stage.agent).await;
    // Nobody asks for it: the broker signs by itself.
    let newest = settled(&stage).await;
    assert_eq!(newest.size, stage.seq());
    let listed = client.list_checkpoints(v1::ListCheckpointsRequest::default());
    let listed = listed.await.unwrap().into_inner().checkpoints;
    let sizes: Vec<u64> = listed.iter().map(|head| head.size).collect();
    assert!(sizes.is_sorted());
    for size in [256, 512, 768, newest.size] {
        assert!(sizes.contains(&size), "{size} is not among {sizes:?}");
    }
    let roots: Vec<_> = listed
        .iter()
        .map(|head| believed(&stage.world, &head.note))
        .collect();
    for (head, told) in roots.iter().zip(&listed) {
        assert_eq!((head.size, &*head.origin), (told.size, ORIGIN));
    }
    let at_most = v1::GetCheckpointRequest { at_most: 700 };
    let found = client.get_checkpoint(at_most).await.unwrap().into_inner();
    assert_eq!(found.size, 512);
    let page = v1::ListCheckpointsRequest {
        after: 256,
        page_size: 1,
    };
    let page = client
        .list_checkpoints(page)
        .await
        .unwrap()
        .into_inner()
        .checkpoints;
    assert_eq!(page.len(), 1);
    assert!(page[0].size > 256);
    let beyond = v1::ListCheckpointsRequest {
        after: newest.size + 1000,
        page_size: 0,
    };
    let none = client
        .list_checkpoints(beyond)
        .await
        .unwrap()
        .into_inner()
        .checkpoints;
    assert!(none.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_and_bundles_lead_to_the_root() {
    let stage = hall().await;
    grow_to(&stage, 600).await;
    let newest = believed(&stage.world, &settled(&stage).await.note);
    let client = audit(&stage, "auditor").await;
    let mut leaves = Vec::new();
    for index in 0..3 {
        let [hashes, bundle] = [Kind::Hashes(0), Kind::Entries]
            .map(|kind| Tile::of(kind, index, newest.size).unwrap());
        let get = async |tile: Tile| {
            let path = tile.to_string();
            let answer = client.clone().get_tile(v1::GetTileRequest { path }).await;
            answer.unwrap().into_inner().content
        };
        let told = hashes.hashes(&get(hashes).await).unwrap();
        let bytes = get(bundle).await;
        let entries = tiles::entries(&bytes, bundle.width()).unwrap();
        let own: Vec<_> = entries.into_iter().map(merkle::leaf).collect();
        assert_eq!(told, own);
        leaves.extend(own);
    }
    let computed = merkle::root(&merkle::Leaves(&leaves), newest.size).unwrap();
    assert_eq!(computed, newest.root);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_same_tree() {
    let stage = hall().await;
    grow_to(&stage, 300).await;
    let before = believed(&stage.world, &settled(&stage).await.note);
    let world = stage.stop().await;
    let stage = Stage::on(world, |_| {}).await;
    grow(&stage, 300).await;
    let after = believed(&stage.world, &settled(&stage).await.note);
    assert!(after.size > before.size + 300);
    let mut client = audit(&stage, "auditor").await;
    let request = v1::ProveConsistencyRequest {
        old: before.size,
        new: after.size,
    };
    let proof = client
        .prove_consistency(request)
        .await
        .unwrap()
        .into_inner();
    let path = hashes(&proof.hashes);
    merkle::verify_consistency(
        &path,
        (before.size, &before.root),
        (after.size, &after.root),
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_is_refused_but_still_proven() {
    let stage = hall().await;
    grow_to(&stage, 600).await;
    let newest = believed(&stage.world, &settled(&stage).await.note);
    let mut client = audit(&stage, "auditor").await;
    let first = read(
        &client,
        v1::ReadEntriesRequest {
            to: 1,
            ..Default::default()
        },
    )
    .await
    .unwrap();
    prune(&stage, 256).await;
    for from in [0, 1, 2, 256] {
        let request = v1::ReadEntriesRequest {
            from,
            ..Default::default()
        };
        let answer = client.read_entries(request).await;
        let status = answer.map(drop).unwrap_err();
        assert_eq!(reason(&status), "PRUNED", "{status:?}");
        assert_ne!(status.code(), Code::Ok);
    }
    let path = "tile/entries/000".to_owned();
    let answer = client.get_tile(v1::GetTileRequest { path }).await;
    refused(answer, Code::OutOfRange, "PRUNED");
    let path = "tile/0/000".to_owned();
    client.get_tile(v1::GetTileRequest { path }).await.unwrap();
    let rest = v1::ReadEntriesRequest {
        from: 257,
        to: 600,
        ..Default::default()
    };
    assert_eq!(read(&client, rest).await.unwrap().len(), 344);
    let request = v1::ProveInclusionRequest {
        entry: 1,
        size: newest.size,
    };
    let proof = client.prove_inclusion(request).await.unwrap().into_inner();
    let leaf = merkle::leaf(&first[0]);
    merkle::verify_inclusion(&hashes(&proof.hashes), &leaf, 0, newest.size, &newest.root).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_an_altered_entry_among_the_last_does_not_open() {
    use redb::{ReadableDatabase, TableDefinition};
    const LEDGER: TableDefinition<u64, &[u8]> = TableDefinition::new("ledger");
    let stage = hall().await;
    grow_to(&stage, 300).await;
    let world = stage.stop().await;
    let alter = |seq: u64, byte: usize| {
        let db = redb::Database::open(world.store()).unwrap();
        let mut bytes = {
            let ledger = db.begin_read().unwrap().open_table(LEDGER).unwrap();
            ledger.get(seq).unwrap().unwrap().value().to_vec()
        };
        bytes[byte] ^= 1;
        let write = db.begin_write().unwrap();
        write
            .open_table(LEDGER)
            .unwrap()
            .insert(seq, bytes.as_slice())
            .unwrap();
        write.commit().unwrap();
    };
    for seq in [257, 280, 300] {
        alter(seq, 40);
        let opened = world
            .serve_with(world.config(), quietus::broker::Options::default())
            .await;
        let error = opened.map(drop).unwrap_err().to_string();
        assert!(error.contains("altered or damaged"), "{error}");
        alter(seq, 40);
    }
    world.serve().await.stop().await.unwrap();
}
