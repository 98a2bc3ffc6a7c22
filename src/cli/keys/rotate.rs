//! `quietus keys rotate`

use clap::Args;
use serde::Serialize;

use crate::api::v1;
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;

/// Makes a new signing key the one in use (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus keys rotate

The key before stays published until nothing that it signed is alive.")]
pub struct RotateArgs {
    /// The same key gives the same answer, so that asking again does not rotate twice
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true
    )]
    idempotency_key: String,
}

#[derive(Serialize)]
struct Rotated {
    kid: String,
    previous_kid: String,
}

pub async fn run(globals: &Globals, args: RotateArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::RotateKeysRequest {
        idempotency_key: args.idempotency_key,
    };
    let answer = session
        .answer(session.operator().rotate_keys(request))
        .await?;
    let rotated = Rotated {
        kid: answer.kid,
        previous_kid: answer.previous_kid,
    };
    Ok(globals.out().print(&rotated)?)
}

impl Show for Rotated {
    fn show(&self, page: &mut Page) {
        page.facts([
            ("signs now", Some(self.kid.as_str().into())),
            ("signed before", Some(self.previous_kid.as_str().into())),
        ]);
    }
}
