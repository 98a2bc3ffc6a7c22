//! What operators see of targets, and what they have done there.

use std::collections::BTreeSet;
use std::sync::Arc;

use quietus_core::{LeaseId, LeaseState, TargetName};
use quietus_identity::VerifiedSvid;

use super::breaker::Health;
use crate::config::Target;
use crate::engine::{Engine, Error};
use crate::issuers::{Abilities, Doomed, Found};
use crate::store::{Held, Snapshot};

/// How a target is doing.
#[derive(Clone, Debug)]
pub struct TargetState {
    /// Its name.
    pub name: String,
    /// As configured, with what its issuer can do; none if it was taken out of the configuration.
    pub configured: Option<(Target, Abilities)>,
    /// The leases that are alive there.
    pub held: Held,
    /// Whether calls find it away.
    pub away: bool,
    /// How many in a row did.
    pub failures: u32,
    /// What it last said that was wrong, and when.
    pub last_error: Option<(String, quietus_core::Timestamp)>,
    /// When it last answered.
    pub last_answer: Option<quietus_core::Timestamp>,
}

/// Whether a target answers and lets the broker do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether it does.
    pub ok: bool,
    /// What it is, or what is wrong.
    pub message: String,
}

/// What a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Whether the target keeps a list at all.
    pub listed: bool,
    /// How many credentials of the broker's are there.
    pub found: u64,
    /// Those that no live lease names, by their names there.
    pub strays: Vec<String>,
    /// Those that could not be removed, and why.
    pub failures: Vec<String>,
}

impl Engine {
    /// Every target that is configured, or that leases are still alive at, by name.
    pub fn target_states(&self) -> Result<Vec<TargetState>, Error> {
        let mut held = self.store.read().held()?;
        let mut states = Vec::new();
        for site in self.targets.sites() {
            let name = site.target.name.to_string();
            let health = site.breaker.health();
            let as_configured = (site.target.clone(), site.issuer.abilities());
            let configured = (!site.retired).then_some(as_configured);
            let held = held.remove(&name).unwrap_or_default();
            states.push(state(name, configured, held, health));
        }
        let gone = held.into_iter();
        states.extend(gone.map(|(name, held)| state(name, None, held, Health::default())));
        states.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(states)
    }

    /// Names of targets that leases are alive at though they are not configured.
    pub(in crate::engine) fn missing_targets(&self) -> Result<Vec<(String, Held)>, Error> {
        let held = self.store.read().held()?;
        let missing = held
            .into_iter()
            .filter(|(name, _)| !self.targets.is_configured(name));
        Ok(missing.collect())
    }

    /// Asks a target whether it answers.
    pub async fn check_target(&self, name: &TargetName) -> Result<Checked, Error> {
        let site = self.known_site(name)?;
        let checked = site.call(site.issuer.check()).await;
        Ok(match checked {
            Ok(message) => Checked { ok: true, message },
            Err(failure) => Checked {
                ok: false,
                message: failure.to_string(),
            },
        })
    }

    /// Finds credentials of the broker's at a target that no live lease names, and removes them. It goes on though
    /// the caller goes away: what was removed must be recorded.
    pub async fn sweep_target(
        self: &Arc<Self>,
        by: &VerifiedSvid,
        name: &TargetName,
        dry_run: bool,
    ) -> Result<Swept, Error> {
        if !dry_run {
            self.not_in_maintenance()?;
        }
        let (engine, by, name) = (Arc::clone(self), by.clone(), name.clone());
        let sweeping = async move { engine.sweep_strays(&by, &name, dry_run).await };
        tokio::spawn(sweeping).await.unwrap_or(Err(Error::Stopped))
    }

    async fn sweep_strays(
        &self,
        by: &VerifiedSvid,
        name: &TargetName,
        dry_run: bool,
    ) -> Result<Swept, Error> {
        let site = self.known_site(name)?;
        let before = self.store.read();
        let listed = site.call(site.issuer.list()).await;
        let listed = listed.map_err(|failure| {
            tracing::warn!(target = %name, error = %failure, "a target could not be swept");
            Error::refused(
                "TARGET_UNAVAILABLE",
                format!("the target {name} cannot be listed: {failure}"),
            )
        })?;
        let Some(found) = listed else {
            return Ok(Swept::default());
        };
        let mut swept = Swept {
            listed: true,
            found: found.len() as u64,
            ..Swept::default()
        };
        for stray in self.strays(&before, found)? {
            if !dry_run {
                let doomed = Doomed::stray(stray.id);
                let gone = site.call(site.issuer.revoke(&doomed)).await;
                let failed = gone
                    .err()
                    .map(|failure| format!("{}: {failure}", stray.name));
                swept.failures.extend(failed);
            }
            swept.strays.push(stray.name);
        }
        if !dry_run && !swept.strays.is_empty() {
            self.record_sweep(by, name, &swept).await?;
        }
        Ok(swept)
    }

    /// Those that no lease names which has not ended. A lease is in the store before its credential is made, and ends
    /// there after that is gone: so what is listed is named before or afterwards, if it has come or gone meanwhile.
    fn strays(&self, before: &Snapshot, found: Vec<Found>) -> Result<Vec<Found>, Error> {
        let after = self.store.read();
        let mut strays = Vec::new();
        let mut seen = BTreeSet::new();
        for found in found {
            let named = is_named(before, found.id)? || is_named(&after, found.id)?;
            if !named && seen.insert(found.id) {
                strays.push(found);
            }
        }
        Ok(strays)
    }

    async fn record_sweep(
        &self,
        by: &VerifiedSvid,
        name: &TargetName,
        swept: &Swept,
    ) -> Result<(), Error> {
        let mut entry = self.entry("target.swept", Some(by), self.now());
        let detail = [
            ("target", name.to_string()),
            ("found", swept.found.to_string()),
            ("strays", swept.strays.len().to_string()),
            ("failures", swept.failures.len().to_string()),
        ];
        entry.detail = detail
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        self.record_entry(&entry).await
    }

    fn known_site(&self, name: &TargetName) -> Result<&Arc<super::Site>, Error> {
        self.targets
            .site(name)
            .map_err(|_| Error::NotFound("target"))
    }
}

fn is_named(snapshot: &Snapshot, id: LeaseId) -> Result<bool, Error> {
    let lease = snapshot.lease(id)?;
    Ok(lease.is_some_and(|lease| !matches!(lease.state, LeaseState::Ended { .. })))
}

fn state(
    name: String,
    configured: Option<(Target, Abilities)>,
    held: Held,
    health: Health,
) -> TargetState {
    TargetState {
        name,
        configured,
        held,
        away: health.is_away(),
        failures: health.failures,
        last_error: health.last_error,
        last_answer: health.last_answer,
    }
}
