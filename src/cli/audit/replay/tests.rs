use std::time::SystemTime;

use super::*;
use crate::audit::replay::{Answer, Problem};
use crate::cli::style::Palette;

fn shown(replayed: &Replayed) -> String {
    let mut page = Page::new(Palette::PLAIN, SystemTime::UNIX_EPOCH);
    replayed.show(&mut page);
    page.into_text()
}

fn replayed(finding_count: u64, changes: Option<Vec<Change>>) -> Replayed {
    let answer = |outcome: &str, by: &[&str]| Answer {
        outcome: outcome.to_owned(),
        deciding: by.iter().map(ToString::to_string).collect(),
    };
    let finding = |entry| Finding {
        entry,
        agent: Some("spiffe://d/a".to_owned()),
        task: None,
        problem: Problem::Decision {
            scope: "db:read:t".to_owned(),
            recorded: answer("permit", &["p"]),
            replayed: answer("deny", &[]),
        },
    };
    Replayed {
        first: Some(1),
        last: Some(90),
        decisions: 60,
        finding_count,
        findings: (1..=finding_count).map(finding).collect(),
        changes,
        ..Replayed::default()
    }
}

fn change(first: u64, last: u64) -> Change {
    Change {
        agent: "spiffe://d/a".to_owned(),
        scope: "db:read:t".to_owned(),
        was: "approval_needed".to_owned(),
        would_be: "permit".to_owned(),
        deciding: vec!["p".to_owned(), "q".to_owned()],
        decisions: 3,
        first,
        last,
    }
}

#[test]
fn the_exit_code_tells() {
    let cases = [
        (replayed(0, None), Exit::Done),
        (replayed(1, None), Exit::Unproven),
        (replayed(0, Some(vec![])), Exit::Done),
        (replayed(0, Some(vec![change(1, 2)])), Exit::Different),
        (replayed(1, Some(vec![change(1, 2)])), Exit::Unproven),
    ];
    for (replayed, code) in cases {
        assert_eq!(exit(&replayed), code, "{replayed:?}");
    }
}

#[test]
fn findings_are_told_first() {
    assert_eq!(
        shown(&replayed(1, None)),
        "\
entry 1: db:read:t was recorded as permit by p, and is deny by no policy
  agent spiffe://d/a
60 decisions in entries 1 to 90: 1 finding
"
    );
    let many = shown(&replayed(25, None));
    assert!(
        many.contains("\nand 5 more: see them with -o json\n"),
        "{many}"
    );
    assert_eq!(many.matches("entry ").count(), 20);
}

#[test]
fn changes_are_a_table() {
    let changes = vec![change(7, 7), change(8, 80)];
    assert_eq!(
        shown(&replayed(0, Some(changes))),
        "\
AGENT         SCOPE      WAS              WOULD BE  BY    DECISIONS  ENTRIES
spiffe://d/a  db:read:t  approval needed  permit    p, q  3          7
spiffe://d/a  db:read:t  approval needed  permit    p, q  3          8 to 80
60 decisions in entries 1 to 90: 6 decisions would change
"
    );
    assert_eq!(
        shown(&replayed(0, Some(Vec::new()))),
        "60 decisions in entries 1 to 90: none would change\n"
    );
    assert_eq!(
        shown(&replayed(0, None)),
        "60 decisions in entries 1 to 90: all come out as recorded\n"
    );
    assert_eq!(shown(&Replayed::default()), "there are no entries\n");
}
