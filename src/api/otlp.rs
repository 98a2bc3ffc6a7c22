//! The OpenTelemetry protocol, as published: what telemetry is sent in.

/// Packages `opentelemetry.proto.collector.*`: where it is sent.
pub mod collector {
    /// Package `opentelemetry.proto.collector.metrics`.
    pub mod metrics {
        /// Version 1.
        #[allow(missing_docs, clippy::all, rustdoc::all)]
        pub mod v1 {
            tonic::include_proto!("opentelemetry.proto.collector.metrics.v1");
        }
    }

    /// Package `opentelemetry.proto.collector.trace`.
    pub mod trace {
        /// Version 1.
        #[allow(missing_docs, clippy::all, rustdoc::all)]
        pub mod v1 {
            tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
        }
    }
}

/// Package `opentelemetry.proto.common`.
pub mod common {
    /// Version 1.
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    pub mod v1 {
        tonic::include_proto!("opentelemetry.proto.common.v1");
    }
}

/// Package `opentelemetry.proto.metrics`.
pub mod metrics {
    /// Version 1.
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    pub mod v1 {
        tonic::include_proto!("opentelemetry.proto.metrics.v1");
    }
}

/// Package `opentelemetry.proto.resource`.
pub mod resource {
    /// Version 1.
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    pub mod v1 {
        tonic::include_proto!("opentelemetry.proto.resource.v1");
    }
}

/// Package `opentelemetry.proto.trace`.
pub mod trace {
    /// Version 1.
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    pub mod v1 {
        tonic::include_proto!("opentelemetry.proto.trace.v1");
    }
}
