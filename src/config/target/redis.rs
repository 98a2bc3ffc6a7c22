//! `[target.redis]`

use serde::Deserialize;
use toml::Spanned;

use super::Problems;

/// `[target.redis]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {}

pub(super) fn check(_problems: &mut Problems<'_>, _raw: &Spanned<Raw>) -> Option<RedisSettings> {
    Some(RedisSettings {})
}
