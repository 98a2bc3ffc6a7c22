//! Agents and an operator at work until the broker is gone.

use std::sync::Arc;

use quietus::api::v1;
use quietus::api::v1::broker_client::BrokerClient;
use quietus::api::v1::operator_client::OperatorClient;
use quietus_core::LeaseId;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::book::{Book, Fate};
use crate::common::{of, reason, seconds};
use crate::inside::rng::Rng;
use crate::world::{READ, TARGET, World};

const AGENTS: u64 = 4;
/// So many tasks stay open, about.
const OPEN: usize = 8;

/// Nobody answers any more.
#[derive(Debug)]
pub struct Gone;

#[derive(Clone)]
pub struct Clients {
    pub agent: BrokerClient<Channel>,
    pub operator: OperatorClient<Channel>,
}

impl Clients {
    pub async fn connect(world: &World, address: &str) -> Result<Self, Gone> {
        let channel = |name| world.inside.connect(address, name);
        let agent = channel("agent").await.map_err(|_| Gone)?;
        let operator = channel("operator").await.map_err(|_| Gone)?;
        Ok(Self {
            agent: BrokerClient::new(agent),
            operator: OperatorClient::new(operator),
        })
    }
}

/// An answer, or the reason of a refusal; or the broker is gone.
pub fn answer<T>(reply: Result<Response<T>, Status>) -> Result<Result<T, String>, Gone> {
    match reply {
        Ok(answer) => Ok(Ok(answer.into_inner())),
        Err(status) => match reason(&status) {
            reason if reason.is_empty() => Err(Gone),
            reason if reason == "INTERNAL" => panic!("{status}"),
            reason => Ok(Err(reason)),
        },
    }
}

/// Several agents and an operator.
pub fn start(world: &Arc<World>, clients: &Clients, book: &Arc<Book>, seed: u64) -> JoinSet<()> {
    let mut work = JoinSet::new();
    for n in 0..AGENTS {
        let agent = Agent {
            world: Arc::clone(world),
            client: clients.agent.clone(),
            book: Arc::clone(book),
            rng: Rng::new(seed.wrapping_add(n)),
        };
        work.spawn(async move { drop(agent.work(n == 0).await) });
    }
    let operator = Operator {
        client: clients.operator.clone(),
        book: Arc::clone(book),
        rng: Rng::new(!seed),
    };
    work.spawn(async move { drop(operator.work().await) });
    work
}

struct Agent {
    world: Arc<World>,
    client: BrokerClient<Channel>,
    book: Arc<Book>,
    rng: Rng,
}

impl Agent {
    async fn work(mut self, asks_again: bool) -> Result<(), Gone> {
        if asks_again {
            for request in self.book.unanswered() {
                self.send(request).await?;
            }
        }
        loop {
            let task = match self.book.an_open_task(&mut self.rng, OPEN) {
                Some(task) => task,
                None => self.open().await?,
            };
            for _ in 0..1 + self.rng.below(4) {
                if !self.mint(&task).await? {
                    break;
                }
            }
            if self.rng.one_in(4) {
                self.close_while_minting(&task).await?;
            } else if self.rng.one_in(2) {
                let wait = self.rng.one_in(2);
                self.close(&task, wait).await?;
            }
        }
    }

    async fn close_while_minting(&mut self, task: &str) -> Result<(), Gone> {
        let mut other = Self {
            world: Arc::clone(&self.world),
            client: self.client.clone(),
            book: Arc::clone(&self.book),
            rng: Rng::new(self.rng.next()),
        };
        let (closed, minted) = tokio::join!(self.close(task, true), other.mint(task));
        closed.and(minted.map(drop))
    }

    async fn open(&mut self) -> Result<String, Gone> {
        let opened = self.client.open_task(v1::OpenTaskRequest::default()).await;
        let task = answer(opened)?.unwrap().task.unwrap();
        self.book.opened(&task.id);
        Ok(task.id)
    }

    /// Whether the task is still good for more.
    async fn mint(&mut self, task: &str) -> Result<bool, Gone> {
        let request = v1::RequestCredentialRequest {
            idempotency_key: format!("{:x}", self.rng.next()),
            task_id: task.to_owned(),
            scopes: vec![READ.to_owned()],
            ttl: self.rng.one_in(5).then(|| seconds(1).unwrap()),
            ..Default::default()
        };
        self.book.asks(&request);
        let Some(lease) = self.send(request.clone()).await? else {
            return Ok(false);
        };
        if self.rng.one_in(6) {
            let again = self.client.request_credential(request).await;
            assert_eq!(answer(again)?.unwrap_err(), "IDEMPOTENCY_KEY_STALE");
        }
        if self.rng.one_in(3) {
            self.give_back(lease).await?;
        }
        Ok(true)
    }

