//! Who is calling: on every request, never by what a message says.

use quietus_identity::VerifiedSvid;
use tonic::{Request, Status};

use super::Front;
use super::peer::{Peer, peer};

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

impl Front {
    /// The caller of a stream, as it is by now.
    pub(super) fn verify_again(&self, caller: &Caller) -> Result<VerifiedSvid, Status> {
        let now = self.engine.now().seconds();
        caller
            .peer
            .verified(&self.trust, now)
            .map_err(|error| Status::unauthenticated(error.to_string()))
    }
}
