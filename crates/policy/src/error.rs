//! Why a policy set was refused.

use std::fmt;

/// A position in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file's name, as given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a policy set was refused, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than [`MAX_FILES`](crate::MAX_FILES).
    #[error("{count} policy files: at most {max} are allowed; join some of them")]
    TooManyFiles {
        /// How many were given.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A file over [`MAX_FILE_BYTES`](crate::MAX_FILE_BYTES).
    #[error("{file}: {bytes} bytes: at most {max} are allowed in a file; split it")]
    FileTooLarge {
        /// The file.
        file: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// All files together are over [`MAX_TOTAL_BYTES`](crate::MAX_TOTAL_BYTES).
    #[error("{bytes} bytes of policy: at most {max} are allowed in all; remove policies")]
    TooMuchText {
        /// The length of all files.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// More than [`MAX_POLICIES`](crate::MAX_POLICIES).
    #[error("{file}: more than {max} policies with this file; remove policies")]
    TooManyPolicies {
        /// The file that went over the limit.
        file: String,
        /// The limit.
        max: usize,
    },
    /// Two files of one name, or a file without a name.
    #[error("{file:?} is not a file name of its own: give every policy file a different name")]
    FileName {
        /// The name.
        file: String,
    },
    /// Not Cedar.
    #[error("{place}: {message}{}", hint(.help))]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said.
        message: String,
        /// What it advises.
        help: Option<String>,
    },
    /// A policy that nests or chains too much to be parsed safely.
    #[error(
        "{place}: this policy nests deeper than {brackets} brackets or has more than {links} operators: split it"
    )]
    TooDeep {
        /// Where it goes over the limit.
        place: Place,
        /// The deepest that brackets may nest.
        brackets: usize,
        /// The most operators, accesses, brackets and keywords that a policy may have.
        links: usize,
    },
    /// A template: a policy with a slot.
    #[error("{place}: a template is not allowed: write the agent or resource in place of the slot")]
    Template {
        /// Where it begins.
        place: Place,
    },
    /// Cedar, but not for this schema: an unknown attribute, a wrong type, a policy that can never apply.
    #[error("{place}: policy {policy}: {message}{}", hint(.help))]
    Invalid {
        /// Where.
        place: Place,
        /// The policy.
        policy: String,
        /// What the validator said.
        message: String,
        /// What it advises.
        help: Option<String>,
    },
    /// An annotation that has no meaning here.
    #[error(
        "{place}: policy {policy}: @{annotation} is unknown: use id, description, reason, max_ttl, approval or quorum"
    )]
    UnknownAnnotation {
        /// Where the policy begins.
        place: Place,
        /// The policy.
        policy: String,
        /// The annotation.
        annotation: String,
    },
    /// An annotation on a policy that it cannot apply to.
    #[error("{place}: policy {policy}: @{annotation} is only for {allowed_on}")]
    MisplacedAnnotation {
        /// Where the policy begins.
        place: Place,
        /// The policy.
        policy: String,
        /// The annotation.
        annotation: &'static str,
        /// What it is for.
        allowed_on: &'static str,
    },
    /// An annotation whose value cannot be read.
    #[error("{place}: policy {policy}: @{annotation}({value:?}): write {expected}")]
    AnnotationValue {
        /// Where the policy begins.
        place: Place,
        /// The policy.
        policy: String,
        /// The annotation.
        annotation: &'static str,
        /// What it says.
        value: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// A `forbid` with `@approval` that no approval lifts.
    #[error(
        "{place}: policy {policy}: no approval can lift it: add `unless {{ context.approved }}`, or remove @approval"
    )]
    ApprovalNeverLifts {
        /// Where the policy begins.
        place: Place,
        /// The policy.
        policy: String,
    },
    /// Two policies of one id.
    #[error("{place}: policy {policy} is already defined at {first}: give it another @id")]
    DuplicateId {
        /// Where the second begins.
        place: Place,
        /// The id.
        policy: String,
        /// Where the first begins.
        first: Place,
    },
    /// The embedded schema does not compile: a fault of this crate.
    #[error("the policy schema is broken: {0}")]
    Schema(String),
}

fn hint(help: &Option<String>) -> String {
    match help {
        Some(help) => format!(" ({help})"),
        None => String::new(),
    }
}
