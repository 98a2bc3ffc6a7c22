//! Who is calling: on every request, never by what a message says.

use quietus_identity::VerifiedSvid;
use tonic::{Request, Status};

use super::Front;
use super::peer::{Peer, peer};
use crate::api;

/// A caller whose SVID was good when the request arrived.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) svid: VerifiedSvid,
    peer: Peer,
}

/// The caller that the [`Authenticate`](super::Authenticate) interceptor has verified for this very request.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let svid = request.extensions().get::<VerifiedSvid>().cloned();
    let peer = peer(request).cloned();
    match (svid, peer) {
        (Some(svid), Some(peer)) => Ok(Caller { svid, peer }),
        _ => Err(Status::unauthenticated(
            "the request came without an X.509-SVID",
        )),
    }
}

/// What a caller must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Operator,
    Auditor,
}

impl Front {
    /// The caller, if it is what it must be. Anybody else is refused, and that is recorded.
    pub(super) async fn known_as<T>(
        &self,
        role: Role,
        request: &Request<T>,
        call: &str,
    ) -> Result<Caller, Status> {
        let caller = caller(request)?;
        let (id, config) = (caller.svid.id().as_str(), self.engine.config());
        let (known, reason, word) = match role {
            Role::Operator => (config.is_operator(id), "NOT_AN_OPERATOR", "operator"),
            Role::Auditor => (config.is_auditor(id), "NOT_AN_AUDITOR", "auditor"),
        };
        if known {
            return Ok(caller);
        }
        let recorded = self.engine.record_refused(&caller.svid, call, reason).await;
        recorded.map_err(api::status)?;
        let message = format!(
            "{id} is not an {word}: add an [[{word}]] entry for it to the broker's configuration"
        );
        Err(api::refused(reason, message))
    }

    /// The caller of a stream, as it is by now.
    pub(super) fn verify_again(&self, caller: &Caller) -> Result<VerifiedSvid, Status> {
        let now = self.engine.now().seconds();
        caller
            .peer
            .verified(&self.trust, now)
            .map_err(|error| Status::unauthenticated(error.to_string()))
    }
}