    async fn send(
        &mut self,
        request: v1::RequestCredentialRequest,
    ) -> Result<Option<LeaseId>, Gone> {
        let reply = answer(self.client.request_credential(request.clone()).await);
        let reply = reply.inspect_err(|Gone| self.book.left_unanswered())?;
        self.book.answered(&request);
        match reply {
            Ok(made) => Ok(Some(self.book.minted(made, request.ttl.is_some()))),
            Err(reason) => {
                let known = [
                    "TASK_ENDED",
                    "LEASE_ENDED",
                    "IDEMPOTENCY_KEY_STALE",
                    "TARGET_UNAVAILABLE",
                ];
                assert!(known.contains(&reason.as_str()), "{reason}");
                Ok(None)
            }
        }
    }

    async fn give_back(&mut self, lease: LeaseId) -> Result<(), Gone> {
        self.book.lease_is(lease, Fate::Uncertain);
        let request = v1::RevokeLeaseRequest {
            lease_id: lease.to_string(),
            ..Default::default()
        };
        answer(self.client.revoke_lease(request).await)?.unwrap();
        self.book.lease_is(lease, Fate::Dead);
        Ok(())
    }

    async fn close(&mut self, task: &str, wait: bool) -> Result<(), Gone> {
        self.book.task_is(task, Fate::Uncertain);
        let request = v1::CloseTaskRequest {
            task_id: task.to_owned(),
            wait: wait.then(|| seconds(5).unwrap()),
            ..Default::default()
        };
        let closed = answer(self.client.close_task(request).await)?.unwrap();
        let complete = closed.receipt.unwrap().complete;
        if complete {
            let roles = self.world.roles().await;
            let left = roles.iter().find(|role| role.task.to_string() == task);
            assert_eq!(left, None, "the receipt says that it is gone");
        }
        let fate = if complete {
            Fate::Confirmed
        } else {
            Fate::Dead
        };
        self.book.task_is(task, fate);
        Ok(())
    }
}

struct Operator {
    client: OperatorClient<Channel>,
    book: Arc<Book>,
    rng: Rng,
}

impl Operator {
    /// Now and then revokes one task or lease, and sweeps while others work.
    async fn work(mut self) -> Result<(), Gone> {
        loop {
            for _ in 0..1 + self.rng.below(30) {
                answer(self.client.get_status(v1::GetStatusRequest {}).await)?.unwrap();
            }
            match self.rng.below(3) {
                0 => self.sweep().await?,
                1 => self.revoke_task().await?,
                _ => self.revoke_lease().await?,
            }
        }
    }

    async fn sweep(&mut self) -> Result<(), Gone> {
        let request = v1::SweepTargetRequest {
            target: TARGET.to_owned(),
            dry_run: false,
        };
        if let Ok(swept) = answer(self.client.sweep_target(request).await)? {
            assert_eq!(swept.strays, [""; 0]);
        }
        Ok(())
    }

    async fn revoke_task(&mut self) -> Result<(), Gone> {
        let Some(task) = self.book.an_open_task(&mut self.rng, 1) else {
            return Ok(());
        };
        self.book.task_is(&task, Fate::Uncertain);
        self.revoke(v1::selector::Of::TaskId(task.clone())).await?;
        self.book.task_is(&task, Fate::Dead);
        Ok(())
    }

    async fn revoke_lease(&mut self) -> Result<(), Gone> {
        let alive = self.book.entries().into_iter();
        let alive = alive.filter(|(_, entry)| entry.fate == Fate::Alive);
        let alive: Vec<_> = alive.map(|(id, _)| id).collect();
        if alive.is_empty() {
            return Ok(());
        }
        let lease = *self.rng.pick(&alive);
        self.book.lease_is(lease, Fate::Uncertain);
        self.revoke(v1::selector::Of::LeaseId(lease.to_string()))
            .await?;
        self.book.lease_is(lease, Fate::Dead);
        Ok(())
    }

    async fn revoke(&mut self, selector: v1::selector::Of) -> Result<(), Gone> {
        let request = v1::RevokeRequest {
            selector: of(selector),
            ..Default::default()
        };
        answer(self.client.revoke(request).await)?.unwrap();
        Ok(())
    }
}
