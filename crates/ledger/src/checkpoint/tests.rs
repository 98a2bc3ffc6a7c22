#![allow(clippy::unwrap_used, clippy::panic)]

use ring::signature::Ed25519KeyPair;

use super::*;

/// The text of the example in c2sp.org/tlog-checkpoint.
const EXAMPLE: &str = "example.com/behind-the-sofa\n\
    20852163\n\
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
/// The key of Go's checksum database.
const GO: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const ORIGIN: &str = "example.com/behind-the-sofa";

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn signed(text: &str) -> (String, Verifier) {
    let key = pair(1);
    let signer = Signer::new(ORIGIN, &key).unwrap();
    let verifier = signer.verifier().clone();
    (note::sign(text, &[signer]).unwrap(), verifier)
}

#[test]
fn the_published_text_is_read_and_written() {
    let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
    assert_eq!(
        (checkpoint.origin.as_str(), checkpoint.size),
        (ORIGIN, 20_852_163)
    );
    assert_eq!(checkpoint.root[..3], [0x0a, 0xc5, 0x18]);
    assert!(checkpoint.extensions.is_empty());
    assert_eq!(checkpoint.text().unwrap(), EXAMPLE);
    assert_eq!(
        Checkpoint::new(ORIGIN, 20_852_163, checkpoint.root),
        checkpoint
    );
}

#[test]
fn the_key_of_a_running_log_is_read() {
    let verifier: Verifier = GO.parse().unwrap();
    assert_eq!(
        (verifier.name(), verifier.to_string().as_str()),
        ("sum.golang.org", GO)
    );
}

#[test]
fn what_is_signed_verifies() {
    let key = pair(1);
    for checkpoint in [
        Checkpoint::new(ORIGIN, 0, merkle::empty()),
        Checkpoint::new(ORIGIN, 1, [9; 32]),
        Checkpoint::new(ORIGIN, u64::MAX, [0; 32]),
        Checkpoint {
            extensions: vec!["one".to_owned(), " two — é".to_owned()],
            ..Checkpoint::new(ORIGIN, 5, [1; 32])
        },
    ] {
        let signer = Signer::new(ORIGIN, &key).unwrap();
        let verifier = signer.verifier().clone();
        let note = checkpoint.sign(&[signer]).unwrap();
        assert_eq!(verify(note.as_bytes(), ORIGIN, &[verifier]), Ok(checkpoint));
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_found() {
    let (note, verifier) = signed(EXAMPLE);
    for at in 0..note.len() {
        assert!(
            verify(
                &note.as_bytes()[..at],
                ORIGIN,
                std::slice::from_ref(&verifier)
            )
            .is_err()
        );
        for bit in 0..8 {
            let mut bytes = note.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let verified = verify(&bytes, ORIGIN, std::slice::from_ref(&verifier));
            assert!(verified.is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_checkpoint_is_believed_of_its_log_and_under_its_key_only() {
    let (note, verifier) = signed(EXAMPLE);
    for origin in [
        "",
        "example.com",
        "example.com/behind-the-sofa ",
        "example.com/other",
    ] {
        let verified = verify(note.as_bytes(), origin, std::slice::from_ref(&verifier));
        assert!(
            matches!(verified, Err(CheckpointError::Origin { .. })),
            "{origin}"
        );
    }
    let key = pair(2);
    let other = Signer::new(ORIGIN, &key).unwrap().verifier().clone();
    let renamed = Verifier::new("example.com/other", *verifier.public_key()).unwrap();
    for verifiers in [&[][..], &[other], &[renamed]] {
        let verified = verify(note.as_bytes(), ORIGIN, verifiers);
        assert_eq!(verified, Err(CheckpointError::Note(NoteError::Unverified)));
    }
}

#[test]
fn what_is_no_checkpoint_is_refused_by_name_though_it_is_signed() {
    use CheckpointError::*;
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let cases = [
        ("log\n".to_owned(), Lines),
        ("log\n5\n".to_owned(), Lines),
        (format!("\n5\n{root}\n"), Lines),
        (format!("log\n\n{root}\n"), Lines),
        (format!("log\n5\n\n{root}\n"), Lines),
        (format!("log\n5\n{root}\n\n"), Lines),
        (format!("log\n5\n{root}\none\n\ntwo\n"), Lines),
        (format!("log\n05\n{root}\n"), Size),
        (format!("log\n+5\n{root}\n"), Size),
        (format!("log\n-5\n{root}\n"), Size),
        (format!("log\n5 \n{root}\n"), Size),
        (format!("log\n0x5\n{root}\n"), Size),
        (format!("log\n٥\n{root}\n"), Size),
        (format!("log\n18446744073709551616\n{root}\n"), Size),
        (format!("log\n{root}\n5\n"), Size),
        (format!("log\n5\n{}\n", &root[1..]), Root),
        (format!("log\n5\n{}\n", &root[..43]), Root),
        (format!("log\n5\n{}\n", &root[4..]), Root),
        (format!("log\n5\nAAAA{root}\n"), Root),
        (format!("log\n5\n{} \n", root), Root),
        (format!("log\n5\n{}\n", root.replace('/', "_")), Root),
        (format!("log\n5\n{}\n", root.replace("q2I=", "q2J=")), Root),
        (format!("log\n0\n{root}\n"), Empty),
    ];
    for (text, error) in cases {
        assert_eq!(Checkpoint::parse(&text), Err(error.clone()), "{text:?}");
        let (note, verifier) = signed(&text);
        assert_eq!(
            verify(note.as_bytes(), "log", &[verifier]),
            Err(error),
            "{text:?}"
        );
    }
    assert_eq!(Checkpoint::parse(&format!("log\n5\n{root}")), Err(Lines));
    assert_eq!(
        Checkpoint::parse(&format!("log\r\n5\r\n{root}\r\n")),
        Err(Lines)
    );
    assert_eq!(Checkpoint::parse(""), Err(Lines));
}

#[test]
fn what_could_not_be_read_back_is_not_signed() {
    let key = pair(1);
    let good = || Checkpoint::new(ORIGIN, 5, [1; 32]);
    let extended = |lines: &[&str]| Checkpoint {
        extensions: lines.iter().map(|line| (*line).to_owned()).collect(),
        ..good()
    };
    for checkpoint in [
        Checkpoint::new("", 5, [1; 32]),
        Checkpoint::new("a\nb", 5, [1; 32]),
        Checkpoint::new(
            "a\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
            5,
            [1; 32],
        ),
        Checkpoint::new("a\tb", 5, [1; 32]),
        Checkpoint::new(ORIGIN, 0, [1; 32]),
        extended(&[""]),
        extended(&["one\ntwo"]),
        extended(&["one\n"]),
        extended(&["o\0ne"]),
        extended(&[&"x".repeat(MAX_CHECKPOINT)]),
    ] {
        let signer = Signer::new(ORIGIN, &key).unwrap();
        assert!(checkpoint.sign(&[signer]).is_err(), "{checkpoint:?}");
    }
    let long = format!("{EXAMPLE}{}\n", "x".repeat(MAX_CHECKPOINT));
    assert_eq!(
        Checkpoint::parse(&long),
        Err(CheckpointError::TooLarge(long.len()))
    );
}
