#![allow(clippy::unwrap_used, clippy::panic)]

use quietus_ledger::{
    Caller, Checkpoint, Decision, Draft, Entry, Frontier, Lease, VERSION, merkle,
};

use super::*;

const GOLDEN: &str = include_str!("golden.md");
const AGENT: &str = "spiffe://dev.example/agent/builder";
const TASK: &str = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";
/// 2026-11-01T00:00:00Z
const START: u64 = 1_793_491_200_000;

/// What each framework asks for, said once more: identifiers, kinds, and `p` where it is a part.
const MAPPED: [(&str, &str); 6] = [
    (
        "owasp-agentic-2026",
        "ASI01 E4 E5 p; ASI02 E2 E4 E5; ASI03 E1 E2 E3 E9; ASI04 E1 p; ASI05 E2 E8 p; ASI06 E10 p; ASI07 E1; ASI08 E3 E7 E8; ASI09 E5; ASI10 E6 E8",
    ),
    (
        "owasp-nhi-2025",
        "NHI1 E3; NHI2 E2 E10; NHI3 E2 E8 p; NHI4 E1; NHI5 E4 E9; NHI6 E1 p; NHI7 E2; NHI8 E1 E4; NHI9 E2; NHI10 E1 E5",
    ),
    (
        "nist-ai-rmf",
        "GOVERN E4 E5; MAP E9; MEASURE E3 E6; MANAGE E7 E8",
    ),
    (
        "nist-csf-2",
        "PR.AA-01 E2 E3; PR.AA-02 E1 p; PR.AA-03 E1; PR.AA-04 E1; PR.AA-05 E4 E5 E9; PR.AA-06; PR.PS-04 E6; DE.CM-03 E6; DE.CM-06 E6; DE.CM-09 E6; RS.AN-06 E6; RS.AN-07 E6; RS.MI-01 E3 E8; RS.MI-02 E3 E8",
    ),
    (
        "csa-maestro",
        "L1; L2; L3 E2; L4 E1; L5 E6; L6 E4 E6; L7 E1 E8",
    ),
    (
        "mitre-atlas",
        "AML.T0012 E1 E2; AML.T0053 E4; AML.T0055 E10; AML.T0082 E2 E10; AML.T0083 E2 E10; AML.T0098 E2 E10; AML.T0086 E4 E5; AML.T0101 E4 E5; AML.T0091.000 E3; AML.T0034.002 E7; AML.M0024 E6; AML.M0026 E9; AML.M0028 E2; AML.M0029 E5",
    ),
];

#[test]
fn every_identifier_is_there_with_what_bears_on_it() {
    assert_eq!(frameworks::ALL.len(), MAPPED.len());
    for (id, mapped) in MAPPED {
        let framework = frameworks::named(id).unwrap();
        let told = framework.controls.iter().map(|control| {
            let kinds = control.kinds.iter().map(|kind| format!(" {}", kind.name()));
            let partial = if control.partial { " p" } else { "" };
            assert!(!control.title.is_empty());
            format!("{}{}{partial}", control.id, kinds.collect::<String>())
        });
        assert_eq!(told.collect::<Vec<_>>().join("; "), mapped);
    }
}

fn entry(event: &str, seconds: u64) -> Entry {
    Entry {
        broker: "spiffe://dev.example/broker".to_owned(),
        event: event.to_owned(),
        time: START + seconds * 1000,
        v: VERSION,
        ..Entry::default()
    }
}

fn by_agent(event: &str, seconds: u64) -> Entry {
    Entry {
        agent: Some(AGENT.to_owned()),
        caller: Some(Caller {
            certificate: "ab".repeat(32),
            id: AGENT.to_owned(),
        }),
        ..entry(event, seconds)
    }
}

fn lease(number: u32, state: &str) -> Lease {
    Lease {
        id: format!("{TASK}.{number}"),
        state: state.to_owned(),
        target: "orders-db".to_owned(),
        ..Lease::default()
    }
}

