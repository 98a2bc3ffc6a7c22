//! What `quietus run` is told.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use quietus_core::{Action, Scope, TargetName};

use super::template::is_variable;

/// Runs a program with credentials of its own, which die when it ends
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus run --target orders-db --scope read:public.orders -- psql
  quietus run --scope orders-db:read:public.orders --scope cache:write:orders -- ./export.sh
  quietus run --target web --scope execute:login --for 15m -- ssh deploy@web
  quietus run --target orders-db --scope read:public.orders \\
    --env 'DATABASE_URL=postgres://{{orders-db.user}}:{{orders-db.password|url}}@{{orders-db.host}}/orders' -- ./report

What the program finds in its environment, by the kind of credential:
  jwt       QUIETUS_TOKEN; with --token-file QUIETUS_TOKEN_FILE
  postgres  PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD PGSSLMODE PGSSLROOTCERT; with --pgpass PGPASSFILE
  redis     REDISCLI_AUTH REDIS_HOST REDIS_PORT REDIS_USER REDIS_URL REDIS_CA_FILE
  ssh       SSH_AUTH_SOCK (an agent of its own) SSH_IDENTITY_FILE SSH_CERTIFICATE_FILE
  x509      QUIETUS_CERT_FILE QUIETUS_KEY_FILE QUIETUS_CA_FILE
  others    QUIETUS_ and the name of each field
and QUIETUS_TASK_ID, and TRACEPARENT, so that its spans are parts of the task. A target that --env or --file names is handed over by those alone. Other variables that begin \
with QUIETUS_ are not passed on.

Files are renewed while the program runs; the environment of a running program cannot be. Files lie in a folder that \
only you may enter, in memory where the system allows it, and are removed at the end. If this command is killed, the \
broker ends the task when its grace is over.

The exit code is the program's own, 128+N if signal N ended it, and otherwise:
  124  the task ended first (deadline, revocation), and the program was terminated
  126  the program could not be run
  127  the program was not found
  or, before the program was started, one that `quietus --help` lists")]
pub struct RunArgs {
    #[command(flatten)]
    pub wanted: Wanted,
    /// Why; recorded and shown, never a policy input. `quietus run PROGRAM` if left out
    #[arg(long, value_name = "TEXT")]
    pub purpose: Option<String>,
    /// The work item; recorded and shown, never a policy input
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub ticket: String,
    /// The prompt that the program is to carry out: its SHA-256 is recorded, and nothing else of it is sent
    #[arg(long, value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,
    /// How long the program may take; the broker's configuration may allow less
    #[arg(long = "for", visible_alias = "duration", value_name = "TIME")]
    #[arg(value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// How long each credential is to live before it is renewed; it may get less
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub ttl: Option<Duration>,
    /// Set a variable, with {{target.field}} replaced; {{target.field|url}} is percent-encoded
    #[arg(long, value_name = "NAME=TEMPLATE", value_parser = assignment)]
    pub env: Vec<Assignment>,
    /// The same, in a private file whose path the variable gets
    #[arg(long, value_name = "NAME=TEMPLATE", value_parser = assignment)]
    pub file: Vec<Assignment>,
    /// Hand PostgreSQL passwords over in a file (PGPASSFILE) and not in the environment
    #[arg(long)]
    pub pgpass: bool,
    /// Hand tokens over in a file (QUIETUS_TOKEN_FILE), where they are renewed
    #[arg(long)]
    pub token_file: bool,
    /// Let the program call the broker as you do: pass QUIETUS_IDENTITY on
    #[arg(long)]
    pub pass_identity: bool,
    /// How long to wait at the end until the death of every credential is confirmed
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    pub wait: Duration,
    /// How long the program has between SIGTERM and SIGKILL when the task ends first
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "5s")]
    pub grace: Duration,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A variable's name, and the template of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    pub template: String,
}

/// Scopes by target; each target gets one credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(pub BTreeMap<TargetName, Vec<Scope>>);

impl RunArgs {
    pub fn purpose(&self) -> String {
        let program = self.command.first().map(|name| name.to_string_lossy());
        let program = program.unwrap_or_default();
        let plain: String = program
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        let default = || {
            format!(
                "quietus run {}",
                plain.rsplit('/').next().unwrap_or_default()
            )
        };
        self.purpose.clone().unwrap_or_else(default)
    }
}

