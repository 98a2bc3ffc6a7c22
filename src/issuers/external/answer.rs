//! What an external issuer answers, held against what it was asked. Every error is in our own words.

use std::collections::{BTreeMap, BTreeSet};

use quietus_core::{Confirmation, Digest, IssueOrder, LeaseId, Timestamp};

use super::ask::{PAGE, PROTOCOL};
use crate::api::issuer as wire;
use crate::api::wire::Timestamp as WireTimestamp;
use crate::config::{ExternalSettings, checked_kind, checked_word};
use crate::issuers::{Credential, Doomed, Found, Made, Secret};

/// The most fields of a credential.
const MAX_FIELDS: usize = 64;
/// The longest name of a field, in bytes.
const MAX_NAME: usize = 64;
/// The longest value of a field, in bytes.
const MAX_VALUE: usize = 64 * 1024;
/// All values of a credential together, in bytes.
const MAX_VALUES: usize = 128 * 1024;
/// The longest version, in bytes.
const MAX_VERSION: usize = 64;
/// The longest text, name or page token, in bytes.
const MAX_WORDS: usize = 256;
/// A shorter secret may be a part of anything.
const MIN_SECRET: usize = 6;

/// What the answer to an order has to keep to.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) lease: LeaseId,
    pub(super) kind: String,
    pub(super) expires_at: Timestamp,
    pub(super) expires_at_target: bool,
}

/// What a process says of itself, as far as it can be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) kind: String,
    pub(super) version: String,
    pub(super) can_revoke: bool,
    pub(super) confirms_by: Option<Confirmation>,
    pub(super) expires_at_target: bool,
    pub(super) renewable: bool,
}

impl Claims {
    pub(super) fn of(answer: &wire::DescribeResponse) -> Result<Self, String> {
        if answer.protocol_version != PROTOCOL {
            return Err(format!(
                "the issuer speaks version {} of the contract, this broker {PROTOCOL}",
                answer.protocol_version
            ));
        }
        let kind = checked_kind(&answer.kind);
        let kind = kind.map_err(|_| "the issuer's kind is not 1 to 64 of a-z, 0-9 and -")?;
        let sound = !answer.version.is_empty() && answer.version.len() <= MAX_VERSION;
        if !sound || !answer.version.bytes().all(|b| b.is_ascii_graphic()) {
            let message = "the issuer's version is not 1 to 64 bytes of ASCII without spaces";
            return Err(message.to_owned());
        }
        Ok(Self {
            kind,
            version: answer.version.clone(),
            can_revoke: answer.can_revoke,
            confirms_by: confirms_by(answer)?,
            expires_at_target: answer.expires_at_target,
            renewable: answer.renewable,
        })
    }
}

fn confirms_by(answer: &wire::DescribeResponse) -> Result<Option<Confirmation>, &'static str> {
    match (answer.can_revoke, answer.confirms_by.as_str()) {
        (false, "") => Ok(None),
        (false, _) => Err("the issuer claims to confirm what it cannot revoke"),
        (true, word) => checked_word(word)
            .map(Some)
            .map_err(|_| "the issuer's confirms_by is no word that it may confirm with"),
    }
}

/// Its version, if it claims just what the configuration states.
pub(super) fn described(
    answer: &wire::DescribeResponse,
    settings: &ExternalSettings,
) -> Result<String, String> {
    let claims = Claims::of(answer)?;
    let word = |it: Option<Confirmation>| it.map_or("nothing", Confirmation::as_str).to_owned();
    let flag = |it: bool| it.to_string();
    let claimed = [
        ("kind", claims.kind.clone(), settings.kind.clone()),
        (
            "can_revoke",
            flag(claims.can_revoke),
            flag(settings.can_revoke),
        ),
        (
            "confirms_by",
            word(claims.confirms_by),
            word(settings.confirms_by),
        ),
        (
            "expires_at_target",
            flag(claims.expires_at_target),
            flag(settings.expires_at_target),
        ),
        (
            "renewable",
            flag(claims.renewable),
            flag(settings.renewable),
        ),
    ];
    match claimed.iter().find(|(_, claim, stated)| claim != stated) {
        None => Ok(claims.version),
        Some((key, claim, stated)) => Err(format!(
            "the issuer claims {key} = {claim}, but the configuration states {stated}: correct one of the two"
        )),
    }
}

