//! Keeps the task alive while this process is.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::{say, told};
use crate::api::v1;
use crate::cli::session::Session;

const PAUSE: Duration = Duration::from_millis(500);

/// A held task. When it is dropped the task is let go of.
pub struct Hold {
    state: watch::Receiver<State>,
    holder: JoinHandle<()>,
}

/// Why a hold is over.
pub struct Over {
    pub why: String,
    /// Whether the task has ended, as far as the broker said.
    pub ended: bool,
}

#[derive(Clone, Debug)]
enum State {
    Starting,
    Held,
    /// In words.
    Ended(String),
    Refused(Box<Status>),
}

impl Hold {
    /// Returns once the broker holds the task, so that nothing is issued that would outlive this process.
    pub async fn start(session: &Session, task: &str) -> anyhow::Result<Self> {
        let (sender, mut state) = watch::channel(State::Starting);
        let holder = tokio::spawn(keep(session.clone(), task.to_owned(), sender));
        let started = |state: &State| !matches!(state, State::Starting);
        let known = state.wait_for(started).await?.clone();
        let hold = Self { state, holder };
        match known {
            State::Refused(status) => Err((*status).into()),
            _ => Ok(hold),
        }
    }

    /// Waits until the task has ended, or the broker lets nobody hold it.
    pub async fn over(&mut self) -> Over {
        let over = |state: &State| matches!(state, State::Ended(_) | State::Refused(_));
        match self.state.wait_for(over).await.as_deref() {
            Ok(State::Ended(how)) => Over {
                why: how.clone(),
                ended: true,
            },
            Ok(State::Refused(status)) => Over {
                why: told(&(**status).clone().into()),
                ended: false,
            },
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holder.abort();
    }
}

/// Holds the task, again and again while the broker is away: only the broker knows whether it has ended.
async fn keep(session: Session, task: String, state: watch::Sender<State>) {
    let mut away = false;
    loop {
        let status = match hold(&session, &task, &state, &mut away).await {
            Ok(how) => return drop(state.send_replace(State::Ended(how))),
            Err(status) => status,
        };
        let starting = matches!(*state.borrow(), State::Starting);
        if starting || is_final(&status) {
            return drop(state.send_replace(State::Refused(status.into())));
        }
        if !away {
            say(format!(
                "the broker is away, trying on: {}",
                told(&status.into())
            ));
            away = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until it ends (how, in words) or breaks.
async fn hold(
    session: &Session,
    id: &str,
    state: &watch::Sender<State>,
    away: &mut bool,
) -> Result<String, Status> {
    let task_id = id.to_owned();
    let request = v1::HoldTaskRequest { task_id };
    let mut stream = session.broker().hold_task(request).await?.into_inner();
    while let Some(answer) = stream.message().await? {
        if let Some(ending) = answer.task.and_then(|task| task.ending) {
            return Ok(in_words(&ending));
        }
        state.send_replace(State::Held);
        if std::mem::take(away) {
            say("the broker is back, and holds the task again");
        }
    }
    Err(Status::unavailable("the hold was cut off"))
}

fn in_words(ending: &v1::Ending) -> String {
    let cause = ending.cause.to_lowercase();
    match (ending.reason.as_str(), ending.by.as_str()) {
        ("", "") => cause,
        (reason, "") => format!("{cause} ({reason})"),
        (_, by) => format!("{cause} by {by}"),
    }
}

/// Whether holding again would be refused again.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::FailedPrecondition | Code::NotFound | Code::PermissionDenied | Code::InvalidArgument
    )
}
