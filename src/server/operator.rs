//! What operators call.

use std::sync::Arc;

use quietus_policy::{DecidingPolicy, Explanation};
use tonic::{Request, Response, Status};

use super::Front;
use super::broker::{once, shown};
use super::caller::{Caller, Role};
use crate::api::v1::operator_server::Operator;
use crate::api::{self, v1, wire};
use crate::engine::{Checked, Error, Explained, LeaseFilter, Once, Revoked, TaskFilter};
use crate::telemetry::carried;

#[tonic::async_trait]
impl Operator for Front {
    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        self.operator(&request, "ListTasks").await?;
        let request = request.into_inner();
        let filter = TaskFilter {
            state: task_state(api::known("state", request.state).map_err(api::status)?),
            agent: given(request.agent),
            trust_domain: given(request.trust_domain),
        };
        let after = api::page_token(&request.page_token);
        let listed = self
            .engine
            .list_tasks(
                &filter,
                after.map_err(api::status)?,
                api::pages(request.page_size),
            )
            .map_err(api::status)?;
        Ok(Response::new(v1::ListTasksResponse {
            tasks: listed.rows.iter().map(api::task).collect(),
            next_page_token: listed.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn erase_text(
        &self,
        request: Request<v1::EraseTextRequest>,
    ) -> Result<Response<v1::EraseTextResponse>, Status> {
        let caller = self.operator(&request, "EraseText").await?;
        let request = request.into_inner();
        let what = api::erasure(request.of).map_err(api::status)?;
        let engine = Arc::clone(&self.engine);
        let erased = to_the_end(async move {
            let erased = engine.erase_texts(&caller.svid, what, &request.reason);
            erased.await
        });
        Ok(Response::new(v1::EraseTextResponse {
            erased: u32::try_from(erased.await?).unwrap_or(u32::MAX),
        }))
    }

    async fn list_leases(
        &self,
        request: Request<v1::ListLeasesRequest>,
    ) -> Result<Response<v1::ListLeasesResponse>, Status> {
        self.operator(&request, "ListLeases").await?;
        let request = request.into_inner();
        let state = api::known("state", request.state).map_err(api::status)?;
        let task = given(request.task_id)
            .map(|id| api::task_id(&id))
            .transpose();
        let target = given(request.target)
            .map(|name| api::target_name(&name))
            .transpose();
        let after = api::page_token(&request.page_token);
        let filter = LeaseFilter {
            task: task.map_err(api::status)?,
            agent: given(request.agent),
            target: target.map_err(api::status)?,
            state: lease_state(state),
            stuck_for: api::length("stuck_for", request.stuck_for).map_err(api::status)?,
        };
        let listed = self
            .engine
            .list_leases(
                &filter,
                after.map_err(api::status)?,
                api::pages(request.page_size),
            )
            .map_err(api::status)?;
        let rows = listed.rows.iter();
        Ok(Response::new(v1::ListLeasesResponse {
            leases: rows
                .map(|(lease, agent)| shown(&self.engine, lease, agent))
                .collect(),
            next_page_token: listed.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeResponse>, Status> {
        let caller = self.operator(&request, "Revoke").await?;
        let request = request.into_inner();
        let target = api::selector(request.selector).map_err(api::status)?;
        let engine = Arc::clone(&self.engine);
        let revoked = to_the_end(async move {
            match request.dry_run {
                true => engine.would_revoke(&target),
                false => engine.revoke(&caller.svid, target, &request.reason).await,
            }
        });
        Ok(Response::new(revoke_response(&revoked.await?)))
    }

    async fn freeze(
        &self,
        request: Request<v1::FreezeRequest>,
    ) -> Result<Response<v1::FreezeResponse>, Status> {
        let caller = self.operator(&request, "Freeze").await?;
        let request = request.into_inner();
        let selector = api::wide_selector(request.selector).map_err(api::status)?;
        let frozen = self
            .engine
            .freeze(&caller.svid, selector, &request.reason)
            .await;
        frozen.map_err(api::status)?;
        Ok(Response::new(v1::FreezeResponse {}))
    }

    async fn thaw(
        &self,
        request: Request<v1::ThawRequest>,
    ) -> Result<Response<v1::ThawResponse>, Status> {
        let caller = self.operator(&request, "Thaw").await?;
        let selector = api::wide_selector(request.into_inner().selector).map_err(api::status)?;
        let thawed = self
            .engine
            .thaw(&caller.svid, &selector)
            .await
            .map_err(api::status)?;
        Ok(Response::new(v1::ThawResponse { thawed }))
    }

    async fn reload_policy(
        &self,
        request: Request<v1::ReloadPolicyRequest>,
    ) -> Result<Response<v1::ReloadPolicyResponse>, Status> {
        let caller = self.operator(&request, "ReloadPolicy").await?;
        let engine = Arc::clone(&self.engine);
        let reloaded = to_the_end(async move { engine.reload_policy(Some(&caller.svid)).await });
        let (previous_digest, digest, policies) = reloaded.await?;
        Ok(Response::new(v1::ReloadPolicyResponse {
            digest,
            previous_digest,
            policies: u32::try_from(policies).unwrap_or(u32::MAX),
        }))
    }

    async fn explain_decision(
        &self,
        request: Request<v1::ExplainDecisionRequest>,
    ) -> Result<Response<v1::ExplainDecisionResponse>, Status> {
        self.operator(&request, "ExplainDecision").await?;
        let request = request.into_inner();
        let agent = api::spiffe_id(&request.agent).map_err(api::status)?;
        let scopes = api::scopes(&request.scopes).map_err(api::status)?;
        let ttl = api::duration("ttl", request.ttl).map_err(api::status)?;
        let task = given(request.task_id)
            .map(|id| api::task_id(&id))
            .transpose();
        let (policy_digest, explained) = self
            .engine
            .explain(agent.as_str(), &scopes, ttl, task.map_err(api::status)?)
            .map_err(api::status)?;
        Ok(Response::new(v1::ExplainDecisionResponse {
            policy_digest,
            scopes: explained.iter().map(scope_explanation).collect(),
        }))
    }

    async fn rotate_keys(
        &self,
        request: Request<v1::RotateKeysRequest>,
    ) -> Result<Response<v1::RotateKeysResponse>, Status> {
        let caller = self.operator(&request, "RotateKeys").await?;
        let mut request = request.into_inner();
        let once = once!("RotateKeys", caller, request);
        let engine = Arc::clone(&self.engine);
        let rotated = to_the_end(async move { engine.rotate_keys(&caller.svid, once).await });
        let (kid, previous_kid) = rotated.await?;
        Ok(Response::new(v1::RotateKeysResponse { kid, previous_kid }))
    }

    async fn list_targets(
        &self,
        request: Request<v1::ListTargetsRequest>,
    ) -> Result<Response<v1::ListTargetsResponse>, Status> {
        self.operator(&request, "ListTargets").await?;
        let states = self.engine.target_states().map_err(api::status)?;
        Ok(Response::new(v1::ListTargetsResponse {
            targets: states.iter().map(api::target).collect(),
        }))
    }

    async fn check_target(
        &self,
        request: Request<v1::CheckTargetRequest>,
    ) -> Result<Response<v1::CheckTargetResponse>, Status> {
        self.operator(&request, "CheckTarget").await?;
        let name = api::target_name(&request.get_ref().target).map_err(api::status)?;
        let checked = self.engine.check_target(&name).await;
        let Checked { ok, message } = checked.map_err(api::status)?;
        Ok(Response::new(v1::CheckTargetResponse { ok, message }))
    }

    async fn sweep_target(
        &self,
        request: Request<v1::SweepTargetRequest>,
    ) -> Result<Response<v1::SweepTargetResponse>, Status> {
        let caller = self.operator(&request, "SweepTarget").await?;
        let request = request.into_inner();
        let name = api::target_name(&request.target).map_err(api::status)?;
        let engine = Arc::clone(&self.engine);
        let swept = to_the_end(async move {
            let swept = engine.sweep_target(&caller.svid, &name, request.dry_run);
            swept.await
        });
        let swept = swept.await?;
        Ok(Response::new(v1::SweepTargetResponse {
            found: swept.found,
            strays: swept.strays,
            failures: swept.failures,
            listed: swept.listed,
        }))
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        self.operator(&request, "GetStatus").await?;
        self.status().map(Response::new)
    }
}

/// Carries an order out even if whoever gave it does not wait for the answer: half of one would be worse than none.
async fn to_the_end<T: Send + 'static>(
    order: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(carried(order)).await;
    done.unwrap_or(Err(Error::Stopped)).map_err(api::status)
}

impl Front {
    async fn operator<T>(&self, request: &Request<T>, call: &str) -> Result<Caller, Status> {
        self.known_as(Role::Operator, request, call).await
    }

    fn status(&self) -> Result<v1::GetStatusResponse, Status> {
        let status = self.engine.status();
        let targets = self.engine.target_states().map_err(api::status)?;
        let mut degraded: Vec<String> = status.degraded.iter().map(ToString::to_string).collect();
        let trust_domains = self.trust.status();
        let broken = trust_domains.iter().filter(|domain| domain.error.is_some());
        degraded.extend(broken.map(|domain| format!("trust_bundle:{}", domain.domain)));
        let behind = self.engine.witnesses_behind();
        degraded.extend(behind.iter().map(|name| format!("witness_behind:{name}")));
        for target in &targets {
            let name = &target.name;
            match target.configured {
                None => degraded.push(format!("target_not_configured:{name}")),
                Some(_) if target.away => degraded.push(format!("target_away:{name}")),
                Some(_) => {}
            }
        }
        Ok(v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            broker: status.broker,
            started_at: Some(api::timestamp(status.started_at)),
            now: Some(api::timestamp(status.now)),
            clock_ahead: status.clock_ahead.try_into().ok(),
            open_tasks: status.header.open_tasks,
            live_leases: status.header.live_leases,
            revoking_leases: status.header.revoking_leases,
            ledger_entries: status.header.seq,
            policy_digest: status.policy_digest,
            policies: u32::try_from(status.policies).unwrap_or(u32::MAX),
            kid: status.kid,
            trust_domains: trust_domains.iter().map(trust_domain).collect(),
            freezes: status.freezes.iter().map(freeze).collect(),
            degraded,
            targets: targets.iter().map(api::target).collect(),
            store_bytes: status.store_bytes,
        })
    }
}

fn trust_domain(domain: &crate::trust::BundleStatus) -> v1::TrustDomainStatus {
    let loaded_at = quietus_core::Timestamp::from_seconds(domain.loaded_at);
    v1::TrustDomainStatus {
        name: domain.domain.to_string(),
        anchors: u32::try_from(domain.anchors).unwrap_or(u32::MAX),
        bundle: domain.path.display().to_string(),
        loaded_at: Some(api::timestamp(loaded_at)),
        error: domain.error.clone().unwrap_or_default(),
    }
}

fn freeze((selector, freeze): &(quietus_core::Selector, quietus_core::Freeze)) -> v1::FreezeStatus {
    v1::FreezeStatus {
        selector: Some(api::selector_of(selector)),
        by: freeze.by.0.clone(),
        at: Some(api::timestamp(freeze.at)),
        reason: freeze.reason.clone(),
    }
}

fn revoke_response(revoked: &Revoked) -> v1::RevokeResponse {
    v1::RevokeResponse {
        tasks: revoked.tasks,
        leases: revoked.leases,
        task_ids: revoked.task_ids.iter().map(ToString::to_string).collect(),
        lease_ids: revoked.lease_ids.iter().map(ToString::to_string).collect(),
    }
}

fn scope_explanation(explained: &Explained) -> v1::ScopeExplanation {
    let Explanation {
        decision,
        determining,
        near_misses,
        ..
    } = &explained.explanation;
    let max_ttl = decision.max_ttl_seconds();
    v1::ScopeExplanation {
        scope: explained.scope.to_string(),
        outcome: explained.outcome().to_owned(),
        determining: determining.iter().map(policy_source).collect(),
        near_misses: near_misses
            .iter()
            .map(|miss| miss.sentence.clone())
            .collect(),
        errors: decision
            .faults()
            .iter()
            .map(|fault| fault.message.clone())
            .collect(),
        max_ttl: max_ttl.map(|(seconds, _)| wire::Duration {
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            nanos: 0,
        }),
        max_ttl_policy: max_ttl
            .map(|(_, policy)| policy.to_owned())
            .unwrap_or_default(),
    }
}

fn policy_source(policy: &DecidingPolicy) -> v1::PolicySource {
    v1::PolicySource {
        id: policy.id.to_string(),
        file: policy.place.to_string(),
        text: policy.text.to_string(),
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn task_state(state: v1::TaskState) -> Option<&'static str> {
    match state {
        v1::TaskState::Unspecified => None,
        v1::TaskState::Open => Some("Open"),
        v1::TaskState::Closing => Some("Closing"),
        v1::TaskState::Closed => Some("Closed"),
    }
}

fn lease_state(state: v1::LeaseState) -> Option<&'static str> {
    match state {
        v1::LeaseState::Unspecified => None,
        v1::LeaseState::Issuing => Some("Issuing"),
        v1::LeaseState::Active => Some("Active"),
        v1::LeaseState::Revoking => Some("Revoking"),
        v1::LeaseState::Ended => Some("Ended"),
    }
}
