//! OpenTelemetry collectors: one that takes what comes, and worse ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use quietus::api::otlp::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use quietus::api::otlp::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use quietus::api::otlp::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use quietus::api::otlp::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use quietus::api::otlp::common::v1::KeyValue;
use quietus::api::otlp::common::v1::any_value::Value;
use quietus::api::otlp::metrics::v1::Metric;
use quietus::api::otlp::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A collector on the loopback, until this is dropped.
pub struct Collector {
    pub address: SocketAddr,
    taken: Arc<Taken>,
    server: JoinHandle<()>,
}

/// What it was sent.
#[derive(Default)]
struct Taken {
    spans: Mutex<Vec<Span>>,
    metrics: Mutex<BTreeMap<String, Metric>>,
    resources: Mutex<Vec<KeyValue>>,
    /// How it answers.
    refusal: Mutex<Option<Status>>,
    calls: Mutex<usize>,
}

impl Collector {
    pub async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let taken = Arc::new(Taken::default());
        let (traces, metrics) = (Service(Arc::clone(&taken)), Service(Arc::clone(&taken)));
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(traces))
            .add_service(MetricsServiceServer::new(metrics))
            .serve_with_incoming(TcpListenerStream::new(socket));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            address,
            taken,
            server,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn refuse(&self, status: Status) {
        *self.taken.refusal.lock().unwrap() = Some(status);
    }

    /// From now on it takes what comes.
    pub fn accept(&self) {
        *self.taken.refusal.lock().unwrap() = None;
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.taken.spans.lock().unwrap().clone()
    }

    /// How often it was sent spans.
    pub fn calls(&self) -> usize {
        *self.taken.calls.lock().unwrap()
    }

    /// The metrics as they came last.
    pub fn metrics(&self) -> BTreeMap<String, Metric> {
        self.taken.metrics.lock().unwrap().clone()
    }

    /// What whoever sent it says of itself.
    pub fn sender(&self) -> BTreeMap<String, String> {
        texts(&self.taken.resources.lock().unwrap())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Service(Arc<Taken>);

impl Service {
    fn refused(&self) -> Result<(), Status> {
        match &*self.0.refusal.lock().unwrap() {
            Some(status) => Err(status.clone()),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        *self.0.calls.lock().unwrap() += 1;
        self.refused()?;
        for sent in request.into_inner().resource_spans {
            *self.0.resources.lock().unwrap() = sent.resource.unwrap().attributes;
            for scope in sent.scope_spans {
                self.0.spans.lock().unwrap().extend(scope.spans);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.refused()?;
        let sent = request.into_inner().resource_metrics.into_iter();
        let scopes = sent.flat_map(|sent| sent.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let mut metrics = self.0.metrics.lock().unwrap();
            metrics.insert(metric.name.clone(), metric);
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// Attributes in words.
pub fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let attributes = attributes.iter();
    attributes
        .map(|it| {
            let value = it.value.as_ref().unwrap().value.as_ref().unwrap();
            (it.key.clone(), text(value))
        })
        .collect()
}
