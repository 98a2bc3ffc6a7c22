//! Public keys, and sets of them.

use ring::signature::{ED25519, UnparsedPublicKey};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::encoding::{decode_array, encode, sha256};
use crate::error::TokenError;

/// Most keys in a set, skipped ones included.
pub const MAX_KEYS: usize = 64;
/// Longest set, in bytes of JSON.
pub const MAX_SET: usize = 64 * 1024;
/// Longest key id, in bytes.
pub const MAX_KEY_ID: usize = 256;

/// An Ed25519 public key for signatures, as a JSON Web Key (RFC 7517, RFC 8037 section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    kid: String,
    x: [u8; 32],
}

impl Jwk {
    /// The key with these bytes (RFC 8032 section 5.1.5). Its id is its RFC 7638 thumbprint.
    pub fn new(x: [u8; 32]) -> Self {
        let kid = encode(&thumbprint(&x));
        Self { kid, x }
    }

    /// The id that a token's header names it by.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key itself.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.x
    }

    /// The SHA-256 thumbprint (RFC 7638, RFC 8037 appendix A.3).
    pub fn thumbprint(&self) -> [u8; 32] {
        thumbprint(&self.x)
    }

    pub(crate) fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        UnparsedPublicKey::new(&ED25519, self.x)
            .verify(message, signature)
            .map_err(|_| TokenError::Signature)
    }
}

/// The keys of an issuer (RFC 7517 section 5). No two have the same id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

impl JwkSet {
    /// A set of these keys.
    ///
    /// # Errors
    /// [`TooMany`](JwkError::TooMany) keys, or [`SameId`](JwkError::SameId) twice.
    pub fn new(keys: impl IntoIterator<Item = Jwk>) -> Result<Self, JwkError> {
        let mut set = Self::default();
        keys.into_iter().try_for_each(|key| set.insert(key))?;
        Ok(set)
    }

    /// Reads a set from JSON. Keys for other algorithms or other uses are skipped; a key that claims to be an Ed25519
    /// signature key and is none makes the whole set an error, and so does a private key.
    ///
    /// # Errors
    /// Any [`JwkError`] but [`Unsupported`](JwkError::Unsupported).
    pub fn from_json(json: &[u8]) -> Result<Self, JwkError> {
        if json.len() > MAX_SET {
            return Err(JwkError::TooLong);
        }
        let values: Values = serde_json::from_slice(json).map_err(|_| JwkError::Malformed)?;
        Self::try_from(values)
    }

    /// The keys, in order.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The key with this id.
    pub fn get(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    fn insert(&mut self, key: Jwk) -> Result<(), JwkError> {
        if self.keys.len() == MAX_KEYS {
            return Err(JwkError::TooMany);
        }
        if self.get(&key.kid).is_some() {
            return Err(JwkError::SameId);
        }
        self.keys.push(key);
        Ok(())
    }
}

/// Why a key or a set of keys was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// Longer than [`MAX_SET`].
    #[error("the key set is longer than {MAX_SET} bytes")]
    TooLong,
    /// More than [`MAX_KEYS`].
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
    /// Not JSON, or an Ed25519 key without its 32 bytes or with an unusable id.
    #[error("the key is malformed")]
    Malformed,
    /// Not an Ed25519 signature key.
    #[error("the key is not an Ed25519 signature key")]
    Unsupported,
    /// It has a private part, which belongs in no key set.
    #[error("the key is a private key: take it out of the set and replace it, it is no secret now")]
    Private,
    /// Two keys with one id.
    #[error("two keys have the same id")]
    SameId,
}

/// Keys of any kind, not read yet.
#[derive(Deserialize)]
struct Values {
    keys: Vec<Value>,
}

impl TryFrom<Values> for JwkSet {
    type Error = JwkError;

    fn try_from(values: Values) -> Result<Self, JwkError> {
        if values.keys.len() > MAX_KEYS {
            return Err(JwkError::TooMany);
        }
        let usable = values.keys.iter().filter(|key| is_ours(key));
        Self::new(usable.map(read).collect::<Result<Vec<_>, _>>()?)
    }
}

fn is_ours(key: &Value) -> bool {
    let is = |name, wanted| text(key, name) == Some(wanted);
    let is_or_absent = |name, wanted| key.get(name).is_none() || is(name, wanted);
    is("kty", "OKP")
        && is("crv", "Ed25519")
        && is_or_absent("use", "sig")
        && is_or_absent("alg", "EdDSA")
}

fn read(key: &Value) -> Result<Jwk, JwkError> {
    if key.get("d").is_some() {
        return Err(JwkError::Private);
    }
    let x = text(key, "x").and_then(decode_array);
    let x = x.ok_or(JwkError::Malformed)?;
    if key.get("kid").is_none() {
        return Ok(Jwk::new(x));
    }
    let kid = text(key, "kid").filter(|kid| (1..=MAX_KEY_ID).contains(&kid.len()));
    let kid = kid.ok_or(JwkError::Malformed)?.to_owned();
    Ok(Jwk { kid, x })
}

fn text<'a>(key: &'a Value, name: &str) -> Option<&'a str> {
    key.get(name)?.as_str()
}

/// RFC 7638 section 3: the required members of the key alone, in lexicographic order, without white space.
fn thumbprint(x: &[u8; 32]) -> [u8; 32] {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x));
    sha256(members.as_bytes())
}

#[derive(Serialize)]
struct JwkMembers<'a> {
    kty: &'a str,
    crv: &'a str,
    x: &'a str,
    kid: &'a str,
    #[serde(rename = "use")]
    use_: &'a str,
    alg: &'a str,
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let members = JwkMembers {
            kty: "OKP",
            crv: "Ed25519",
            x: &encode(&self.x),
            kid: &self.kid,
            use_: "sig",
            alg: "EdDSA",
        };
        members.serialize(output)
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let key = Value::deserialize(input)?;
        if !is_ours(&key) {
            return Err(D::Error::custom(JwkError::Unsupported));
        }
        read(&key).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for JwkSet {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Values::deserialize(input)?
            .try_into()
            .map_err(D::Error::custom)
    }
}
