use std::net::SocketAddr;

use serde::Deserialize;

use super::problems::Problems;
use super::raw::Text;

const MAX_COLLECTOR: usize = 512;

/// `[telemetry]`: what the broker tells of itself while it works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Where `/metrics` is served over plain HTTP; if none, nowhere.
    pub metrics: Option<SocketAddr>,
    /// The collector that spans and metrics are sent to, over OTLP/gRPC (`http://HOST:PORT`); if none, to nobody.
    pub otlp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    metrics: Option<Text>,
    otlp: Option<Text>,
}

pub(super) fn telemetry(problems: &mut Problems<'_>, raw: &Raw) -> Telemetry {
    let metrics = raw.metrics.as_ref().and_then(|text| {
        let expected = "write an IP address and a port, such as 127.0.0.1:9464";
        let read = text.get_ref().parse().map_err(|_| expected);
        problems.accepted("telemetry.metrics", text, read)
    });
    let otlp = raw.otlp.as_ref().and_then(|text| {
        let read = collector(text.get_ref());
        problems.accepted("telemetry.otlp", text, read)
    });
    Telemetry { metrics, otlp }
}

/// The origin of a collector's gRPC receiver. Spans cross a network only through a collector beside the broker.
fn collector(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str =
        "write http://HOST:PORT of a collector's gRPC receiver, such as http://127.0.0.1:4317";
    let uri: http::Uri = text.parse().map_err(|_| EXPECTED)?;
    let origin = uri.path() == "/" && uri.query().is_none() && !text.contains('@');
    let there = uri.host().is_some_and(|host| !host.is_empty()) && uri.port_u16().is_some();
    if text.starts_with("https:") {
        return Err(
            "TLS is not spoken here: run a collector beside the broker, and write its http:// address",
        );
    }
    match origin && there && uri.scheme_str() == Some("http") && text.len() <= MAX_COLLECTOR {
        true => Ok(text.to_owned()),
        false => Err(EXPECTED),
    }
}
