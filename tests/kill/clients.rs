//! Agents and an operator that write down what they were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use quietus::api::v1;
use quietus::api::v1::broker_client::BrokerClient;
use quietus::api::v1::operator_client::OperatorClient;
use quietus::api::v1::verification_client::VerificationClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::common::{is_active, jwt, of, wants};
use crate::inside::rng::Rng;
use crate::inside::{Inside, ORDERS};

/// What must be found of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Alive,
    Dead,
    /// Its end was asked for and not acknowledged.
    Uncertain,
}

/// Every lease that was acknowledged, its token, and what became of it.
#[derive(Default)]
pub struct Book {
    leases: Mutex<BTreeMap<String, Entry>>,
    acknowledged: AtomicU64,
    pub uncertain: AtomicU64,
}

struct Entry {
    token: String,
    task: String,
    fate: Fate,
}

impl Book {
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(SeqCst)
    }

    /// How many are alive, dead, uncertain.
    pub fn fates(&self) -> [usize; 3] {
        let leases = self.leases.lock().unwrap();
        [Fate::Alive, Fate::Dead, Fate::Uncertain]
            .map(|fate| leases.values().filter(|entry| entry.fate == fate).count())
    }

    fn minted(&self, reply: v1::RequestCredentialResponse) -> String {
        let lease = reply.lease.unwrap();
        let entry = Entry {
            token: jwt(reply.credential),
            task: lease.task_id,
            fate: Fate::Alive,
        };
        self.leases.lock().unwrap().insert(lease.id.clone(), entry);
        self.acknowledged.fetch_add(1, SeqCst);
        lease.id
    }

    fn a_task_that_lives(&self, rng: &mut Rng) -> Option<String> {
        let leases = self.leases.lock().unwrap();
        let alive = leases.values().filter(|entry| entry.fate == Fate::Alive);
        let tasks: Vec<_> = alive.map(|entry| &entry.task).collect();
        (!tasks.is_empty()).then(|| rng.pick(&tasks).to_string())
    }

    fn set(&self, fate: Fate, which: impl Fn(&str, &str) -> bool) {
        for (id, entry) in self.leases.lock().unwrap().iter_mut() {
            if entry.fate != Fate::Dead && which(id, &entry.task) {
                entry.fate = fate;
            }
        }
        match fate {
            Fate::Dead => self.acknowledged.fetch_add(1, SeqCst),
            _ => self.uncertain.fetch_add(1, SeqCst),
        };
    }

    /// Every lease is there, and as it was acknowledged.
    pub async fn holds(&self, clients: &Clients) {
        let leases: Vec<_> = {
            let leases = self.leases.lock().unwrap();
            let all = leases.iter();
            all.map(|(id, entry)| (id.clone(), entry.token.clone(), entry.fate))
                .collect()
        };
        let known = clients.all_leases().await;
        let mut resource_server = clients.resource_server.clone();
        for (id, token, fate) in leases {
            let state = known.get(&id).unwrap_or_else(|| panic!("{id} is lost"));
            let active = is_active(&mut resource_server, &token).await;
            assert_eq!(
                active,
                *state == v1::LeaseState::Active,
                "{id} is {state:?}"
            );
            match fate {
                Fate::Alive => assert!(active, "{id} died of nothing"),
                Fate::Dead => assert!(!active, "{id} lives again"),
                // From here on it is what it was found to be.
                Fate::Uncertain if active => {}
                Fate::Uncertain => self.set(Fate::Dead, |other, _| other == id),
            }
        }
    }
}

#[derive(Clone)]
pub struct Clients {
    pub agent: BrokerClient<Channel>,
    operator: OperatorClient<Channel>,
    resource_server: VerificationClient<Channel>,
}

impl Clients {
    pub async fn connect(inside: &Inside, address: &str) -> Self {
        Self {
            agent: BrokerClient::new(inside.connect(address, "agent").await.unwrap()),
            operator: OperatorClient::new(inside.connect(address, "operator").await.unwrap()),
            resource_server: VerificationClient::new(
                inside.connect(address, "resource-server").await.unwrap(),
            ),
        }
    }

