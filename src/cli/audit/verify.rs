//! `quietus audit verify`

mod view;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quietus_ledger::Verifier;
use quietus_ledger::audit::{self, Beside, Files, Report, Trust};
use quietus_ledger::note::MAX_NOTE;
use tokio::sync::oneshot;

use crate::audit::{Folder, Remote, Served};
use crate::cli::exit::Exit;
use crate::cli::session::Globals;
use crate::cli::vkeys;
use crate::files;
use view::Verified;

/// What the keys of brokers are named, as opposed to those of logs.
const SPIFFE: &str = "spiffe://";

/// Verifies a whole log: every entry, every hash, every checkpoint, and what they refer to
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit verify copy/ --key ledger.vkey
  quietus audit verify copy/ --key ledger.vkey --checkpoint kept-in-june --receipt task.receipt -o json
  quietus audit verify --key ledger.vkey --identity operator.toml

The broker leaves its verifier keys in ledger.vkey and evidence.vkey in its key directory: get one of them on a way \
that you trust, not with the copy. Nothing else is needed, and a copy is verified without asking anybody.

Whoever has the broker's private key can write another history. Give a checkpoint that was kept out of the broker's \
reach, and it will be found.

Exits with 0 only if everything holds, with 8 if something does not, and with 1 if it cannot be read.")]
pub struct VerifyArgs {
    /// The folder with a copy of the log; by default the broker that --identity names is asked
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A verifier key (name+hash+key) of the broker's, or a file with one a line; any of them will do
    #[arg(long = "key", value_name = "FILE|VKEY", required = true)]
    keys: Vec<String>,
    /// A signed checkpoint that was kept elsewhere: the log must be what it was then
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// A receipt that the log must bear out
    #[arg(long = "receipt", value_name = "FILE")]
    receipts: Vec<PathBuf>,
    /// A witness's verifier key, or a file with one a line: its cosignatures must hold
    #[arg(long = "witness", value_name = "FILE|VKEY")]
    witnesses: Vec<String>,
    /// The log's name; by default that of the key, or of the checkpoint if the key is in the broker's name
    #[arg(long)]
    origin: Option<String>,
}

pub async fn run(globals: &Globals, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let trust = trust(args)?;
    let beside = Beside {
        checkpoints: named(&args.checkpoints)?,
        receipts: named(&args.receipts)?,
    };
    let report = match &args.dir {
        Some(dir) => verified(Folder::open(dir)?, trust, beside).await?,
        None => {
            let remote = Remote::new(globals.connect().await?.audit());
            verified(Served::new(remote).await?, trust, beside).await?
        }
    };
    let verified = Verified::from(report);
    globals.out().print(&verified)?;
    Ok(match verified.is_good() {
        true => Exit::Done,
        false => Exit::Unproven,
    })
}

fn trust(args: &VerifyArgs) -> anyhow::Result<Trust> {
    let log: Vec<Verifier> = vkeys::read("--key", &args.keys)?;
    let mut names = log.iter().map(Verifier::name);
    let named = names.find(|name| !name.starts_with(SPIFFE));
    let origin = args.origin.as_deref().or(named).map(str::to_owned);
    Ok(Trust {
        origin,
        log,
        witnesses: vkeys::read("--witness", &args.witnesses)?,
    })
}

fn named(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let read = |path: &PathBuf| {
        let shown = path.display().to_string();
        match files::read(path, MAX_NOTE) {
            Ok(bytes) => Ok((shown, bytes)),
            Err(problem) => Err(anyhow!("{shown} {problem}")),
        }
    };
    paths.iter().map(read).collect()
}

/// On a thread of its own, which an interruption leaves behind.
async fn verified<F>(files: F, trust: Trust, beside: Beside) -> anyhow::Result<Report>
where
    F: Files<Error: Into<anyhow::Error> + Send> + Send + 'static,
{
    let (done, verified) = oneshot::channel();
    std::thread::spawn(move || {
        let bar = bar();
        let report = audit::verify(&files, trust, &beside, |at, of| tell(&bar, at, of));
        bar.finish_and_clear();
        // Nobody listens any more after an interruption.
        let _ = done.send(report);
    });
    verified.await?.map_err(Into::into)
}

fn bar() -> ProgressBar {
    let bar = match io::stderr().is_terminal() {
        true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5)),
        false => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} entries");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn tell(bar: &ProgressBar, at: u64, of: u64) {
    bar.set_length(of);
    bar.set_position(at);
}
