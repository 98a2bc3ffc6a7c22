#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use ring::signature::Ed25519KeyPair;

use super::*;

/// From the documentation of Go's golang.org/x/mod/sumdb/note.
const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NEUMANN_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
/// From c2sp.org/signed-note.
const FOO: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const FOO_NOTE: &str = "This is an example message.\n\
    \n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn opened<'a>(note: &'a str, verifiers: &[Verifier]) -> Result<&'a str, NoteError> {
    Note::parse(note.as_bytes())?.verify(verifiers)
}

fn foo() -> Verifier {
    FOO.parse().unwrap()
}

#[test]
fn published_notes_verify() {
    for (key, note) in [(NEUMANN, NEUMANN_NOTE), (FOO, FOO_NOTE)] {
        let verifier: Verifier = key.parse().unwrap();
        assert_eq!(verifier.to_string(), key);
        let text = &note[..note.find("\n\n").unwrap() + 1];
        assert_eq!(opened(note, &[verifier]), Ok(text));
    }
}

#[test]
fn what_is_signed_verifies_with_each_key_alone() {
    let (a, b) = (pair(1), pair(2));
    let signers = [
        Signer::new("a.example", &a).unwrap(),
        Signer::new("b.example/é", &b).unwrap(),
    ];
    for text in [
        "one\n",
        "\n",
        "one\n\ntwo\n",
        "one\n\n",
        "— a.example AAAAAAAA\n",
        "\n\n\n",
    ] {
        let note = sign(text, &signers).unwrap();
        for signer in &signers {
            assert_eq!(opened(&note, &[signer.verifier().clone()]), Ok(text));
        }
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert!(parsed.unverified_names().eq(["a.example", "b.example/é"]));
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for (key, note) in [(NEUMANN, NEUMANN_NOTE), (FOO, FOO_NOTE)] {
        let verifier: Verifier = key.parse().unwrap();
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let verified = Note::parse(&bytes).and_then(|note| {
                    note.verify(std::slice::from_ref(&verifier))
                        .map(str::to_owned)
                });
                assert!(verified.is_err(), "byte {at} bit {bit}: {verified:?}");
            }
        }
    }
}

#[test]
fn every_truncation_and_every_missing_byte_is_found() {
    for at in 0..FOO_NOTE.len() {
        let bytes = FOO_NOTE.as_bytes();
        let without = [&bytes[..at], &bytes[at + 1..]].concat();
        for bytes in [&bytes[..at], &without] {
            let verified = Note::parse(bytes).map(|note| note.verify(&[foo()]).is_ok());
            assert!(!verified.unwrap_or_default(), "{at}");
        }
    }
}

#[test]
fn a_note_is_believed_for_known_keys_only() {
    let theirs = pair(9);
    let known = foo();
    let wrong_name = Verifier::new("example.com/bar", *known.public_key()).unwrap();
    let wrong_key = Signer::new("example.com/foo", &theirs)
        .unwrap()
        .verifier()
        .clone();
    let mut same_id = known.public_key().to_owned();
    same_id[0] ^= 1;
    for verifiers in [
        &[][..],
        &[wrong_name],
        &[wrong_key],
        &[Verifier::new("example.com/foo", same_id).unwrap()],
        &[NEUMANN.parse().unwrap()],
    ] {
        assert_eq!(
            opened(FOO_NOTE, verifiers),
            Err(NoteError::Unverified),
            "{verifiers:?}"
        );
    }
}

#[test]
fn unknown_signatures_are_ignored_wherever_they_stand() {
    let unknown = "— example.com/foo AAAAAAA=\n— other U+FFFD\n".replace("U+FFFD", "Uw2QOkn8srU=");
    let (text, signature) = FOO_NOTE.split_once("\n\n").unwrap();
    for lines in [
        format!("{unknown}{signature}"),
        format!("{signature}{unknown}"),
    ] {
        let note = format!("{text}\n\n{lines}");
        assert!(opened(&note, &[foo()]).is_ok(), "{note}");
    }
}

#[test]
fn one_false_signature_by_a_known_key_condemns_the_note() {
    let (a, b) = (pair(1), pair(2));
    let (good, other) = (Signer::new("a", &a).unwrap(), Signer::new("b", &b).unwrap());
    let verifiers = [good.verifier().clone(), other.verifier().clone()];
    let note = sign("one\n", &[good]).unwrap();
    let forged = sign("two\n", &[other]).unwrap();
    let line = forged.split_once("\n\n").unwrap().1;
    for note in [
        format!("{note}{line}"),
        note.replace("\n\n", &format!("\n\n{line}")),
    ] {
        assert_eq!(
            opened(&note, &verifiers),
            Err(NoteError::BadSignature("b".to_owned()))
        );
        assert_eq!(opened(&note, &verifiers[..1]), Ok("one\n"));
    }
}

