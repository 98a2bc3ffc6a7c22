//! What a policy's annotations oblige the broker to do.

use cedar_policy::{Effect, Policy};

use crate::decision::ApprovalGroup;
use crate::error::{Place, PolicyError};

const KNOWN: [&str; 6] = [
    "id",
    "description",
    "reason",
    "max_ttl",
    "approval",
    "quorum",
];
const MAX_ID: usize = 128;
const MAX_QUORUM: u32 = 10;

/// The annotations of one policy that change what is done with it.
pub(crate) struct Obligations {
    /// The longest life of a credential that rests on this permit, in seconds.
    pub(crate) max_ttl: Option<u64>,
    /// Who can lift this forbid.
    pub(crate) approval: Option<ApprovalGroup>,
}

/// The id that the policy gives itself, otherwise the one that its position gives it.
pub(crate) fn id(policy: &Policy, position: String, place: &Place) -> Result<String, PolicyError> {
    let Some(id) = policy.annotation("id") else {
        return Ok(position);
    };
    let sound = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    if sound {
        return Ok(id.to_owned());
    }
    let expected = "1 to 128 printable ASCII characters without space";
    let at = At {
        id: &position,
        place,
    };
    Err(at.value("id", id, expected))
}

/// Reads and checks every annotation of the policy.
pub(crate) fn read(policy: &Policy, id: &str, place: &Place) -> Result<Obligations, PolicyError> {
    let at = At { id, place };
    let mut names: Vec<&str> = policy.annotations().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some(name) = names.into_iter().find(|name| !KNOWN.contains(name)) {
        return Err(at.unknown(name));
    }
    Ok(Obligations {
        max_ttl: max_ttl(policy, &at)?,
        approval: approval(policy, &at)?,
    })
}

fn max_ttl(policy: &Policy, at: &At<'_>) -> Result<Option<u64>, PolicyError> {
    let Some(text) = policy.annotation("max_ttl") else {
        return Ok(None);
    };
    if policy.effect() != Effect::Permit {
        return Err(at.misplaced("max_ttl", "a permit"));
    }
    let expected = "a whole number above 0 with s, m, h or d, such as \"90s\", \"15m\", \"1h\"";
    let seconds = seconds(text).ok_or_else(|| at.value("max_ttl", text, expected))?;
    Ok(Some(seconds))
}

fn approval(policy: &Policy, at: &At<'_>) -> Result<Option<ApprovalGroup>, PolicyError> {
    let (name, quorum) = (policy.annotation("approval"), policy.annotation("quorum"));
    if name.or(quorum).is_some() && policy.effect() != Effect::Forbid {
        let annotation = if name.is_some() { "approval" } else { "quorum" };
        return Err(at.misplaced(annotation, "a forbid"));
    }
    match (name, quorum) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(at.misplaced("quorum", "a forbid with @approval")),
        (Some(name), quorum) => Ok(Some(group(name, quorum.unwrap_or("1"), at)?)),
    }
}

fn group(name: &str, quorum: &str, at: &At<'_>) -> Result<ApprovalGroup, PolicyError> {
    if !is_group_name(name) {
        let expected = "the name of a group: 1 to 64 of a-z A-Z 0-9 . _ -";
        return Err(at.value("approval", name, expected));
    }
    let quorum = number(quorum)
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n <= MAX_QUORUM)
        .ok_or_else(|| at.value("quorum", quorum, "a whole number from 1 to 10"))?;
    Ok(ApprovalGroup {
        name: name.to_owned(),
        quorum,
    })
}

fn is_group_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn seconds(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number(digits)?.checked_mul(unit)
}

/// A number above 0, in its only spelling.
fn number(text: &str) -> Option<u64> {
    let sound = text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if sound && !text.starts_with('0') {
        text.parse().ok()
    } else {
        None
    }
}

struct At<'a> {
    id: &'a str,
    place: &'a Place,
}

impl At<'_> {
    fn unknown(&self, annotation: &str) -> PolicyError {
        PolicyError::UnknownAnnotation {
            place: self.place.clone(),
            policy: self.id.to_owned(),
            annotation: annotation.to_owned(),
        }
    }

    fn misplaced(&self, annotation: &'static str, allowed_on: &'static str) -> PolicyError {
        PolicyError::MisplacedAnnotation {
            place: self.place.clone(),
            policy: self.id.to_owned(),
            annotation,
            allowed_on,
        }
    }

    fn value(&self, annotation: &'static str, value: &str, expected: &'static str) -> PolicyError {
        PolicyError::AnnotationValue {
            place: self.place.clone(),
            policy: self.id.to_owned(),
            annotation,
            value: value.to_owned(),
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn durations_have_one_spelling() {
        for (text, expected) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("2d", 172_800)] {
            assert_eq!(seconds(text), Some(expected));
        }
        for text in [
            "",
            "s",
            "0s",
            "00s",
            "01h",
            "-1h",
            "+1h",
            " 1h",
            "1 h",
            "1h ",
            "1H",
            "1w",
            "1.5h",
            "1h30m",
            "900",
            "1ms",
            "٣h",
            "1９h",
            "1h\0",
            "9999999999s",
            "1µ",
        ] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }
}
