//! Orders as the lifecycle writes them, a clock that is moved by hand, and servers that are taken down.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use quietus::config::{Config, Target};
use quietus::issuers::{
    self, Credential, Doomed, Failure, Issuer, KeyRequest, Made, Shared, Unfit,
};
use quietus::keys::Keys;
use quietus::tls::SvidFiles;
use quietus_core::*;
use tempfile::TempDir;

pub const AGENT: &str = "spiffe://dev.example/agent/coder";
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub folder: TempDir,
    millis: Arc<AtomicU64>,
    task: std::sync::Mutex<Task>,
}

impl World {
    /// It is now; the first lease is number 0 of a new task.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = Timestamp(u64::try_from(now.unwrap().as_millis()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            folder,
            millis: Arc::new(AtomicU64::new(now.0)),
            task: std::sync::Mutex::new(task(now)),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.millis.load(Ordering::SeqCst))
    }

    pub fn forward(&self, by: Duration) {
        self.set(self.now().after(by));
    }

    pub fn back(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.set(Timestamp(self.now().0 - by));
    }

    fn set(&self, to: Timestamp) {
        self.millis.store(to.0, Ordering::SeqCst);
    }

    pub fn shared(&self) -> Shared {
        let millis = Arc::clone(&self.millis);
        let keys = Keys::open(&self.path("keys"), Duration::from_secs(60), self.now()).unwrap();
        Shared {
            keys: Arc::new(keys),
            issuer: "https://quietus.dev.example".to_owned(),
            broker: "spiffe://dev.example/quietus".to_owned(),
            svid: SvidFiles {
                chain: self.path("broker.pem"),
                key: self.path("broker.key"),
            },
            now: Arc::new(move || Timestamp(millis.load(Ordering::SeqCst))),
        }
    }

    /// The target that this text configures; its paths are in the world's folder.
    pub fn target(&self, kind: &str, table: &str) -> Target {
        let base = include_str!("../../config/quietus.toml");
        let text = format!(
            "{base}\n[[target]]\nname = \"box\"\nkind = \"{kind}\"\nenvironment = \"dev\"\n\
             sensitivity = 1\nresource_servers = []\n[target.{kind}]\n{table}\n"
        );
        let path = self.write("quietus.toml", text, 0o600);
        let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        config.target(&"box".parse().unwrap()).unwrap().clone()
    }

    pub fn build(&self, target: &Target) -> Result<Arc<dyn Issuer>, String> {
        issuers::build(target, &self.shared()).map_err(|error| error.to_string())
    }

    /// Leave to make a credential with these scopes, for so long from now.
    pub fn order(&self, scopes: &[&str], ttl: Duration) -> IssueOrder {
        let mut task = self.task.lock().unwrap();
        let guards = Guards::default();
        let caller = Caller {
            agent: task.agent.clone(),
            identity: task.identity,
        };
        let view = View {
            task: task.clone(),
            leases: vec![],
            guards: &guards,
        };
        let grant = Grant {
            caller,
            target: "box".parse().unwrap(),
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
            enforced: Enforced::AtTarget,
            renewable: false,
            ttl: Some(ttl),
            policy_max: None,
        };
        let step = step(&rules(), view, Event::Issue(grant), self.now());
        *task = step.task.unwrap();
        match step.outcome {
            Outcome::Issued(order) => order,
            other => panic!("{other:?}"),
        }
    }
}

/// Makes what an order says.
pub async fn issue(
    issuer: &dyn Issuer,
    order: &IssueOrder,
    key: Option<&KeyRequest>,
) -> Result<Made, Refused> {
    let prepared = issuer.issue(order, key).map_err(Refused::Unfit)?;
    prepared.run().await.map_err(Refused::Failure)
}

#[derive(Debug)]
pub enum Refused {
    Unfit(Unfit),
    Failure(Failure),
}

pub fn unfit(result: Result<Made, Refused>) -> Unfit {
    match result {
        Err(Refused::Unfit(unfit)) => unfit,
        other => panic!("{other:?}"),
    }
}

pub fn failure(result: Result<Made, Refused>) -> String {
    match result {
        Err(Refused::Failure(failure)) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

pub fn doomed(order: &IssueOrder) -> Doomed {
    Doomed::from(order.lease())
}

/// Certificate, CA and key of an X.509 credential.
pub fn x509(made: &Made) -> (String, String, Option<String>) {
    match &made.credential {
        Credential::X509 {
            certificate_pem,
            ca_pem,
            key_pem,
        } => {
            let key = key_pem.as_ref().map(|key| key.expose().to_owned());
            (certificate_pem.clone(), ca_pem.clone(), key)
        }
        other => panic!("{other:?}"),
    }
}

/// A server of a test's own.
pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: killed outright, it would leave the processes that it has made.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program; its output, whatever it said.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// What a program said, on both channels.
pub fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rules() -> Rules {
    Rules {
        default_ttl: secs(60),
        max_ttl: secs(30 * 86_400),
        default_task: secs(40 * 86_400),
        max_task: secs(40 * 86_400),
        max_live: 10_000,
        max_issued: 10_000,
        grace: secs(10),
        retention: secs(100),
    }
}

fn task(now: Timestamp) -> Task {
    let mut id = [7; 16];
    id[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
    let order = OpenOrder {
        id: TaskId::from_bytes(id),
        caller: Caller {
            agent: AgentId(AGENT.to_owned()),
            identity: Identity {
                certificate: Digest([1; 32]),
                anchor: Digest([2; 32]),
                until: Timestamp(u64::MAX),
            },
        },
        purpose: "nightly report".to_owned(),
        ticket: "OPS-1".to_owned(),
        environment: "dev".to_owned(),
        trace: [7; 16],
        duration: None,
        heartbeat: None,
    };
    open(&rules(), &Guards::default(), order, now).task.unwrap()
}
