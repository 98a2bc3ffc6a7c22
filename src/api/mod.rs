//! The wire: generated messages and services, and their conversions. The only place that names prost types.

mod credential;
mod message;
pub mod otlp;
mod read;
mod status;

pub use credential::{credential, key_request};
pub use message::{lease, maybe_timestamp, pages, receipt, selector_of, target, task, timestamp};
pub use read::{
    action, body, digest, duration, erasure, known, lease_id, length, moment, page_token, scopes,
    selector, sha256, spiffe_id, target_name, task_id, wide_selector,
};
pub use status::{DOMAIN, refused, status};

/// Package `quietus.v1`.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("quietus.v1");
}

/// Package `quietus.bench.v1`.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod bench {
    tonic::include_proto!("quietus.bench.v1");
}

/// Package `quietus.demo.v1`.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod demo {
    tonic::include_proto!("quietus.demo.v1");
}

/// Package `quietus.issuer.v1`: what external issuers implement.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod issuer {
    tonic::include_proto!("quietus.issuer.v1");
}

/// The descriptors of every service, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The well-known types that messages are made of.
pub mod wire {
    pub use prost_types::{Duration, Timestamp};
}
