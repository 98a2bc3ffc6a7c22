use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use quietus_identity::{Purpose, SvidError, TrustBundles, VerifiedSvid};
use tonic::service::Interceptor;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::api;
use crate::telemetry::{TRACEPARENT, TraceContext};
use crate::trust::{Now, Trust};

/// The caller of the connection that a request came on; nothing if the request did not come over TLS.
pub fn peer<T>(request: &Request<T>) -> Option<&Peer> {
    request.extensions().get()
}

/// Who is at the other end of one connection. Cheap to clone; clones share what was verified last.
#[derive(Clone, Debug)]
pub struct Peer {
    remote: SocketAddr,
    checked: Arc<ArcSwap<Checked>>,
}

/// An SVID, and the bundles by which it was verified.
#[derive(Debug)]
struct Checked {
    svid: VerifiedSvid,
    bundles: Arc<TrustBundles>,
}

impl Peer {
    /// `bundles` are those that `svid` was verified by.
    pub(crate) fn new(remote: SocketAddr, svid: VerifiedSvid, bundles: &Arc<TrustBundles>) -> Self {
        let checked = Checked {
            svid,
            bundles: Arc::clone(bundles),
        };
        Self {
            remote,
            checked: Arc::new(ArcSwap::from_pointee(checked)),
        }
    }

    /// Where the connection comes from.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The caller's identity, if it is still good by the bundles in force and at `now` (unix seconds).
    ///
    /// Ask on every request, and again while a stream stays open: a connection can outlive both the SVID and the
    /// bundle that it was accepted with. While neither has changed this is a few comparisons.
    pub fn verified(&self, trust: &Trust, now: u64) -> Result<VerifiedSvid, SvidError> {
        let checked = self.checked.load();
        let bundles = trust.glance();
        match checked.holds(&bundles, now) {
            true => Ok(checked.svid.clone()),
            false => self.check_again(&checked.svid, Arc::clone(&bundles), now),
        }
    }

    fn check_again(
        &self,
        svid: &VerifiedSvid,
        bundles: Arc<TrustBundles>,
        now: u64,
    ) -> Result<VerifiedSvid, SvidError> {
        let svid = svid.still_trusted(&bundles, Purpose::Client, now)?;
        let checked = Checked {
            svid: svid.clone(),
            bundles,
        };
        self.checked.store(Arc::new(checked));
        Ok(svid)
    }
}

impl Checked {
    fn holds(&self, bundles: &Arc<TrustBundles>, now: u64) -> bool {
        Arc::ptr_eq(&self.bundles, bundles)
            && self.svid.trusted_from() <= now
            && now <= self.svid.trusted_until()
    }
}

/// An interceptor that lets a request through only while its caller's SVID is good, and puts the [`VerifiedSvid`]
/// into the request's extensions.
#[derive(Clone)]
pub struct Authenticate {
    trust: Arc<Trust>,
    now: Now,
}

impl Authenticate {
    /// Verifies callers by the bundles of `trust`, as of `now`.
    pub fn new(trust: Arc<Trust>, now: Now) -> Self {
        Self { trust, now }
    }
}

impl Interceptor for Authenticate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let peer = peer(&request).ok_or_else(no_peer)?;
        let svid = peer.verified(&self.trust, (self.now)()).map_err(refused)?;
        let context = context(&request);
        let extensions = request.extensions_mut();
        extensions.insert(svid);
        if let Some(context) = context {
            extensions.insert(context);
        }
        Ok(request)
    }
}

/// Which trace the caller says that the request is a part of. What is not sound, or said twice, is not heeded (W3C
/// Trace Context, section 4.3).
fn context(request: &Request<()>) -> Option<TraceContext> {
    let mut said = request.metadata().get_all(TRACEPARENT).iter();
    let context = said.next()?.to_str().ok()?.parse().ok();
    context.filter(|_| said.next().is_none())
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate").finish_non_exhaustive()
    }
}

fn no_peer() -> Status {
    Status::unauthenticated("the request came without an X.509-SVID")
}

fn refused(refusal: SvidError) -> Status {
    let details = ErrorDetails::with_error_info(refusal.reason(), api::DOMAIN, []);
    let message = format!("the SVID of this connection is no longer accepted: {refusal}");
    Status::with_error_details(Code::Unauthenticated, message, details)
}
