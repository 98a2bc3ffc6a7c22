//! The schema of an entry as a table: members by name, in the order in which the canonical form has them.

/// What a value may be.
pub(super) enum Kind {
    Text,
    Number { most: u64 },
    Signed,
    Truth,
    Object(&'static [Member]),
    List(&'static Kind),
    Map(&'static Kind),
}

/// A member of an object. One that need not be there is absent rather than empty.
pub(super) struct Member {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub mark: Mark,
}

/// What a verifier wants to know.
pub(super) enum Mark {
    None,
    Attached,
    Event,
    Policy,
    Seq,
    Task,
    Time,
}

const NUMBER: Kind = Kind::Number { most: u64::MAX };
const SMALL: Kind = Kind::Number {
    most: u32::MAX as u64,
};

const fn must(name: &'static str, kind: Kind) -> Member {
    Member {
        name,
        kind,
        required: true,
        mark: Mark::None,
    }
}

const fn may(name: &'static str, kind: Kind) -> Member {
    Member {
        name,
        kind,
        required: false,
        mark: Mark::None,
    }
}

const fn marked(member: Member, mark: Mark) -> Member {
    Member {
        name: member.name,
        kind: member.kind,
        required: member.required,
        mark,
    }
}

pub(super) const SEALED: &[Member] = &[
    must("entry", Kind::Object(ENTRY)),
    marked(must("seq", NUMBER), Mark::Seq),
];

const ENTRY: &[Member] = &[
    may("action", Kind::Object(ACTION)),
    may("agent", Kind::Text),
    may("approval", Kind::Object(APPROVAL)),
    marked(
        may("attached", Kind::Map(&Kind::Object(ATTACHED))),
        Mark::Attached,
    ),
    must("broker", Kind::Text),
    may("caller", Kind::Object(CALLER)),
    may("cause", Kind::Text),
    may("decisions", Kind::List(&Kind::Object(DECISION))),
    may("delegation", Kind::List(&Kind::Object(DELEGATOR))),
    may("detail", Kind::Map(&Kind::Text)),
    marked(must("event", Kind::Text), Mark::Event),
    may("facts", Kind::Object(FACTS)),
    may("leases", Kind::List(&Kind::Object(LEASE))),
    marked(may("policy", Kind::Text), Mark::Policy),
    may("refusal", Kind::Text),
    may("request", Kind::Text),
    may("task", Kind::Object(TASK)),
    marked(must("time", NUMBER), Mark::Time),
    may("trace", Kind::Object(TRACE)),
    must("v", SMALL),
];

const ACTION: &[Member] = &[
    may("arguments", Kind::Text),
    may("call", Kind::Text),
    may("ended_at", NUMBER),
    may("lease", Kind::Text),
    may("prompt", Kind::Text),
    must("resource", Kind::Text),
    may("response", Kind::Text),
    must("result", Kind::Text),
    may("started_at", NUMBER),
    may("text", Kind::Text),
    must("tool", Kind::Text),
];

const APPROVAL: &[Member] = &[
    must("by", Kind::List(&Kind::Text)),
    must("id", Kind::Text),
    must("request", Kind::Text),
];

const ATTACHED: &[Member] = &[
    must("bytes", NUMBER),
    must("count", NUMBER),
    must("sha256", Kind::Text),
];

const CALLER: &[Member] = &[must("certificate", Kind::Text), must("id", Kind::Text)];

const DECISION: &[Member] = &[
    must("deciding", Kind::List(&Kind::Text)),
    must("outcome", Kind::Text),
    must("scope", Kind::Text),
];

const DELEGATOR: &[Member] = &[must("agent", Kind::Text), must("task", Kind::Text)];

const FACTS: &[Member] = &[
    must("agent_environment", Kind::Text),
    must("approved", Kind::Truth),
    must("delegation_depth", NUMBER),
    must("owner", Kind::Text),
    must("target_environment", Kind::Text),
    must("target_kind", Kind::Text),
    must("target_sensitivity", Kind::Signed),
    must("task_age", NUMBER),
    must("task_environment", Kind::Text),
    must("task_held", Kind::Truth),
    must("task_leases", NUMBER),
    must("team", Kind::Text),
    must("tier", Kind::Signed),
    must("time", NUMBER),
    must("ttl", NUMBER),
];

const LEASE: &[Member] = &[
    may("attempts", SMALL),
    may("bound", Kind::Text),
    may("cause", Kind::Text),
    may("certificate", Kind::Text),
    may("confirmed", Kind::Text),
    may("error", Kind::Text),
    may("expires_at", NUMBER),
    may("fingerprint", Kind::Text),
    must("id", Kind::Text),
    may("scopes", Kind::List(&Kind::Text)),
    must("state", Kind::Text),
    must("target", Kind::Text),
];

const TASK: &[Member] = &[
    may("deadline", NUMBER),
    may("environment", Kind::Text),
    marked(must("id", Kind::Text), Mark::Task),
    must("previous", NUMBER),
    may("prompt", Kind::Text),
    may("purpose", Kind::Text),
    must("state", Kind::Text),
    may("ticket", Kind::Text),
    must("version", NUMBER),
];

const TRACE: &[Member] = &[must("id", Kind::Text), may("span", Kind::Text)];
