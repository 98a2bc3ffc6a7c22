//! The example with one thing wrong.

use std::future::pending;
use std::sync::{Arc, Mutex};

use quietus::api::issuer as pb;
use quietus::api::issuer::issuer_server::Issuer;
use tonic::{Request, Response, Status};

use crate::example::ApiKeys;
use crate::stage::{Served, keys};

/// What is wrong.
#[derive(Clone, Copy)]
pub enum Fault {
    Describes(fn(&mut pb::DescribeResponse)),
    Issues(fn(&mut pb::IssueResponse)),
    Orders(fn(&mut pb::Order)),
    Revokes(fn(&mut pb::RevokeResponse)),
    Lists(fn(&mut pb::ListResponse)),
    ListsFor(fn(&mut pb::Origin)),
    Checks(fn(&mut pb::CheckResponse)),
    /// Answers every Issue with this.
    RefusesIssue(fn(&str) -> Status),
    RefusesRenew(fn() -> Status),
    RefusesRevoke(fn() -> Status),
    RefusesList(fn() -> Status),
    RefusesCheck(fn() -> Status),
    /// Says no to an Issue that is repeated, with the secret in the text.
    TellsSecrets,
    /// Makes another credential whenever it is asked.
    MakesAnother,
    /// A lease that is not known is an error.
    KnowsNoAbsence,
    /// Confirms and does nothing.
    RevokesNothing,
    /// Forgets what it revoked.
    HasNoFence,
    /// Remembers only what it has revoked and known.
    HasHalfAFence,
    PanicsOnScopes,
    HangsOnDescribe,
    HangsOnIssue,
    HangsOnRevoke,
    /// Reads whatever it is sent.
    ReadsAnything,
}

pub struct Faulty {
    inner: ApiKeys,
    fault: Fault,
    told: Arc<Mutex<Vec<(String, String)>>>,
}

pub fn serve(fault: Fault) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let service = Faulty {
        inner: keys(folder.path()),
        fault,
        told: Arc::default(),
    };
    let limit = match fault {
        Fault::ReadsAnything => usize::MAX,
        _ => 64 * 1024,
    };
    Served::service(folder, service, limit)
}

impl Faulty {
    /// The lease by another name, so that nothing of it is known.
    fn alias(&self, lease: &str) -> String {
        let mut told = self.told.lock().unwrap();
        told.push((lease.to_owned(), String::new()));
        format!(
            "{}.{}",
            lease.split_once('.').unwrap().0,
            10_000 + told.len()
        )
    }

    async fn make_another(
        &self,
        mut request: pb::IssueRequest,
    ) -> Result<Response<pb::IssueResponse>, Status> {
        let order = request.order.as_mut().unwrap();
        let lease = order.lease_id.clone();
        order.lease_id = self.alias(&lease);
        let mut answer = self.inner.issue(Request::new(request)).await?;
        answer.get_mut().lease_id = lease;
        Ok(answer)
    }

    async fn tell_secrets(
        &self,
        request: pb::IssueRequest,
    ) -> Result<Response<pb::IssueResponse>, Status> {
        let lease = request.order.as_ref().unwrap().lease_id.clone();
        let answer = self.inner.issue(Request::new(request)).await;
        let mut told = self.told.lock().unwrap();
        match answer {
            Ok(answer) => {
                let secret = &answer.get_ref().credential.as_ref().unwrap().secret_fields;
                told.push((lease, secret["API_KEY"].clone()));
                Ok(answer)
            }
            Err(status) => {
                let secret = told.iter().find(|(id, _)| *id == lease);
                let secret = secret.map_or("", |(_, secret)| secret);
                let text = format!("the key of {lease} is {secret} already");
                Err(Status::new(status.code(), text))
            }
        }
    }

    fn knows(&self, lease: &str) -> bool {
        self.told.lock().unwrap().iter().any(|(id, _)| id == lease)
    }
}

