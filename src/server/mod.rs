//! The broker's front door: connections, who is calling on them, and the services.

mod audit;
mod broker;
mod caller;
mod connection;
mod limits;
pub mod listener;
mod operator;
mod peer;
mod traced;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::api;
use crate::api::bench::echo_server::EchoServer;
use crate::api::v1::audit_server::AuditServer;
use crate::api::v1::broker_server::BrokerServer;
use crate::api::v1::operator_server::OperatorServer;
use crate::api::v1::verification_server::VerificationServer;
use crate::engine::Engine;
use crate::tls::ServerTls;
use crate::trust::{Now, Trust};

pub use limits::Rates;
pub use listener::Listener;
pub use peer::{Authenticate, Peer, peer};
use traced::Traced;

/// How often a silent connection is asked whether its client is still there, and how long for an answer: a client
/// that vanished without closing its connection is noticed within the sum.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Every service, on one engine.
#[derive(Clone)]
pub struct Front {
    engine: Arc<Engine>,
    trust: Arc<Trust>,
    stopping: watch::Receiver<bool>,
}

/// What is served besides the broker itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// An echo, for benchmarks to measure against.
    pub echo: bool,
}

impl Front {
    /// Serves this engine to callers trusted by these bundles, until `stopping` turns true.
    pub fn new(engine: Arc<Engine>, trust: Arc<Trust>, stopping: watch::Receiver<bool>) -> Self {
        Self {
            engine,
            trust,
            stopping,
        }
    }

    /// Takes calls until it is told to stop; then finishes those under way.
    pub async fn serve(
        self,
        socket: TcpListener,
        tls: ServerTls,
        extras: Extras,
    ) -> Result<(), ServeError> {
        let front = self.clone();
        let stop = async move { front.stopping().await };
        let limits = &self.engine.config().limits;
        let most = limits.message_bytes;
        let clock = Arc::clone(&self.engine);
        let now: Now = Arc::new(move || clock.now().seconds());
        let authenticate = Authenticate::new(Arc::clone(&self.trust), now);
        let rates = Rates::new(limits);
        let admit = limits::Admit::new(authenticate.clone(), rates.clone());
        let targets = self.engine.config().targets();
        let resource_servers = targets.flat_map(|target| target.resource_servers.iter().cloned());
        let admit_servers = admit.clone().but(resource_servers.collect());
        let tidy = tokio::spawn(tidy(rates));

        let broker = BrokerServer::new(self.clone()).max_decoding_message_size(most);
        let operator = OperatorServer::new(self.clone()).max_decoding_message_size(most);
        let audit = AuditServer::new(self.clone()).max_decoding_message_size(most);
        let verification = VerificationServer::new(self).max_decoding_message_size(most);
        let (health_reporter, health) = tonic_health::server::health_reporter();
        health_reporter.set_serving::<BrokerServer<Self>>().await;
        health_reporter.set_serving::<OperatorServer<Self>>().await;
        health_reporter.set_serving::<AuditServer<Self>>().await;
        health_reporter
            .set_serving::<VerificationServer<Self>>()
            .await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(api::DESCRIPTORS)
            .build_v1()?;

        let echo = extras.echo.then(|| guarded_echo(authenticate));
        let served = Server::builder()
            .tcp_nodelay(true)
            .max_concurrent_streams(1024)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(InterceptedService::new(Traced(broker), admit.clone()))
            .add_optional_service(echo)
            .add_service(InterceptedService::new(Traced(operator), admit.clone()))
            .add_service(InterceptedService::new(Traced(audit), admit.clone()))
            .add_service(InterceptedService::new(verification, admit_servers))
            .add_service(InterceptedService::new(health, admit.clone()))
            .add_service(InterceptedService::new(reflection, admit))
            .serve_with_incoming_shutdown(
                Listener::new(socket, tls, listener::Limits::default()).incoming(),
                stop,
            )
            .await;
        tidy.abort();
        Ok(served?)
    }

    /// Waits until it is time to stop.
    async fn stopping(&self) {
        // If nobody is left who could say so, it is time as well.
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }
}

/// Why the server could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// Reflection.
    #[error("reflection failed: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

type GuardedEcho = InterceptedService<EchoServer<Echo>, Authenticate>;

fn guarded_echo(authenticate: Authenticate) -> GuardedEcho {
    InterceptedService::new(EchoServer::new(Echo), authenticate)
}

/// Answers with what it was sent.
struct Echo;

#[tonic::async_trait]
impl api::bench::echo_server::Echo for Echo {
    async fn echo(
        &self,
        request: tonic::Request<api::bench::EchoRequest>,
    ) -> Result<tonic::Response<api::bench::EchoResponse>, tonic::Status> {
        let payload = request.into_inner().payload;
        Ok(tonic::Response::new(api::bench::EchoResponse { payload }))
    }
}

async fn tidy(rates: Rates) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        rates.forget_idle();
    }
}
