//! `[target.external]`

use std::path::PathBuf;

use quietus_core::Confirmation;
use quietus_identity::SpiffeId;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Problems;
use crate::config::checked_address;
use crate::config::raw::{Number, Text};

/// How an external issuer may confirm a death. What only the broker knows, and what passes by itself, is no answer.
const WORDS: [Confirmation; 4] = [
    Confirmation::DeletedAtTarget,
    Confirmation::OnCrl,
    Confirmation::OnKrl,
    Confirmation::RotatedAtTarget,
];
/// The longest name of a kind, in bytes.
const MAX_KIND: usize = 64;

/// `[target.external]`: a process that makes credentials, and what it is trusted to be able to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalSettings {
    /// What the process calls its credentials.
    pub kind: String,
    /// Where it is, and who.
    pub endpoint: ExternalEndpoint,
    /// Whether it can end a credential before its time.
    pub can_revoke: bool,
    /// How it confirms that; none if it cannot.
    pub confirms_by: Option<Confirmation>,
    /// Whether its target lets credentials expire.
    pub expires_at_target: bool,
    /// Whether it can give a credential a later end.
    pub renewable: bool,
}

/// Where an external issuer is, and who has to answer there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExternalEndpoint {
    /// mTLS, with X.509-SVIDs on both sides.
    Tls {
        /// Host and port.
        address: String,
        /// Its SPIFFE ID.
        issuer_id: SpiffeId,
        /// File of the trust bundle that its SVID chains to.
        bundle: PathBuf,
    },
    /// A unix socket.
    Socket {
        /// Its path.
        path: PathBuf,
        /// The user that the process runs as, if not the broker's.
        uid: Option<u32>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    kind: Text,
    address: Option<Text>,
    issuer_id: Option<Text>,
    bundle: Option<Text>,
    socket: Option<Text>,
    uid: Option<Number>,
    can_revoke: Spanned<bool>,
    confirms_by: Option<Text>,
    expires_at_target: bool,
    renewable: bool,
}

pub(super) fn check(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<ExternalSettings> {
    let table = raw.get_ref();
    let kind = problems.accepted(
        "target.external.kind",
        &table.kind,
        checked_kind(table.kind.get_ref()),
    );
    let endpoint = endpoint(problems, raw);
    let confirms_by = confirms_by(problems, table);
    Some(ExternalSettings {
        kind: kind?,
        endpoint: endpoint?,
        can_revoke: *table.can_revoke.get_ref(),
        confirms_by: confirms_by?,
        expires_at_target: table.expires_at_target,
        renewable: table.renewable,
    })
}

/// The name of a kind: `[a-z][a-z0-9-]*`, at most 64 bytes.
///
/// # Errors
/// What to write instead.
pub fn checked_kind(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let sound = text.len() <= MAX_KIND
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(plain);
    match sound {
        true => Ok(text.to_owned()),
        false => Err("write 1 to 64 of a-z, 0-9 and -, a letter first"),
    }
}

/// One of the words that an external issuer may confirm a death with.
///
/// # Errors
/// What to write instead.
pub fn checked_word(text: &str) -> Result<Confirmation, &'static str> {
    let mut words = WORDS.into_iter();
    words
        .find(|word| word.as_str() == text)
        .ok_or("write deleted_at_target, on_crl, on_krl or rotated_at_target")
}

/// Where an issuer listens: `https://host:port`.
///
/// # Errors
/// What to write instead.
pub fn checked_url(text: &str) -> Result<String, &'static str> {
    let address = text.strip_prefix("https://").map(checked_address);
    match address {
        Some(Ok(address)) => Ok(address),
        _ => Err("write https://, a host and a port, such as https://issuer.example:9443"),
    }
}

fn endpoint(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<ExternalEndpoint> {
    let table = raw.get_ref();
    match (&table.address, &table.socket) {
        (Some(address), None) => over_tls(problems, raw, address),
        (None, Some(socket)) => over_socket(problems, table, socket),
        _ => {
            let message = "write either address, issuer_id and bundle (mTLS), or socket";
            problems.at("target.external", raw, message);
            None
        }
    }
}

fn over_tls(
    problems: &mut Problems<'_>,
    raw: &Spanned<Raw>,
    address: &Text,
) -> Option<ExternalEndpoint> {
    let table = raw.get_ref();
    let read = checked_url(address.get_ref());
    let address = problems.accepted("target.external.address", address, read);
    if let Some(uid) = &table.uid {
        let message = "over mTLS the process is known by its SPIFFE ID: remove the key";
        problems.at("target.external.uid", uid, message);
    }
    let (Some(id), Some(bundle)) = (&table.issuer_id, &table.bundle) else {
        let message = "an address needs issuer_id and bundle as well: who has to answer there, and by whose word";
        problems.at("target.external", raw, message);
        return None;
    };
    let issuer_id = problems.workload("target.external.issuer_id", id);
    let bundle = problems.path("target.external.bundle", bundle);
    Some(ExternalEndpoint::Tls {
        address: address?,
        issuer_id: issuer_id?,
        bundle: bundle?,
    })
}

fn over_socket(
    problems: &mut Problems<'_>,
    table: &Raw,
    socket: &Text,
) -> Option<ExternalEndpoint> {
    let strangers = [
        ("target.external.issuer_id", &table.issuer_id),
        ("target.external.bundle", &table.bundle),
    ];
    for (key, text) in strangers {
        if let Some(text) = text {
            problems.at(
                key,
                text,
                "a socket has no SVID: remove the key, or write an address",
            );
        }
    }
    let uid = table.uid.as_ref();
    let uid = uid.map(|uid| problems.number("target.external.uid", uid, 0..=i64::from(u32::MAX)));
    Some(ExternalEndpoint::Socket {
        path: problems.path("target.external.socket", socket)?,
        uid: uid.flatten(),
    })
}

/// The outer `None` is a problem.
fn confirms_by(problems: &mut Problems<'_>, table: &Raw) -> Option<Option<Confirmation>> {
    const KEY: &str = "target.external.confirms_by";
    match (*table.can_revoke.get_ref(), &table.confirms_by) {
        (true, Some(word)) => problems
            .accepted(KEY, word, checked_word(word.get_ref()))
            .map(Some),
        (false, None) => Some(None),
        (true, None) => {
            let message = "missing: with can_revoke write how a death is confirmed";
            problems.at(KEY, &table.can_revoke, message);
            None
        }
        (false, Some(word)) => {
            problems.at(
                KEY,
                word,
                "without can_revoke nothing is confirmed: remove the key",
            );
            None
        }
    }
}