fn issued(number: u32, seconds: u64, ttl: u64) -> Entry {
    Entry {
        decisions: vec![Decision {
            deciding: vec!["reads".to_owned()],
            outcome: "permit".to_owned(),
            scope: "orders-db:read:public.orders".to_owned(),
        }],
        leases: vec![Lease {
            bound: Some("request".to_owned()),
            expires_at: Some(START + (seconds + ttl) * 1000),
            fingerprint: Some("cd".repeat(32)),
            ..lease(number, "Active")
        }],
        policy: Some("ef".repeat(32)),
        ..by_agent("lease.issued", seconds)
    }
}

fn refused(refusal: &str, seconds: u64) -> Entry {
    Entry {
        refusal: Some(refusal.to_owned()),
        ..by_agent("request.refused", seconds)
    }
}

fn ended(event: &str, seconds: u64, leases: Vec<Lease>) -> Entry {
    let cause = Some("operator".to_owned());
    let because = |lease| Lease {
        cause: cause.clone(),
        ..lease
    };
    Entry {
        leases: leases.into_iter().map(because).collect(),
        cause: cause.clone(),
        ..entry(event, seconds)
    }
}

fn dead(number: u32, how: &str) -> Lease {
    Lease {
        confirmed: Some(how.to_owned()),
        ..lease(number, "Ended")
    }
}

/// A little of everything.
fn some_log() -> Vec<Entry> {
    let loaded = Entry {
        policy: Some("ef".repeat(32)),
        ..entry("policy.loaded", 0)
    };
    let mut denied = refused("DENIED_BY_POLICY", 20);
    denied.decisions = vec![Decision {
        deciding: Vec::new(),
        outcome: "deny".to_owned(),
        scope: "orders-db:admin:x".to_owned(),
    }];
    denied.policy = Some("ef".repeat(32));
    vec![
        entry("broker.started", 0),
        loaded,
        by_agent("task.opened", 5),
        issued(0, 10, 300),
        issued(1, 11, 60),
        issued(2, 12, 3_600),
        denied,
        refused("TOO_MANY_LIVE_LEASES", 21),
        refused("SVID_EXPIRED", 22),
        entry("freeze.set", 30),
        refused("FROZEN", 31),
        ended(
            "task.ended",
            40,
            vec![
                dead(0, "refused_by_introspection"),
                lease(1, "Revoking"),
                lease(2, "Revoking"),
            ],
        ),
        ended("lease.settled", 43, vec![dead(1, "deleted_at_target")]),
        entry("clock.stepped_back", 50),
    ]
}

fn asked(id: &str) -> Asked<'static> {
    Asked {
        framework: frameworks::named(id).unwrap(),
        from: 1,
        since: None,
        until: None,
        at: Timestamp(START + 86_400_000),
        replay: false,
        keys: &[],
        config: None,
    }
}

fn sealed(entries: &[Entry]) -> Vec<Vec<u8>> {
    let entries = (1..).zip(entries);
    let sealed = entries.map(|(seq, entry)| Draft::new(entry).unwrap().seal(seq));
    sealed.collect()
}

fn note(entries: &[Vec<u8>]) -> String {
    let mut frontier = Frontier::new(0, Vec::new()).unwrap();
    for entry in entries {
        frontier.push(merkle::leaf(entry), |_, _, _| {});
    }
    let head = Checkpoint::new("log.example/`x`", frontier.size(), frontier.root());
    format!("{}\n— log.example/x AAAA\n", head.text().unwrap())
}

fn reported(asked: &Asked<'_>, entries: &[Vec<u8>], note: &str) -> Report {
    let record = Record::new(note.as_bytes(), asked.keys, asked.from).unwrap();
    let mut reading = Reading::new(asked, record);
    for (seq, bytes) in (1..).zip(entries) {
        reading.record.push(seq, bytes);
        match reading.open(seq, bytes) {
            Opened::Unreadable | Opened::After => {}
            Opened::Before(sealed) => reading.count(&sealed, false).unwrap(),
            Opened::Within(sealed) => reading.count(&sealed, true).unwrap(),
        }
    }
    reading.finish().unwrap()
}