#[test]
fn a_false_copy_beside_a_good_signature_condemns_the_note() {
    let signature = FOO_NOTE.split_once("\n\n").unwrap().1;
    let copied = format!("{FOO_NOTE}{signature}");
    assert!(opened(&copied, &[foo()]).is_ok());
    for short in [
        "— example.com/foo Uw2QOgA=\n",
        "— example.com/foo Uw2QOgAA\n",
    ] {
        let note = format!("{FOO_NOTE}{short}");
        let expected = Err(NoteError::BadSignature("example.com/foo".to_owned()));
        assert_eq!(opened(&note, &[foo()]), expected);
    }
}

#[test]
fn sixteen_signatures_and_no_more() {
    let keys: Vec<_> = (1..=17).map(pair).collect();
    let named = |(n, key)| Signer::new(&format!("key{n}"), key).unwrap();
    let signers: Vec<_> = keys.iter().enumerate().map(named).collect();
    let note = sign("one\n", &signers[..16]).unwrap();
    assert_eq!(
        opened(&note, &[signers[15].verifier().clone()]),
        Ok("one\n")
    );
    assert_eq!(sign("one\n", &signers), Err(NoteError::TooManySignatures));
    let more = format!("{note}— key17 AAAAAAA=\n");
    assert_eq!(
        opened(&more, &[signers[0].verifier().clone()]),
        Err(NoteError::TooManySignatures)
    );
    let many = format!("{note}{}", "x\n".repeat(1_000_000));
    assert_eq!(
        Note::parse(many.as_bytes()),
        Err(NoteError::TooManySignatures)
    );
}

#[test]
fn what_is_no_note_is_refused_by_name() {
    use NoteError::*;
    let signature = "— a AAAAAAA=\n";
    let cases = [
        (String::new(), Unsigned),
        ("text\n".to_owned(), Unsigned),
        ("text\n\n".to_owned(), Unsigned),
        (format!("text\n{signature}"), Unsigned),
        (format!("\n{signature}"), Unsigned),
        (format!("text\n\n{}", signature.trim_end()), Unsigned),
        (format!("text\r\n\r\n{signature}"), ControlCharacter(13)),
        (format!("te\txt\n\n{signature}"), ControlCharacter(9)),
        (format!("te\0xt\n\n{signature}"), ControlCharacter(0)),
        ("text\n\n— a\n".to_owned(), MalformedSignature(1)),
        ("text\n\n- a AAAAAAA=\n".to_owned(), MalformedSignature(1)),
        ("text\n\n—a AAAAAAA=\n".to_owned(), MalformedSignature(1)),
        ("text\n\n—  AAAAAAA=\n".to_owned(), MalformedSignature(1)),
        ("text\n\n— a+b AAAAAAA=\n".to_owned(), MalformedSignature(1)),
        (
            "text\n\n— a\u{a0}b AAAAAAA=\n".to_owned(),
            MalformedSignature(1),
        ),
        ("text\n\n— a AAAAAAA= \n".to_owned(), MalformedSignature(1)),
        ("text\n\n— a AAAAAAA\n".to_owned(), MalformedSignature(1)),
        ("text\n\n— a AAAAAAB=\n".to_owned(), MalformedSignature(1)),
        ("text\n\n— a AAAAAA==\n".to_owned(), MalformedSignature(1)),
        ("text\n\n— a AAAA_AA=\n".to_owned(), MalformedSignature(1)),
        (
            format!("text\n\n— {} AAAAAAA=\n", "a".repeat(2049)),
            MalformedSignature(1),
        ),
        (
            format!("text\n\n{signature}{signature}x\n"),
            MalformedSignature(3),
        ),
        (format!("text\n\n{signature}\n"), Unsigned),
        (format!("text\n\n{signature}\n\n"), Unsigned),
    ];
    for (note, error) in cases {
        assert_eq!(Note::parse(note.as_bytes()), Err(error), "{note:?}");
    }
    let latin = [b"caf\xe9\n\n", signature.as_bytes()].concat();
    assert_eq!(Note::parse(&latin), Err(NotUtf8));
}

