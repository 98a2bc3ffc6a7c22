//! `quietus target check`

use clap::Args;
use quietus_core::TargetName;
use serde::Serialize;

use crate::api::v1;
use crate::cli::exit::Exit;
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;
use crate::cli::style::Tone;

/// Asks a target whether it answers and lets the broker do its work
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus target check orders-db

Makes no credential. Exits with 4 when the target is not as it should be.")]
pub struct CheckArgs {
    /// The target
    #[arg(value_name = "NAME")]
    target: TargetName,
}

#[derive(Serialize)]
struct Checked {
    target: String,
    ok: bool,
    message: String,
}

pub async fn run(globals: &Globals, args: CheckArgs) -> anyhow::Result<Exit> {
    let session = globals.connect().await?;
    let target = args.target.to_string();
    let request = v1::CheckTargetRequest {
        target: target.clone(),
    };
    let answer = session
        .answer(session.operator().check_target(request))
        .await?;
    let checked = Checked {
        target,
        ok: answer.ok,
        message: answer.message,
    };
    globals.out().print(&checked)?;
    Ok(checked.exit())
}

impl Checked {
    fn exit(&self) -> Exit {
        match self.ok {
            true => Exit::Done,
            false => Exit::Degraded,
        }
    }
}

impl Show for Checked {
    fn show(&self, page: &mut Page) {
        let Self {
            target, message, ..
        } = self;
        match self.ok {
            true => page.toned(Tone::Good, format!("{target} is ok: {message}")),
            false => page.toned(Tone::Bad, format!("{target} is not ok: {message}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::cli::style::Palette;

    #[test]
    fn what_is_wrong_is_said_and_makes_the_exit_code() {
        let cases = [
            (true, "orders-db is ok: it\\n\n", Exit::Done),
            (false, "orders-db is not ok: it\\n\n", Exit::Degraded),
        ];
        for (ok, text, exit) in cases {
            let checked = Checked {
                target: "orders-db".to_owned(),
                ok,
                message: "it\n".to_owned(),
            };
            let mut page = Page::new(Palette::PLAIN, SystemTime::UNIX_EPOCH);
            checked.show(&mut page);
            assert_eq!((page.into_text().as_str(), checked.exit()), (text, exit));
        }
    }
}
