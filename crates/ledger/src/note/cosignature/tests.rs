#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::note::{Signer, Verifier, sign};

const TEXT: &str = "example.com/log\n5\nxvqmNnkJBHMbBdBJJBGBA5cYZ9dSyyTK8hMj6UiA1Tw=\n";

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn note() -> String {
    let pair = pair(1);
    sign(TEXT, &[Signer::new("example.com/log", &pair).unwrap()]).unwrap()
}

fn seen(cosigner: &Cosigner, note: &str) -> Result<Option<u64>, NoteError> {
    cosigner.verify(&Note::parse(note.as_bytes())?)
}

/// The one in the specification: its keys are not published, but its key id and time are.
#[test]
fn the_published_cosignature_has_the_published_time() {
    let note = "example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let note = Note::parse(note.as_bytes()).unwrap();
    let signature = &note.signatures[1].signature;
    let time = u64::from_be_bytes(*signature.first_chunk().unwrap());
    assert_eq!((signature.len(), time), (72, 1_679_315_147));
    let message = message(note.text, time);
    assert!(
        message.starts_with(
            "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        )
    );
}

#[test]
fn a_cosignature_tells_its_time_and_leaves_the_log_s_own_signature_as_it_was() {
    let (log, witness) = (pair(1), pair(2));
    let verifier = Signer::new("example.com/log", &log)
        .unwrap()
        .verifier()
        .clone();
    let witness = Witness::new("witness.example/w1", &witness).unwrap();
    let line = witness.cosign(TEXT, 1_679_315_147);
    let whole = add_cosignatures(
        note().as_bytes(),
        line.as_bytes(),
        &[witness.cosigner().clone()],
    );
    let whole = whole.unwrap();
    assert_eq!(whole, note() + &line);
    assert_eq!(seen(witness.cosigner(), &whole), Ok(Some(1_679_315_147)));
    assert_eq!(seen(witness.cosigner(), &note()), Ok(None));
    let parsed = Note::parse(whole.as_bytes()).unwrap();
    assert_eq!(parsed.verify(&[verifier]), Ok(TEXT));
}

#[test]
fn every_flipped_bit_of_a_cosigned_note_is_found() {
    let (log, witness) = (pair(1), pair(2));
    let verifier = Signer::new("example.com/log", &log)
        .unwrap()
        .verifier()
        .clone();
    let witness = Witness::new("witness.example/w1", &witness).unwrap();
    let whole = note() + &witness.cosign(TEXT, 7);
    let good = |bytes: &[u8]| {
        let Ok(note) = Note::parse(bytes) else {
            return false;
        };
        let log = note.verify(std::slice::from_ref(&verifier)).is_ok();
        log && witness.cosigner().verify(&note) == Ok(Some(7))
    };
    assert!(good(whole.as_bytes()));
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            assert!(!good(&bytes), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn the_latest_of_each_witness_is_kept_and_others_are_ignored() {
    let pairs = [pair(2), pair(3), pair(4)];
    let names = [
        "witness.example/w1",
        "witness.example/w2",
        "stranger.example",
    ];
    let witnesses: Vec<_> = names
        .iter()
        .zip(&pairs)
        .map(|(name, pair)| Witness::new(name, pair).unwrap())
        .collect();
    let known = [&witnesses[0], &witnesses[1]].map(|witness| witness.cosigner().clone());
    let add = |note: &str, lines: &str| add_cosignatures(note.as_bytes(), lines.as_bytes(), &known);
    let lines =
        [(0, 10), (2, 10), (0, 9)].map(|(who, time): (usize, _)| witnesses[who].cosign(TEXT, time));
    let note = add(&note(), &lines.concat()).unwrap();
    assert_eq!(note, self::note() + &lines[0]);
    let older = add(&note, &witnesses[0].cosign(TEXT, 8)).unwrap();
    assert_eq!(older, note);
    let newer = add(&note, &witnesses[0].cosign(TEXT, 11)).unwrap();
    assert_eq!(seen(&known[0], &newer), Ok(Some(11)));
    assert_eq!(newer.lines().count(), note.lines().count());
    let both = add(&newer, &witnesses[1].cosign(TEXT, 12)).unwrap();
    assert_eq!(seen(&known[1], &both), Ok(Some(12)));
    let only_stranger = add(&note, &lines[1]).unwrap();
    assert_eq!(only_stranger, note);
}

#[test]
fn false_answers_are_refused() {
    let witness = pair(2);
    let witness = Witness::new("witness.example/w1", &witness).unwrap();
    let known = [witness.cosigner().clone()];
    let add = |lines: &str| add_cosignatures(note().as_bytes(), lines.as_bytes(), &known);
    let other = witness.cosign("another text\n", 7);
    assert!(matches!(add(&other), Err(NoteError::BadSignature(_))));
    // A signature over a longer text, which the answer brings along.
    let longer = format!("more\n\n{}", witness.cosign(&format!("{TEXT}\nmore\n"), 7));
    assert!(matches!(
        add(&longer),
        Err(NoteError::MalformedSignature(1))
    ));
    let late = witness.cosign(TEXT, u64::MAX);
    assert!(matches!(add(&late), Err(NoteError::BadSignature(_))));
    let short = line("witness.example/w1", known[0].id(), &[1; 7]);
    assert!(matches!(add(&short), Err(NoteError::BadSignature(_))));
    for lines in ["", "\n", "nonsense\n", "— a AAAAAAAA", "old 7\n"] {
        assert!(add(lines).is_err(), "{lines:?}");
    }
    let many: String = (0..17).map(|time| witness.cosign(TEXT, time)).collect();
    assert_eq!(add(&many), Err(NoteError::TooManySignatures));
}

#[test]
fn a_note_holds_no_more_signatures_than_it_may() {
    let pairs: Vec<_> = (2..18).map(pair).collect();
    let named = pairs.iter().zip(0..);
    let witnesses: Vec<_> = named
        .map(|(pair, n)| Witness::new(&format!("w{n}"), pair).unwrap())
        .collect();
    let known: Vec<_> = witnesses
        .iter()
        .map(|witness| witness.cosigner().clone())
        .collect();
    let lines: String = witnesses
        .iter()
        .map(|witness| witness.cosign(TEXT, 1))
        .collect();
    let added = add_cosignatures(note().as_bytes(), lines.as_bytes(), &known);
    assert_eq!(added, Err(NoteError::TooManySignatures));
    let most = add_cosignatures(note().as_bytes(), lines.as_bytes(), &known[..15]).unwrap();
    assert_eq!(Note::parse(most.as_bytes()).unwrap().signatures.len(), 16);
}

#[test]
fn a_witness_s_key_is_not_a_log_s_key() {
    let pair = pair(2);
    let cosigner = Witness::new("witness.example/w1", &pair)
        .unwrap()
        .cosigner()
        .clone();
    let text = cosigner.to_string();
    assert_eq!(text.parse(), Ok(cosigner.clone()));
    let (found, wanted) = (4, 1);
    assert_eq!(
        text.parse::<Verifier>(),
        Err(NoteError::Algorithm { found, wanted })
    );
    let signer = Signer::new("witness.example/w1", &pair).unwrap();
    let (found, wanted) = (1, 4);
    let other = signer.verifier().to_string().parse::<Cosigner>();
    assert_eq!(other, Err(NoteError::Algorithm { found, wanted }));
    // Nor does one kind of signature pass for the other, though the key is the same.
    let plain = sign(TEXT, &[signer]).unwrap();
    assert_eq!(seen(&cosigner, &plain), Ok(None));
    for wrong in [
        "",
        "w1",
        "w1+00000000+BA==",
        "w 1+00000000+AAAA",
        &text.replace('+', "-"),
    ] {
        assert!(wrong.parse::<Cosigner>().is_err(), "{wrong}");
    }
    let altered = text.replacen("w1", "w2", 1);
    assert_eq!(altered.parse::<Cosigner>(), Err(NoteError::KeyId));
}