fn of_some_log(asked: &Asked<'_>) -> Report {
    let entries = sealed(&some_log());
    reported(asked, &entries, &note(&entries))
}

fn kind(report: &Report, kind: Kind) -> &Evidence {
    let mut evidence = report.evidence.iter();
    evidence.find(|evidence| evidence.kind == kind).unwrap()
}

fn value<'r>(report: &'r Report, of: Kind, what: &str) -> &'r str {
    let mut figures = kind(report, of).figures.iter();
    &figures.find(|figure| figure.what == what).unwrap().value
}

fn stands(report: &Report, id: &str) -> Stands {
    let mut controls = report.controls.iter();
    controls.find(|control| control.id == id).unwrap().stands
}

#[test]
fn the_report_of_a_fixed_log_is_this_one() {
    let report = of_some_log(&asked("owasp-agentic-2026"));
    let text = report.to_string();
    if std::env::var_os("QUIETUS_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/audit/report/golden.md");
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(
        text, GOLDEN,
        "write it anew with QUIETUS_GOLDEN=1 and read what changed"
    );
    assert!(!report.is_contradicted());
}

#[test]
fn figures_are_what_the_entries_say() {
    let report = of_some_log(&asked("nist-csf-2"));
    assert_eq!(value(&report, Kind::E2, "longest lifetime"), "1h");
    assert_eq!(value(&report, Kind::E2, "median lifetime"), "5m");
    assert_eq!(
        value(&report, Kind::E3, "deaths confirmed"),
        "2 (deleted_at_target 1, refused_by_introspection 1)"
    );
    let unconfirmed = "not confirmed when the period ended";
    assert_eq!(value(&report, Kind::E3, unconfirmed), "1");
    assert_eq!(value(&report, Kind::E3, "longest lag"), "3s");
    assert_eq!(value(&report, Kind::E4, "deny"), "1");
    assert_eq!(kind(&report, Kind::E7).seen.examples, [8]);
}

#[test]
fn a_period_counts_its_own_entries_and_what_was_still_dying() {
    let narrow = Asked {
        since: Some(Timestamp(START + 41_000)),
        until: Some(Timestamp(START + 50_000)),
        ..asked("owasp-nhi-2025")
    };
    let report = of_some_log(&narrow);
    assert_eq!(
        (report.entries.first, report.entries.last),
        (Some(13), Some(13))
    );
    assert_eq!(value(&report, Kind::E3, "longest lag"), "3s");
    assert_eq!(value(&report, Kind::E3, "credentials ended"), "0");
    assert_eq!(stands(&report, "NHI1"), Stands::Evidence);
    assert_eq!(stands(&report, "NHI7"), Stands::NoEntries);
    assert_eq!(report.record.root_matches, Some(true));
}

#[test]
fn an_empty_log_does_not_look_like_compliance() {
    for framework in &frameworks::ALL {
        let report = reported(&asked(framework.id), &[], &note(&[]));
        for control in &report.controls {
            let nothing = [Stands::NoEntries, Stands::None];
            assert!(nothing.contains(&control.stands), "{control:?}");
        }
        let text = report.to_string();
        assert!(
            text.contains("- Entries: **none in this period**"),
            "{text}"
        );
        assert!(!text.contains("| evidence"), "{text}");
    }
}

#[test]
fn settings_alone_are_no_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::dev::DevDomainOptions {
        trust_domain: "dev.example".parse().unwrap(),
        listen: "127.0.0.1:8443".parse().unwrap(),
        now: std::time::UNIX_EPOCH + std::time::Duration::from_millis(START),
        lifetime: std::time::Duration::from_secs(3_600),
        force: false,
    };
    let domain = crate::dev::DevDomain::create(folder.path(), &options).unwrap();
    let config = Config::load(domain.config()).unwrap();
    let asked = Asked {
        config: Some(&config),
        ..asked("mitre-atlas")
    };
    let report = reported(&asked, &[], &note(&[]));
    assert_eq!(stands(&report, "AML.T0034.002"), Stands::NoEntries);
    let settings = &kind(&report, Kind::E7).settings;
    assert!(
        settings
            .iter()
            .any(|setting| setting.what == "limits.open_tasks_per_agent")
    );
    assert!(report.to_string().contains("- `limits.max_ttl`: 1h\n"));
}

