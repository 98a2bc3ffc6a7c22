//! `quietus audit report`

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use clap::builder::PossibleValuesParser;
use quietus_core::Timestamp;
use quietus_ledger::Verifier;

use super::log_in;
use super::replay::Progress;
use crate::audit::report::frameworks;
use crate::audit::report::{Asked, Report, report};
use crate::audit::walk::Range;
use crate::cli::exit::{Complaint, Exit};
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;
use crate::cli::vkeys;
use crate::config::Config;

/// Writes what the log is evidence of, by the controls of a framework
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit report --framework owasp-agentic-2026 > report.md
  quietus audit report copy/ --framework nist-csf-2 --since 2026-07-01 --until 2026-10-01 --replay --key @ledger.vkey
  quietus audit report --framework owasp-nhi-2025 --since 30d --config quietus.toml -o json

For each control it names the entries and settings that are evidence, and says where there are none. It does not say \
that anybody complies with anything.

Exits with 0 if what is recorded holds, with 8 if the entries do not lead to the checkpoint, no given key signed it, \
some entry cannot be read, or, with --replay, a decision comes out otherwise.")]
pub struct ReportArgs {
    /// The folder with a copy of the log; by default the broker that --identity names is asked
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The framework
    #[arg(long, value_name = "NAME", value_parser = names())]
    framework: String,
    /// Entries from this time on: a day or time in UTC (RFC 3339), or so long ago (30d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Entries before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// Makes every decision of the period again
    #[arg(long)]
    replay: bool,
    /// A verifier key (name+hash+key) of the log's, or a file with one a line: the checkpoint must be signed by one
    #[arg(long = "key", value_name = "FILE|VKEY")]
    keys: Vec<String>,
    /// The broker's configuration, for its limits as they are now
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The entry to begin reading at, if those before were pruned
    #[arg(long, value_name = "ENTRY", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
}

/// A point in time as it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    At(SystemTime),
    Ago(Duration),
}

pub async fn run(globals: &Globals, args: &ReportArgs) -> anyhow::Result<Exit> {
    let now = SystemTime::now();
    let framework = frameworks::named(&args.framework).ok_or(Complaint::NotFound("framework"))?;
    let keys: Vec<Verifier> = vkeys::read("--key", &args.keys)?;
    let config = args.config.as_ref().map(Config::load).transpose()?;
    let at = |moment: Option<Moment>| moment.map(|moment| moment.before(now)).transpose();
    let asked = Asked {
        framework,
        from: args.from,
        since: at(args.since)?,
        until: at(args.until)?,
        at: millis(now)?,
        replay: args.replay,
        keys: &keys,
        config: config.as_ref(),
    };
    if let (Some(since), Some(until)) = (asked.since, asked.until)
        && until <= since
    {
        return Err(Complaint::Usage("--until is not after --since".to_owned()).into());
    }
    let mut log = log_in(globals, args.dir.as_deref()).await?;
    let range = Range {
        from: args.from,
        to: None,
    };
    let bar = Progress::new(&log, range).await;
    let report = report(&mut log, &asked, |seq| bar.at(seq)).await;
    bar.done();
    let report = report?;
    globals.out().print(&report)?;
    Ok(match report.is_contradicted() {
        true => Exit::Unproven,
        false => Exit::Done,
    })
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(frameworks::ALL.iter().map(|framework| framework.id))
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(Moment::Ago(ago));
    }
    let day = format!("{text}T00:00:00Z");
    let at = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339(&day));
    let hint = "write a day or a time in UTC, such as 2026-07-01 or 2026-07-01T12:00:00Z, or a distance, such as 30d";
    at.map(Moment::At).map_err(|_| hint.to_owned())
}

impl Moment {
    fn before(self, now: SystemTime) -> anyhow::Result<Timestamp> {
        match self {
            Self::At(at) => millis(at),
            Self::Ago(ago) => millis(now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)),
        }
    }
}

/// What comes before 1970 is 1970.
fn millis(at: SystemTime) -> anyhow::Result<Timestamp> {
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH);
    let since_epoch = since_epoch.unwrap_or_default();
    Ok(Timestamp(u64::try_from(since_epoch.as_millis())?))
}

impl Show for Report {
    fn show(&self, page: &mut Page) {
        self.to_string().lines().for_each(|line| page.line(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_moments_or_distances() {
        let at = |seconds| Moment::At(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let cases = [
            ("1970-01-02", at(86_400)),
            ("1970-01-02T00:00:01Z", at(86_401)),
            ("1970-01-02 00:00:01", at(86_401)),
            ("90m", Moment::Ago(Duration::from_secs(5_400))),
        ];
        for (text, expected) in cases {
            assert_eq!(moment(text), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "2026", "-1d"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn so_long_ago_that_there_was_no_time_is_the_beginning_of_time() {
        let ago = Moment::Ago(Duration::from_secs(u64::MAX));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        assert_eq!(ago.before(now).unwrap(), Timestamp(0));
    }

    #[test]
    fn every_framework_is_found_by_its_name() {
        for known in &frameworks::ALL {
            assert_eq!(frameworks::named(known.id), Some(known));
        }
        assert_eq!(frameworks::named("iso-27001"), None);
    }
}
