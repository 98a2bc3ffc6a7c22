//! Compiles the protocol files without a system protoc.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

/// Messages whose `Debug` is written by hand, because they carry secrets; their `oneof`s with them.
const SECRETIVE: [&str; 10] = [
    ".quietus.v1.Credential",
    ".quietus.v1.PostgresCredential",
    ".quietus.v1.X509Credential",
    ".quietus.v1.SshCredential",
    ".quietus.v1.RedisCredential",
    ".quietus.v1.StaticCredential",
    ".quietus.v1.ExternalCredential",
    ".quietus.v1.IntrospectRequest",
    ".quietus.v1.RecordActionRequest",
    ".quietus.v1.GetTextResponse",
];

/// Where telemetry is sent.
const OTLP: [&str; 2] = [
    "opentelemetry/proto/collector/metrics/v1/metrics_service.proto",
    "opentelemetry/proto/collector/trace/v1/trace_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "quietus/v1/audit.proto",
        "quietus/v1/broker.proto",
        "quietus/v1/operator.proto",
        "quietus/v1/verification.proto",
        "quietus/bench/v1/echo.proto",
        "quietus/demo/v1/orders.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Served by reflection.
    fs::write(
        out.join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(SECRETIVE)
        .compile_fds(descriptors)?;
    // The broker is its client; it is not served, so reflection does not show it.
    tonic_prost_build::configure()
        .btree_map(".")
        .compile_fds(protox::compile(
            ["quietus/issuer/v1/issuer.proto"],
            ["proto"],
        )?)?;
    // The wire format of OpenTelemetry, as published. Its comments are not written for rustdoc.
    let mut otlp = protox::compile(OTLP, ["proto"])?;
    for file in &mut otlp.file {
        file.source_code_info = None;
    }
    tonic_prost_build::configure().compile_fds(otlp)?;
    Ok(())
}
