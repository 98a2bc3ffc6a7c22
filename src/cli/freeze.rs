//! `quietus freeze`

use clap::Args;
use serde::Serialize;

use super::output::{Page, Show};
use super::select::Freezable;
use super::session::Globals;
use super::view::Selector;
use crate::api::v1;

/// Refuses new tasks and credentials, until thawed (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus freeze --agent spiffe://dev.example/agent --reason 'under investigation'
  quietus freeze --all

What is alive stays alive: end it with `quietus revoke`. Standing freezes are shown by `quietus status`.")]
pub struct FreezeArgs {
    #[command(flatten)]
    what: Freezable,
    /// Why; recorded, and told to those who are refused
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
}

#[derive(Serialize)]
struct Frozen {
    selector: Selector,
    frozen: bool,
}

pub async fn run(globals: &Globals, args: FreezeArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let selector = v1::Selector::from(&args.what);
    let request = v1::FreezeRequest {
        selector: Some(selector.clone()),
        reason: args.reason,
    };
    session.answer(session.operator().freeze(request)).await?;
    let frozen = Frozen {
        selector: selector.into(),
        frozen: true,
    };
    Ok(globals.out().print(&frozen)?)
}

impl Show for Frozen {
    fn show(&self, page: &mut Page) {
        page.line(format!("froze {}", self.selector));
    }
}