/// By hand, because which scope belongs to which target is in their order.
impl Args for Wanted {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new("target")
                    .long("target")
                    .value_name("TARGET")
                    .action(ArgAction::Append)
                    .value_parser(|text: &str| text.parse::<TargetName>())
                    .help("A target to get a credential for; the scopes behind it are its own"),
            )
            .arg(
                Arg::new("scope")
                    .long("scope")
                    .value_name("SCOPE")
                    .action(ArgAction::Append)
                    .required(true)
                    .help("What the program may do: action:resource behind its --target, or target:action:resource"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Wanted {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let usage = |text: String| clap::Error::raw(ErrorKind::ValueValidation, text + "\n");
        let targets = positions::<TargetName>(matches, "target");
        let scopes = positions::<String>(matches, "scope");
        Self::read(&targets, &scopes).map_err(usage)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Wanted {
    /// From targets and scopes, each with its position in the command line.
    fn read(targets: &[(usize, TargetName)], scopes: &[(usize, String)]) -> Result<Self, String> {
        let mut wanted = BTreeMap::<TargetName, Vec<Scope>>::new();
        for (at, text) in scopes {
            let before = targets.iter().rfind(|(target_at, _)| target_at < at);
            let scope = scope(before.map(|(_, target)| target), text)?;
            let scopes = wanted.entry(scope.target().clone()).or_default();
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        match targets.iter().find(|(_, name)| !wanted.contains_key(name)) {
            Some((_, name)) => Err(format!(
                "--target {} is followed by no --scope",
                name.as_str()
            )),
            None => Ok(Self(wanted)),
        }
    }
}

fn positions<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Vec<(usize, T)> {
    let indices = matches.indices_of(id).into_iter().flatten();
    let values = matches.get_many::<T>(id).into_iter().flatten();
    indices.zip(values.cloned()).collect()
}

/// What begins with an action is short for the target before it.
fn scope(target: Option<&TargetName>, text: &str) -> Result<Scope, String> {
    let first = text.split(':').next().unwrap_or_default();
    let full = match (first.parse::<Action>(), target) {
        (Ok(_), Some(target)) => format!("{}:{text}", target.as_str()),
        _ => text.to_owned(),
    };
    full.parse().map_err(|error| match target {
        Some(_) => format!("--scope {text}: {error}"),
        None => {
            format!("--scope {text}: {error}; action:resource alone needs a --target before it")
        }
    })
}

fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, template) = text
        .split_once('=')
        .ok_or("write NAME=TEMPLATE, such as PASSWORD={{orders-db.password}}")?;
    match is_variable(name) {
        true => Ok(Assignment {
            name: name.to_owned(),
            template: template.to_owned(),
        }),
        false => Err("a variable's name is A-Z a-z 0-9 _ and starts with no digit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn parse(words: &[&str]) -> Result<RunArgs, String> {
        let words = [&["run"], words, &["--", "/usr/bin/psql", "-x"]].concat();
        Line::try_parse_from(words)
            .map(|line| line.run)
            .map_err(|error| error.to_string())
    }

    fn wanted(words: &[&str]) -> Vec<String> {
        let scopes = parse(words).unwrap().wanted.0.into_values().flatten();
        scopes.map(|scope| scope.to_string()).collect()
    }

    #[test]
    fn a_scope_belongs_to_the_target_before_it() {
        let grouped = ["--target", "b", "--scope", "read:x", "--scope", "write:y"];
        assert_eq!(wanted(&grouped), ["b:read:x", "b:write:y"]);
        let two = [
            "--target=b",
            "--scope=read:x",
            "--target=a",
            "--scope=read:x",
        ];
        assert_eq!(wanted(&two), ["a:read:x", "b:read:x"]);
        let back = [
            "--target=a",
            "--scope=read:x",
            "--target=b",
            "--scope=read:x",
            "--target=a",
            "--scope=read:z:w",
        ];
        assert_eq!(wanted(&back), ["a:read:x", "a:read:z:w", "b:read:x"]);
    }

    #[test]
    fn full_scopes_need_no_target() {
        assert_eq!(
            wanted(&["--scope", "a:read:x", "--scope", "b:read:x"]),
            ["a:read:x", "b:read:x"]
        );
        assert_eq!(
            wanted(&["--target=a", "--scope=read:x", "--scope=b:read:y"]),
            ["a:read:x", "b:read:y"]
        );
        assert_eq!(
            wanted(&["--scope=a:read:x", "--scope=a:read:x"]),
            ["a:read:x"]
        );
    }

    #[test]
    fn what_is_not_sound_is_refused_with_advice() {
        let cases: [(&[&str], &str); 9] = [
            (&[], "required"),
            (&["--target=a"], "--scope"),
            (&["--scope=read:x"], "needs a --target before it"),
            (
                &["--scope=read:x", "--target=a"],
                "needs a --target before it",
            ),
            (
                &["--target=a", "--target=b", "--scope=read:x"],
                "--target a is followed by no --scope",
            ),
            (&["--target=A", "--scope=read:x"], "a target name is"),
            (&["--scope=a:look:x"], "an action is one of"),
            (&["--scope=a:read:x", "--env=X"], "write NAME=TEMPLATE"),
            (&["--scope=a:read:x", "--file=1X=a"], "starts with no digit"),
        ];
        for (words, advice) in cases {
            let told = parse(words).unwrap_err();
            assert!(told.contains(advice), "{words:?}: {told}");
        }
    }

    #[test]
    fn the_purpose_names_the_program() {
        let args = parse(&["--scope=a:read:x"]).unwrap();
        assert_eq!(args.purpose(), "quietus run psql");
        assert_eq!(args.command, ["/usr/bin/psql", "-x"]);
        let args = parse(&["--scope=a:read:x", "--purpose=why", "--duration=5m"]).unwrap();
        assert_eq!(args.purpose(), "why");
        assert_eq!(args.duration, Some(Duration::from_secs(300)));
    }
}
