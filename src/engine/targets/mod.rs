//! What happens at targets: outside the commit path, each target by itself, so that a slow or dead one delays nobody
//! else.

mod breaker;
mod make;

use std::collections::BTreeMap;
use std::sync::Arc;

use quietus_core::TargetName;
use tokio::sync::Semaphore;

use super::Error;
use crate::config::{Config, Target};
use crate::issuers::{self, BuildError, Issuer, Shared};

pub(super) use breaker::Breaker;

/// Every configured target.
pub(super) struct Targets {
    sites: BTreeMap<TargetName, Arc<Site>>,
}

/// One target: what makes its credentials, and how it is doing.
pub(super) struct Site {
    /// As configured.
    pub(super) target: Target,
    /// What makes its credentials.
    pub(super) issuer: Arc<dyn Issuer>,
    /// Calls that may be made at once.
    pub(super) permits: Arc<Semaphore>,
    /// Whether it is worth calling.
    pub(super) breaker: Breaker,
}

impl Targets {
    /// Builds the issuer of each; opens no connection.
    pub(super) fn build(config: &Config, shared: &Shared) -> Result<Self, BuildError> {
        let site = |target: &Target| {
            let issuer = issuers::build(target, shared)?;
            let site = Site {
                permits: Arc::new(Semaphore::new(target.concurrency.get() as usize)),
                breaker: Breaker::default(),
                target: target.clone(),
                issuer,
            };
            Ok((target.name.clone(), Arc::new(site)))
        };
        let sites = config.targets().map(site).collect::<Result<_, _>>()?;
        Ok(Self { sites })
    }

    /// The target of this name.
    pub(super) fn site(&self, name: &TargetName) -> Result<&Arc<Site>, Error> {
        self.sites.get(name).ok_or_else(|| {
            let message = format!("there is no target {name}: see `quietus status`");
            Error::invalid("scopes", message)
        })
    }
}

impl Site {
    /// Whether the target is worth asking for another credential.
    pub(super) fn admit(&self) -> Result<(), Error> {
        match self.breaker.is_open() {
            false => Ok(()),
            true => Err(Error::Away(self.target.name.clone())),
        }
    }
}
