//! The database killed, and the network to it cut, at the worst moments of a lease.

use std::sync::Arc;
use std::time::Duration;

use quietus::api::v1;
use tokio::task::JoinHandle;

use crate::book::Book;
use crate::common::seconds;
use crate::inside::rng::Rng;
use crate::judge;
use crate::process::Process;
use crate::proxy::Fault;
use crate::tally::Tally;
use crate::work::{self, Clients, Gone, answer};
use crate::world::{READ, World, soon};

/// What the broker sends to make a role, and to unmake one.
const MAKES: [&str; 2] = ["CREATE ROLE", "COMMIT"];
const UNMAKES: [&str; 3] = ["NOLOGIN", "DROP ROLE", "UNION ALL"];
/// Short, since what is cut off is given up only then.
const TIMEOUT: &str = "1s";
const LOOK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disaster {
    Network(Fault),
    /// With what was just sent on its way, or arrived.
    DatabaseKilled(Fault),
}

const DISASTERS: [Disaster; 5] = [
    Disaster::Network(Fault::Lost),
    Disaster::Network(Fault::ReplyLost),
    Disaster::Network(Fault::Broken),
    Disaster::DatabaseKilled(Fault::Lost),
    Disaster::DatabaseKilled(Fault::ReplyLost),
];

struct Scene {
    world: World,
    _process: Process,
    clients: Clients,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disaster_while_a_role_is_made_leaves_none() {
    let mut scene = Scene::new(TIMEOUT).await;
    for text in MAKES {
        for disaster in DISASTERS {
            scene.while_made(text, disaster).await;
        }
    }
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disaster_while_a_role_is_unmade_leaves_none() {
    let mut scene = Scene::new(TIMEOUT).await;
    for text in UNMAKES {
        for disaster in DISASTERS {
            scene.while_unmade(text, disaster).await;
        }
    }
    scene.nothing_is_left().await;
}

/// While the order to make a role is still on its way, its absence says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_made_late_is_unmade_after_that() {
    let scene = Scene::new("20s").await;
    for text in MAKES {
        let (task, minting, closing) = scene.closed_while_made(text).await;
        // An open transaction that changes rights holds up all others, so with the last step late none can go.
        let alive = if text == "COMMIT" { u32::MAX } else { 1 };
        scene.no_more_live_than(alive, &task).await;
        scene.world.proxy.heal();
        let refused = answer(soon("an answer", minting).await.unwrap()).unwrap();
        assert_eq!(refused.map(|_| ()).unwrap_err(), "LEASE_ENDED");
        let closed = soon("an answer", closing).await.unwrap().unwrap();
        assert!(closed.into_inner().receipt.unwrap().complete);
        scene.it_ends_well(&task).await;
    }
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_arrives_after_it_was_given_up_makes_no_role() {
    let scene = Scene::new(TIMEOUT).await;
    for text in MAKES {
        let (task, minting, closing) = scene.closed_while_made(text).await;
        let refused = answer(soon("an answer", minting).await.unwrap()).unwrap();
        assert_eq!(refused.map(|_| ()).unwrap_err(), "TARGET_UNAVAILABLE");
        scene.world.proxy.heal();
        let closed = soon("an answer", closing).await.unwrap().unwrap();
        assert!(closed.into_inner().receipt.unwrap().complete);
        scene.it_ends_well(&task).await;
    }
    scene.nothing_is_left().await;
}

type Minting = JoinHandle<Reply<v1::RequestCredentialResponse>>;
type Closing = JoinHandle<Reply<v1::CloseTaskResponse>>;

impl Scene {
    /// What makes its last role is on its way, and late.
    async fn closed_while_made(&self, text: &'static str) -> (String, Minting, Closing) {
        let task = self.a_task_that_can_mint().await;
        for _ in 0..6 {
            answer(self.mint(&task).await.unwrap()).unwrap().unwrap();
        }
        let mut sprung = self.world.proxy.trap(text, Fault::Late);
        let minting = self.mint(&task);
        soon("the trap springs", sprung.changed()).await.unwrap();
        let closing = self.close(&task, 100);
        (task, minting, closing)
    }

    async fn no_more_live_than(&self, most: u32, task: &str) {
        let request = v1::GetTaskRequest {
            task_id: task.to_owned(),
        };
        soon("they are dead", async {
            loop {
                let shown = self.clients.agent.clone().get_task(request.clone()).await;
                let shown = shown.unwrap().into_inner().task.unwrap();
                let state = shown.state();
                if state != v1::TaskState::Open && shown.revoking_leases <= most {
                    return assert_eq!(state, v1::TaskState::Closing, "one is still being made");
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    async fn new(timeout: &str) -> Self {
        let world = World::new(timeout).await;
        let process = Process::start(&world.inside);
        let clients = Clients::connect(&world, &process.address).await.unwrap();
        Self {
            world,
            _process: process,
            clients,
        }
    }

    async fn while_made(&mut self, text: &'static str, disaster: Disaster) {
        let task = self.a_task_that_can_mint().await;
        let mut sprung = self.world.proxy.trap(text, disaster.fault());
        let minting = self.mint(&task);
        soon("the trap springs", sprung.changed()).await.unwrap();
        self.database_dies_of(disaster);
        let refused = soon("an answer", minting).await.unwrap();
        let refused = answer(refused).unwrap().map(|_| ()).unwrap_err();
        assert_eq!(refused, "TARGET_UNAVAILABLE", "{text}, {disaster:?}");
        if disaster != Disaster::Network(Fault::Broken) {
            let closed = self.close(&task, 0).await.unwrap().unwrap();
            let complete = closed.into_inner().receipt.unwrap().complete;
            assert!(!complete, "nobody can know: {text}, {disaster:?}");
        }
        self.all_is_well_again();
        self.it_ends_well(&task).await;
    }

    async fn while_unmade(&mut self, text: &'static str, disaster: Disaster) {
        let task = self.a_task_that_can_mint().await;
        let mut sprung = self.world.proxy.trap(text, disaster.fault());
        let closing = self.close(&task, 100);
        soon("the trap springs", sprung.changed()).await.unwrap();
        self.database_dies_of(disaster);
        if disaster != Disaster::Network(Fault::Broken) {
            self.an_attempt_failed(&task).await;
        }
        self.all_is_well_again();
        let closed = soon("an answer", closing).await.unwrap().unwrap();
        let receipt = closed.into_inner().receipt.unwrap();
        assert!(receipt.complete, "{text}, {disaster:?}: {}", receipt.note);
        self.it_ends_well(&task).await;
    }

    /// One lease of it is alive; before the breaker has closed again mints are refused.
    async fn a_task_that_can_mint(&self) -> String {
        let mut agent = self.clients.agent.clone();
        let opened = agent.open_task(v1::OpenTaskRequest::default()).await;
        let task = opened.unwrap().into_inner().task.unwrap();
        soon("a credential", async {
            while self.mint(&task.id).await.unwrap().is_err() {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        task.id
    }

    fn mint(&self, task: &str) -> Minting {
        let mut agent = self.clients.agent.clone();
        let request = v1::RequestCredentialRequest {
            task_id: task.to_owned(),
            scopes: vec![READ.to_owned()],
            ..Default::default()
        };
        tokio::spawn(async move { agent.request_credential(request).await })
    }

    fn close(&self, task: &str, wait: i64) -> Closing {
        let mut agent = self.clients.agent.clone();
        let request = v1::CloseTaskRequest {
            task_id: task.to_owned(),
            wait: (wait > 0).then(|| seconds(wait).unwrap()),
            ..Default::default()
        };
        tokio::spawn(async move { agent.close_task(request).await })
    }

    /// Connections are refused from then on, as they are where no server is.
    fn database_dies_of(&mut self, disaster: Disaster) {
        if let Disaster::DatabaseKilled(_) = disaster {
            tokio::task::block_in_place(|| self.world.server.kill());
            self.world.proxy.heal();
        }
    }

    fn all_is_well_again(&mut self) {
        tokio::task::block_in_place(|| self.world.server.start()).unwrap();
        self.world.proxy.heal();
    }

    async fn an_attempt_failed(&self, task: &str) {
        let request = v1::GetTaskRequest {
            task_id: task.to_owned(),
        };
        soon("a failed attempt", async {
            loop {
                let shown = self.clients.agent.clone().get_task(request.clone()).await;
                let shown = shown.unwrap().into_inner();
                assert_eq!(shown.task.unwrap().state(), v1::TaskState::Closing);
                if shown.leases.iter().any(|lease| lease.attempts > 0) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// The receipt becomes complete, and is true.
    async fn it_ends_well(&self, task: &str) {
        let closed = soon("an answer", self.close(task, 100)).await;
        let closed = closed.unwrap().unwrap().into_inner();
        assert!(closed.receipt.unwrap().complete);
        let states = closed.leases.iter().map(|lease| lease.state());
        assert!(states.eq(closed.leases.iter().map(|_| v1::LeaseState::Ended)));
        let roles = self.world.roles().await;
        assert!(roles.iter().all(|role| role.task.to_string() != task));
    }

    async fn nothing_is_left(&self) {
        let (book, mut tally) = (Book::default(), Tally::new());
        let settled = judge::once_settled(&self.world, &self.clients, &book, &mut tally);
        settled.await.unwrap();
        assert!(self.world.roles().await.is_empty());
    }
}

type Reply<T> = Result<tonic::Response<T>, tonic::Status>;

impl Disaster {
    fn fault(self) -> Fault {
        match self {
            Self::Network(fault) | Self::DatabaseKilled(fault) => fault,
        }
    }
}

/// Agents at work, a network that fails them now here, now there, and a crash in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_comes_and_goes_under_load_leaves_no_orphan() {
    let world = Arc::new(World::new(TIMEOUT).await);
    let book = Arc::new(Book::default());
    let mut rng = Rng::new(5);
    let mut tally = Tally::new();
    for _ in 0..3 {
        let process = Process::start(&world.inside);
        let clients = Clients::connect(&world, &process.address).await.unwrap();
        let settled = judge::once_settled(&world, &clients, &book, &mut tally).await;
        settled.unwrap();
        let work = work::start(&world, &clients, &book, rng.next());
        for _ in 0..3 {
            let text = rng.pick(&[MAKES.as_slice(), &UNMAKES].concat()).to_owned();
            let fault = *rng.pick(&[Fault::Lost, Fault::ReplyLost, Fault::Broken]);
            let mut sprung = world.proxy.trap(text, fault);
            soon("the trap springs", sprung.changed()).await.unwrap();
            let answers = book.acknowledged();
            let before = *answers.borrow();
            soon_more(answers, before + 5).await;
            world.proxy.heal();
        }
        world.proxy.cut();
        process.kill();
        work.join_all().await;
        world.proxy.heal();
        judge::after_the_crash(&world, &book, &mut tally).await;
    }
    let process = Process::start(&world.inside);
    let clients = Clients::connect(&world, &process.address).await.unwrap();
    let settled: Result<(), Gone> = judge::once_settled(&world, &clients, &book, &mut tally).await;
    settled.unwrap();
    assert!(book.numbers().minted > 0);
}

async fn soon_more(mut answers: tokio::sync::watch::Receiver<u64>, enough: u64) {
    let reached = answers.wait_for(|count| *count >= enough);
    soon("more answers", reached).await.unwrap();
}
