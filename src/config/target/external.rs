//! `[target.external]`

use serde::Deserialize;
use toml::Spanned;

use super::Problems;

/// `[target.external]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSettings {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {}

pub(super) fn check(_problems: &mut Problems<'_>, _raw: &Spanned<Raw>) -> Option<ExternalSettings> {
    Some(ExternalSettings {})
}
