//! `quietus run`: a task of its own for a program that knows nothing of Quietus.
//!
//! The task is opened and held before anything is issued, so that whatever ends this process, be it SIGKILL, ends the
//! task once the broker's grace is over, and with it every credential.

mod agent;
mod args;
mod child;
mod environment;
mod files;
mod handover;
mod hold;
mod renewal;
mod template;
mod trace;

use std::future::Future;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use quietus_core::TargetName;
use rustix::process::Signal;
use tokio::time::{Instant, sleep_until, timeout};

pub use args::RunArgs;

use super::exit::{Complaint, Report, reason};
use super::output::note;
use super::session::{Globals, Session};
use super::words::{sha256_of, wire_duration};
use crate::api::v1;
use crate::client::ConnectError;
use crate::issuers::Secret;
use child::{Child, NotStarted, Signals};
use environment::Style;
use handover::{Handover, TASK, Variables};
use hold::{Hold, Over};
use renewal::Leases;
use template::{Goes, Template};
use trace::Trace;

/// The exit code when the task ended before the program did.
const TASK_ENDED: u8 = 124;
/// How long the broker may take to close the task, beside the time that confirmations may take.
const CLOSING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// Runs the program. The exit code is its own wherever that is possible.
pub fn run(globals: &Globals, args: &RunArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(play(globals, args));
    // Nothing that still waits for the broker may keep this process.
    runtime.shutdown_background();
    let code = result.or_else(|error| match error.downcast_ref::<Asked>() {
        Some(Asked(signal)) => Ok(u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)),
        None => Err(error),
    });
    code.map(ExitCode::from)
}

/// This process was asked to end before the program was started.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Asked(Signal);

/// How it went once the program was started.
enum End {
    Exited(ExitStatus),
    /// The task was lost first.
    Outlived {
        /// Whether it has ended for certain.
        ended: bool,
    },
}

async fn play(globals: &Globals, args: &RunArgs) -> anyhow::Result<u8> {
    let handover = Handover::new(style(args), templates(args)?)?;
    let mut signals = Signals::listen()?;
    files::sweep();
    let session = unless_asked(&mut signals, globals.connect()).await?;
    let trace = Trace::of_environment();
    let task = unless_asked(&mut signals, open(&session, trace, args)).await?;
    let run = Run {
        globals,
        args,
        session,
        trace,
        task,
    };
    // Everything private is gone before the task is closed.
    let end = run.hand_over_and_watch(handover, &mut signals).await;
    run.close(&end, &mut signals).await;
    match end {
        Ok(End::Exited(status)) => Ok(child::code(status)),
        Ok(End::Outlived { .. }) => Ok(TASK_ENDED),
        Err(error) => match error.downcast_ref::<NotStarted>() {
            Some(refused) => {
                Report::of(&error).tell(globals.color);
                Ok(refused.code())
            }
            None => Err(error),
        },
    }
}

fn style(args: &RunArgs) -> Style {
    Style {
        pgpass: args.pgpass,
        token_file: args.token_file,
    }
}

fn templates(args: &RunArgs) -> Result<Vec<Template>, Complaint> {
    let targets: Vec<&TargetName> = args.wanted.0.keys().collect();
    let inline = args.env.iter().map(|given| (given, Goes::Inline));
    let files = args.file.iter().map(|given| (given, Goes::File));
    let all = inline.chain(files);
    all.map(|(given, goes)| Template::read(given, goes, &targets))
        .collect()
}

async fn open(session: &Session, trace: Trace, args: &RunArgs) -> anyhow::Result<String> {
    let request = v1::OpenTaskRequest {
        idempotency_key: String::new(),
        purpose: args.purpose(),
        ticket: args.ticket.clone(),
        duration: wire_duration(args.duration)?,
        heartbeat_interval: None,
        prompt_sha256: sha256_of(args.prompt_file.as_deref())?,
    };
    let mut broker = session.broker();
    let answer = session.answer(broker.open_task(trace.on(request))).await?;
    Ok(answer.task.ok_or(Complaint::Incomplete("task"))?.id)
}

/// Waits for an answer, or until this process is asked to end.
async fn unless_asked<T>(
    signals: &mut Signals,
    answer: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        answer = answer => answer,
        signal = signals.asked_to_end() => Err(Asked(signal).into()),
    }
}

/// A run whose task is open.
struct Run<'a> {
    globals: &'a Globals,
    args: &'a RunArgs,
    session: Session,
    trace: Trace,
    task: String,
}

