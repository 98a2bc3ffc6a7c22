//! From what was typed to what is sent.

use std::time::Duration;

use super::exit::Complaint;
use crate::api::wire;

/// A duration for the wire.
pub fn wire_duration(duration: Option<Duration>) -> Result<Option<wire::Duration>, Complaint> {
    let too_long =
        |_| Complaint::Usage("that is longer than any task: give a shorter time".to_owned());
    duration
        .map(|time| time.try_into().map_err(too_long))
        .transpose()
}