#[tonic::async_trait]
impl Issuer for Faulty {
    async fn describe(
        &self,
        request: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        if let Fault::HangsOnDescribe = self.fault {
            pending::<()>().await;
        }
        let mut answer = self.inner.describe(request).await?;
        if let Fault::Describes(change) = self.fault {
            change(answer.get_mut());
        }
        Ok(answer)
    }

    async fn issue(
        &self,
        request: Request<pb::IssueRequest>,
    ) -> Result<Response<pb::IssueResponse>, Status> {
        let mut request = request.into_inner();
        let order = request.order.as_mut().unwrap();
        let lease = order.lease_id.clone();
        match self.fault {
            Fault::Orders(change) => change(order),
            Fault::RefusesIssue(refuse) => return Err(refuse(&lease)),
            Fault::HangsOnIssue => pending::<()>().await,
            Fault::PanicsOnScopes => assert_ne!(order.scopes[0].action, "conquer"),
            Fault::TellsSecrets => return self.tell_secrets(request).await,
            Fault::MakesAnother => return self.make_another(request).await,
            // What is too long is cut.
            Fault::ReadsAnything => order
                .scopes
                .iter_mut()
                .for_each(|it| it.resource.truncate(200)),
            Fault::HasNoFence if self.knows(&lease) => return self.make_another(request).await,
            Fault::HasHalfAFence => self.told.lock().unwrap().push((lease, String::new())),
            _ => {}
        }
        let mut answer = self.inner.issue(Request::new(request)).await?;
        if let Fault::Issues(change) = self.fault {
            change(answer.get_mut());
        }
        Ok(answer)
    }

    async fn renew(
        &self,
        request: Request<pb::RenewRequest>,
    ) -> Result<Response<pb::RenewResponse>, Status> {
        match self.fault {
            Fault::RefusesRenew(refuse) => Err(refuse()),
            _ => self.inner.renew(request).await,
        }
    }

    async fn revoke(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeResponse>, Status> {
        let lease = request.get_ref().lease_id.clone();
        let confirmed = Response::new(pb::RevokeResponse {
            lease_id: lease.clone(),
            confirmation: "deleted_at_target".to_owned(),
        });
        match self.fault {
            Fault::RefusesRevoke(refuse) => return Err(refuse()),
            Fault::HangsOnRevoke => pending::<()>().await,
            Fault::RevokesNothing => return Ok(confirmed),
            Fault::HasHalfAFence if !self.knows(&lease) => return Ok(confirmed),
            Fault::HasNoFence => self.told.lock().unwrap().push((lease, String::new())),
            Fault::KnowsNoAbsence => {
                let page = pb::ListRequest {
                    origin: request.get_ref().origin.clone(),
                    page_size: 1000,
                    page_token: String::new(),
                };
                let listed = self.inner.list(Request::new(page)).await?.into_inner();
                if !listed.credentials.iter().any(|it| it.lease_id == lease) {
                    return Err(Status::not_found("there is no such key"));
                }
            }
            _ => {}
        }
        let mut answer = self.inner.revoke(request).await?;
        if let Fault::Revokes(change) = self.fault {
            change(answer.get_mut());
        }
        Ok(answer)
    }

    async fn list(
        &self,
        mut request: Request<pb::ListRequest>,
    ) -> Result<Response<pb::ListResponse>, Status> {
        match self.fault {
            Fault::RefusesList(refuse) => return Err(refuse()),
            Fault::ListsFor(change) => change(request.get_mut().origin.as_mut().unwrap()),
            _ => {}
        }
        let mut answer = self.inner.list(request).await?;
        if let Fault::Lists(change) = self.fault {
            change(answer.get_mut());
        }
        Ok(answer)
    }

    async fn check(
        &self,
        request: Request<pb::CheckRequest>,
    ) -> Result<Response<pb::CheckResponse>, Status> {
        if let Fault::RefusesCheck(refuse) = self.fault {
            return Err(refuse());
        }
        let mut answer = self.inner.check(request).await?;
        if let Fault::Checks(change) = self.fault {
            change(answer.get_mut());
        }
        Ok(answer)
    }
}
