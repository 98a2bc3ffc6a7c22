//! Making a credential whose order is committed.

use std::sync::Arc;

use quietus_core::{Enforced, IssueOrder};

use crate::engine::{Engine, Error, Issued};
use crate::issuers::Prepared;

impl Engine {
    /// Makes the credential of an order that is committed.
    pub(in crate::engine) async fn make_new(
        self: &Arc<Self>,
        order: IssueOrder,
        prepared: Prepared,
    ) -> Result<Issued, Error> {
        let lease = order.lease().clone();
        match lease.enforced {
            Enforced::AtBroker => {
                let made = prepared.run().await;
                let made = made.map_err(|_| Error::Away(lease.target.clone()))?;
                Ok(Issued {
                    lease,
                    credential: made.credential,
                })
            }
            Enforced::AtTarget => Err(Error::Away(lease.target)),
        }
    }
}
