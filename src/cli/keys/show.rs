//! `quietus keys show`

use anyhow::Context;
use clap::Args;
use quietus_token::{Jwk, JwkSet};
use serde::{Serialize, Serializer};
use tonic::{Code, Status};

use crate::api::v1;
use crate::cli::output::{Page, Show};
use crate::cli::session::{Globals, Session};
use crate::cli::style::Tone;
use crate::cli::table::{Cell, Table};

/// Shows the public keys that live tokens may be signed with
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus keys show -o json > jwks.json

The JSON is a JWK set (RFC 7517) to verify tokens with. Only operators are told which key is in use.")]
pub struct ShowArgs {}

struct Keys {
    set: JwkSet,
    in_use: Option<String>,
}

pub async fn run(globals: &Globals, _: ShowArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::GetSigningKeysRequest {};
    let answer = session
        .answer(session.verification().get_signing_keys(request))
        .await?;
    let set = JwkSet::from_json(answer.jwk_set.as_bytes());
    let set = set.context("the broker's key set cannot be read")?;
    let in_use = in_use(&session).await?;
    Ok(globals.out().print(&Keys { set, in_use })?)
}

async fn in_use(session: &Session) -> anyhow::Result<Option<String>> {
    match session.operator().get_status(v1::GetStatusRequest {}).await {
        Ok(status) => Ok(Some(status.into_inner().kid)),
        Err(status) if is_not_ours(&status) => Ok(None),
        Err(status) => Err(status.into()),
    }
}

fn is_not_ours(status: &Status) -> bool {
    status.code() == Code::PermissionDenied
}

impl Keys {
    fn use_of(&self, key: &Jwk) -> Cell {
        match &self.in_use {
            None => "verifies".into(),
            Some(kid) if kid == key.kid() => Cell::toned(Tone::Good, "signs and verifies"),
            Some(_) => Cell::toned(Tone::Dim, "verifies"),
        }
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.set.serialize(serializer)
    }
}

impl Show for Keys {
    fn show(&self, page: &mut Page) {
        let mut table = Table::with_head(["KEY", "ALGORITHM", "USE"]);
        for key in self.set.keys() {
            table.add([key.kid().into(), "EdDSA".into(), self.use_of(key)]);
        }
        page.table(&table);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::cli::style::Palette;

    #[test]
    fn the_key_in_use_is_marked() {
        let keys = [Jwk::new([1; 32]), Jwk::new([2; 32])];
        let [old, new] = keys.each_ref().map(|key| key.kid().to_owned());
        let shown = Keys {
            set: JwkSet::new(keys).unwrap(),
            in_use: Some(new.clone()),
        };
        let mut page = Page::new(Palette::PLAIN, SystemTime::UNIX_EPOCH);
        shown.show(&mut page);
        let text = page.into_text();
        assert!(
            text.contains(&format!("{old}  EdDSA      verifies\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!("{new}  EdDSA      signs and verifies\n")),
            "{text}"
        );
    }

    #[test]
    fn the_document_is_the_key_set_and_nothing_else() {
        let set = JwkSet::new([Jwk::new([1; 32])]).unwrap();
        let shown = Keys {
            set: set.clone(),
            in_use: None,
        };
        assert_eq!(
            serde_json::to_value(shown).unwrap(),
            serde_json::to_value(set).unwrap()
        );
    }
}
