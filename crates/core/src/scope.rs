//! What a credential may do: one action on one resource of one target.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest target name, in bytes.
pub const MAX_TARGET: usize = 64;
/// Longest resource name, in bytes.
pub const MAX_RESOURCE: usize = 256;

/// A verb on a resource. No action implies another: a scope that may `admin` may not, for that, `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Look at data.
    Read,
    /// Create or change data.
    Write,
    /// Run a function, a tool or a job.
    Execute,
    /// Remove data.
    Delete,
    /// Take data out in bulk.
    Export,
    /// Change the target itself: its schema, its users, its settings.
    Admin,
}

impl Action {
    /// Every action, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::Execute,
        Self::Delete,
        Self::Export,
        Self::Admin,
    ];

    /// The name used in scopes, policies and tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Delete => "delete",
            Self::Export => "export",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or(ScopeError::Action)
    }
}

/// The name of a configured target: `[a-z0-9][a-z0-9._-]*`, at most [`MAX_TARGET`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetName(String);

impl TargetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TargetName {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let sound = bytes.len() <= MAX_TARGET
            && bytes.first().is_some_and(plain)
            && bytes.iter().all(|b| plain(b) || b"._-".contains(b));
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(ScopeError::Target)
        }
    }
}

/// One action on one resource of one target, written `target:action:resource`.
///
/// The resource holds only bytes that an OAuth scope token may (RFC 6749 section 3.3: printable ASCII without
/// space, `"` and `\`); it may itself contain colons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    target: TargetName,
    action: Action,
    resource: String,
}

impl Scope {
    /// The target the resource belongs to.
    pub fn target(&self) -> &TargetName {
        &self.target
    }

    /// What may be done.
    pub fn action(&self) -> Action {
        self.action
    }

    /// What it may be done to, in the target's own terms.
    pub fn resource(&self) -> &str {
        &self.resource
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let mut parts = text.splitn(3, ':');
        let (Some(target), Some(action), Some(resource)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(ScopeError::Shape);
        };
        let token_byte = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        let sound = (1..=MAX_RESOURCE).contains(&resource.len());
        if !sound || !resource.bytes().all(token_byte) {
            return Err(ScopeError::Resource);
        }
        Ok(Self {
            target: target.parse()?,
            action: action.parse()?,
            resource: resource.to_owned(),
        })
    }
}

/// Why a scope was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not three parts.
    #[error("a scope is written target:action:resource, for example orders-db:read:public.orders")]
    Shape,
    /// Bad target name.
    #[error(
        "a target name is 1 to {MAX_TARGET} of a-z 0-9 . _ - and starts with a letter or digit"
    )]
    Target,
    /// Unknown action.
    #[error("an action is one of read, write, execute, delete, export, admin")]
    Action,
    /// Bad resource name.
    #[error(
        "a resource is 1 to {MAX_RESOURCE} printable ASCII characters without space, quote or backslash"
    )]
    Resource,
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TargetName {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        text.parse()
    }
}

impl From<TargetName> for String {
    fn from(name: TargetName) -> Self {
        name.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.target, self.action, self.resource)
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back_as_written() {
        for text in [
            "orders-db:read:public.orders",
            "s3:export:a:b/c*",
            "x:admin:*",
        ] {
            assert_eq!(
                text.parse::<Scope>().map(|s| s.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn malformed_scopes_are_refused_by_reason() {
        let long = format!("db:read:{}", "x".repeat(MAX_RESOURCE + 1));
        let cases = [
            ("", ScopeError::Shape),
            ("db:read", ScopeError::Shape),
            ("DB:read:x", ScopeError::Target),
            (":read:x", ScopeError::Target),
            ("-db:read:x", ScopeError::Target),
            ("db:Read:x", ScopeError::Action),
            ("db:read,write:x", ScopeError::Action),
            ("db:*:x", ScopeError::Action),
            ("db:read:", ScopeError::Resource),
            ("db:read:a b", ScopeError::Resource),
            ("db:read:a\"b", ScopeError::Resource),
            ("db:read:a\\b", ScopeError::Resource),
            ("db:read:a\nb", ScopeError::Resource),
            ("db:read:ä", ScopeError::Resource),
            (&long, ScopeError::Resource),
        ];
        for (text, reason) in cases {
            assert_eq!(text.parse::<Scope>(), Err(reason), "{text:?}");
        }
    }
}
