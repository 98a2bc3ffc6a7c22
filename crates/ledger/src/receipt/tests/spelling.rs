//! One text for each receipt, and no other.

use super::*;

#[test]
fn the_ledger_is_named_by_a_root_and_a_size() {
    for root in [
        "",
        "cd",
        &"CD".repeat(32),
        &"xy".repeat(32),
        &"cd".repeat(33),
    ] {
        let refused = changed(closed(), |receipt| receipt.ledger.root = root.to_owned());
        assert!(matches!(refused, Err(ReceiptError::Ledger)), "{root}");
    }
    let refused = changed(closed(), |receipt| receipt.ledger.size = 1 << 53);
    assert!(matches!(refused, Err(ReceiptError::Ledger)));
}

#[test]
fn other_versions_are_refused_by_name() {
    let zero = changed(closed(), |receipt| receipt.version = 0);
    assert!(matches!(zero, Err(ReceiptError::Version)));
    for v in [1, 3] {
        let refused = changed(closed(), |receipt| receipt.v = v);
        assert!(matches!(refused, Err(ReceiptError::Schema(other)) if other == v));
    }
    let text = closed().text().unwrap();
    let later = text.replacen("v2", "v3", 1);
    assert!(matches!(
        Receipt::parse(&later),
        Err(ReceiptError::Schema(3))
    ));
    for header in ["v02", "v", "v2 ", "v-2", "v2.0", "", "v2\n"] {
        let refused = Receipt::parse(&text.replacen("v2", header, 1));
        assert!(refused.is_err(), "{header}");
    }
    for text in ["", "\n", " quietus receipt v2\n{}\n", "{}\n"] {
        assert!(
            matches!(Receipt::parse(text), Err(ReceiptError::Header)),
            "{text}"
        );
    }
}

#[test]
fn other_spellings_are_refused() {
    let text = closing().text().unwrap();
    let spellings = [
        text.replace("\"v\":2,", "\"v\": 2,"),
        text.replace("\"v\":2,", "\"v\":2.0,"),
        text.replace("\"v\":2,", "\"v\":2,\"v\":2,"),
        text.replace("\"v\":2,", ""),
        text.replace("\"v\":2,", "\"v\":-2,"),
        text.replace("\"v\":2,", "\"v\":\"2\","),
        text.replace("\"v\":2,", "\"purpose\":\"x\",\"v\":2,"),
        text.replace("\"version\":2", "\"version\":2,\"w\":1"),
        text.replace("☃", "\\u2603"),
        text.replace("</", "<\\/"),
        text.replace("\"attempts\":0,", "\"attempts\":0,\"fingerprint\":null,"),
        text.replace("\"target\":\"wiki\"", "\"target\":\"wiki\",\"token\":\"x\""),
        text.replace("\"how\":\"on_crl\"", "\"how\":\"on_crl\",\"secret\":\"x\""),
        text.replace("on_crl", "OnCrl"),
        text.replace("on_crl", "believed_dead"),
        text.replace("\"unconfirmed\"", "\"unknown\""),
        text.replace("\"state\":\"Closing\"", "\"state\":\"Open\""),
        text.replace("\"complete\":false", "\"complete\":null"),
        format!("{text}\n"),
        format!("{text}x\n"),
        text.trim_end().to_owned(),
        text.replace('\n', "\r\n"),
        reordered(&text),
    ];
    for spelling in spellings {
        assert_ne!(spelling, text);
        assert!(Receipt::parse(&spelling).is_err(), "{spelling}");
    }
}

/// The member `v` moved from its place to the front.
fn reordered(text: &str) -> String {
    text.replace("\"v\":2,", "")
        .replace("{\"agent\"", "{\"v\":2,\"agent\"")
}

#[test]
fn every_member_is_needed_and_none_is_added() {
    let receipt = value(&closing());
    for name in receipt.as_object().unwrap().keys() {
        let mut without = receipt.clone();
        without.as_object_mut().unwrap().remove(name);
        assert!(Receipt::parse(&text_of(&without)).is_err(), "{name}");
    }
    for name in receipt["credentials"][1].as_object().unwrap().keys() {
        let mut without = receipt.clone();
        without["credentials"][1]
            .as_object_mut()
            .unwrap()
            .remove(name);
        let parsed = Receipt::parse(&text_of(&without));
        assert_eq!(parsed.is_ok(), name == "fingerprint", "{name}");
    }
}

#[test]
fn too_large_a_receipt_is_neither_read_nor_made() {
    let mut receipt = closing();
    let reason = "x".repeat(MAX_RECEIPT);
    receipt.credentials[2].end = End::Unconfirmed { reason };
    assert!(matches!(receipt.text(), Err(ReceiptError::TooLarge(_))));
    let text = text_of(&value(&receipt));
    assert!(matches!(
        Receipt::parse(&text),
        Err(ReceiptError::TooLarge(_))
    ));
    let huge = vec![b'x'; MAX_NOTE + 1];
    let error = verify(&huge, &[verifier()]).unwrap_err();
    assert!(matches!(error, ReceiptError::Note(NoteError::TooLarge(_))));
}
