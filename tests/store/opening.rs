//! What is not a store of this version, or is somebody else's, is left alone.

use std::fs;
use std::path::Path;

use quietus::store::{OpenError, Options, Store, StoreError};
use redb::{ReadableDatabase, TableDefinition};

use crate::disks::options;
use crate::inside::commits::{NOW, made, opening};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

async fn store_with_a_task(options: &Options) {
    let store = Store::open(options).unwrap();
    made(&store, opening(1, "a", NOW).0).await;
}

#[tokio::test]
async fn a_store_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let first = Store::open(&options).unwrap();
    let second = Store::open(&options)
        .err()
        .expect("a second opening is refused");
    assert!(matches!(second, OpenError::Database { .. }), "{second}");
    assert!(second.to_string().contains("quietus.redb"), "{second}");
    made(&first, opening(1, "a", NOW).0).await;
    drop(first);
    let again = Store::open(&options).unwrap();
    assert_eq!(again.header().open_tasks, 1);
}

#[tokio::test]
async fn a_store_of_another_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    store_with_a_task(&options).await;
    for other in [2, 4] {
        let db = redb::Database::open(&options.path).unwrap();
        let mut header = {
            let meta = db.begin_read().unwrap().open_table(META).unwrap();
            meta.get("header").unwrap().unwrap().value().to_vec()
        };
        header[0] = other;
        let write = db.begin_write().unwrap();
        let mut meta = write.open_table(META).unwrap();
        meta.insert("header", header.as_slice()).unwrap();
        drop(meta);
        write.commit().unwrap();
        drop(db);
        let refused = Store::open(&options).err().unwrap();
        let OpenError::Broken(StoreError::Schema { found, expected }) = refused else {
            panic!("{refused}");
        };
        assert_eq!((found, expected), (u32::from(other), 3));
    }
}

#[tokio::test]
async fn what_is_not_a_store_is_refused_and_left_as_it_is() {
    let text = b"Dear diary, today nothing was revoked.\n".repeat(500);
    type Spoil = Box<dyn Fn(&Path)>;
    let cases: [(&str, Spoil); 3] = [
        (
            "text",
            Box::new(move |path| fs::write(path, &text).unwrap()),
        ),
        (
            "zeros",
            Box::new(|path| fs::write(path, vec![0; 1 << 16]).unwrap()),
        ),
        ("half", Box::new(halve)),
    ];
    for (name, spoil) in cases {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        store_with_a_task(&options).await;
        spoil(&options.path);
        let before = fs::read(&options.path).unwrap();
        let refused = Store::open(&options).err().expect(name);
        let told = refused.to_string();
        assert!(told.contains("quietus.redb"), "{name}: {told}");
        if name == "text" {
            assert!(fs::read(&options.path).unwrap() == before, "{name}");
        }
    }
}

fn halve(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len / 2).unwrap();
}

#[tokio::test]
async fn a_store_that_was_emptied_is_not_taken_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    store_with_a_task(&options).await;
    fs::write(&options.path, b"").unwrap();
    let refused = Store::open(&options).err().unwrap();
    assert!(
        matches!(
            refused,
            OpenError::Restored {
                found: 0,
                expected: 1,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_crash_in_the_first_opening_leaves_a_store_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    drop(Store::open(&options).unwrap());
    // The header was committed; the mark had been made, but nothing was written into it yet.
    fs::write(options.path.with_extension("mark"), b"").unwrap();
    Store::open(&options).unwrap();
}
