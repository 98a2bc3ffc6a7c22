use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use quietus_identity::{SpiffeId, SpiffeIdError, TrustDomain};

/// One SPIFFE ID, or with a final `/*` all below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdPattern {
    /// Exactly this ID.
    Exact(SpiffeId),
    /// Every ID whose path goes on after this one by at least one segment.
    Below(SpiffeId),
}

impl IdPattern {
    /// The trust domain of everything it covers.
    pub fn trust_domain(&self) -> &TrustDomain {
        match self {
            Self::Exact(id) | Self::Below(id) => id.trust_domain(),
        }
    }

    /// Whether it covers this ID.
    pub fn covers(&self, id: &str) -> bool {
        match self {
            Self::Exact(own) => own.as_str() == id,
            Self::Below(prefix) => id
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.starts_with('/')),
        }
    }
}

impl FromStr for IdPattern {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        match text.strip_suffix("/*") {
            Some(prefix) => prefix.parse().map(Self::Below),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(id) => write!(f, "{id}"),
            Self::Below(id) => write!(f, "{id}/*"),
        }
    }
}

/// Finds the pattern that fits an ID best, in time that follows the ID's length and not the number of patterns.
#[derive(Clone, Debug, Default)]
pub(super) struct PatternIndex {
    exact: HashMap<String, usize>,
    below: HashMap<String, usize>,
}

impl PatternIndex {
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a IdPattern>) -> Self {
        let mut index = Self::default();
        for (position, pattern) in patterns.enumerate() {
            match pattern {
                IdPattern::Exact(id) => index.exact.insert(id.to_string(), position),
                IdPattern::Below(id) => index.below.insert(id.to_string(), position),
            };
        }
        index
    }

    /// The position of the exact pattern, otherwise of the longest one that covers the ID.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        if let Some(position) = self.exact.get(id) {
            return Some(*position);
        }
        let ends = id.rmatch_indices('/').map(|(end, _)| end);
        ends.filter_map(|end| id.get(..end))
            .find_map(|prefix| self.below.get(prefix))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{IdPattern, PatternIndex};

    const PATTERNS: [&str; 5] = [
        "spiffe://a.example/agent/*",
        "spiffe://a.example/agent/data/*",
        "spiffe://a.example/agent/data/loader",
        "spiffe://b.example/*",
        "spiffe://a.example/agent",
    ];

    const CASES: [(&str, Option<usize>); 13] = [
        ("spiffe://a.example/agent/build", Some(0)),
        ("spiffe://a.example/agent/build/7", Some(0)),
        ("spiffe://a.example/agent/data", Some(0)),
        ("spiffe://a.example/agent/database", Some(0)),
        ("spiffe://a.example/agent/data/reader", Some(1)),
        ("spiffe://a.example/agent/data/loader", Some(2)),
        ("spiffe://a.example/agent/data/loader/7", Some(1)),
        ("spiffe://b.example/anything", Some(3)),
        ("spiffe://a.example/agent", Some(4)),
        ("spiffe://b.example", None),
        ("spiffe://a.example/agents/build", None),
        ("spiffe://a.example", None),
        ("spiffe://bb.example/x", None),
    ];

    #[test]
    fn the_exact_pattern_wins_and_then_the_longest() {
        let patterns = PATTERNS.map(|text| text.parse::<IdPattern>().unwrap());
        let index = PatternIndex::new(patterns.iter());
        for (id, expected) in CASES {
            assert_eq!(index.find(id), expected, "{id}");
        }
    }

    #[test]
    fn the_index_agrees_with_the_patterns_themselves() {
        let patterns = PATTERNS.map(|text| text.parse::<IdPattern>().unwrap());
        let index = PatternIndex::new(patterns.iter());
        for (id, _) in CASES {
            let covered = patterns.iter().any(|pattern| pattern.covers(id));
            assert_eq!(index.find(id).is_some(), covered, "{id}");
        }
    }

    #[test]
    fn a_pattern_reads_back_as_written() {
        for text in PATTERNS {
            assert_eq!(text.parse::<IdPattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_star_stands_for_whole_segments_at_the_end_only() {
        for text in [
            "spiffe://a.example/agent*",
            "spiffe://a.example/*/x",
            "spiffe://*",
            "/*",
            "*",
        ] {
            assert!(text.parse::<IdPattern>().is_err(), "{text}");
        }
    }
}