impl Expected {
    pub(super) fn of(order: &IssueOrder, settings: &ExternalSettings) -> Self {
        Self {
            lease: order.lease().id,
            kind: settings.kind.clone(),
            expires_at: order.lease().expires_at,
            expires_at_target: settings.expires_at_target,
        }
    }

    pub(super) fn issued(&self, answer: wire::IssueResponse) -> Result<Made, String> {
        let made = self.made(&answer.lease_id, answer.credential)?;
        match &made.credential {
            Credential::External { public, secret, .. }
                if public.is_empty() && secret.is_empty() =>
            {
                Err("a credential without fields".to_owned())
            }
            _ => Ok(made),
        }
    }

    pub(super) fn renewed(&self, answer: wire::RenewResponse) -> Result<Made, String> {
        self.made(&answer.lease_id, answer.credential)
    }

    fn made(&self, lease: &str, answer: Option<wire::Credential>) -> Result<Made, String> {
        let answer = answer.unwrap_or_default();
        // Before anything can fail: they are wiped wherever they are dropped.
        let secret = answer.secret_fields.into_iter();
        let secret: BTreeMap<String, Secret> =
            secret.map(|(name, it)| (name, Secret::new(it))).collect();
        echoed(lease, self.lease)?;
        self.second_fuse(answer.expires_at)?;
        fields(&answer.public_fields, &secret)?;
        Ok(Made {
            credential: Credential::External {
                kind: self.kind.clone(),
                public: answer.public_fields,
                secret,
            },
            fingerprint: fingerprint(&answer.fingerprint)?,
        })
    }

    fn second_fuse(&self, expires_at: Option<WireTimestamp>) -> Result<(), String> {
        match expires_at {
            None if self.expires_at_target => {
                Err("expires_at is missing, though the target lets credentials expire".to_owned())
            }
            None => Ok(()),
            Some(_) if !self.expires_at_target => {
                Err("expires_at, though the target lets no credential expire".to_owned())
            }
            Some(at) => match milliseconds(&at) {
                Some(at) if at <= self.expires_at.0 => Ok(()),
                Some(_) => Err("it expires later than was ordered".to_owned()),
                None => Err("expires_at is no point in time".to_owned()),
            },
        }
    }
}

/// How the death is confirmed. That its time is over counts only if it is.
pub(super) fn revoked(
    answer: &wire::RevokeResponse,
    doomed: &Doomed,
    settings: &ExternalSettings,
    over: bool,
) -> Result<Confirmation, String> {
    let (word, expires) = (settings.confirms_by, settings.expires_at_target);
    confirmed(answer, doomed.id, word, expires && over)
}

/// The word that was agreed on or, if the time of the lease is over at the target, that.
pub(super) fn confirmed(
    answer: &wire::RevokeResponse,
    lease: LeaseId,
    agreed: Option<Confirmation>,
    expired: bool,
) -> Result<Confirmation, String> {
    echoed(&answer.lease_id, lease)?;
    let mut known = Confirmation::ALL.into_iter();
    let confirmation = known
        .find(|it| it.as_str() == answer.confirmation)
        .ok_or("a confirmation that is no known word")?;
    match confirmation {
        word if agreed == Some(word) => Ok(word),
        Confirmation::ExpiredAtTarget if expired => Ok(confirmation),
        word => Err(format!(
            "{} is not the confirmation that was agreed on",
            word.as_str()
        )),
    }
}

