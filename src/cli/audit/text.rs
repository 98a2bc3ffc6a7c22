//! `quietus audit text`

use clap::Args;
use quietus_core::Digest;
use ring::hmac;
use serde::Serialize;

use crate::api::v1;
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;

/// Shows a text that was reported with an action, and that the commitment in the ledger is to this text (auditors)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus audit text b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")]
pub struct TextArgs {
    /// As the ledger has it: `text` of an `action.recorded` entry
    #[arg(value_name = "COMMITMENT")]
    commitment: Digest,
}

#[derive(Serialize)]
struct Text {
    commitment: String,
    salt: String,
    text: String,
}

pub async fn run(globals: &Globals, args: TextArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let commitment = args.commitment.to_string();
    let request = v1::GetTextRequest {
        commitment: commitment.clone(),
    };
    let answer = session.answer(session.audit().get_text(request)).await?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &answer.salt);
    if hmac::verify(&key, answer.text.as_bytes(), &args.commitment.0).is_err() {
        anyhow::bail!("what the broker has under {commitment} is not what was committed to");
    }
    Ok(globals.out().print(&Text {
        commitment,
        salt: answer
            .salt
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        text: answer.text,
    })?)
}

impl Show for Text {
    fn show(&self, page: &mut Page) {
        self.text.lines().for_each(|line| page.line(line));
    }
}
