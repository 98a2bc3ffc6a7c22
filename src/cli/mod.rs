//! The command line: one file a subcommand.

mod audit;
mod bench;
mod completions;
mod confirm;
mod credential;
mod demo;
mod exit;
mod freeze;
pub mod init;
#[cfg(feature = "external")]
mod issuer;
mod key;
mod keys;
mod lease;
mod output;
mod pages;
mod policy;
mod receipt;
mod request;
mod revoke;
mod run;
#[cfg(feature = "static-secrets")]
mod secret;
mod select;
pub mod serve;
mod session;
mod show;
mod status;
mod style;
mod table;
mod target;
mod task;
#[cfg(test)]
mod tests;
mod text;
mod thaw;
mod view;
mod vkeys;
mod words;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{Complaint, Exit, Report};
use session::Globals;

/// Just-in-time ephemeral credentials for AI agents and other workloads, revoked when the task ends
#[derive(Clone, Debug, Parser)]
#[command(name = "quietus", version, after_help = exit::help(), arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    #[command(
        after_help = "Example:\n  quietus init dev && quietus serve --config dev/quietus.toml"
    )]
    Init(init::InitArgs),
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    Task(task::TaskArgs),
    Request(request::RequestArgs),
    Run(run::RunArgs),
    Lease(lease::LeaseArgs),
    Target(target::TargetArgs),
    Receipt(receipt::ReceiptArgs),
    Revoke(revoke::RevokeArgs),
    Freeze(freeze::FreezeArgs),
    Thaw(thaw::ThawArgs),
    Policy(policy::PolicyArgs),
    Keys(keys::KeysArgs),
    #[cfg(feature = "static-secrets")]
    Secret(secret::SecretArgs),
    #[cfg(feature = "external")]
    Issuer(issuer::IssuerArgs),
    Audit(audit::AuditArgs),
    Status(status::StatusArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let color = cli.globals.color;
    run(cli).unwrap_or_else(|error| {
        let report = Report::of(&error);
        report.tell(color);
        report.exit.into()
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let globals = &cli.globals;
    match cli.command {
        Command::Init(args) => init::run(args).map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(globals.color, args),
        Command::Task(args) => call(task::run(globals, args)),
        Command::Request(args) => call(request::run(globals, args)),
        Command::Run(args) => run::run(globals, &args),
        Command::Lease(args) => call(lease::run(globals, args)),
        Command::Target(args) => call(target::run(globals, args)),
        Command::Receipt(args) => call(receipt::run(globals, args)),
        Command::Revoke(args) => call(revoke::run(globals, args)),
        Command::Freeze(args) => call(freeze::run(globals, args)),
        Command::Thaw(args) => call(thaw::run(globals, args)),
        Command::Policy(args) => call(policy::run(globals, args)),
        Command::Keys(args) => call(keys::run(globals, args)),
        #[cfg(feature = "static-secrets")]
        Command::Secret(args) => secret::run(args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "external")]
        Command::Issuer(args) => call(issuer::run(globals, args)),
        Command::Audit(args) => call(audit::run(globals, args)),
        Command::Status(args) => call(status::run(globals, args)),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => completions::run(&args).map(|()| ExitCode::SUCCESS),
    }
}

/// Runs a command that calls a broker, until it is done or Ctrl-C comes.
fn call<T: Into<Exit>>(
    command: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        tokio::select! {
            result = command => result.map(|done| done.into().into()),
            _ = tokio::signal::ctrl_c() => Err(Complaint::Interrupted.into()),
        }
    })
}