    /// Three agents and an operator at work until the broker is gone.
    pub fn work(&self, book: &Arc<Book>, seed: u64) -> JoinSet<()> {
        let mut work = JoinSet::new();
        for n in 0..3 {
            let (clients, book) = (self.clone(), Arc::clone(book));
            work.spawn(async move {
                let _ = clients.agent_at_work(&book, Rng::new(seed ^ n)).await;
            });
        }
        let (clients, book) = (self.clone(), Arc::clone(book));
        work.spawn(async move {
            let _ = clients.operator_at_work(&book, Rng::new(seed)).await;
        });
        work
    }

    pub fn mint_many(&self, book: &Arc<Book>, task: &v1::Task, calls: usize) -> JoinSet<()> {
        let mut minting = JoinSet::new();
        for _ in 0..calls {
            let (mut agent, book) = (self.agent.clone(), Arc::clone(book));
            let wanted = wants(task, &[ORDERS]);
            minting.spawn(async move {
                if let Ok(reply) = agent.request_credential(wanted).await {
                    book.minted(reply.into_inner());
                }
            });
        }
        minting
    }

    async fn agent_at_work(mut self, book: &Book, mut rng: Rng) -> Result<(), tonic::Status> {
        loop {
            let opened = self.agent.open_task(v1::OpenTaskRequest::default()).await?;
            let task = opened.into_inner().task.unwrap();
            for _ in 0..1 + rng.below(4) {
                let wanted = wants(&task, &[ORDERS]);
                // An operator may have been here before us.
                let Ok(reply) = unless_gone(self.agent.request_credential(wanted).await)? else {
                    break;
                };
                let lease_id = book.minted(reply.into_inner());
                if rng.one_in(3) {
                    book.set(Fate::Uncertain, |id, _| id == lease_id);
                    let request = v1::RevokeLeaseRequest {
                        lease_id: lease_id.clone(),
                        ..Default::default()
                    };
                    if unless_gone(self.agent.revoke_lease(request).await)?.is_ok() {
                        book.set(Fate::Dead, |id, _| id == lease_id);
                    }
                }
            }
            if rng.one_in(2) {
                book.set(Fate::Uncertain, |_, of| of == task.id);
                let request = v1::CloseTaskRequest {
                    task_id: task.id.clone(),
                    ..Default::default()
                };
                self.agent.close_task(request).await?;
                book.set(Fate::Dead, |_, of| of == task.id);
            }
        }
    }

    /// Now and then revokes one task, while most are left to live.
    async fn operator_at_work(mut self, book: &Book, mut rng: Rng) -> Result<(), tonic::Status> {
        loop {
            for _ in 0..1 + rng.below(60) {
                self.operator.get_status(v1::GetStatusRequest {}).await?;
            }
            let Some(task) = book.a_task_that_lives(&mut rng) else {
                continue;
            };
            book.set(Fate::Uncertain, |_, of| of == task);
            let request = v1::RevokeRequest {
                selector: of(v1::selector::Of::TaskId(task.clone())),
                ..Default::default()
            };
            self.operator.revoke(request).await?;
            book.set(Fate::Dead, |_, of| of == task);
        }
    }

    async fn all_leases(&self) -> BTreeMap<String, v1::LeaseState> {
        let mut operator = self.operator.clone();
        let mut found = BTreeMap::new();
        let mut request = v1::ListLeasesRequest {
            page_size: 1000,
            ..Default::default()
        };
        loop {
            let page = operator
                .list_leases(request.clone())
                .await
                .unwrap()
                .into_inner();
            found.extend(
                page.leases
                    .iter()
                    .map(|lease| (lease.id.clone(), lease.state())),
            );
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return found;
            }
        }
    }
}

/// A refusal is an answer; everything else means that the broker is gone.
fn unless_gone<T>(
    reply: Result<T, tonic::Status>,
) -> Result<Result<T, tonic::Status>, tonic::Status> {
    match reply {
        Err(status) if status.code() == tonic::Code::FailedPrecondition => Ok(Err(status)),
        Err(status) => Err(status),
        answered => Ok(answered),
    }
}
