//! The kinds of evidence that a broker gives.

use serde::{Serialize, Serializer};

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Verified SVIDs.
    E1,
    /// Scoped, short-lived credentials.
    E2,
    /// Revocations.
    E3,
    /// Decisions.
    E4,
    /// Approvals.
    E5,
    /// The record itself.
    E6,
    /// Quotas.
    E7,
    /// Kill switches.
    E8,
    /// What agents can reach.
    E9,
    /// The absence of secrets.
    E10,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::E1,
        Self::E2,
        Self::E3,
        Self::E4,
        Self::E5,
        Self::E6,
        Self::E7,
        Self::E8,
        Self::E9,
        Self::E10,
    ];

    /// What it is called in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::E1 => "E1",
            Self::E2 => "E2",
            Self::E3 => "E3",
            Self::E4 => "E4",
            Self::E5 => "E5",
            Self::E6 => "E6",
            Self::E7 => "E7",
            Self::E8 => "E8",
            Self::E9 => "E9",
            Self::E10 => "E10",
        }
    }

    /// What it is.
    pub fn title(self) -> &'static str {
        match self {
            Self::E1 => "Callers known by verified SVIDs",
            Self::E2 => "Scoped credentials with an end, minted for one task",
            Self::E3 => "Revocations, how they were confirmed, and how long it took",
            Self::E4 => "Decisions by policy, which can be made again",
            Self::E5 => "Approvals by humans",
            Self::E6 => "A record that shows tampering",
            Self::E7 => "Quotas",
            Self::E8 => "Freezes and revocations by operators",
            Self::E9 => "Reports of what agents can reach",
            Self::E10 => "Secrets are neither stored nor logged",
        }
    }

    /// Why there is none of it yet, for a kind that brokers of this version do not give.
    pub fn absent(self) -> Option<&'static str> {
        match self {
            Self::E5 => {
                Some("this version has no approvals: what policy wants approved is refused")
            }
            Self::E9 => Some("this version has no reach reports"),
            _ => None,
        }
    }

    /// What has to be known to read its figures rightly.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::E1 => Some(
                "Connections that are refused while they are made are logged by the broker, and not entries.",
            ),
            Self::E3 => Some(
                "The lag is the time from the entry that ends a credential to the one that its death is confirmed in.",
            ),
            Self::E7 => Some(
                "Requests over the rate limits are refused before anything is recorded: there are no entries of them.",
            ),
            Self::E10 => Some(
                "No member of an entry is made for a secret: credentials are named by the SHA-256 of what identifies them, prompts and arguments by digests that their reporters give, and texts by salted commitments. Entries show no more than that it was kept to; what people write into purposes, tickets and reasons is recorded as it is.",
            ),
            _ => None,
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
