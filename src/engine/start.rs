//! Starting: everything that fell due while the broker was away is ended before the first request is served.

use std::sync::Arc;

use arc_swap::ArcSwap;
use quietus_core::{Cause, Event, Task};

use super::operate::{PolicyFolderError, read_policies};
use super::targets::{Targets, retired};
use super::{Engine, Error};
use crate::clock::{Clock, TimeSource};
use crate::config::Config;
use crate::evidence::Evidence;
use crate::issuers::{BuildError, Builder, Shared, build};
use crate::keys::{Keys, KeysError};
use crate::store::{Notary, OpenError, Options, Store};
use crate::telemetry::Telemetry;
use crate::tls::SvidFiles;
use crate::trust::Trust;

/// Why the broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The policies.
    #[error("the policies do not load: {0}")]
    Policy(#[from] PolicyFolderError),
    /// A target's settings.
    #[error(transparent)]
    Target(#[from] BuildError),
    /// Something that had to be done first.
    #[error("the broker could not get ready: {}", causes(.0))]
    Ready(#[from] Error),
}

/// What kind of start it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Use a store that is older than the last one used here, and first end every task in it.
    pub accept_restored: bool,
    /// Only show what is there: end nothing, grant nothing, and leave an older copy of a store as undecided as it is.
    pub maintenance: bool,
    /// Let no tree grow over the ledger, for benchmarks: such a store does not open any more.
    pub without_tree: bool,
}

impl Engine {
    /// A broker that is ready to serve, under this SPIFFE ID.
    pub async fn start(
        config: Config,
        broker: String,
        trust: Arc<Trust>,
        time: Arc<dyn TimeSource>,
        mode: Mode,
    ) -> Result<Arc<Self>, StartError> {
        let store = Store::open(&Options {
            path: config.store.path.clone(),
            cache_bytes: config.store.cache_bytes,
            min_free_bytes: config.store.min_free_bytes,
            accept_restored: mode.accept_restored,
            without_tree: mode.without_tree,
        })?;
        Self::start_in(store, config, broker, trust, time, mode, &build).await
    }

    /// The same on a store that is already open.
    pub async fn start_on(
        store: Store,
        config: Config,
        broker: String,
        trust: Arc<Trust>,
        time: Arc<dyn TimeSource>,
    ) -> Result<Arc<Self>, StartError> {
        Self::start_with(store, config, broker, trust, time, &build).await
    }

    /// The same with other issuers: for tests that bring their own.
    pub async fn start_with(
        store: Store,
        config: Config,
        broker: String,
        trust: Arc<Trust>,
        time: Arc<dyn TimeSource>,
        builder: &Builder,
    ) -> Result<Arc<Self>, StartError> {
        let mode = Mode::default();
        Self::start_in(store, config, broker, trust, time, mode, builder).await
    }

    /// The same as another kind of start.
    pub async fn start_in(
        store: Store,
        config: Config,
        broker: String,
        trust: Arc<Trust>,
        time: Arc<dyn TimeSource>,
        mode: Mode,
        builder: &Builder,
    ) -> Result<Arc<Self>, StartError> {
        let clock = Arc::new(Clock::new(time, store.header().high_water()));
        let rules = quietus_core::Rules::from(&config.limits);
        let now = clock.now();
        let policy = read_policies(&config.policy.dir)?;
        let keys = Arc::new(Keys::open(&config.keys.dir, rules.max_ttl, now)?);
        let evidence = Arc::new(open_evidence(&config, &broker)?);
        store.sign_heads(notary(&evidence));
        let issuer = config
            .broker
            .issuer
            .clone()
            .unwrap_or_else(|| broker.clone());
        let shared = Shared {
            keys: Arc::clone(&keys),
            issuer,
            broker: broker.clone(),
            svid: SvidFiles {
                chain: config.broker.svid.clone(),
                key: config.broker.key.clone(),
            },
            now: {
                let clock = Arc::clone(&clock);
                Arc::new(move || clock.now())
            },
        };
        let retired = retired(&store, &config).map_err(Error::from)?;
        let targets = Arc::new(Targets::build(&config, &shared, builder, retired)?);
        let engine = Arc::new(Self {
            rules,
            broker,
            store,
            clock,
            policy: ArcSwap::from_pointee(
                quietus_policy::PolicySet::compile(Vec::new()).map_err(PolicyFolderError::from)?,
            ),
            keys,
            evidence,
            witnesses: super::witness::Witnesses::new(&config.ledger),
            shared,
            targets,
            confirmed: tokio::sync::Notify::new(),
            signed: super::introspect::Signed::default(),
            holds: super::liveness::Holds::default(),
            trust,
            telemetry: Arc::new(Telemetry::new(config.telemetry.otlp.clone())),
            started_at: now,
            maintenance: mode.maintenance,
            sweeps: std::sync::atomic::AtomicUsize::new(0),
            operating: tokio::sync::Mutex::new(()),
            config,
        });
        engine.record_start().await?;
        engine.adopt_policy(policy, None).await?;
        match mode.maintenance {
            true => engine.tell_missing_targets()?,
            false => {
                engine.keep_settings().await?;
                engine.get_ready().await?;
            }
        }
        Ok(engine)
    }

    /// Says in the ledger that it stops, and until when it has kept time.
    pub async fn stop(&self) -> Result<(), Error> {
        self.record("broker.stopped", &[]).await?;
        self.sign_head().await
    }

    /// Ends every task whose agent's identity is no longer trusted.
    pub async fn trust_changed(self: &Arc<Self>) -> Result<(), Error> {
        // Grants that were planned under the old bundles conflict from here on, and are planned anew.
        let entry = self.entry("trust.changed", None, self.now());
        self.change_guards(|guards| Some(guards.touched()), &entry)
            .await?;
        self.end_untrusted().await
    }

    async fn record_start(&self) -> Result<(), Error> {
        let ahead = self.clock.ahead().as_millis().to_string();
        let kid = self.keys.ring().current().kid().to_owned();
        let restored = self.store.restored().map(|seq| seq.to_string());
        let mut detail = vec![("kid", kid), ("clock_ahead_ms", ahead)];
        detail.extend(restored.map(|seq| ("restored_at_entry", seq)));
        self.record("broker.started", &detail).await
    }

    async fn record(&self, event: &str, detail: &[(&str, String)]) -> Result<(), Error> {
        let mut entry = self.entry(event, None, self.now());
        let detail = detail.iter();
        entry.detail = detail
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        self.record_entry(&entry).await
    }

    async fn get_ready(self: &Arc<Self>) -> Result<(), Error> {
        if self.store.restored().is_some() {
            self.end_all(Task::is_open, &Event::EndTask(Cause::Restored))
                .await?;
            self.store.forget_restored()?;
        }
        self.take_up_leftovers().await?;
        self.tell_missing_targets()?;
        self.sweep_leftovers().await?;
        self.run_due().await?;
        self.end_untrusted().await
    }

    /// A target cannot be taken out of the configuration silently while leases are alive at it.
    fn tell_missing_targets(&self) -> Result<(), Error> {
        for (target, held) in self.missing_targets()? {
            let (live, revoking) = (held.live, held.revoking);
            tracing::error!(
                %target,
                live,
                revoking,
                "the target is not configured any more, or has moved, but leases are alive where it was: they are ended there as they were to be, and nothing is issued for it"
            );
        }
        Ok(())
    }

    pub(super) fn is_trusted(&self, task: &Task) -> bool {
        is_trusted(&self.trust.current(), task)
    }

    async fn end_untrusted(self: &Arc<Self>) -> Result<(), Error> {
        let trust = self.trust.current();
        let untrusted = |task: &Task| task.is_open() && !is_trusted(&trust, task);
        self.end_all(untrusted, &Event::EndTask(Cause::IdentityUntrusted))
            .await?;
        Ok(())
    }
}

fn open_evidence(config: &Config, broker: &str) -> Result<Evidence, KeysError> {
    let named = config.ledger.origin.as_deref();
    let origin = named.unwrap_or_else(|| broker.trim_start_matches("spiffe://"));
    Evidence::open(&config.keys.dir, broker, origin)
}

fn notary(evidence: &Arc<Evidence>) -> Notary {
    let evidence = Arc::clone(evidence);
    Box::new(move |size, root| {
        let note = evidence.sign_head(size, *root);
        note.map(String::into_bytes)
            .map_err(|error| error.to_string())
    })
}

fn is_trusted(trust: &quietus_identity::TrustBundles, task: &Task) -> bool {
    let bundle = task
        .agent
        .trust_domain()
        .parse()
        .ok()
        .and_then(|domain| trust.get(&domain));
    bundle.is_some_and(|bundle| {
        let mut anchors = bundle.anchors().iter();
        anchors.any(|anchor| anchor.fingerprint() == task.identity.anchor.0)
    })
}

fn causes(error: &Error) -> String {
    match error {
        Error::Internal(internal) => internal.to_string(),
        other => other.to_string(),
    }
}
