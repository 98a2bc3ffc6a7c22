//! Names of things: tasks, leases, agents, digests, and points in time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A task's name: a UUIDv7 (RFC 9562), so that tasks opened together lie together in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub Uuid);

/// A lease's name: its task and its number within that task, written `<task>.<number>`.
///
/// A lease cannot be named apart from its task, and one task's leases lie side by side in the store. Names of
/// credentials at targets are derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId {
    /// The task it lives in.
    pub task: TaskId,
    /// Counted from 0 in order of issue.
    pub number: u32,
}

/// A SPIFFE ID as text. Who made it from a verified SVID answers for its form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentId(pub String);

/// A SHA-256 digest; shown as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Milliseconds since the Unix epoch, in the broker's effective time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

/// The text names no task or lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID.
    #[error("a task id is a UUID, for example 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55")]
    Task,
    /// Not `<task>.<number>`.
    #[error(
        "a lease id is a task id, a dot and a number, for example 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0"
    )]
    Lease,
    /// Not a digest.
    #[error("a digest is 64 lower-case hex digits")]
    Digest,
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digit = |byte: &u8| HEX.iter().position(|hex| hex == byte);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(IdError::Digest);
        }
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            let (high, low) = digit(high).zip(digit(low)).ok_or(IdError::Digest)?;
            *byte = u8::try_from(high << 4 | low).map_err(|_| IdError::Digest)?;
        }
        Ok(Self(digest))
    }
}

impl TaskId {
    /// The 16 bytes of the UUID, in their order of creation.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The task those bytes name.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl AgentId {
    /// The trust domain: what stands between `spiffe://` and the first slash.
    pub fn trust_domain(&self) -> &str {
        let rest = self.0.strip_prefix("spiffe://").unwrap_or(&self.0);
        rest.split('/').next().unwrap_or(rest)
    }
}

impl Timestamp {
    /// Whole seconds, rounded down.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// That long after; saturating.
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long since an earlier time; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// From whole seconds; saturating.
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // The hyphenated form alone: one task, one spelling.
        if text.len() != 36 {
            return Err(IdError::Task);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| IdError::Task)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)
    }
}

impl FromStr for LeaseId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (task, number) = text.split_once('.').ok_or(IdError::Lease)?;
        let id = Self {
            task: task.parse().map_err(|_| IdError::Lease)?,
            number: number.parse().map_err(|_| IdError::Lease)?,
        };
        // One lease, one spelling: no plus sign, no leading zeros.
        if id.number.to_string() == number {
            Ok(id)
        } else {
            Err(IdError::Lease)
        }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Five of these go into every grant: one write, not one a byte.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 0xf)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";

    #[test]
    fn ids_read_back_as_written() {
        let lease = format!("{TASK}.7");
        assert_eq!(lease.parse::<LeaseId>().map(|id| id.to_string()), Ok(lease));
    }

    #[test]
    fn a_digest_shows_as_lower_case_hex() {
        let digest = Digest(std::array::from_fn(|i| i as u8 * 8 + 7));
        let one_by_one: String = digest.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest.to_string(), one_by_one);
    }

    #[test]
    fn a_digest_is_read_from_the_one_form_it_is_shown_in() {
        let digest = Digest([0xa5; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let text = "a5".repeat(32);
        let cases = [
            String::new(),
            text[1..].to_owned(),
            format!("{text}a5"),
            format!("{text}a"),
            text.to_uppercase(),
            text.replacen('a', "g", 1),
            text.replacen("a5", "é", 1),
            format!(" {}", &text[1..]),
        ];
        for case in cases {
            assert_eq!(case.parse::<Digest>(), Err(IdError::Digest), "{case}");
        }
    }

    #[test]
    fn every_id_has_one_spelling() {
        let others = [
            format!("{TASK}.07"),
            format!("{TASK}.+7"),
            format!("{TASK}."),
            format!("{TASK}.-1"),
            format!("{TASK}.4294967296"),
            TASK.to_owned(),
            format!("{}.7", TASK.replace('-', "")),
            format!("{{{TASK}}}.7"),
        ];
        for text in others {
            assert_eq!(text.parse::<LeaseId>(), Err(IdError::Lease), "{text}");
        }
    }
}
