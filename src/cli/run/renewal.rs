//! Requests credentials, and new lives for them while the program runs.

use std::time::{Duration, SystemTime};

use quietus_core::{Scope, TargetName};
use tokio::time::Instant;

use super::handover::Handover;
use super::{say, told};
use crate::api::v1;
use crate::cli::exit::{Complaint, reason};
use crate::cli::session::Session;
use crate::cli::text::length;
use crate::cli::view::Time;
use crate::cli::words::wire_duration;

/// Less life than this is not worth another attempt.
const SHORTEST: Duration = Duration::from_secs(1);
const TOKEN: &str =
    "a running program cannot be given another token: hand it over with --token-file";
const ENVIRONMENT: &str =
    "a running program's environment cannot be changed: hand it over in files";

/// The credentials of a run: one a target.
pub struct Leases {
    session: Session,
    task: String,
    ttl: Option<Duration>,
    all: Vec<Held>,
}

struct Held {
    target: TargetName,
    scopes: Vec<Scope>,
    lease: String,
    life: Life,
    /// When to renew it, if ever.
    due: Option<Instant>,
    complained: bool,
}

/// A credential's life by our own clock: of the broker's, only distances are used.
#[derive(Clone, Copy)]
struct Life {
    /// One moment by both clocks.
    here: Instant,
    there: SystemTime,
    ends: Instant,
}

impl Leases {
    pub fn new(session: &Session, task: &str, ttl: Option<Duration>) -> Self {
        Self {
            session: session.clone(),
            task: task.to_owned(),
            ttl,
            all: Vec::new(),
        }
    }

    /// Requests a credential, and puts it into the handover.
    pub async fn request(
        &mut self,
        target: &TargetName,
        scopes: &[Scope],
        handover: &mut Handover,
    ) -> anyhow::Result<()> {
        let asked = Instant::now();
        let (lease, credential) = self.ask(scopes).await?;
        let life = Life::read(&lease, asked)?;
        handover.take(target, credential)?;
        self.all.push(Held {
            target: target.clone(),
            scopes: scopes.to_vec(),
            lease: lease.id,
            due: life.due(asked),
            life,
            complained: false,
        });
        Ok(())
    }

    /// Hands keys to the SSH agent, if there is one.
    pub async fn add_keys(&self, handover: &Handover) -> anyhow::Result<()> {
        for held in &self.all {
            handover.add_key(&held.target, held.life.left()).await?;
        }
        Ok(())
    }

    /// Renews whatever is due, for ever.
    pub async fn keep(&mut self, handover: &mut Handover) {
        loop {
            let all = self.all.iter().enumerate();
            let due = all
                .filter_map(|(number, held)| Some((held.due?, number)))
                .min();
            let Some((due, number)) = due else {
                return std::future::pending().await;
            };
            tokio::time::sleep_until(due).await;
            let renewed = self.renew(number, handover).await;
            self.all[number].note(renewed);
        }
    }

    /// Whether there is a next time.
    async fn renew(&mut self, number: usize, handover: &mut Handover) -> anyhow::Result<Next> {
        let held = &self.all[number];
        let in_files = handover.is_in_files(&held.target);
        if handover.kind(&held.target) == "jwt" && !in_files {
            return Ok(Next::None(TOKEN.to_owned()));
        }
        let (life, credential) = match self.extend(held).await {
            Ok(extended) => extended,
            Err(error) if !cannot_be_renewed(&error) => return Err(error),
            Err(error) if !in_files => return Ok(Next::None(told(&error))),
            // The old one is left to expire: the program may be using it.
            Err(_) => self.replace(number).await?,
        };
        let held = &mut self.all[number];
        held.life = life;
        let reached = match credential {
            Some(credential) => held.hand_over(credential, handover).await?,
            None => true,
        };
        Ok(match reached || in_files {
            true => Next::Later,
            false => Next::None(ENVIRONMENT.to_owned()),
        })
    }

    async fn extend(&self, held: &Held) -> anyhow::Result<(Life, Option<v1::Credential>)> {
        let request = v1::RenewLeaseRequest {
            idempotency_key: String::new(),
            lease_id: held.lease.clone(),
            ttl: wire_duration(self.ttl)?,
        };
        let mut broker = self.session.broker();
        let answer = self.session.answer(broker.renew_lease(request)).await?;
        let lease = answer.lease.ok_or(Complaint::Incomplete("lease"))?;
        Ok((held.life.until(&lease)?, answer.credential))
    }

    async fn replace(&mut self, number: usize) -> anyhow::Result<(Life, Option<v1::Credential>)> {
        let asked = Instant::now();
        let (lease, credential) = self.ask(&self.all[number].scopes).await?;
        let life = Life::read(&lease, asked)?;
        self.all[number].lease = lease.id;
        Ok((life, Some(credential)))
    }

    async fn ask(&self, scopes: &[Scope]) -> anyhow::Result<(v1::Lease, v1::Credential)> {
        let request = v1::RequestCredentialRequest {
            idempotency_key: String::new(),
            task_id: self.task.clone(),
            scopes: scopes.iter().map(Scope::to_string).collect(),
            ttl: wire_duration(self.ttl)?,
            key: None,
        };
        let mut broker = self.session.broker();
        let answer = self
            .session
            .answer(broker.request_credential(request))
            .await?;
        let lease = answer.lease.ok_or(Complaint::Incomplete("lease"))?;
        let credential = answer
            .credential
            .ok_or(Complaint::Incomplete("credential"))?;
        Ok((lease, credential))
    }
}

