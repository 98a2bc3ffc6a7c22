//! `quietus policy reload`

use clap::Args;
use serde::Serialize;

use crate::api::v1;
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;

/// Has the broker read its policy folder again (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus policy check config/policies && quietus policy reload

A folder that does not compile changes nothing.")]
pub struct ReloadArgs {}

#[derive(Serialize)]
struct Reloaded {
    digest: String,
    previous_digest: String,
    policies: u32,
}

pub async fn run(globals: &Globals, _: ReloadArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::ReloadPolicyRequest {};
    let answer = session
        .answer(session.operator().reload_policy(request))
        .await?;
    let reloaded = Reloaded {
        digest: answer.digest,
        previous_digest: answer.previous_digest,
        policies: answer.policies,
    };
    Ok(globals.out().print(&reloaded)?)
}

impl Show for Reloaded {
    fn show(&self, page: &mut Page) {
        let previous = match self.previous_digest == self.digest {
            true => "the same",
            false => &self.previous_digest,
        };
        page.facts([
            ("policies", Some(self.policies.to_string().into())),
            ("digest", Some(self.digest.as_str().into())),
            ("before", Some(previous.into())),
        ]);
    }
}
