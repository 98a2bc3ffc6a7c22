use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

const SCHEME: &str = "spiffe://";
const MAX_ID_BYTES: usize = 2048;
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// A SPIFFE ID: the name of one workload, or, with an empty path, of a trust domain.
///
/// Follows the SPIFFE-ID specification, sections 2.1 to 2.3. The text is kept as it was given: comparison is by
/// byte, and whatever would need normalising (upper-case in the scheme or the trust domain, percent-encoding,
/// dot segments) is refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// The trust domain that issued, and is answerable for, this identity.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash, or the empty string for the ID of a trust domain.
    pub fn path(&self) -> &str {
        let start = SCHEME.len() + self.trust_domain.as_str().len();
        self.text.get(start..).unwrap_or_default()
    }

    /// The whole ID, `spiffe://` included.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_ID_BYTES {
            return Err(SpiffeIdError::TooLong { bytes: text.len() });
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain = authority.parse()?;
        check_path(path)?;
        Ok(Self {
            text: text.into(),
            trust_domain,
        })
    }
}

/// The name of a trust domain, without scheme or path: `prod.example.org`.
///
/// SPIFFE-ID specification, section 2.1: 1 to 255 bytes of `a-z`, `0-9`, dot, hyphen and underscore.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(name: &str) -> Result<Self, SpiffeIdError> {
        if name.is_empty() {
            return Err(SpiffeIdError::TrustDomainEmpty);
        }
        if name.contains('@') {
            return Err(SpiffeIdError::UserInfo);
        }
        name.chars().try_for_each(check_trust_domain_character)?;
        if name.len() > MAX_TRUST_DOMAIN_BYTES {
            return Err(SpiffeIdError::TrustDomainTooLong { bytes: name.len() });
        }
        Ok(Self(name.into()))
    }
}

/// Why a text is not a SPIFFE ID or not a trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// Longer than 2048 bytes.
    #[error("the SPIFFE ID has {bytes} bytes; at most 2048 are allowed: shorten its path")]
    TooLong {
        /// Length of the refused text.
        bytes: usize,
    },
    /// Does not begin with `spiffe://` in lower case.
    #[error("a SPIFFE ID begins with spiffe:// in lower case")]
    Scheme,
    /// Nothing between `spiffe://` and the path.
    #[error("the trust domain is empty: write spiffe://<trust domain>/<path>")]
    TrustDomainEmpty,
    /// Trust domain longer than 255 bytes.
    #[error("the trust domain has {bytes} bytes; at most 255 are allowed")]
    TrustDomainTooLong {
        /// Length of the refused trust domain.
        bytes: usize,
    },
    /// Upper-case letter in the trust domain.
    #[error("the trust domain contains upper-case {character:?}: write it in lower case")]
    TrustDomainUpperCase {
        /// The first such letter.
        character: char,
    },
    /// Character that a trust domain may not contain.
    #[error(
        "the trust domain contains {character:?}; only a-z, 0-9, dot, hyphen and underscore are allowed"
    )]
    TrustDomainCharacter {
        /// The first such character.
        character: char,
    },
    /// User information before the trust domain.
    #[error("a SPIFFE ID has no user information: remove what stands before the @")]
    UserInfo,
    /// Port after the trust domain.
    #[error("a SPIFFE ID has no port: remove the colon and what follows it")]
    Port,
    /// Percent-encoded byte.
    #[error("a SPIFFE ID is never percent-encoded: use the characters themselves")]
    PercentEncoding,
    /// Query component.
    #[error("a SPIFFE ID has no query: remove the question mark and what follows it")]
    Query,
    /// Fragment component.
    #[error("a SPIFFE ID has no fragment: remove the # and what follows it")]
    Fragment,
    /// Path that ends in a slash.
    #[error("the path ends in a slash: remove it")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("the path has an empty segment: remove the doubled slash")]
    EmptySegment,
    /// Segment `.` or `..`.
    #[error("the path has a dot segment: write the path out")]
    DotSegment,
    /// Character that a path segment may not contain.
    #[error(
        "the path contains {character:?}; only letters, digits, dot, hyphen and underscore are allowed"
    )]
    PathCharacter {
        /// The first such character.
        character: char,
    },
}

impl SpiffeIdError {
    /// A stable name for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "SPIFFE_ID_TOO_LONG",
            Self::Scheme => "SPIFFE_ID_SCHEME",
            Self::TrustDomainEmpty => "SPIFFE_ID_TRUST_DOMAIN_EMPTY",
            Self::TrustDomainTooLong { .. } => "SPIFFE_ID_TRUST_DOMAIN_TOO_LONG",
            Self::TrustDomainUpperCase { .. } => "SPIFFE_ID_TRUST_DOMAIN_UPPER_CASE",
            Self::TrustDomainCharacter { .. } => "SPIFFE_ID_TRUST_DOMAIN_CHARACTER",
            Self::UserInfo => "SPIFFE_ID_USER_INFO",
            Self::Port => "SPIFFE_ID_PORT",
            Self::PercentEncoding => "SPIFFE_ID_PERCENT_ENCODING",
            Self::Query => "SPIFFE_ID_QUERY",
            Self::Fragment => "SPIFFE_ID_FRAGMENT",
            Self::TrailingSlash => "SPIFFE_ID_TRAILING_SLASH",
            Self::EmptySegment => "SPIFFE_ID_EMPTY_SEGMENT",
            Self::DotSegment => "SPIFFE_ID_DOT_SEGMENT",
            Self::PathCharacter { .. } => "SPIFFE_ID_PATH_CHARACTER",
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = SpiffeIdError;

    fn try_from(text: String) -> Result<Self, SpiffeIdError> {
        text.parse()
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = SpiffeIdError;

    fn try_from(name: String) -> Result<Self, SpiffeIdError> {
        name.parse()
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for TrustDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn check_trust_domain_character(character: char) -> Result<(), SpiffeIdError> {
    match character {
        'a'..='z' | '0'..='9' | '.' | '-' | '_' => Ok(()),
        'A'..='Z' => Err(SpiffeIdError::TrustDomainUpperCase { character }),
        ':' => Err(SpiffeIdError::Port),
        '%' | '?' | '#' => Err(foreign_component(character)),
        _ => Err(SpiffeIdError::TrustDomainCharacter { character }),
    }
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let Some(segments) = path.strip_prefix('/') else {
        return Ok(());
    };
    if segments.is_empty() || segments.ends_with('/') {
        return Err(SpiffeIdError::TrailingSlash);
    }
    segments.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    match segment {
        "" => Err(SpiffeIdError::EmptySegment),
        "." | ".." => Err(SpiffeIdError::DotSegment),
        _ => segment.chars().try_for_each(check_path_character),
    }
}

fn check_path_character(character: char) -> Result<(), SpiffeIdError> {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => Ok(()),
        '%' | '?' | '#' => Err(foreign_component(character)),
        _ => Err(SpiffeIdError::PathCharacter { character }),
    }
}

fn foreign_component(delimiter: char) -> SpiffeIdError {
    match delimiter {
        '%' => SpiffeIdError::PercentEncoding,
        '?' => SpiffeIdError::Query,
        _ => SpiffeIdError::Fragment,
    }
}
