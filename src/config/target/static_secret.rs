//! `[target.static]`

use serde::Deserialize;
use toml::Spanned;

use super::Problems;

/// `[target.static]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticSettings {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {}

pub(super) fn check(_problems: &mut Problems<'_>, _raw: &Spanned<Raw>) -> Option<StaticSettings> {
    Some(StaticSettings {})
}
