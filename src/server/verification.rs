//! What resource servers call.

use tonic::{Request, Response, Status};

use super::Front;
use super::caller::caller;
use crate::api::v1::verification_server::Verification;
use crate::api::{self, v1};
use crate::engine::Active;

#[tonic::async_trait]
impl Verification for Front {
    async fn introspect(
        &self,
        request: Request<v1::IntrospectRequest>,
    ) -> Result<Response<v1::IntrospectResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let presenter = api::sha256(
            "presenter_certificate_sha256",
            &request.presenter_certificate_sha256,
        )
        .map_err(api::status)?;
        let active = self
            .engine
            .introspect(&caller.svid, &request.token, presenter)
            .map_err(api::status)?;
        Ok(Response::new(active.map(described).unwrap_or_default()))
    }

    async fn get_signing_keys(
        &self,
        request: Request<v1::GetSigningKeysRequest>,
    ) -> Result<Response<v1::GetSigningKeysResponse>, Status> {
        caller(&request)?;
        let keys = self.engine.signing_keys();
        let jwk_set = serde_json::to_string(&keys)
            .map_err(|_| Status::internal("the key set cannot be written"))?;
        Ok(Response::new(v1::GetSigningKeysResponse { jwk_set }))
    }
}

fn described(active: Active) -> v1::IntrospectResponse {
    let lease = active.lease;
    v1::IntrospectResponse {
        active: true,
        lease_id: lease.id.to_string(),
        task_id: lease.id.task.to_string(),
        agent: active.agent.0,
        target: lease.target.to_string(),
        scopes: lease.scopes.iter().map(ToString::to_string).collect(),
        expires_at: Some(api::timestamp(active.expires_at)),
        certificate_sha256: active.certificate.0.to_vec(),
    }
}
