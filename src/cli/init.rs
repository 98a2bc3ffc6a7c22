//! `quietus init`: a development trust domain to start with.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, value_parser};
use quietus_identity::TrustDomain;

use crate::dev::{DevDomain, DevDomainOptions};

const DAY: Duration = Duration::from_secs(86_400);

/// Makes a development trust domain: a CA, SVIDs, configuration and policies. Not for production.
#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// The folder to make it in.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The trust domain's name.
    #[arg(long, value_name = "NAME", default_value = "dev.example")]
    pub trust_domain: TrustDomain,
    /// Where the broker will listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,
    /// How many days the certificates last, the CA's among them.
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u32).range(1..=365))]
    pub days: u32,
    /// Replace files that are there: keys, configuration and policies.
    #[arg(long)]
    pub force: bool,
}

/// Makes the trust domain and prints what was written and what to do next.
pub fn run(args: InitArgs) -> anyhow::Result<()> {
    let options = DevDomainOptions {
        trust_domain: args.trust_domain,
        listen: args.listen,
        now: SystemTime::now(),
        lifetime: DAY * args.days,
        force: args.force,
    };
    let domain = DevDomain::create(&args.dir, &options)?;
    report(&domain, &mut std::io::stdout().lock())?;
    Ok(())
}

fn report(domain: &DevDomain, out: &mut impl Write) -> std::io::Result<()> {
    for path in &domain.written {
        writeln!(out, "wrote {}", path.display())?;
    }
    let config = domain.config();
    writeln!(out)?;
    writeln!(
        out,
        "For development only: whoever can read ca.key can be anybody."
    )?;
    writeln!(out, "Next: quietus serve --config {}", config.display())
}
