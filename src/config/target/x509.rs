//! `[target.x509]`

use serde::Deserialize;
use toml::Spanned;

use super::Problems;

/// `[target.x509]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Settings {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {}

pub(super) fn check(_problems: &mut Problems<'_>, _raw: &Spanned<Raw>) -> Option<X509Settings> {
    Some(X509Settings {})
}