#[test]
fn what_the_broker_does_not_bear_on_is_none_whatever_is_recorded() {
    let maestro = of_some_log(&asked("csa-maestro"));
    assert_eq!(stands(&maestro, "L1"), Stands::None);
    let agentic = of_some_log(&asked("owasp-agentic-2026"));
    assert_eq!(stands(&agentic, "ASI09"), Stands::None);
    assert_eq!(stands(&agentic, "ASI03"), Stands::Partial);
    assert_eq!(stands(&agentic, "ASI10"), Stands::Evidence);
    let rmf = of_some_log(&asked("nist-ai-rmf"));
    assert_eq!(stands(&rmf, "MAP"), Stands::None);
}

#[test]
fn what_does_not_hold_is_said() {
    let entries = sealed(&some_log());
    let whole = note(&entries);
    let mut altered = entries.clone();
    altered.swap(3, 4);
    let mut broken = entries.clone();
    broken[5] = b"{}".to_vec();
    let cases = [altered, broken, entries[..9].to_vec(), Vec::new()];
    for entries in cases {
        let report = reported(&asked("owasp-agentic-2026"), &entries, &whole);
        assert!(report.is_contradicted());
        assert_eq!(stands(&report, "ASI10"), Stands::Contradicted);
        assert!(report.to_string().contains("does not hold"));
    }
}

#[test]
fn a_checkpoint_that_nobody_known_signed_does_not_hold() {
    let pair =
        |seed: u8| ring::signature::Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let (ours, other) = (pair(1), pair(2));
    let entries = sealed(&some_log());
    let text = note(&entries);
    let text = text.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let sign = |pair| quietus_ledger::Signer::new("log.example/x", pair).unwrap();
    let note = quietus_ledger::note::sign(&text, &[sign(&ours)]).unwrap();
    for (pair, holds) in [(&ours, true), (&other, false)] {
        let keys = [sign(pair).verifier().clone()];
        let asked = Asked {
            keys: &keys,
            ..asked("nist-csf-2")
        };
        let report = reported(&asked, &entries, &note);
        assert_eq!(report.record.signed, Some(holds));
        assert_eq!(report.is_contradicted(), !holds);
    }
}

#[test]
fn words_from_the_log_cannot_write_the_report() {
    let mut entries = some_log();
    entries[7].refusal = Some("TOO_MANY_|\n# `x` <b> [y](z)".to_owned());
    entries[1].broker = "a`\n|b".to_owned();
    let entries = sealed(&entries);
    let text = reported(&asked("nist-ai-rmf"), &entries, &note(&entries)).to_string();
    assert!(
        text.contains(r"TOO_MANY_\|\# \`x\` \<b\> \[y\](z) 1"),
        "{text}"
    );
    assert!(text.contains("`a''b`"), "{text}");
    assert!(text.contains("- Log: `log.example/'x'`\n"), "{text}");
}

#[test]
fn a_replay_that_differs_takes_decisions_off_the_evidence() {
    let asked = Asked {
        replay: true,
        ..asked("nist-ai-rmf")
    };
    let entries = sealed(&some_log());
    let record = Record::new(note(&entries).as_bytes(), &[], 1).unwrap();
    let mut reading = Reading::new(&asked, record);
    for (seq, bytes) in (1..).zip(&entries) {
        reading.record.push(seq, bytes);
        let Opened::Within(sealed) = reading.open(seq, bytes) else {
            panic!("entry {seq}");
        };
        reading.count(&sealed, true).unwrap();
        // Their policy set is not archived.
        reading.replay.as_mut().unwrap().take(&sealed);
    }
    let report = reading.finish().unwrap();
    assert_eq!(stands(&report, "GOVERN"), Stands::Contradicted);
    assert!(value(&report, Kind::E4, "made again").contains("findings"));
}
