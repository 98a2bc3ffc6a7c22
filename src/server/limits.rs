//! How often each agent may call.

use std::collections::HashSet;
use std::sync::Arc;

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use quietus_identity::{SpiffeId, VerifiedSvid};
use tonic::service::Interceptor;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::Authenticate;
use crate::api;
use crate::config::Limits;

type Limiter = RateLimiter<SpiffeId, HashMapStateStore<SpiffeId>, DefaultClock>;

/// A token bucket for each identity.
#[derive(Clone)]
pub struct Rates(Arc<Limiter>);

/// Authenticates a caller, then counts the call.
#[derive(Clone)]
pub(super) struct Admit {
    authenticate: Authenticate,
    rates: Rates,
    exempt: Arc<HashSet<SpiffeId>>,
}

impl Rates {
    /// As configured.
    pub fn new(limits: &Limits) -> Self {
        let quota = Quota::per_second(limits.requests_per_second).allow_burst(limits.request_burst);
        Self(Arc::new(RateLimiter::hashmap(quota)))
    }

    /// Forgets the identities that have not called for a while.
    pub fn forget_idle(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }

    fn count(&self, caller: &SpiffeId) -> Result<(), Status> {
        self.0.check_key(caller).map_err(|_| too_often(caller))
    }
}

impl Admit {
    pub(super) fn new(authenticate: Authenticate, rates: Rates) -> Self {
        Self {
            authenticate,
            rates,
            exempt: Arc::default(),
        }
    }

    /// The same, but some are not counted: resource servers introspect as often as they are called.
    pub(super) fn but(self, exempt: HashSet<SpiffeId>) -> Self {
        let exempt = Arc::new(exempt);
        Self { exempt, ..self }
    }
}

impl Interceptor for Admit {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let request = self.authenticate.call(request)?;
        match request.extensions().get::<VerifiedSvid>() {
            Some(svid) if !self.exempt.contains(svid.id()) => self.rates.count(svid.id())?,
            _ => {}
        }
        Ok(request)
    }
}

fn too_often(caller: &SpiffeId) -> Status {
    let message =
        format!("{caller} calls too often: slow down, or raise limits.requests_per_second");
    let details = ErrorDetails::with_error_info("TOO_MANY_REQUESTS", api::DOMAIN, []);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}
