//! How fast a log is verified. Not a test: `cargo test --release -p quietus-ledger --test audit speed -- --ignored
//! --nocapture` tells.

use std::time::Instant;

use quietus_ledger::Sealed;

use crate::log;

#[test]
#[ignore = "a measurement"]
fn speed() {
    let entries = log::entries(200_000);
    let bytes: usize = entries.iter().map(Vec::len).sum();
    let count = entries.len();
    let per_second = |what: &str, work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        let rate = count as f64 / start.elapsed().as_secs_f64();
        println!("{what}: {rate:.0} entries/s");
    };
    println!("{count} entries of {} bytes each", bytes / count);
    per_second("strict parse", &mut || {
        assert!(entries.iter().all(|entry| Sealed::parse(entry).is_ok()));
    });
    per_second("leaf hash", &mut || {
        assert_eq!(log::leaves(&entries).len(), count);
    });
    let copy = log::copy(&entries);
    per_second("whole verification", &mut || {
        assert!(copy.verify().is_good())
    });
}
