//! A broker that tells of itself, with a target that is a process of its own.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quietus::api::issuer::issuer_server::IssuerServer;
use quietus::api::v1;
use quietus::api::v1::broker_client::BrokerClient;
use quietus::broker::Options;
use quietus::config::Config;
use quietus_core::TaskId;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Status};

use crate::common::{Serving, World};
use crate::example::ApiKeys;
use crate::http::{Scraped, get};

/// How long anything may take that is waited for.
const BOUND: Duration = Duration::from_secs(60);
/// What the external issuer makes keys for.
pub const KEYS: &str = "billing-keys:write:invoices";

/// A broker with metrics, and a target that may be there or not.
pub struct Stage {
    pub world: World,
    pub serving: Serving,
}

/// An external issuer on a unix socket, and the `traceparent` of each call that it got, until this is dropped.
pub struct Issuer {
    said: Arc<Mutex<Vec<String>>>,
    /// Its own, so that its connections go with it.
    runtime: Option<Runtime>,
}

impl Stage {
    /// With a collector at this address, or none.
    pub async fn start(collector: Option<String>) -> Self {
        let world = World::new();
        let config = config(&world, collector);
        let serving = world.serve_with(config, Options::default()).await.unwrap();
        Self { world, serving }
    }

    /// Ends the broker and starts it again.
    pub async fn restart(self, collector: Option<String>) -> Self {
        let Self { world, serving } = self;
        serving.stop().await.unwrap();
        let config = config(&world, collector);
        let serving = world.serve_with(config, Options::default()).await.unwrap();
        Self { world, serving }
    }

    pub async fn agent(&self) -> BrokerClient<Channel> {
        self.world.broker(&self.serving, "agent").await
    }

    pub async fn scrape(&self) -> Scraped {
        let answer = get(self.serving.metrics.unwrap(), "/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Scraped::read(&answer.body)
    }

    /// What Prometheus would find once this holds.
    pub async fn scrape_until(&self, holds: impl Fn(&Scraped) -> bool) -> Scraped {
        let found = until(async || Some(self.scrape().await).filter(&holds)).await;
        found.unwrap_or_else(|| panic!("it never holds"))
    }

    pub fn issuer(&self) -> Issuer {
        Issuer::start(self.world.folder.path())
    }
}

fn config(world: &World, collector: Option<String>) -> Config {
    let path = world.domain.config();
    let before = std::fs::read_to_string(&path).unwrap();
    let plain = before.split("\n# telemetry of the test").next().unwrap();
    let plain = plain.replace("[telemetry]", "");
    let otlp = collector.map_or_else(String::new, |url| format!("otlp = \"{url}\""));
    let socket = world.path("issuer.sock");
    let text = format!(
        r#"{plain}
# telemetry of the test
[telemetry]
metrics = "127.0.0.1:0"
{otlp}
[[target]]
name = "billing-keys"
kind = "external"
environment = "dev"
sensitivity = 1
resource_servers = []
timeout = "10s"
[target.external]
kind = "api-key"
socket = "{}"
can_revoke = true
confirms_by = "deleted_at_target"
expires_at_target = true
renewable = true
"#,
        socket.display()
    );
    std::fs::write(&path, text).unwrap();
    let mut config = Config::load(&path).unwrap();
    config.broker.listen = "127.0.0.1:0".parse().unwrap();
    config.store.min_free_bytes = 1 << 20;
    config
}

impl Issuer {
    fn start(folder: &Path) -> Self {
        let path = folder.join("issuer.sock");
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&said);
        let hear = move |request: Request<()>| -> Result<Request<()>, Status> {
            let context = request.metadata().get("traceparent");
            let context = context.map(|context| context.to_str().unwrap().to_owned());
            heard.lock().unwrap().extend(context);
            Ok(request)
        };
        let keys = ApiKeys::open(folder.join("keys.json")).unwrap();
        let service = IssuerServer::with_interceptor(keys, hear);
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all();
        let runtime = runtime.build().unwrap();
        runtime.spawn(async move {
            let listener = UnixListener::from_std(listener).unwrap();
            let serving = Server::builder().add_service(service);
            let incoming = UnixListenerStream::new(listener);
            serving.serve_with_incoming(incoming).await.unwrap();
        });
        let runtime = Some(runtime);
        Self { said, runtime }
    }

    /// Each `traceparent` that it was sent.
    pub fn heard(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// Asks until there is an answer; none within the bound.
pub async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> Option<T> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, asking).await.ok()
}

/// Waits for it, but not for ever.
pub async fn bounded<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, doing).await.unwrap()
}

/// The message, from somebody who says that it is a part of this trace.
pub fn within<T>(context: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let context = context.parse().unwrap();
    request.metadata_mut().insert("traceparent", context);
    request
}

pub fn closing(task: &v1::Task) -> v1::CloseTaskRequest {
    v1::CloseTaskRequest {
        task_id: task.id.clone(),
        ..Default::default()
    }
}

/// A task's UUID as the id of a trace.
pub fn bytes(task: &v1::Task) -> Vec<u8> {
    task.id.parse::<TaskId>().unwrap().to_bytes().to_vec()
}
