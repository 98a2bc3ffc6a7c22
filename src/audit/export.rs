//! Entries in the forms that other systems read.

mod cloudevents;
mod ocsf;

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::select::Found;

pub use cloudevents::event as cloud_event;
pub use ocsf::{VERSION as OCSF_VERSION, event as ocsf_event};

/// The entry in RFC 3339, in milliseconds and UTC.
fn rfc3339(millis: u64) -> String {
    /// The last second that RFC 3339 can write.
    const LAST: u64 = 253_402_300_799_999;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.min(LAST));
    humantime::format_rfc3339_millis(time).to_string()
}

/// The entry as any JSON.
fn value(found: &Found) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(&found.bytes)?)
}
