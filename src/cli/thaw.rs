//! `quietus thaw`

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Page, Show};
use super::select::Freezable;
use super::session::Globals;
use super::view::Selector;
use crate::api::v1;

/// Lifts a freeze (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus thaw --agent spiffe://dev.example/agent

Lifts exactly the freeze that it names; others may cover the same agent. Exits with 5 if there was no such freeze.")]
pub struct ThawArgs {
    #[command(flatten)]
    what: Freezable,
}

#[derive(Serialize)]
struct Thawed {
    selector: Selector,
    thawed: bool,
}

pub async fn run(globals: &Globals, args: ThawArgs) -> anyhow::Result<Exit> {
    let session = globals.connect().await?;
    let selector = v1::Selector::from(&args.what);
    let request = v1::ThawRequest {
        selector: Some(selector.clone()),
    };
    let answer = session.answer(session.operator().thaw(request)).await?;
    let thawed = Thawed {
        selector: selector.into(),
        thawed: answer.thawed,
    };
    globals.out().print(&thawed)?;
    Ok(match thawed.thawed {
        true => Exit::Done,
        false => Exit::NotFound,
    })
}

impl Show for Thawed {
    fn show(&self, page: &mut Page) {
        match self.thawed {
            true => page.line(format!("thawed {}", self.selector)),
            false => page.line(format!("there was no freeze of {}", self.selector)),
        }
    }
}
