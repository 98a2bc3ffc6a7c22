//! Everything that the ledger can say has happened, in one place.

/// One kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What entries call it: `noun.verb`.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// Every kind of event, by noun.
pub const EVENTS: [Kind; 26] = [
    kind(
        "action.recorded",
        "somebody reported what was done with a credential",
    ),
    kind("broker.started", "the broker began to serve"),
    kind("broker.stopped", "the broker stopped in good order"),
    kind(
        "clock.stepped_back",
        "the wall clock went back; effective time went on",
    ),
    kind(
        "clock.stepped_forward",
        "the wall clock went far ahead; what was due by then ended",
    ),
    kind(
        "clock.suspended",
        "the machine slept; what was due meanwhile ended",
    ),
    kind("freeze.lifted", "an operator lifted a freeze"),
    kind(
        "freeze.set",
        "an operator froze what the selector covers: nothing new is granted to it",
    ),
    kind(
        "keys.rotated",
        "a new token signing key took the place of the one in use",
    ),
    kind("lease.ended", "leases ended, the task goes on"),
    kind("lease.issued", "a credential was granted"),
    kind(
        "lease.renewed",
        "a lease was prolonged with a new credential",
    ),
    kind(
        "lease.settled",
        "a target answered: a credential was made, is dead, or an attempt failed",
    ),
    kind(
        "ledger.pruned",
        "the contents of the oldest entries were forgotten; their hashes stay",
    ),
    kind("policy.loaded", "a policy set came into force"),
    kind("request.refused", "a call was refused"),
    kind("revoke.ordered", "an operator ordered a wide revocation"),
    kind(
        "revoke.swept",
        "everything that a wide revocation covers has been ended",
    ),
    kind(
        "target.swept",
        "an operator had a target searched for credentials of no known lease",
    ),
    kind("task.ended", "a task ended, and all of its leases with it"),
    kind("task.hold_dropped", "the stream that held a task broke off"),
    kind("task.identity_renewed", "the agent came with a newer SVID"),
    kind("task.opened", "an agent opened a task"),
    kind(
        "task.purged",
        "a closed task was forgotten by the broker; the ledger keeps its story",
    ),
    kind(
        "text.erased",
        "texts that were reported with actions were erased; their commitments stay",
    ),
    kind(
        "trust.changed",
        "trust bundles were read anew; tasks of identities that are out of trust end",
    ),
];

const fn kind(name: &'static str, meaning: &'static str) -> Kind {
    Kind { name, meaning }
}

/// What an event means, if it is known here.
pub fn meaning(name: &str) -> Option<&'static str> {
    let place = EVENTS.binary_search_by(|kind| kind.name.cmp(name)).ok()?;
    EVENTS.get(place).map(|kind| kind.meaning)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn they_are_in_order_and_none_is_there_twice() {
        assert!(EVENTS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn every_event_that_the_broker_records_is_listed_and_no_other() {
        let recorded = recorded();
        assert!(recorded.len() > 15, "{recorded:?}");
        let listed: BTreeSet<_> = EVENTS.iter().map(|kind| kind.name.to_owned()).collect();
        let missing: Vec<_> = recorded.difference(&listed).collect();
        assert!(missing.is_empty(), "not in the table: {missing:?}");
        let unknown: Vec<_> = listed.difference(&recorded).collect();
        assert!(unknown.is_empty(), "nobody records: {unknown:?}");
    }

    #[test]
    fn what_is_not_listed_has_no_meaning() {
        for name in ["", "task", "task.open", "task.opened ", "TASK.OPENED"] {
            assert_eq!(meaning(name), None, "{name:?}");
        }
        assert_eq!(meaning("task.opened"), Some("an agent opened a task"));
    }

    /// Words of the form `noun.verb` in the code that writes the ledger.
    fn recorded() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        for place in ["engine", "store"] {
            below(&root.join(place), &mut files);
        }
        let mut found = BTreeSet::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for line in text.lines().filter(|line| !line.contains("failpoint::")) {
                let words = line.split('"').skip(1).step_by(2);
                found.extend(words.filter(|word| is_event(word)).map(str::to_owned));
            }
        }
        found
    }

    fn below(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => below(&path, files),
                false if path.ends_with("tests.rs") => {}
                false => files.push(path),
            }
        }
    }

    fn is_event(word: &str) -> bool {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let halves = word.split_once('.');
        halves.is_some_and(|(noun, verb)| part(noun) && part(verb) && noun != "quietus")
    }
}