/// Adds a page; the token of the next one, if there is one.
pub(super) fn page(
    page: wire::ListResponse,
    token: &str,
    found: &mut Vec<Found>,
) -> Result<Option<String>, String> {
    if page.credentials.len() > PAGE as usize {
        return Err("a page with more entries than were asked for".to_owned());
    }
    for entry in page.credentials {
        let id = entry.lease_id.parse();
        let id = id.map_err(|_| "an entry whose lease_id is none")?;
        let name = words(&entry.name)?;
        found.push(Found { id, name });
    }
    let next = page.next_page_token;
    match next.as_str() {
        "" => Ok(None),
        _ if next.len() > MAX_WORDS => Err("a page token of more than 256 bytes".to_owned()),
        same if same == token => Err("a page that follows itself".to_owned()),
        _ => Ok(Some(next)),
    }
}

/// A short text for people, on one line and without anything that a terminal would act on.
pub(super) fn words(text: &str) -> Result<String, String> {
    let sound = !text.is_empty() && text.len() <= MAX_WORDS && !text.chars().any(misleads);
    match sound {
        true => Ok(text.to_owned()),
        false => Err("a text that is not 1 to 256 bytes without control characters".to_owned()),
    }
}

fn echoed(lease: &str, expected: LeaseId) -> Result<(), String> {
    match lease == expected.to_string() {
        true => Ok(()),
        false => Err("it is about another lease".to_owned()),
    }
}

fn fingerprint(bytes: &[u8]) -> Result<Option<Digest>, String> {
    match <[u8; 32]>::try_from(bytes) {
        Ok(digest) => Ok(Some(Digest(digest))),
        Err(_) if bytes.is_empty() => Ok(None),
        Err(_) => Err(format!("a fingerprint of {} bytes, not 32", bytes.len())),
    }
}

fn fields(
    public: &BTreeMap<String, String>,
    secret: &BTreeMap<String, Secret>,
) -> Result<(), String> {
    let names: BTreeSet<&String> = public.keys().chain(secret.keys()).collect();
    let count = public.len() + secret.len();
    if count > MAX_FIELDS {
        return Err(format!("{count} fields, more than {MAX_FIELDS}"));
    }
    if names.len() < count {
        return Err("a field that is both public and secret".to_owned());
    }
    if !names.iter().all(|name| is_name(name)) {
        return Err("a field whose name is not [A-Za-z_][A-Za-z0-9_]*".to_owned());
    }
    let hidden = || secret.values().map(Secret::expose);
    let values = || public.values().map(String::as_str).chain(hidden());
    if values().any(|value| value.len() > MAX_VALUE) {
        return Err("a field of more than 64 KiB".to_owned());
    }
    if values().map(str::len).sum::<usize>() > MAX_VALUES {
        return Err("fields of more than 128 KiB together".to_owned());
    }
    if values().any(|value| value.chars().any(is_control)) {
        return Err("a field with control characters".to_owned());
    }
    match hidden().any(|secret| shows(public, secret)) {
        true => Err("a public field with a secret in it".to_owned()),
        false => Ok(()),
    }
}

fn shows(public: &BTreeMap<String, String>, secret: &str) -> bool {
    let holds = |(name, value): (&String, &String)| name.contains(secret) || value.contains(secret);
    is_long(secret) && public.iter().any(holds)
}

/// Whether it would be found elsewhere by more than chance.
pub(super) fn is_long(secret: &str) -> bool {
    secret.len() >= MIN_SECRET
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=MAX_NAME).contains(&name.len()) && name.starts_with(first) && name.bytes().all(plain)
}

/// Keys and certificates have lines.
fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn milliseconds(at: &WireTimestamp) -> Option<u64> {
    let seconds = u64::try_from(at.seconds).ok()?;
    let nanos = u64::try_from(at.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    // Rounded up: later by less than a millisecond is later.
    seconds
        .checked_mul(1000)?
        .checked_add(nanos.div_ceil(1_000_000))
}
