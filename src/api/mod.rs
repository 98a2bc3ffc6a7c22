//! The wire: generated messages and services, and their conversions. The only place that names prost types.

#![allow(missing_docs, clippy::all)]

/// Package `quietus.v1`.
pub mod v1 {
    tonic::include_proto!("quietus.v1");
}

/// Package `quietus.bench.v1`.
pub mod bench {
    tonic::include_proto!("quietus.bench.v1");
}

/// The descriptors of every service, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
