//! From messages to types: everything that comes in is parsed here, before anything else looks at it.

use std::str::FromStr;
use std::time::Duration;

use prost::Message;
use quietus_core::{AgentId, Digest, LeaseId, Scope, Selector, TargetName, TaskId, Timestamp};
use quietus_identity::{SpiffeId, TrustDomain};

use super::v1;
use crate::engine::{ActionReport, ActionResult, Erasure, Error, Target};

/// The longest `google.protobuf.Duration`: about 10,000 years, in seconds.
const LONGEST: u64 = 315_576_000_000;
/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

/// The canonical bytes of a request, for idempotency and the ledger. Pass it with the key cleared.
pub fn body(request: &impl Message) -> Vec<u8> {
    request.encode_to_vec()
}

/// A task's id.
pub fn task_id(text: &str) -> Result<TaskId, Error> {
    parse("task_id", text)
}

/// A digest, from hex.
pub fn digest(field: &'static str, text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|_| Error::Invalid {
        field,
        message: "must be 64 lower-case hex digits".to_owned(),
    })
}

/// A lease's id.
pub fn lease_id(text: &str) -> Result<LeaseId, Error> {
    parse("lease_id", text)
}

/// A target's name.
pub fn target_name(text: &str) -> Result<TargetName, Error> {
    parse("target", text)
}

/// A SPIFFE ID.
pub fn spiffe_id(text: &str) -> Result<SpiffeId, Error> {
    parse("agent", text)
}

/// Scopes, each `target:action:resource`.
pub fn scopes(texts: &[String]) -> Result<Vec<Scope>, Error> {
    texts.iter().map(|text| parse("scopes", text)).collect()
}

/// Where a page begins; none for the first.
pub fn page_token<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Option<T>, Error> {
    let given = (!text.is_empty()).then_some(text);
    given.map(|text| parse("page_token", text)).transpose()
}

/// A value that this version knows of an enumeration.
pub fn known<T: TryFrom<i32>>(field: &'static str, value: i32) -> Result<T, Error> {
    T::try_from(value).map_err(|_| Error::Invalid {
        field,
        message: format!("{value} is none of its values"),
    })
}

/// A positive duration, if one is given.
pub fn duration(
    field: &'static str,
    duration: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Error> {
    let Some(duration) = duration else {
        return Ok(None);
    };
    let read = whole(duration).filter(|duration| !duration.is_zero());
    let duration = read.ok_or(Error::Invalid {
        field,
        message: "must be a positive duration".to_owned(),
    })?;
    Ok(Some(duration))
}

/// A duration that may be zero, if one is given.
pub fn length(
    field: &'static str,
    length: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Error> {
    let read = |length| {
        whole(length).ok_or(Error::Invalid {
            field,
            message: "must not be negative".to_owned(),
        })
    };
    length.map(read).transpose()
}

/// Whatever is longer than the longest `google.protobuf.Duration` is as long as that: every limit is far below, and
/// the ledger can show it (RFC 8785 ends at 2^53). Its own conversion overflows.
fn whole(duration: prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?.min(LONGEST);
    let nanos = u32::try_from(duration.nanos).ok()?;
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// A point in time from 1970 to 9999, if one is given.
pub fn moment(
    field: &'static str,
    time: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    let read = |time: prost_types::Timestamp| {
        let seconds = u64::try_from(time.seconds).ok();
        let nanos = u64::try_from(time.nanos).ok();
        let sound = seconds
            .filter(|seconds| *seconds <= LAST)
            .zip(nanos.filter(|nanos| *nanos < 1_000_000_000));
        let millis = sound.map(|(seconds, nanos)| Timestamp(seconds * 1000 + nanos / 1_000_000));
        millis.ok_or(Error::Invalid {
            field,
            message: "must be a time from 1970 to 9999".to_owned(),
        })
    };
    time.map(read).transpose()
}

/// A SHA-256, if one is given.
pub fn sha256(field: &'static str, bytes: &[u8]) -> Result<Option<Digest>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let digest = bytes.try_into().map(|digest| Some(Digest(digest)));
    digest.map_err(|_| Error::Invalid {
        field,
        message: "must be 32 bytes, or empty".to_owned(),
    })
}

/// What was done with a credential.
pub fn action(request: v1::RecordActionRequest, text: String) -> Result<ActionReport, Error> {
    let lease = Some(request.lease_id).filter(|id| !id.is_empty());
    let result = match known("result", request.result)? {
        v1::ActionResult::Succeeded => ActionResult::Succeeded,
        v1::ActionResult::Failed => ActionResult::Failed,
        v1::ActionResult::Refused => ActionResult::Refused,
        v1::ActionResult::Unspecified => {
            return Err(Error::Invalid {
                field: "result",
                message: "must say how it went".to_owned(),
            });
        }
    };
    Ok(ActionReport {
        task: task_id(&request.task_id)?,
        lease: lease.map(|id| lease_id(&id)).transpose()?,
        tool: request.tool,
        resource: request.resource,
        result,
        call: request.call_id,
        started_at: moment("started_at", request.started_at)?,
        ended_at: moment("ended_at", request.ended_at)?,
        prompt: sha256("prompt_sha256", &request.prompt_sha256)?,
        arguments: sha256("arguments_sha256", &request.arguments_sha256)?,
        response: sha256("response_sha256", &request.response_sha256)?,
        text,
    })
}

/// Which texts to erase.
pub fn erasure(what: Option<v1::erase_text_request::Of>) -> Result<Erasure, Error> {
    use v1::erase_text_request::Of;
    match what {
        Some(Of::Commitment(hex)) => digest("commitment", &hex).map(Erasure::Text),
        Some(Of::TaskId(id)) => task_id(&id).map(Erasure::Task),
        None => Err(Error::Invalid {
            field: "of",
            message: "name a commitment or a task".to_owned(),
        }),
    }
}

/// What to revoke.
pub fn selector(selector: Option<v1::Selector>) -> Result<Target, Error> {
    use v1::selector::Of;
    match selector
        .and_then(|selector| selector.of)
        .ok_or_else(nothing_selected)?
    {
        Of::TaskId(id) => task_id(&id).map(Target::Task),
        Of::LeaseId(id) => lease_id(&id).map(Target::Lease),
        Of::Agent(id) => {
            spiffe_id(&id).map(|id| Target::Wide(Selector::Agent(AgentId(id.to_string()))))
        }
        Of::Target(name) => target_name(&name).map(|name| Target::Wide(Selector::Target(name))),
        Of::TrustDomain(name) => {
            let domain: TrustDomain = parse("trust_domain", &name)?;
            Ok(Target::Wide(Selector::TrustDomain(domain.to_string())))
        }
        Of::All(true) => Ok(Target::Wide(Selector::All)),
        Of::All(false) => Err(nothing_selected()),
    }
}

/// What to freeze or thaw: not a task or a lease, which are revoked instead.
pub fn wide_selector(message: Option<v1::Selector>) -> Result<Selector, Error> {
    match selector(message)? {
        Target::Wide(selector) => Ok(selector),
        Target::Task(_) | Target::Lease(_) => Err(Error::Invalid {
            field: "selector",
            message: "freeze an agent, a target, a trust domain or all; revoke a task or a lease"
                .to_owned(),
        }),
    }
}

fn nothing_selected() -> Error {
    Error::Invalid {
        field: "selector",
        message: "name a task, a lease, an agent, a target, a trust domain, or all".to_owned(),
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error: T::Err| Error::Invalid {
        field,
        message: error.to_string(),
    })
}
