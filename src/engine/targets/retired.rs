//! Targets that were taken out of the configuration, or moved elsewhere, while leases are alive at them.
//!
//! The store keeps each target's settings (paths to its secrets, never the secrets), so that what was issued there can
//! be ended there. Nothing new is issued at such a target; once nothing is alive there any more, the next start
//! forgets it, or takes it as it is configured then.

use std::sync::Arc;

use super::{Site, Targets};
use crate::config::{Config, Target};
use crate::engine::{Engine, Error, Internal, Plan};
use crate::issuers::{Builder, Shared};
use crate::store::{Commit, Kept, Store, StoreError};

/// The targets at which leases are alive though the configuration has them elsewhere, or not at all.
pub(in crate::engine) fn retired(
    store: &Store,
    config: &Config,
) -> Result<Vec<Target>, StoreError> {
    let snapshot = store.read();
    let (held, kept) = (snapshot.held()?, snapshot.settings()?);
    let kept = kept.iter().filter(|(name, _)| held.contains_key(*name));
    let retired = kept.filter_map(|(name, row)| match serde_json::from_slice(row) {
        Ok(target) => Some(target).filter(|target| is_elsewhere(target, config)),
        Err(error) => {
            tracing::error!(target = %name, %error, "the settings that were kept of a target cannot be read");
            None
        }
    });
    Ok(retired.collect())
}

fn is_elsewhere(kept: &Target, config: &Config) -> bool {
    let configured = config.target(&kept.name);
    configured.is_none_or(|target| target.settings.place() != kept.settings.place())
}

impl Site {
    /// A target that is only told of the ends of leases; none if what its settings name is gone.
    pub(super) fn retired(target: Target, shared: &Shared, build: &Builder) -> Option<Self> {
        match build(&target, shared) {
            Ok(issuer) => Some(Self {
                retired: true,
                ..Self::new(target, issuer, Arc::clone(&shared.now))
            }),
            Err(error) => {
                tracing::error!(%error, "leases are alive at a target that is not configured any more, and what its settings name is gone: put it back");
                None
            }
        }
    }
}

impl Targets {
    /// What the store is to keep of targets, and to forget: what has changed since the last start.
    fn settings(&self, store: &Store) -> Result<Vec<Kept>, Error> {
        let snapshot = store.read();
        let (held, mut kept) = (snapshot.held()?, snapshot.settings()?);
        let mut changes = Vec::new();
        let configured = self.sites().filter(|site| !site.retired);
        for site in configured.filter(|site| self.must_be_told(&site.target.name)) {
            let name = site.target.name.to_string();
            let row = serde_json::to_vec(&site.target)
                .map_err(|error| Internal::Settings(error.to_string()))?;
            if kept.remove(&name).as_ref() != Some(&row) {
                changes.push((name, Some(row)));
            }
        }
        let forgotten = kept.into_keys().filter(|name| !held.contains_key(name));
        changes.extend(forgotten.map(|name| (name, None)));
        Ok(changes)
    }
}

impl Engine {
    /// Keeps the settings of every target that must be told of ends, before anything is issued there.
    pub(in crate::engine) async fn keep_settings(&self) -> Result<(), Error> {
        self.settle(|| {
            let commit = Commit {
                now: self.now(),
                settings: self.targets.settings(&self.store)?,
                ..Commit::default()
            };
            Ok(Plan { commit, answer: () })
        })
        .await
    }
}