#[test]
fn too_large_a_note_is_neither_read_nor_made() {
    let text = "x".repeat(MAX_NOTE) + "\n";
    let key = pair(1);
    let signer = || Signer::new("a", &key).unwrap();
    assert_eq!(
        sign(&text, &[signer()]),
        Err(NoteError::TooLarge(MAX_NOTE + 1))
    );
    assert!(matches!(
        sign(&text[2..], &[signer()]),
        Err(NoteError::TooLarge(_))
    ));
    let note = sign(&text[200..], &[signer()]).unwrap();
    assert!(opened(&note, &[signer().verifier().clone()]).is_ok());
    let long = format!("{text}\n— a AAAAAAA=\n");
    assert_eq!(
        Note::parse(long.as_bytes()),
        Err(NoteError::TooLarge(long.len()))
    );
}

#[test]
fn what_cannot_be_a_text_is_not_signed() {
    let key = pair(1);
    let signer = || Signer::new("a", &key).unwrap();
    let cases = [
        ("", NoteError::Unfinished),
        ("one", NoteError::Unfinished),
        ("one\ntwo", NoteError::Unfinished),
        ("one\r\n", NoteError::ControlCharacter(13)),
        ("o\u{1f}ne\n", NoteError::ControlCharacter(0x1f)),
    ];
    for (text, error) in cases {
        assert_eq!(sign(text, &[signer()]), Err(error), "{text:?}");
    }
    assert_eq!(sign("one\n", &[]), Err(NoteError::Unsigned));
}

#[test]
fn what_cannot_be_a_name_is_refused() {
    let key = pair(1);
    let long = "a".repeat(MAX_NAME + 1);
    for name in [
        "",
        " ",
        "a b",
        "a+b",
        "a\n",
        "a\u{2003}b",
        "a\u{85}",
        "\u{3000}",
        "a\0",
        &long,
    ] {
        assert_eq!(
            Verifier::new(name, [0; 32]),
            Err(NoteError::Name),
            "{name:?}"
        );
        assert_eq!(
            Signer::new(name, &key).err(),
            Some(NoteError::Name),
            "{name:?}"
        );
    }
}

#[test]
fn what_is_no_verifier_key_is_refused_by_name() {
    use NoteError::*;
    let key = "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let cases = [
        (String::new(), VerifierKey),
        ("example.com/foo".to_owned(), VerifierKey),
        ("example.com/foo+530d903a".to_owned(), VerifierKey),
        (format!("+530d903a+{key}"), Name),
        (format!("a b+530d903a+{key}"), Name),
        (format!("example.com/foo+530d903+{key}"), VerifierKey),
        (format!("example.com/foo+530D903A+{key}"), VerifierKey),
        (format!("example.com/foo++30d903a+{key}"), VerifierKey),
        (format!("example.com/foo+530d903b+{key}"), KeyId),
        (format!("example.com/fop+530d903a+{key}"), KeyId),
        (format!("example.com/foo+530d903a+{}l", &key[..43]), KeyId),
        (
            format!("example.com/foo+530d903a+{}", &key[..40]),
            VerifierKey,
        ),
        (format!("example.com/foo+530d903a+{key}AAAA"), VerifierKey),
        (format!("example.com/foo+530d903a+{key} "), VerifierKey),
        (format!("example.com/foo+530d903a+{key}\n"), VerifierKey),
        (
            format!("example.com/foo+530d903a+A{}", "A".repeat(4095)),
            Algorithm {
                found: 0,
                wanted: 1,
            },
        ),
        (
            format!("example.com/foo+530d903a+{}", "A".repeat(4100)),
            VerifierKey,
        ),
        (
            format!("example.com/foo+530d903a+B{}", &key[1..]),
            Algorithm {
                found: 5,
                wanted: 1,
            },
        ),
        ("example.com/foo+530d903a+".to_owned(), VerifierKey),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Verifier>(), Err(error), "{text}");
    }
}

#[test]
fn neither_kind_of_key_prints_what_is_secret() {
    let key = pair(7);
    let signer = Signer::new("a", &key).unwrap();
    assert_eq!(
        format!("{signer:?}"),
        format!("Signer({})", signer.verifier())
    );
}

proptest! {
    #[test]
    fn any_text_that_can_be_signed_comes_back(text in "[^\\x00-\\x1f]{0,40}(\n[^\\x00-\\x1f]{0,9}){0,5}") {
        let key = pair(3);
        let signer = Signer::new("a", &key).unwrap();
        let verifier = signer.verifier().clone();
        let text = text + "\n";
        let note = sign(&text, &[signer]).unwrap();
        prop_assert_eq!(opened(&note, &[verifier]), Ok(text.as_str()));
    }

    #[test]
    fn nothing_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Note::parse(&bytes);
        let mut note = b"x\n\n\xe2\x80\x94 ".to_vec();
        note.extend_from_slice(&bytes);
        let _ = Note::parse(&note);
        let _ = String::from_utf8_lossy(&bytes).parse::<Verifier>();
    }
}
