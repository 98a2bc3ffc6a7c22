//! Making a credential whose order is committed.

use std::sync::Arc;

use quietus_core::{Enforced, Event, IssueOrder, Lease, LeaseState};

use crate::engine::{Engine, Error, Issued};
use crate::failpoint;
use crate::issuers::{Failure, Made, Prepared};
use crate::telemetry::carried;

/// What is recorded of a call that broke off in the issuer itself.
const BROKE_OFF: &str = "the call broke off";

impl Engine {
    /// Makes, or renews, the credential of an order that is committed.
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
        let (engine, ordered) = (Arc::clone(self), lease.clone());
        let making = async move { engine.make_at_target(ordered, prepared).await };
        let making = tokio::spawn(carried(making));
        match making.await {
            Ok(done) => done,
            // Nothing is known of how far it came.
            Err(_) => self.settle_made(lease, Err(Failure::said(BROKE_OFF))).await,
        }
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
        let wanted = || self.still_wanted(&lease).is_ok();
        let answer = site.call_if(wanted, prepared.run()).await;
        let answer = answer.ok_or_else(ended_meanwhile)?;
        failpoint::reach("issue.call.after");
        self.settle_made(lease, answer).await
    }

    async fn settle_made(
        &self,
        lease: Lease,
        answer: Result<Made, Failure>,
    ) -> Result<Issued, Error> {
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
        self.step_task(lease.id.task, &event, None).await?;
        failpoint::reach("issue.settled");
        let made = answer.map_err(|failure| not_made(&lease, failure))?;
        Ok(Issued {
            lease: self.still_good(&lease)?,
            credential: made.credential,
        })
    }

    /// The lease as it is now, unless something has ended it, be it unrecorded.
    fn still_good(&self, lease: &Lease) -> Result<Lease, Error> {
        let (task, found) = self.show_lease(lease.id)?;
        let good = IssueOrder::repeat(&task, &found, &self.store.guards(), self.now());
        good.map(|_| found).ok_or_else(ended_meanwhile)
    }

    /// The lease has its later end already; if the target did not follow, its own second fuse is only the shorter.
    fn settle_renewal(&self, lease: Lease, answer: Result<Made, Failure>) -> Result<Issued, Error> {
        let made = answer.map_err(|failure| not_made(&lease, failure))?;
        Ok(Issued {
            lease: self.still_good(&lease)?,
            credential: made.credential,
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
