//! `/metrics`, for Prometheus.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, header};
use tokio::sync::Mutex;

use super::{Answer, refuse_method, words};
use crate::telemetry::{Measure, prometheus};

/// Answers requests for metrics.
#[derive(Clone)]
pub struct Metrics {
    measure: Measure,
    /// One at a time: it looks into the store.
    turn: Arc<Mutex<()>>,
}

impl Metrics {
    /// What is told is read by `measure`, on a thread that may block.
    pub fn new(measure: Measure) -> Self {
        let turn = Arc::default();
        Self { measure, turn }
    }

    /// Answers one request.
    pub async fn answer(self, request: Request<Incoming>) -> Answer {
        if let Some(refused) = refuse_method(request.method()) {
            return refused;
        }
        match request.uri().path() {
            "/metrics" => self.tell().await,
            _ => words(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
        }
    }

    async fn tell(self) -> Answer {
        let _turn = self.turn.lock().await;
        let measure = self.measure;
        let told = tokio::task::spawn_blocking(move || prometheus::text(measure()?).ok());
        let Ok(Some(text)) = told.await else {
            let sorry = "the metrics cannot be read now\n";
            return words(StatusCode::INTERNAL_SERVER_ERROR, sorry);
        };
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        let media = header::HeaderValue::from_static(prometheus::MEDIA_TYPE);
        answer.headers_mut().insert(header::CONTENT_TYPE, media);
        answer
    }
}