impl Run<'_> {
    async fn hand_over_and_watch(
        &self,
        mut handover: Handover,
        signals: &mut Signals,
    ) -> anyhow::Result<End> {
        let mut leases = Leases::new(&self.session, &self.task, self.args.ttl);
        let prepare = self.prepare(&mut leases, &mut handover);
        let (mut hold, variables) = unless_asked(signals, prepare).await?;
        let child = Child::start(&self.args.command, &variables)?;
        drop(variables);
        let renewals = leases.keep(&mut handover);
        watch(child, signals, &mut hold, renewals, self.args.grace).await
    }

    /// Holds the task, and only then asks for credentials.
    async fn prepare(
        &self,
        leases: &mut Leases,
        handover: &mut Handover,
    ) -> anyhow::Result<(Hold, Variables)> {
        let hold = Hold::start(&self.session, &self.task);
        let hold = timeout(self.session.patience(), hold).await;
        let hold = hold.map_err(|_| Complaint::TimedOut(self.session.patience()))??;
        for (target, scopes) in &self.args.wanted.0 {
            leases.request(target, scopes, handover).await?;
        }
        handover.start_agent().await?;
        let mut variables = handover.variables()?;
        handover.write()?;
        leases.add_keys(handover).await?;
        variables
            .set
            .insert(TASK.to_owned(), Secret::new(self.task.as_str()));
        self.trace.pass_on(&self.task, &mut variables);
        self.pass_identity(&mut variables)?;
        Ok((hold, variables))
    }

    fn pass_identity(&self, variables: &mut Variables) -> anyhow::Result<()> {
        if let (true, Some(path)) = (self.args.pass_identity, self.globals.identity()) {
            let path = std::path::absolute(path)?;
            let path = Secret::new(path.to_string_lossy());
            variables.set.insert("QUIETUS_IDENTITY".to_owned(), path);
        }
        Ok(())
    }

    /// Ends the task however the program ended, and waits for confirmations until it is asked not to.
    async fn close(&self, end: &anyhow::Result<End>, signals: &mut Signals) {
        let failed = !matches!(end, Ok(End::Exited(status)) if status.success());
        let ended = async {
            if !matches!(end, Ok(End::Outlived { ended: true })) {
                self.end_task(failed).await?;
            }
            self.confirm().await
        };
        let bounded = timeout(self.args.wait + CLOSING, ended);
        let problem = tokio::select! {
            done = bounded => match done {
                Ok(Ok(())) => return,
                Ok(Err(error)) => told(&error),
                Err(_) => "the broker did not answer in time".to_owned(),
            },
            _ = signals.asked_to_end() => "interrupted".to_owned(),
        };
        say(format!(
            "cannot tell whether task {} is closed and its credentials dead: {problem}; if it is not, it ends when \
             the broker's grace is over",
            self.task
        ));
    }

    async fn end_task(&self, failed: bool) -> anyhow::Result<()> {
        let request = v1::CloseTaskRequest {
            idempotency_key: String::new(),
            task_id: self.task.clone(),
            failed,
            wait: None,
        };
        let answer = self.session.broker().close_task(request).await;
        match answer.map_err(anyhow::Error::from) {
            Err(error) if reason(&error) != "TASK_ENDED" => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until every credential is confirmed dead, but not for ever.
    async fn confirm(&self) -> anyhow::Result<()> {
        let until = Instant::now() + self.args.wait;
        loop {
            let task_id = self.task.clone();
            let request = v1::GetTaskRequest { task_id };
            let answer = self.session.broker().get_task(request).await?.into_inner();
            let alive = answer
                .leases
                .iter()
                .filter(|lease| lease.confirmed.is_empty());
            let alive: Vec<&v1::Lease> = alive.collect();
            if alive.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                say_unconfirmed(&self.task, &alive);
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Waits for the program, passes signals on to it, and ends it when the task has ended.
async fn watch(
    mut child: Child,
    signals: &mut Signals,
    hold: &mut Hold,
    renewals: impl Future<Output = ()>,
    grace: Duration,
) -> anyhow::Result<End> {
    tokio::pin!(renewals);
    let mut lost = None;
    let mut kill_at = None;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(match lost {
                Some(Over { ended, .. }) => End::Outlived { ended },
                None => End::Exited(status?),
            }),
            signal = signals.next() => {
                if !child::reaches_the_child(signal) {
                    child.send(signal);
                }
            }
            over = hold.over(), if lost.is_none() => {
                say(format!("the task has ended: {}; terminating the program", over.why));
                child.send(Signal::TERM);
                kill_at = Some(Instant::now() + grace);
                lost = Some(over);
            }
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                child.send(Signal::KILL);
                kill_at = None;
            }
            () = &mut renewals, if lost.is_none() => {}
        }
    }
}

fn say_unconfirmed(task: &str, alive: &[&v1::Lease]) {
    for lease in alive {
        let why = match lease.last_error.as_str() {
            "" => String::new(),
            error => format!(": {error}"),
        };
        say(format!(
            "the death of {} at {} is not confirmed yet{why}",
            lease.id, lease.target
        ));
    }
    say(format!(
        "the broker goes on until it is; see `quietus task show {task}`"
    ));
}

/// Says something among whatever the program says.
fn say(text: impl AsRef<str>) {
    // There is nowhere else to say that this failed.
    let _ = note(format!("quietus: {}", text.as_ref()));
}

/// An error in a few words.
fn told(error: &anyhow::Error) -> String {
    if let Some(problem) = ConnectError::within(error.as_ref()) {
        return problem.to_string();
    }
    match error.downcast_ref::<tonic::Status>() {
        Some(status) if !status.message().is_empty() => status.message().to_owned(),
        _ => format!("{error:#}"),
    }
}