/// Whether a credential will be renewed again.
enum Next {
    Later,
    /// It will not, for this reason.
    None(String),
}

impl Held {
    /// Whether the program has all of it: what is in its environment cannot be replaced.
    async fn hand_over(
        &self,
        credential: v1::Credential,
        handover: &mut Handover,
    ) -> anyhow::Result<bool> {
        let before = handover.variables()?;
        handover.take(&self.target, credential)?;
        handover.write()?;
        handover.add_key(&self.target, self.life.left()).await?;
        Ok(handover.variables()?.set == before.set)
    }

    fn note(&mut self, renewed: anyhow::Result<Next>) {
        let now = Instant::now();
        match renewed {
            Ok(Next::Later) => {
                self.due = self.life.due(now);
                self.complained = false;
            }
            Ok(Next::None(why)) => {
                self.due = None;
                self.complain(&why);
            }
            Err(error) => {
                self.due = self.life.due(now);
                self.complain(&told(&error));
            }
        }
    }

    /// Once, until it goes well again.
    fn complain(&mut self, why: &str) {
        if !self.complained {
            let (target, left) = (self.target.as_str(), self.life.left());
            let left = length(left);
            say(format!("the credential for {target} ends in {left}: {why}"));
            self.complained = true;
        }
    }
}

impl Life {
    /// Of a lease that was asked for then.
    fn read(lease: &v1::Lease, asked: Instant) -> Result<Self, Complaint> {
        let issued = Time::read(lease.issued_at).ok_or(Complaint::Incomplete("lease"))?;
        let new = Self {
            here: asked,
            there: issued.0,
            ends: asked,
        };
        new.until(lease)
    }

    /// The same life with the lease's new end.
    fn until(self, lease: &v1::Lease) -> Result<Self, Complaint> {
        let expires = Time::read(lease.expires_at).ok_or(Complaint::Incomplete("lease"))?;
        let length = expires.0.duration_since(self.there).unwrap_or_default();
        let ends = self.here.checked_add(length).unwrap_or(self.here);
        Ok(Self { ends, ..self })
    }

    fn left(self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// When to renew: after two thirds of what is left.
    fn due(self, now: Instant) -> Option<Instant> {
        let left = self.ends.saturating_duration_since(now);
        (left >= SHORTEST).then(|| now + left * 2 / 3)
    }
}

/// Whether only another credential will do.
fn cannot_be_renewed(error: &anyhow::Error) -> bool {
    let reason = reason(error);
    ["LEASE_NOT_RENEWABLE", "LEASE_ENDED", "LEASE_NOT_FOUND"].contains(&reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire;

    fn lease(issued: i64, expires: i64) -> v1::Lease {
        let at = |seconds| Some(wire::Timestamp { seconds, nanos: 0 });
        v1::Lease {
            issued_at: at(issued),
            expires_at: at(expires),
            ..v1::Lease::default()
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_life_is_counted_from_the_request_whatever_the_brokers_clock_says() {
        let now = Instant::now();
        for start in [0, 1_000, 4_000_000_000] {
            let life = Life::read(&lease(start, start + 90), now).unwrap();
            assert_eq!(life.ends, now + seconds(90));
            assert_eq!(life.due(now), Some(now + seconds(60)));
            let longer = life.until(&lease(start, start + 150)).unwrap();
            assert_eq!(longer.due(now + seconds(60)), Some(now + seconds(120)));
        }
    }

    #[test]
    fn what_is_about_to_end_is_not_renewed() {
        let now = Instant::now();
        let life = Life::read(&lease(100, 110), now).unwrap();
        assert!(life.due(now + seconds(9)).is_some());
        assert_eq!(life.due(now + Duration::from_millis(9_001)), None);
        assert_eq!(life.due(now + seconds(60)), None);
        assert_eq!(Life::read(&lease(100, 50), now).unwrap().due(now), None);
    }

    #[test]
    fn an_answer_without_times_is_an_error() {
        let now = Instant::now();
        let unknown = v1::Lease::default();
        assert!(Life::read(&unknown, now).is_err());
        let life = Life::read(&lease(0, 1), now).unwrap();
        assert!(life.until(&unknown).is_err());
    }

    #[test]
    fn only_some_refusals_call_for_another_credential() {
        use tonic::{Code, Status};
        use tonic_types::{ErrorDetails, StatusExt};
        let refusal = |reason: &str| {
            let details = ErrorDetails::with_error_info(reason, "quietus", []);
            anyhow::Error::from(Status::with_error_details(
                Code::FailedPrecondition,
                "",
                details,
            ))
        };
        assert!(cannot_be_renewed(&refusal("LEASE_NOT_RENEWABLE")));
        assert!(cannot_be_renewed(&refusal("LEASE_ENDED")));
        assert!(!cannot_be_renewed(&refusal("FROZEN")));
        assert!(!cannot_be_renewed(&refusal("TASK_ENDED")));
        assert!(!cannot_be_renewed(&Status::unavailable("").into()));
        assert!(!cannot_be_renewed(&Complaint::NoIdentity.into()));
    }
}
