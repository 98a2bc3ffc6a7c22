//! Not built yet.

use quietus_core::{Confirmation, Enforced, IssueOrder};

use super::{Abilities, Doing, Doomed, Failure, Issuer, KeyRequest, Prepared, Shared, Unfit};
use crate::config::{StaticSettings, Target};

/// Not built yet.
pub struct StaticIssuer {}

impl StaticIssuer {
    /// Not built yet.
    ///
    /// # Errors
    /// Always.
    pub fn new(
        _target: &Target,
        _settings: &StaticSettings,
        _shared: &Shared,
    ) -> Result<Self, String> {
        Err("this kind is not built yet".to_owned())
    }
}

impl Issuer for StaticIssuer {
    fn abilities(&self) -> Abilities {
        Abilities {
            can_revoke: true,
            confirms_by: Some(Confirmation::DeletedAtTarget),
            expires_at_target: true,
            renewable: false,
            enforced: Enforced::AtTarget,
        }
    }

    fn issue(&self, _order: &IssueOrder, _key: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        Err(Unfit::new("scopes", "not built yet"))
    }

    fn revoke<'a>(&'a self, _doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        Box::pin(async { Err(Failure::said("not built yet")) })
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async { Err(Failure::said("not built yet")) })
    }
}
