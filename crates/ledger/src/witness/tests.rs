#![allow(clippy::unwrap_used, clippy::panic)]

use ring::signature::Ed25519KeyPair;

use super::*;
use crate::merkle::{Leaves, consistency, leaf, root};
use crate::note::Signer;

const ORIGIN: &str = "example.com/log";

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf(&n.to_be_bytes())).collect()
}

fn head(size: u64) -> Hash {
    root(&Leaves(&leaves(size)), size).unwrap()
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap()
}

fn verifiers() -> [Verifier; 1] {
    let pair = pair();
    [Signer::new(ORIGIN, &pair).unwrap().verifier().clone()]
}

fn submission(old: u64, new: u64) -> Submission {
    let pair = pair();
    let checkpoint = Checkpoint::new(ORIGIN, new, head(new));
    Submission {
        old,
        proof: consistency(&Leaves(&leaves(new)), old, new).unwrap(),
        note: checkpoint
            .sign(&[Signer::new(ORIGIN, &pair).unwrap()])
            .unwrap(),
    }
}

#[test]
fn the_published_body_reads_and_is_written_again() {
    let body = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
        \n\
        example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    let submission = Submission::parse(body.as_bytes()).unwrap();
    assert_eq!((submission.old, submission.proof.len()), (20_852_014, 4));
    assert!(submission.note.starts_with("example.com/behind-the-sofa\n"));
    assert_eq!(submission.body().as_deref(), Ok(body));
}

#[test]
fn every_growth_is_taken_by_a_witness_that_knows_the_old_tree() {
    for new in 0..40 {
        for old in 0..=new {
            let submission = submission(old, new);
            let body = submission.body().unwrap();
            let read = Submission::parse(body.as_bytes()).unwrap();
            assert_eq!(read, submission);
            let known = (old > 0).then(|| (old, head(old)));
            let taken = read.verify(ORIGIN, &verifiers(), known).unwrap();
            assert_eq!((taken.size, taken.root), (new, head(new)), "{old} {new}");
        }
    }
}

#[test]
fn another_history_another_size_another_log_and_another_key_are_not_cosigned() {
    let good = submission(5, 9);
    let verify = |submission: &Submission, known| submission.verify(ORIGIN, &verifiers(), known);
    assert_eq!(
        verify(&good, Some((5, [7; 32]))),
        Err(SubmissionError::Inconsistent(ProofError::Root))
    );
    let conflict = |known| SubmissionError::Conflict { known, old: 5 };
    assert_eq!(verify(&good, Some((6, head(6)))), Err(conflict(6)));
    assert_eq!(verify(&good, None), Err(conflict(0)));
    let mut shrunk = submission(3, 5);
    shrunk.old = 9;
    assert!(matches!(
        verify(&shrunk, Some((9, head(9)))),
        Err(SubmissionError::Inconsistent(ProofError::Sizes { .. }))
    ));
    let mut without = good.clone();
    without.proof.pop();
    assert!(verify(&without, Some((5, head(5)))).is_err());
    let mut more = submission(0, 9);
    more.proof.push([0; 32]);
    assert!(verify(&more, None).is_err());
    let other = good.verify("example.com/other", &verifiers(), Some((5, head(5))));
    assert!(matches!(other, Err(SubmissionError::Checkpoint(_))));
    let unsigned = good.verify(ORIGIN, &[], Some((5, head(5))));
    assert!(matches!(unsigned, Err(SubmissionError::Checkpoint(_))));
}

#[test]
fn what_is_no_submission_is_refused() {
    let note = "a\n";
    for head in [
        "",
        "old",
        "old ",
        "old 05",
        "old -1",
        "old +1",
        "old 1 ",
        "new 1",
        "OLD 1",
        "old 1\nAAAA",
        "old 1\nnonsense",
        "old 18446744073709551616",
        "1",
        "old 1\r",
    ] {
        let body = format!("{head}\n\n{note}");
        assert_eq!(
            Submission::parse(body.as_bytes()),
            Err(SubmissionError::Malformed),
            "{head:?}"
        );
    }
    for body in [&b"old 1\n"[..], b"\xff", b"old 1"] {
        assert_eq!(Submission::parse(body), Err(SubmissionError::Malformed));
    }
    let long = vec![b'a'; MAX_BODY + 1];
    assert_eq!(
        Submission::parse(&long),
        Err(SubmissionError::TooLarge(MAX_BODY + 1))
    );
    let proof = |hashes| Submission {
        old: 1,
        proof: vec![[0; 32]; hashes],
        note: note.to_owned(),
    };
    assert!(proof(MAX_PROOF).body().is_ok());
    assert_eq!(proof(MAX_PROOF + 1).body(), Err(SubmissionError::Proof));
}

#[test]
fn a_conflict_tells_the_size() {
    assert_eq!(known_size(b"20852014\n"), Some(20_852_014));
    assert_eq!(known_size(b"0\n"), Some(0));
    for body in [
        &b""[..],
        b"\n",
        b"7",
        b"07\n",
        b"+7\n",
        b"7\n\n",
        b" 7\n",
        b"x\n",
        b"\xff\n",
    ] {
        assert_eq!(known_size(body), None, "{body:?}");
    }
}
