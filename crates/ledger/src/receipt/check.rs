//! What must hold in every receipt.

use super::{Credential, End, Receipt, ReceiptError, State, VERSION};
use crate::canonical::MAX_NUMBER;

/// Refuses a receipt that contradicts itself.
pub(super) fn consistent(receipt: &Receipt) -> Result<(), ReceiptError> {
    match (receipt.v, receipt.version) {
        (v, _) if v != VERSION => return Err(ReceiptError::Schema(v)),
        (_, 0) => return Err(ReceiptError::Version),
        _ => {}
    }
    named(receipt)?;
    if !is_digest(&receipt.ledger.root) || receipt.ledger.size > MAX_NUMBER {
        return Err(ReceiptError::Ledger);
    }
    times(receipt)?;
    leases(receipt)?;
    let credentials = receipt.credentials.iter();
    credentials.clone().try_for_each(fingerprint)?;
    credentials
        .clone()
        .try_for_each(|credential| lifetime(receipt, credential))?;
    complete(receipt)
}

fn named(receipt: &Receipt) -> Result<(), ReceiptError> {
    let members = [
        ("issuer", &receipt.issuer),
        ("task", &receipt.task),
        ("agent", &receipt.agent),
        ("ended", &receipt.ended),
        ("cause", &receipt.cause),
    ];
    match members.iter().find(|(_, value)| value.is_empty()) {
        Some((name, _)) => Err(ReceiptError::Empty(name)),
        None => Ok(()),
    }
}

fn times(receipt: &Receipt) -> Result<(), ReceiptError> {
    match receipt {
        Receipt { at, .. } if *at > MAX_NUMBER => Err(ReceiptError::Time),
        Receipt {
            opened_at,
            ended_at,
            ..
        } if opened_at > ended_at => {
            Err(ReceiptError::Order("the task ended before it was opened"))
        }
        Receipt { ended_at, at, .. } if ended_at > at => Err(ReceiptError::Order(
            "the task ended after the receipt was made",
        )),
        _ => Ok(()),
    }
}

fn lifetime(receipt: &Receipt, credential: &Credential) -> Result<(), ReceiptError> {
    let order = |text| Err(ReceiptError::Order(text));
    match credential {
        Credential { expires_at, .. } if *expires_at > MAX_NUMBER => Err(ReceiptError::Time),
        Credential { issued_at, .. } if *issued_at < receipt.opened_at => {
            order("a credential was issued before its task was opened")
        }
        Credential {
            issued_at,
            ended_at,
            ..
        } if issued_at > ended_at => order("a credential ended before it was issued"),
        Credential { ended_at, .. } if *ended_at > receipt.at => {
            order("a credential ended after the receipt was made")
        }
        Credential {
            end: End::Confirmed { at, .. },
            ..
        } if *at > receipt.at => {
            order("a credential was confirmed dead after the receipt was made")
        }
        Credential {
            end: End::Confirmed { at, .. },
            issued_at,
            ..
        } if at < issued_at => order("a credential was confirmed dead before it was issued"),
        _ => Ok(()),
    }
}

/// Each lease is `<task>.<number>`, and the numbers ascend.
fn leases(receipt: &Receipt) -> Result<(), ReceiptError> {
    let mut next = 0;
    for Credential { lease, .. } in &receipt.credentials {
        let number = number(&receipt.task, lease).filter(|number| *number >= next);
        let number = number.ok_or_else(|| ReceiptError::Lease(lease.clone()))?;
        next = number + 1;
    }
    Ok(())
}

fn number(task: &str, lease: &str) -> Option<u64> {
    let text = lease.strip_prefix(task)?.strip_prefix('.')?;
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number.into())
}

fn fingerprint(credential: &Credential) -> Result<(), ReceiptError> {
    match &credential.fingerprint {
        Some(hex) if !is_digest(hex) => Err(ReceiptError::Fingerprint(credential.lease.clone())),
        _ => Ok(()),
    }
}

fn is_digest(hex: &str) -> bool {
    let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    hex.len() == 64 && hex.bytes().all(is_hex)
}

/// Complete, closed and all confirmed: one thing said three times.
fn complete(receipt: &Receipt) -> Result<(), ReceiptError> {
    let credentials = receipt.credentials.iter();
    let unconfirmed = credentials
        .filter(|credential| !credential.end.is_confirmed())
        .count();
    let (claimed, complete) = (receipt.complete, unconfirmed == 0);
    match receipt.state {
        _ if claimed != complete => Err(ReceiptError::Complete {
            claimed,
            unconfirmed,
        }),
        state if (state == State::Closed) != complete => {
            Err(ReceiptError::State { state, complete })
        }
        _ => Ok(()),
    }
}
