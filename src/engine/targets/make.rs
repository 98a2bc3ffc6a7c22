//! Making a credential whose order is committed.

use std::sync::Arc;

use quietus_core::{Enforced, Event, IssueOrder, Lease, LeaseState};

use crate::engine::{Engine, Error, Issued};
use crate::failpoint;
use crate::issuers::{Failure, Made, Prepared};

impl Engine {
    /// Makes, or renews, the credential of an order that is committed. It goes on though the caller goes away: what
    /// was made must be recorded.
    pub(in crate::engine) async fn make_new(
        self: &Arc<Self>,
        order: IssueOrder,
        prepared: Prepared,
    ) -> Result<Issued, Error> {
        let lease = order.lease().clone();
        if lease.enforced == Enforced::AtBroker {
            let made = prepared.run().await;
            let made = made.map_err(|failure| not_made(&lease, failure))?;
            return Ok(Issued {
                credential: made.credential,
                lease,
            });
        }
        let engine = Arc::clone(self);
        let making = tokio::spawn(async move { engine.make_at_target(lease, prepared).await });
        making.await.unwrap_or(Err(Error::Stopped))
    }

    async fn make_at_target(
        self: Arc<Self>,
        lease: Lease,
        prepared: Prepared,
    ) -> Result<Issued, Error> {
        let site = self.targets.site(&lease.target)?;
        let _making = site.making(lease.id);
        // Looked at only now that nobody unmakes it any more: what was ended until here is not made at all.
        self.still_wanted(&lease)?;
        failpoint::reach("issue.call.before");
        let answer = site.call(prepared.run()).await;
        failpoint::reach("issue.call.after");
        match lease.state {
            LeaseState::Issuing => self.settle_issue(lease, answer).await,
            _ => self.settle_renewal(lease, answer),
        }
    }

    fn still_wanted(&self, lease: &Lease) -> Result<(), Error> {
        let found = self.store.read().lease(lease.id)?;
        match found.is_some_and(|found| found.state == lease.state) {
            true => Ok(()),
            false => Err(ended_meanwhile()),
        }
    }

    async fn settle_issue(
        &self,
        lease: Lease,
        answer: Result<Made, Failure>,
    ) -> Result<Issued, Error> {
        let settled = match &answer {
            Ok(made) => Ok(made.fingerprint),
            Err(failure) => Err(failure.to_string()),
        };
        let event = Event::IssueSettled(lease.id, settled);
        let settled = self.step_task(lease.id.task, &event, None).await?;
        failpoint::reach("issue.settled");
        let made = answer.map_err(|failure| not_made(&lease, failure))?;
        let now_active = settled
            .and_then(|step| step.leases.into_iter().find(|it| it.id == lease.id))
            .filter(|lease| lease.state == LeaseState::Active);
        Ok(Issued {
            lease: now_active.ok_or_else(ended_meanwhile)?,
            credential: made.credential,
        })
    }

    /// The lease has its later end already; if the target did not follow, its own second fuse is only the shorter.
    fn settle_renewal(&self, lease: Lease, answer: Result<Made, Failure>) -> Result<Issued, Error> {
        let made = answer.map_err(|failure| not_made(&lease, failure))?;
        Ok(Issued {
            credential: made.credential,
            lease,
        })
    }
}

fn not_made(lease: &Lease, failure: Failure) -> Error {
    match failure {
        Failure::Away(_) => Error::Away(lease.target.clone()),
        Failure::Said(no) => Error::refused(
            "TARGET_REFUSED",
            format!("the target {} refused: {no}", lease.target),
        ),
    }
}

fn ended_meanwhile() -> Error {
    Error::refused(
        "LEASE_ENDED",
        "the lease was ended while its credential was being made",
    )
}
